//! From Envoy's v3 messages to the [`model`](crate::model): the only place that sees protobuf.
//!
//! One file for each kind of message, with the table of what is supported beside the translation
//! ([`supported!`](crate::supported), [`Audit`]). What is not supported is refused with its path, never ignored: see
//! [`Rejection`]. [`supported_fields`] writes the tables out for people.

// Control planes still send fields and enumeration values that the API calls deprecated.
#![allow(deprecated)]

mod access_log;
mod audit;
mod bootstrap;
mod cluster;
mod docs;
mod endpoint;
mod error;
mod hcm;
mod listener;
mod load;
mod matcher;
mod route;
mod secret;
mod source;
mod tcp_proxy;
mod tls;
mod translator;
mod transport_socket;
pub(crate) mod value;

pub use audit::{Audit, MAX_FIELDS, MessageTable};
pub use bootstrap::{Bootstrap, StaticResource};
pub use docs::supported_fields;
pub use error::{FieldError, Rejection};
pub use load::LoadError;
pub use matcher::{MATCHERS, full_regex, header_matcher, header_matchers, string_matcher};
pub(crate) use secret::files as secret_files;
pub use source::Dependency;
pub use translator::{Translation, Translator};

#[cfg(test)]
mod tests;
