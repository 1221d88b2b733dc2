//! [`RotatingCa`]: a self-signed CA whose root can be changed without anybody noticing.

mod change;
mod commands;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::{Mutex, Notify, RwLock, watch};

use super::{
    encoding,
    error::RotatingCaError,
    holders::{BundleHolders, HolderTable},
    keys::{Root, RootKeys},
    machine::{RootId, RootPhase, RootRotationConfig, RotationState},
};
use crate::{
    clock::Clock,
    issuer::{
        CertIssuer, IssueRequest, IssuedCertificate,
        authority::Authority,
        error::IssueError,
        records::{IssuedRecord, IssuedRecords},
        self_signed::{SelfSignedConfig, SelfSignedError},
        store::{CaStore, StoreItem, StoreLock},
    },
    spiffe::{SpiffeId, TrustBundle},
};
use change::Change;

/// What a rotating CA is like.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RotatingCaConfig {
    /// Its roots, and what it grants.
    pub ca: SelfSignedConfig,
    /// How roots are changed.
    pub rotation: RootRotationConfig,
    /// How long a revocation list is good; a new one is made at half of it. Peers may refuse every certificate when their list
    /// is older, so it should be longer than any outage of the CA. Default 30 days.
    pub crl_lifetime: Duration,
}

impl RotatingCaConfig {
    /// The defaults for a CA.
    pub fn new(ca: SelfSignedConfig) -> Self {
        Self { ca, rotation: RootRotationConfig::default(), crl_lifetime: Duration::from_secs(30 * 24 * 3600) }
    }

    /// With other rules for changing roots.
    #[must_use]
    pub fn with_rotation(mut self, rotation: RootRotationConfig) -> Self {
        self.rotation = rotation;
        self
    }

    /// With another life of revocation lists.
    #[must_use]
    pub fn with_crl_lifetime(mut self, lifetime: Duration) -> Self {
        self.crl_lifetime = lifetime;
        self
    }
}

/// What workloads are to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Whom to believe, with revocation lists.
    pub bundle: Arc<TrustBundle>,
    /// The number of its set of roots.
    pub sequence: u64,
    /// Certificates that end at this root are to be renewed now.
    pub tainted: Option<RootId>,
}

/// What signs at one moment.
pub(super) struct InForce {
    authority: Arc<Authority>,
    signer: RootId,
    sequence: u64,
}

/// A [`CertIssuer`] with a root of its own, which it changes step by step; see [the module](super).
///
/// It keeps a record of each certificate before it hands it out, and takes certificates back ([`RotatingCa::revoke`]). It holds
/// the lock of its store: one process at a time is the CA.
pub struct RotatingCa {
    config: RotatingCaConfig,
    keys: RootKeys,
    store: Arc<dyn CaStore>,
    _lock: StoreLock,
    records: Arc<dyn IssuedRecords>,
    table: Arc<HolderTable>,
    others: Vec<Arc<dyn BundleHolders>>,
    clock: Arc<dyn Clock>,
    current: ArcSwap<InForce>,
    /// Held for reading while a certificate is signed and recorded, so that a root that has stopped signing has signed
    /// nothing that is not on record.
    gate: RwLock<()>,
    /// One change at a time.
    change: Mutex<Change>,
    published: watch::Sender<Arc<Published>>,
    wake: Notify,
}

