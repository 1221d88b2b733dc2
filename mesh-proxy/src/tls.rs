//! TLS by rustls with secrets that swap live.
//!
//! ```text
//!   SecretStore ──slots──▸ ServerTlsHandle / ClientTlsHandle ──current()──▸ Arc<rustls config>
//!      ▲ set(name, Secret) (control thread)                     rebuilt when one of its secrets changed
//! ```
//!
//! A changed secret makes a new rustls configuration, and with it new session tickets and a new session store; tickets under
//! keys that are given name what the peer was verified against. So a session made under withdrawn roots is not resumed.
//! One configuration serves all workers. A secret that cannot be used never replaces one that could
//! ([`check_secret`] lets the control side refuse it before).
//!
//! Verification follows Envoy: the chain must lead to the given roots, names are looked at only where SAN matchers ask
//! for it, and there is no host name check beside them.

mod choice;
mod client;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod error;
mod info;
mod key_log;
mod live;
mod memory;
mod provider;
mod server;
mod spiffe;
mod store;
#[cfg(test)]
mod tests;
mod tickets;
mod verify;

pub use client::ClientTlsHandle;
pub use error::{TlsError, TlsStats, VerifyFailure, failure_text};
pub use info::{CertificateFacts, certificate_facts};
pub use memory::MemorySecrets;
pub use provider::check_parameters;
pub use server::ServerTlsHandle;
pub use store::{SecretSource, SecretStore, check_secret};

pub(crate) use client::Alpn;
pub(crate) use info::{client_info, server_info};

use std::sync::Arc;

use crate::model::ServerTls;

/// A rustls server configuration that follows its secrets; the same one for the same `config`.
#[must_use]
pub fn server_config(config: &Arc<ServerTls>, secrets: &SecretStore) -> ServerTlsHandle {
    secrets.server(config)
}
