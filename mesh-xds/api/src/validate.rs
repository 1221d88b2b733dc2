//! The API's own validation rules, enforced on encoded messages.
//!
//! Envoy refuses a resource that breaks a rule its `.proto` file states (`[(validate.rules).string = {min_len: 1}]`); a
//! server that asks here first never sends one. The rules are read from [`crate::DESCRIPTOR_SET`], so they are those of
//! the very types in this crate, and what they mean is what
//! [protoc-gen-validate](https://github.com/bufbuild/protoc-gen-validate) generates for Envoy:
//!
//! - a field without presence always has a value: `min_len: 1` refuses a text that is not set;
//! - the rules of a wrapper, a message, or a member of a `oneof` apply only where it is set;
//! - a range whose lower end lies above its upper end means outside.
//!
//! Two things go further than one generated check: the content of every [`Any`] whose type this crate
//! knows is held to its own rules, as Envoy does when it unpacks it, and **all** violations are told (the first
//! [`MAX_VIOLATIONS`]), each with its path.
//!
//! The rules of all types are compiled once, on first use. A check then walks the encoded bytes: nothing is decoded into
//! messages, nothing is allocated for a message without violations, and a part of a message in which no rule can
//! apply is passed over unread.
//!
//! ```
//! use mesh_xds_api::{any, envoy::config::cluster::v3::Cluster, validate};
//!
//! let nameless = any::pack(&Cluster::default());
//! let violations = validate::any(&nameless).unwrap_err();
//! assert_eq!(violations.to_string(), "envoy.config.cluster.v3.Cluster: name: must not be empty");
//! ```
//!
//! What is no rule of the API is not checked: unknown and deprecated fields, references to other resources, and what an
//! extension looks at only when it is made.

mod check;
mod compile;
mod format;
mod plan;
mod violation;
mod walk;

use prost::{Message, Name};

pub use self::violation::{MAX_VIOLATIONS, Violation, Violations};
use self::{plan::Registry, walk::Walker};
use crate::any::Any;

/// How many messages may lie inside each other, the contents of an `Any` included. What lies deeper is a violation
/// (`depth`): protobuf decoders stop at the same depth.
pub const MAX_DEPTH: usize = crate::encoded::MAX_DEPTH;

/// Checks the message inside `any`. A type that this crate does not know has no rules.
///
/// # Errors
/// [`Violations`], if there are any.
pub fn any(any: &Any) -> Result<(), Violations> {
    bytes(any.type_url.rsplit('/').next().unwrap_or_default(), &any.value)
}

/// Checks a message of a type known at compile time. Prefer [`any()`] or [`bytes()`] where the encoding exists already.
///
/// # Errors
/// [`Violations`], if there are any.
pub fn message<M: Message + Name>(message: &M) -> Result<(), Violations> {
    bytes(&M::full_name(), &message.encode_to_vec())
}

/// Checks `encoded` as a message of the type with this full name. A type that this crate does not know has no rules.
///
/// # Errors
/// [`Violations`], if there are any. Bytes that are no message are one too, with the rule `wire`.
pub fn bytes(full_name: &str, encoded: &[u8]) -> Result<(), Violations> {
    Walker::new(Registry::global()).check(full_name, encoded)
}

#[cfg(test)]
mod tests;
