//! Certificates for service accounts, kept where their workloads find them: Citadel's own model.
//!
//! ```text
//!  declared accounts ─▸ CredentialKeeper ─judge─▸ keep / write anew ─▸ CredentialSink (a folder, a Secret, ...)
//!                            ▲      │                                       │
//!                            │      └────────── CertIssuer                  │
//!                            └──────── what is there: absent, damaged, held ┘
//! ```
//!
//! For each declared account, existing or new, [`CredentialKeeper`] sees to it that a [`CredentialSink`] holds a good
//! [`CredentialSet`]: chain, key and roots. What is deleted or damaged is repaired, what comes to its end renewed, and what
//! is declared no more removed. [`judge`] decides, without IO.

mod account;
#[cfg(feature = "test-util")]
pub mod conformance;
mod folder;
mod keeper;
#[cfg(feature = "test-util")]
mod memory;
mod status;
mod verdict;

use std::{fmt, path::PathBuf};

use async_trait::async_trait;
use zeroize::Zeroizing;

pub use account::{ServiceAccount, ServiceAccountError};
pub use folder::FolderSink;
pub use keeper::{CredentialKeeper, KeeperConfig};
#[cfg(feature = "test-util")]
pub use memory::MemorySink;
pub use status::{AccountStatus, KeeperStatus};
pub use verdict::{Reason, Verdict, judge};

/// What a workload needs to speak mutual TLS, as PEM. `Debug` does not show the key, which is wiped on drop.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialSet {
    /// Leaf first, then the intermediates (`cert-chain.pem`).
    pub chain: String,
    /// The private key (`key.pem`).
    pub key: Zeroizing<String>,
    /// Whom to believe (`root-cert.pem`).
    pub roots: String,
}

impl CredentialSet {
    /// A set.
    pub fn new(chain: impl Into<String>, key: Zeroizing<String>, roots: impl Into<String>) -> Self {
        Self { chain: chain.into(), key, roots: roots.into() }
    }
}

impl fmt::Debug for CredentialSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialSet").field("chain", &self.chain).field("roots", &self.roots).finish_non_exhaustive()
    }
}

/// What a sink holds for an account.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stored {
    /// Nothing.
    Absent,
    /// Something that is no whole set, or that others can read; with what is wrong.
    Damaged(String),
    /// A whole set. What it says has not been judged.
    Held(CredentialSet),
}

/// Why a sink could not do its work. Texts hold no keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Something of somebody else is in the way.
    #[error("{path} is in the way; it was not made here, move it away", path = .0.display())]
    InTheWay(PathBuf),
    /// Another kind of sink failed.
    #[error("sink failed: {0}")]
    Other(String),
}

/// Holds one [`CredentialSet`] for each service account.
///
/// # Contract
/// - `load` gives what the last successful `store` took. A set is seen whole or not at all: never the chain of one and the
///   key of another, whenever a `store` is cut off. What somebody else has changed is given as it is, or as
///   [`Stored::Damaged`] when it is no set any more; neither is an error.
/// - `store` replaces the whole set at once, whatever is there, and has repaired what was damaged when it returns. It then
///   survives a power cut.
/// - `remove` takes away what `store` wrote, and nothing else. What is absent is no error.
/// - `list` gives every account for which there is something of ours, damaged or not.
/// - Keys are readable by the owner alone.
/// - All are cancel safe: a dropped `store` leaves the old set or the new one.
///
/// Ready-made: [`FolderSink`]; `MemorySink` (feature `test-util`). Anyone's can run `sink::conformance`.
#[async_trait]
pub trait CredentialSink: fmt::Debug + Send + Sync {
    /// The accounts that something is held for.
    ///
    /// # Errors
    /// When that cannot be said.
    async fn list(&self) -> Result<Vec<ServiceAccount>, SinkError>;

    /// What is held for an account.
    ///
    /// # Errors
    /// When that cannot be said. What is damaged is no error.
    async fn load(&self, account: &ServiceAccount) -> Result<Stored, SinkError>;

    /// Replaces what is held.
    ///
    /// # Errors
    /// When it cannot be written; the old set is then untouched.
    async fn store(&self, account: &ServiceAccount, set: &CredentialSet) -> Result<(), SinkError>;

    /// Removes what is held.
    ///
    /// # Errors
    /// When some of it may still be there.
    async fn remove(&self, account: &ServiceAccount) -> Result<(), SinkError>;
}
