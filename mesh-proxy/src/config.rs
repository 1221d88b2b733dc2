//! From Envoy's v3 messages to the [`model`](crate::model): the only place that sees protobuf.
//!
//! One file for each kind of message, with the table of what is supported beside the translation ([`supported!`](crate::supported),
//! [`Audit`]). What is not supported is refused with its path, never ignored: see [`Rejection`].

mod audit;
mod error;

pub use audit::{Audit, MAX_FIELDS, MessageTable};
pub use error::{FieldError, Rejection};
