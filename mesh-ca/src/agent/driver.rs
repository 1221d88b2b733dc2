//! [`WorkloadIdentity`]: drives the [`Rotator`] with a [`CertSource`].

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::{
    rotator::{Action, RotationConfig, Rotator},
    source::{CertRequest, CertSource, SourceError},
    state::{IdentityState, IdentityWatch},
};
use crate::{
    clock::Clock,
    issuer::Csr,
    spiffe::{KeyError, KeyType, PrivateKey, SpiffeId, TrustBundle, TrustBundles, X509Svid},
};

/// What identity to hold, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AgentConfig {
    /// The identity to ask for. A certificate for another one is refused.
    pub id: SpiffeId,
    /// DNS names to ask for besides; for serving certificates. Default none.
    pub dns_names: Vec<String>,
    /// The kind of key to make, a new one at each renewal. Default ECDSA P-256.
    pub key_type: KeyType,
    /// The lifetime to ask for. Default the CA's.
    pub lifetime: Option<Duration>,
    /// When to renew.
    pub rotation: RotationConfig,
    /// Whom to believe from the start: the roots that the CA itself is verified with. Roots that a source gives are added
    /// to those of the id's trust domain while it holds. One of them that a source gives too is the source's from then on:
    /// it goes when the source does not give it any more. Default none.
    pub bundles: TrustBundles,
}

impl AgentConfig {
    /// The defaults for an id.
    pub fn new(id: SpiffeId) -> Self {
        Self {
            id,
            dns_names: Vec::new(),
            key_type: KeyType::default(),
            lifetime: None,
            rotation: RotationConfig::default(),
            bundles: TrustBundles::new(),
        }
    }

    /// With DNS names.
    #[must_use]
    pub fn with_dns_names(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.dns_names = names.into_iter().collect();
        self
    }

    /// With roots known from the start.
    #[must_use]
    pub fn with_bundles(mut self, bundles: impl Into<TrustBundles>) -> Self {
        self.bundles = bundles.into();
        self
    }

    /// With another rule for renewals.
    #[must_use]
    pub fn with_rotation(mut self, rotation: RotationConfig) -> Self {
        self.rotation = rotation;
        self
    }

    /// With a wished lifetime.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// With another kind of key.
    #[must_use]
    pub fn with_key_type(mut self, key_type: KeyType) -> Self {
        self.key_type = key_type;
        self
    }
}

/// An identity that renews itself for as long as this value lives. Dropping it ends the renewals; handles stay readable,
/// and stop showing the certificate when it ends.
#[derive(Debug)]
pub struct WorkloadIdentity {
    watch: IdentityWatch,
    renew: Arc<Notify>,
    task: JoinHandle<()>,
}

impl WorkloadIdentity {
    /// Starts a task on the current tokio runtime that fetches the first certificate and renews it from then on.
    pub fn spawn(config: AgentConfig, source: Arc<dyn CertSource>, clock: Arc<dyn Clock>) -> Self {
        let (publish, state) = watch::channel(Arc::new(IdentityState::empty(Arc::new(config.bundles.clone()))));
        let renew = Arc::new(Notify::new());
        let driver = Driver {
            rotator: Rotator::new(config.rotation.clone(), rand::random()),
            given: Arc::new(config.bundles.clone()),
            config: Arc::new(config),
            source,
            clock: Arc::clone(&clock),
            publish,
        };
        let task = tokio::spawn(driver.run(Arc::clone(&renew)));
        Self { watch: IdentityWatch::new(state, clock), renew, task }
    }

    /// A handle to the identity in force.
    pub fn watch(&self) -> IdentityWatch {
        self.watch.clone()
    }

    /// Renews ahead of time. Calls while a renewal is under way count once.
    pub fn renew_now(&self) {
        self.renew.notify_one();
    }

    /// A handle that asks for renewals. It does not keep the identity alive.
    pub fn renewer(&self) -> Renewer {
        Renewer { renew: Arc::clone(&self.renew) }
    }
}

/// Asks a [`WorkloadIdentity`] to renew ahead of time.
#[derive(Debug, Clone)]
pub struct Renewer {
    renew: Arc<Notify>,
}

impl Renewer {
    /// As [`WorkloadIdentity::renew_now`].
    pub fn renew_now(&self) {
        self.renew.notify_one();
    }
}

impl Drop for WorkloadIdentity {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Fetch = Pin<Box<dyn Future<Output = Result<Obtained, SourceError>> + Send>>;

/// What a fetch led to.
struct Obtained {
    svid: X509Svid,
    bundles: TrustBundles,
    /// What is left of the bundles known from the start.
    given: TrustBundles,
}

struct Driver {
    rotator: Rotator,
    config: Arc<AgentConfig>,
    source: Arc<dyn CertSource>,
    clock: Arc<dyn Clock>,
    publish: watch::Sender<Arc<IdentityState>>,
    /// What is left of the bundles that are known from the start: no root that the source has given.
    given: Arc<TrustBundles>,
}

impl Driver {
    async fn run(mut self, renew: Arc<Notify>) {
        let mut fetch: Option<Fetch> = None;
        loop {
            let wait = match self.rotator.poll(self.clock.now()) {
                Action::Fetch => {
                    fetch = Some(self.start_fetch());
                    continue;
                }
                Action::Abandon => {
                    fetch = None;
                    self.note_failure("CA took too long to answer");
                    continue;
                }
                Action::Wait(wait) => wait,
            };
            self.publish_phase();
            tokio::select! {
                outcome = pending_or(&mut fetch) => {
                    fetch = None;
                    self.finish_fetch(outcome);
                }
                () = renew.notified() => self.rotator.renew_now(),
                () = self.clock.sleep(wait) => {}
            }
        }
    }

