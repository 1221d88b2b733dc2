//! Exit codes.

/// Done, and the answer is yes.
pub(crate) const OK: u8 = 0;
/// Done, and the answer is no.
pub(crate) const NO: u8 = 1;
/// Could not run: what to do is said on standard error.
pub(crate) const COULD_NOT_RUN: u8 = 2;
