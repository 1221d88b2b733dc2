//! Why a rotating CA cannot start, or a step was not made.

use super::machine::RootPhase;
use crate::issuer::{keys::KeyStoreError, self_signed::SelfSignedError, store::StoreError};

/// Why a step of a rotation is refused. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RotationRefused {
    /// A rotation is under way.
    #[error("a rotation is under way already ({0}); wait for its end, or abort it")]
    UnderWay(RootPhase),
    /// The step does not follow from the phase.
    #[error("this cannot be done now: the rotation is in phase {0}")]
    NotNow(RootPhase),
    /// It is being undone already.
    #[error("the rotation is being aborted already; wait for its end")]
    Reverting,
    /// The old root has ended, so that nothing could be signed with it.
    #[error("the old root has ended: the rotation cannot be aborted any more")]
    OldRootEnded,
}

/// Why a [`RotatingCa`](super::RotatingCa) cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotatingCaError {
    /// The root could not be made, read or used.
    #[error("{0}")]
    Root(#[from] SelfSignedError),
    /// The step does not fit.
    #[error("{0}")]
    Refused(#[from] RotationRefused),
    /// What is kept of revoked certificates is damaged.
    #[error(
        "the record of revoked certificates is damaged: {0}; restore it from a backup: without it they would be \
             believed again"
    )]
    Revocations(String),
    /// No such certificate was issued here, or it has ended.
    #[error("no certificate with the serial number {0} that was issued here is valid now")]
    UnknownSerial(String),
    /// A revocation list could not be signed.
    #[error("the revocation list could not be signed: {0}")]
    Crl(String),
}

impl From<StoreError> for RotatingCaError {
    fn from(error: StoreError) -> Self {
        Self::Root(error.into())
    }
}

impl From<KeyStoreError> for RotatingCaError {
    fn from(error: KeyStoreError) -> Self {
        Self::Root(error.into())
    }
}
