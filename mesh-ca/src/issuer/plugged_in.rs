//! [`PluggedIn`]: an intermediate from files, in the layout of Istio's `cacerts`.

mod files;
mod load;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::{sync::watch, task::JoinHandle};

use super::{CertIssuer, IssueRequest, IssuedCertificate, error::IssueError, policy::IssuancePolicy};
use crate::{
    clock::Clock,
    spiffe::{RuleBroken, TrustBundle, TrustDomain},
};
use files::FileSet;
use load::Loaded;

/// The files of a plugged-in CA, by the names that Istio gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CaFile {
    /// `ca-cert.pem`: the signing certificate, and nothing else.
    Certificate,
    /// `ca-key.pem`: its private key.
    Key,
    /// `cert-chain.pem`: the certificates between it and the roots. It may hold the signing certificate and roots too. May
    /// be absent when a root signed the signing certificate.
    Chain,
    /// `root-cert.pem`: whom workloads believe; one root or several.
    Roots,
    /// `ca-crl.pem`: revocation lists. May be absent.
    Crl,
}

impl CaFile {
    /// All files.
    pub const ALL: [Self; 5] = [Self::Certificate, Self::Key, Self::Chain, Self::Roots, Self::Crl];

    /// Its name in the folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificate => "ca-cert.pem",
            Self::Key => "ca-key.pem",
            Self::Chain => "cert-chain.pem",
            Self::Roots => "root-cert.pem",
            Self::Crl => "ca-crl.pem",
        }
    }

    fn is_optional(self) -> bool {
        matches!(self, Self::Chain | Self::Crl)
    }
}

impl fmt::Display for CaFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a set of files is refused. Names the file, never shows key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluggedInError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Read {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file is larger than a CA's can be.
    #[error("{path} is larger than {limit} bytes", path = .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is read at most.
        limit: u64,
    },
    /// A file does not hold what it should.
    #[error("{file}: {reason}")]
    File {
        /// Which one.
        file: CaFile,
        /// What is wrong.
        reason: String,
    },
    /// Certificates signed by this CA would not be believed.
    #[error("what {} signs does not verify against {}: {broken}", CaFile::Certificate, CaFile::Roots)]
    Chain {
        /// The rule that a certificate signed as a trial breaks.
        broken: RuleBroken,
    },
    /// The trial itself failed.
    #[error("{} cannot sign: {reason}", CaFile::Key)]
    Sign {
        /// Why.
        reason: String,
    },
}

/// What a plugged-in CA is like.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PluggedInConfig {
    /// The trust domain it signs for.
    pub trust_domain: TrustDomain,
    /// What it grants.
    pub policy: IssuancePolicy,
}

impl PluggedInConfig {
    /// The defaults for a trust domain.
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self { trust_domain, policy: IssuancePolicy::default() }
    }

    /// With another policy.
    #[must_use]
    pub fn with_policy(mut self, policy: IssuancePolicy) -> Self {
        self.policy = policy;
        self
    }
}

/// What a look at the files led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reload {
    /// They are as they were.
    Unchanged,
    /// They are others, good, and in force.
    Taken,
}

/// What a plugged-in CA has been through, for status pages and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PluggedInStatus {
    /// Serial number of the signing certificate in force, hexadecimal.
    pub serial: String,
    /// When the set in force was taken.
    pub loaded_at: SystemTime,
    /// When the signing certificate, or one above it, ends.
    pub expires: SystemTime,
    /// Sets taken after the first one.
    pub reloads: u64,
    /// Times that a changed set was refused, or could not be read. Looking again at the same one counts once.
    pub refusals: u64,
    /// Why the set in the folder is not the one in force; `None` when it is.
    pub refused: Option<String>,
}

#[derive(Debug, Default)]
struct History {
    reloads: u64,
    refusals: u64,
    refused: Option<String>,
}

/// Signs with a CA certificate and key that somebody else puts into a folder ([`CaFile`]).
///
/// A set of files is checked before it is taken: a certificate is signed as a trial and verified as a peer would do it, at
/// the time of now, revocation lists included. [`PluggedIn::reload`] takes a changed set, or refuses it by name and keeps the
/// old one in force. Lifetimes are cut to the policy and to the end of every certificate of the chain.
///
/// A new set may have other roots. Whoever wants no interruption changes in steps: first the roots (old and new ones
/// together), then the signing certificate, and last, when the old certificates have ended, the old root.
pub struct PluggedIn {
    folder: PathBuf,
    config: PluggedInConfig,
    clock: Arc<dyn Clock>,
    loaded: ArcSwap<Loaded>,
    bundle: watch::Sender<Arc<TrustBundle>>,
    history: Mutex<History>,
}