impl RotatingCa {
    /// Opens the CA in `store`, goes on with a rotation that was under way, or makes the first root. A root that
    /// [`SelfSigned`](crate::issuer::SelfSigned) made is taken over.
    ///
    /// # Errors
    /// When the store is in use or fails, or what it holds is damaged, of another trust domain or ended: nothing is
    /// overwritten then.
    pub async fn open(
        store: Arc<dyn CaStore>,
        records: Arc<dyn IssuedRecords>,
        keys: RootKeys,
        config: RotatingCaConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RotatingCaError> {
        let lock = store.lock().await?;
        let now = clock.now();
        let (state, signer, other) = match store.load(StoreItem::SigningCa).await? {
            Some(stored) => encoding::decode(&stored, &keys).await?,
            None => {
                let root = Root::make(&keys, &config.ca, 1, now.wall).await?;
                let state = RotationState::steady(root.facts.clone(), now.wall);
                let text = encoding::encode(&state, &root, None)?;
                store.create(StoreItem::SigningCa, text.as_bytes()).await?;
                tracing::info!(trust_domain = %config.ca.trust_domain, root = %root.facts.id, "made a new self-signed root");
                (Some(state), root, None)
            }
        };
        for root in [&signer].into_iter().chain(&other) {
            root.check(&config.ca)?;
        }
        let state = match state {
            Some(state) => state,
            None => take_over(&*store, &*records, &signer, &config, now.wall).await?,
        };
        if state.phase == RootPhase::Steady && now.wall >= signer.facts.not_after {
            return Err(SelfSignedError::Expired.into());
        }
        let table = Arc::new(HolderTable::default());
        for record in records.load(now.wall).await? {
            table.issued(&record, now.wall);
        }
        let revocations = change::load_revocations(&*store).await?;
        let mut change = Change::new(state, signer, other, revocations, now);
        if change.revocations.is_in_use() {
            change.renumber(&*store, now.wall).await?;
        }
        let (in_force, published) = change.assemble(&config, now.wall).await?;
        change::publish_files(&*store, &published.bundle).await;
        Ok(Self {
            config,
            keys,
            store,
            _lock: lock,
            records,
            table,
            others: Vec::new(),
            clock,
            current: ArcSwap::from_pointee(in_force),
            gate: RwLock::new(()),
            change: Mutex::new(change),
            published: watch::Sender::new(Arc::new(published)),
            wake: Notify::new(),
        })
    }

    /// With more who know of holders; all must agree.
    #[must_use]
    pub fn with_holders(mut self, holders: Arc<dyn BundleHolders>) -> Self {
        self.others.push(holders);
        self
    }

    /// What it knows of the holders of its certificates; servers tell it what is acknowledged.
    pub fn holders(&self) -> &Arc<HolderTable> {
        &self.table
    }

    /// A receiver of what workloads are to be told, now and at each change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Ready when a command may have changed what is to be done.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }
}

/// Begins with a root that signed before there were records: what it may have signed counts until the longest life is over.
async fn take_over(
    store: &dyn CaStore,
    records: &dyn IssuedRecords,
    signer: &Root,
    config: &RotatingCaConfig,
    now: SystemTime,
) -> Result<RotationState, RotatingCaError> {
    let state = RotationState::steady(signer.facts.clone(), now);
    let id = SpiffeId::new(&config.ca.trust_domain, "/issued-before-there-were-records");
    let unknown = IssuedRecord {
        serial: "unknown".into(),
        id: id.map_err(|e| SelfSignedError::Create(e.to_string()))?,
        root: signer.facts.id.clone(),
        sequence: 0,
        not_after: (now + config.ca.policy.max_lifetime).min(signer.facts.not_after),
    };
    records.record(&unknown).await?;
    store.replace(StoreItem::SigningCa, encoding::encode(&state, signer, None)?.as_bytes()).await?;
    Ok(state)
}

#[async_trait]
impl CertIssuer for RotatingCa {
    async fn issue(&self, request: IssueRequest) -> Result<IssuedCertificate, IssueError> {
        let _gate = self.gate.read().await;
        let in_force = self.current.load_full();
        let now = self.clock.now().wall;
        let authority = Arc::clone(&in_force.authority);
        let issued = if authority.is_remote() {
            tokio::task::spawn_blocking(move || authority.issue(&request, now))
                .await
                .unwrap_or_else(|e| Err(IssueError::Sign(format!("signing ended early: {e}"))))?
        } else {
            authority.issue(&request, now)?
        };
        let record = IssuedRecord {
            serial: issued.serial.clone(),
            id: issued.id.clone(),
            root: in_force.signer.clone(),
            sequence: in_force.sequence,
            not_after: issued.not_after,
        };
        let kept = self.records.record(&record).await;
        kept.map_err(|e| IssueError::Unavailable(format!("the certificate could not be recorded: {e}")))?;
        self.table.issued(&record, now);
        Ok(issued)
    }

    fn trust_bundle(&self) -> Arc<TrustBundle> {
        Arc::clone(&self.published.borrow().bundle)
    }

    fn begins(&self) -> SystemTime {
        self.current.load().authority.validity().not_before
    }

    fn expires(&self) -> SystemTime {
        self.current.load().authority.validity().not_after
    }
}

impl fmt::Debug for RotatingCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RotatingCa")
            .field("config", &self.config)
            .field("published", &*self.published.borrow())
            .finish_non_exhaustive()
    }
}