    fn start_fetch(&self) -> Fetch {
        let state = self.publish.borrow().clone();
        let now = self.clock.now();
        let current = state.svid.clone().filter(|_| self.rotator.is_servable(now));
        let task = FetchTask {
            config: Arc::clone(&self.config),
            source: Arc::clone(&self.source),
            clock: Arc::clone(&self.clock),
            current,
            bundles: Arc::clone(&state.bundles),
            given: Arc::clone(&self.given),
        };
        Box::pin(task.run())
    }

    fn finish_fetch(&mut self, outcome: Result<Obtained, SourceError>) {
        let now = self.clock.now();
        match outcome {
            Ok(Obtained { svid, bundles, given }) => {
                if !self.rotator.obtained(now, svid.not_after()) {
                    self.note_failure("the certificate had ended on arrival; compare our clock with the CA's");
                    return;
                }
                tracing::debug!(id = %svid.id(), serial = svid.serial(), "certificate obtained");
                self.given = Arc::new(given);
                self.publish.send_modify(|state| {
                    let state = Arc::make_mut(state);
                    state.svid = Some(Arc::new(svid));
                    if *state.bundles != bundles {
                        state.bundles = Arc::new(bundles);
                    }
                    state.rotations += 1;
                    state.last_error = None;
                    state.obtained_at = Some(now.wall);
                    state.phase = self.rotator.phase(now);
                });
            }
            Err(error) => {
                self.rotator.failed(now);
                self.note_failure(&error.to_string());
            }
        }
    }

    fn note_failure(&mut self, reason: &str) {
        tracing::warn!(id = %self.config.id, reason, "certificate could not be obtained");
        self.publish.send_modify(|state| {
            let state = Arc::make_mut(state);
            state.failures += 1;
            state.last_error = Some(reason.into());
        });
    }

    /// Publishes where the rotation is, and that a certificate has ended, when that has changed.
    fn publish_phase(&mut self) {
        let now = self.clock.now();
        let (phase, servable) = (self.rotator.phase(now), self.rotator.is_servable(now));
        self.publish.send_if_modified(|state| {
            let ended = state.svid.is_some() && !servable;
            let changed = ended || state.phase != phase;
            if changed {
                let state = Arc::make_mut(state);
                state.phase = phase;
                if ended {
                    tracing::error!(id = %self.config.id, "certificate ended before it could be renewed");
                    state.svid = None;
                }
            }
            changed
        });
    }
}

/// Waits for the fetch, or for ever when there is none.
async fn pending_or(fetch: &mut Option<Fetch>) -> Result<Obtained, SourceError> {
    match fetch {
        Some(fetch) => fetch.await,
        None => std::future::pending().await,
    }
}

/// One fetch: new key, request, answer, verification.
struct FetchTask {
    config: Arc<AgentConfig>,
    source: Arc<dyn CertSource>,
    clock: Arc<dyn Clock>,
    current: Option<Arc<X509Svid>>,
    bundles: Arc<TrustBundles>,
    given: Arc<TrustBundles>,
}

impl FetchTask {
    async fn run(self) -> Result<Obtained, SourceError> {
        let unusable = |e: &dyn std::fmt::Display| SourceError::Unusable(e.to_string());
        let (key, csr_pem) = self.make_key().await?;
        let request = CertRequest {
            csr_pem,
            id: self.config.id.clone(),
            dns_names: self.config.dns_names.clone(),
            lifetime: self.config.lifetime,
            current: self.current,
            bundles: Arc::clone(&self.bundles),
        };
        let fetched = self.source.fetch(&request).await?;
        let svid = X509Svid::new(fetched.chain, key).map_err(|e| unusable(&e))?;
        if svid.id() != &self.config.id {
            return Err(SourceError::Unusable(format!("it is for {}, not for {}", svid.id(), self.config.id)));
        }
        let trust_domain = self.config.id.trust_domain();
        let fetched = TrustBundle::new(trust_domain.clone(), fetched.roots).map_err(|e| unusable(&e))?;
        let mut given = TrustBundles::clone(&self.given);
        let bundle = match given.bundle(trust_domain) {
            // A source that says nothing of roots changes nothing.
            _ if fetched.roots().is_empty() => self.bundles.bundle(trust_domain).cloned().unwrap_or(fetched),
            None => fetched,
            Some(own) => {
                let rest = own.without(&fetched);
                let bundle = fetched.union(&rest);
                given.insert(rest);
                bundle
            }
        };
        svid.verify(&bundle, self.clock.now().wall).map_err(|e| unusable(&e))?;
        let mut bundles = given.clone();
        bundles.insert(bundle);
        Ok(Obtained { svid, bundles, given })
    }

    /// RSA keys take long enough to make to be kept off the runtime's threads; the others take microseconds.
    async fn make_key(&self) -> Result<(PrivateKey, String), SourceError> {
        let failed = |e: &dyn std::fmt::Display| SourceError::Credential(format!("key could not be made: {e}"));
        let config = Arc::clone(&self.config);
        let make = move || {
            let key = PrivateKey::generate(config.key_type)?;
            let csr = Csr::create_pem(&key, &config.id, &config.dns_names)?;
            Ok((key, csr))
        };
        let made: Result<_, KeyError> = match self.config.key_type {
            KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => {
                tokio::task::spawn_blocking(make).await.map_err(|e| failed(&e))?
            }
            _ => make(),
        };
        made.map_err(|e| failed(&e))
    }
}