impl PluggedIn {
    /// Reads the files in `folder`.
    ///
    /// # Errors
    /// When the set cannot be taken.
    pub async fn open(
        folder: impl Into<PathBuf>,
        config: PluggedInConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PluggedInError> {
        let folder = folder.into();
        let files = FileSet::read(folder.clone()).await?;
        let loaded = load::check(&files, &config, clock.now().wall)?;
        let bundle = watch::Sender::new(Arc::clone(loaded.authority.bundle()));
        Ok(Self { folder, config, clock, loaded: ArcSwap::from_pointee(loaded), bundle, history: Mutex::default() })
    }

    /// Looks at the files again, and takes them when they have changed and are good. Cancel safe.
    ///
    /// # Errors
    /// When the set in the folder is refused; the old one stays in force. Files that are replaced one after the other can be
    /// caught half way: look again later.
    pub async fn reload(&self) -> Result<Reload, PluggedInError> {
        let outcome = self.try_reload().await;
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        match &outcome {
            Ok(taken) => {
                history.reloads += u64::from(*taken == Reload::Taken);
                history.refused = None;
            }
            Err(error) => {
                let reason = error.to_string();
                if history.refused.as_ref() != Some(&reason) {
                    tracing::error!(folder = %self.folder.display(), %error, "CA files refused; the old ones stay in force");
                    history.refusals += 1;
                    history.refused = Some(reason);
                }
            }
        }
        outcome
    }

    async fn try_reload(&self) -> Result<Reload, PluggedInError> {
        let files = FileSet::read(self.folder.clone()).await?;
        let old = self.loaded.load_full();
        if files.digest() == old.digest {
            return Ok(Reload::Unchanged);
        }
        let new = load::check(&files, &self.config, self.clock.now().wall)?;
        let bundle = Arc::clone(new.authority.bundle());
        let gone = old.authority.bundle().roots().iter();
        let gone = gone.filter(|old| !bundle.roots().iter().any(|r| r.certificate() == old.certificate())).count();
        if gone > 0 {
            tracing::warn!(roots = gone, "roots were removed: certificates that end at them are not believed any more");
        }
        tracing::info!(serial = new.serial, "CA files taken");
        self.loaded.store(Arc::new(new));
        self.bundle.send_if_modified(|current| {
            let changed = **current != *bundle;
            *current = bundle;
            changed
        });
        Ok(Reload::Taken)
    }

    /// Looks at the files every `interval`, for as long as the handle lives. Symbolic links that are swapped, as Kubernetes
    /// does with its volumes, are seen like any other change: it is the content that is compared.
    pub fn watch(self: &Arc<Self>, interval: Duration) -> PluggedInWatch {
        let issuer = Arc::clone(self);
        let interval = interval.max(Duration::from_millis(10));
        let task = tokio::spawn(async move {
            loop {
                issuer.clock.sleep(interval).await;
                // Refusals are logged and kept for the status.
                let _ = issuer.reload().await;
            }
        });
        PluggedInWatch { task }
    }

    /// What is in force, and what became of later sets.
    pub fn status(&self) -> PluggedInStatus {
        let loaded = self.loaded.load();
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        PluggedInStatus {
            serial: loaded.serial.clone(),
            loaded_at: loaded.at,
            expires: loaded.authority.validity().not_after,
            reloads: history.reloads,
            refusals: history.refusals,
            refused: history.refused.clone(),
        }
    }

    /// A receiver of the bundle in force and of all coming ones.
    pub fn subscribe(&self) -> watch::Receiver<Arc<TrustBundle>> {
        self.bundle.subscribe()
    }
}

#[async_trait]
impl CertIssuer for PluggedIn {
    async fn issue(&self, request: IssueRequest) -> Result<IssuedCertificate, IssueError> {
        self.loaded.load().authority.issue(&request, self.clock.now().wall)
    }

    fn trust_bundle(&self) -> Arc<TrustBundle> {
        Arc::clone(self.loaded.load().authority.bundle())
    }

    fn begins(&self) -> SystemTime {
        self.loaded.load().authority.validity().not_before
    }

    fn expires(&self) -> SystemTime {
        self.loaded.load().authority.validity().not_after
    }
}

impl fmt::Debug for PluggedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluggedIn")
            .field("folder", &self.folder)
            .field("config", &self.config)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// Keeps looking at the files of a [`PluggedIn`] until it is dropped.
#[derive(Debug)]
pub struct PluggedInWatch {
    task: JoinHandle<()>,
}

impl Drop for PluggedInWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
