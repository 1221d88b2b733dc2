//! [`IdentityPool`]: the identities that this machine's workloads use, each renewed in one place.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    agent::{AgentConfig, CertSource, RotationConfig, WorkloadIdentity},
    clock::Clock,
    issuer::rotation::{RotationFeed, Supervision},
    spiffe::{KeyType, SpiffeId, TrustBundles},
};

/// How identities are held.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IdentityPoolConfig {
    /// The kind of keys. Default ECDSA P-256.
    pub key_type: KeyType,
    /// The lifetime to ask for. Default the CA's.
    pub lifetime: Option<Duration>,
    /// When to renew.
    pub rotation: RotationConfig,
    /// Roots known from the start, see [`AgentConfig::bundles`]. Default none.
    pub bundles: TrustBundles,
    /// Most identities held at once. One that nobody uses makes room for a new one. Default 1024.
    pub max_identities: usize,
}

impl Default for IdentityPoolConfig {
    fn default() -> Self {
        Self {
            key_type: KeyType::default(),
            lifetime: None,
            rotation: RotationConfig::default(),
            bundles: TrustBundles::new(),
            max_identities: 1024,
        }
    }
}

impl IdentityPoolConfig {
    /// The defaults with a wished lifetime.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// With roots known from the start.
    #[must_use]
    pub fn with_bundles(mut self, bundles: impl Into<TrustBundles>) -> Self {
        self.bundles = bundles.into();
        self
    }

    /// With another limit.
    #[must_use]
    pub fn with_max_identities(mut self, max: usize) -> Self {
        self.max_identities = max;
        self
    }
}

/// All identities that the pool may hold are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {0} identities that may be held at once are in use")]
pub struct PoolFull(pub usize);

/// Fetches identities when they are first asked for, and renews them from then on. All who ask for one id share it.
#[derive(Debug)]
pub struct IdentityPool {
    config: IdentityPoolConfig,
    source: Arc<dyn CertSource>,
    clock: Arc<dyn Clock>,
    rotation: Option<RotationFeed>,
    held: Mutex<HashMap<SpiffeId, Held>>,
}

#[derive(Debug)]
struct Held {
    identity: Arc<WorkloadIdentity>,
    _follow: Option<Supervision>,
}

impl IdentityPool {
    /// An empty pool. What `source` gives is for workloads of this machine: it must be allowed to ask in their names.
    pub fn new(config: IdentityPoolConfig, source: Arc<dyn CertSource>, clock: Arc<dyn Clock>) -> Self {
        Self { config, source, clock, rotation: None, held: Mutex::default() }
    }

    /// With the CA in this process that signs the identities: they are renewed when its bundle changes or their root is
    /// tainted.
    #[must_use]
    pub fn with_rotation(mut self, rotation: RotationFeed) -> Self {
        self.rotation = Some(rotation);
        self
    }

    /// The identity of `id`, which may have no certificate yet. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When the pool is full of identities that are in use.
    pub fn identity(&self, id: &SpiffeId) -> Result<Arc<WorkloadIdentity>, PoolFull> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.get(id) {
            return Ok(Arc::clone(&held.identity));
        }
        if held.len() >= self.config.max_identities {
            let idle = held.iter().find(|(_, held)| Arc::strong_count(&held.identity) == 1).map(|(id, _)| id.clone());
            held.remove(&idle.ok_or(PoolFull(self.config.max_identities))?);
        }
        let identity = WorkloadIdentity::spawn(self.agent(id), Arc::clone(&self.source), Arc::clone(&self.clock));
        let identity = Arc::new(identity);
        let follow = self.rotation.as_ref().map(|rotation| rotation.follow(&identity));
        held.insert(id.clone(), Held { identity: Arc::clone(&identity), _follow: follow });
        Ok(identity)
    }

    /// How many identities are held.
    pub fn len(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn agent(&self, id: &SpiffeId) -> AgentConfig {
        let mut agent = AgentConfig::new(id.clone())
            .with_key_type(self.config.key_type)
            .with_rotation(self.config.rotation.clone())
            .with_bundles(self.config.bundles.clone());
        agent.lifetime = self.config.lifetime;
        agent
    }
}
