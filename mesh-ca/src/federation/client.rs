//! [`FederationClient`]: drives one [`Poller`] for each foreign trust domain.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::{
    cache::{BundleCache, CacheError},
    poller::{FederationConfig, FederationFailure, Poller},
    relationship::{EndpointProfile, Relationship},
    state::{FederatedDomain, FederationState, FederationWatch},
};
use crate::{
    clock::{Clock, Now},
    fetch::{self, FetchLimits},
    refresh::PollAction,
    spiffe::{BundleSource, SpiffeBundle, TrustBundles, TrustDomain},
    tls::{self, PeerPolicy},
};

/// Why nothing can be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FederationError {
    /// Two relationships name the same trust domain.
    #[error("trust domain {0} is followed twice")]
    Twice(TrustDomain),
    /// A relationship names the own trust domain.
    #[error("{0} is the own trust domain; nobody else may say what its keys are")]
    Own(TrustDomain),
    /// What is kept from before cannot be used.
    #[error("{0}")]
    Cache(#[from] CacheError),
}

/// Follows foreign trust domains for as long as this value lives. Dropping it ends the polls; handles stay readable.
///
/// A fetch that fails, or a document that is refused, leaves the last good bundle in force, with its age to see in
/// [`FederatedDomain`]. To end a relationship (SPIFFE_Federation.md section 6.3), start a client without it, and remove its
/// file from the cache.
#[derive(Debug)]
pub struct FederationClient {
    watch: FederationWatch,
    refresh: Vec<Arc<Notify>>,
    tasks: Vec<JoinHandle<()>>,
}

impl FederationClient {
    /// Starts a task for each relationship on the current tokio runtime. Bundles kept in `cache` are in force at once.
    ///
    /// # Errors
    /// See [`FederationError`]; then nothing was started.
    pub async fn spawn(
        own: &TrustDomain,
        relationships: impl IntoIterator<Item = Relationship>,
        config: FederationConfig,
        cache: Option<BundleCache>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, FederationError> {
        let mut by_domain = BTreeMap::new();
        for relationship in relationships {
            let trust_domain = relationship.trust_domain.clone();
            if trust_domain == *own {
                return Err(FederationError::Own(trust_domain));
            }
            if by_domain.insert(trust_domain.clone(), relationship).is_some() {
                return Err(FederationError::Twice(trust_domain));
            }
        }
        let publish = watch::Sender::new(Arc::new(FederationState::default()));
        let mut followers = Vec::with_capacity(by_domain.len());
        for relationship in by_domain.into_values() {
            let mut poller = Poller::new(&config, rand::random());
            start(&mut poller, &relationship, cache.as_ref(), clock.now()).await?;
            let (clock, publish) = (Arc::clone(&clock), publish.clone());
            let follower = Follower {
                relationship,
                poller,
                config: config.clone(),
                cache: cache.clone(),
                clock,
                publish,
                last_error: None,
            };
            follower.publish();
            followers.push(follower);
        }
        let refresh: Vec<Arc<Notify>> = followers.iter().map(|_| Arc::default()).collect();
        let tasks = followers.into_iter().zip(&refresh).map(|(f, r)| tokio::spawn(f.run(Arc::clone(r)))).collect();
        Ok(Self { watch: FederationWatch::new(publish.subscribe()), refresh, tasks })
    }

    /// A handle to what is known.
    pub fn watch(&self) -> FederationWatch {
        self.watch.clone()
    }

    /// Asks all endpoints now.
    pub fn refresh_now(&self) {
        self.refresh.iter().for_each(|r| r.notify_one());
    }
}

impl Drop for FederationClient {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What is known before the first poll: what was kept, else what the operator gave.
async fn start(
    poller: &mut Poller,
    relationship: &Relationship,
    cache: Option<&BundleCache>,
    now: Now,
) -> Result<(), CacheError> {
    let kept = match cache {
        Some(cache) => cache.load(&relationship.trust_domain).await?,
        None => None,
    };
    match (kept, relationship.own_bootstrap()) {
        // How long the machine was off shows on the wall clock alone.
        (Some((bundle, wall)), _) => poller.start_with(bundle, Some(Now { wall, monotonic: now.monotonic })),
        (None, Some(bundle)) => poller.start_with(SpiffeBundle::new(bundle.clone()), None),
        (None, None) => {}
    }
    Ok(())
}

struct Follower {
    relationship: Relationship,
    poller: Poller,
    config: FederationConfig,
    cache: Option<BundleCache>,
    clock: Arc<dyn Clock>,
    publish: watch::Sender<Arc<FederationState>>,
    last_error: Option<Arc<str>>,
}

impl Follower {
    async fn run(mut self, refresh: Arc<Notify>) {
        loop {
            match self.poller.poll(self.clock.now()) {
                PollAction::Fetch => self.fetch().await,
                PollAction::Wait(wait) => tokio::select! {
                    () = self.clock.sleep(wait) => {}
                    () = refresh.notified() => self.poller.poll_now(),
                },
            }
            self.publish();
        }
    }

    async fn fetch(&mut self) {
        let outcome = self.ask().await;
        let now = self.clock.now();
        let outcome = match outcome {
            Ok(bundle) => self.poller.obtained(now, bundle),
            Err(failure) => {
                self.poller.failed(now);
                Err(failure)
            }
        };
        let trust_domain = &self.relationship.trust_domain;
        match outcome {
            Ok(changed) => {
                if changed {
                    tracing::info!(%trust_domain, "bundle of a federated trust domain has changed");
                }
                self.last_error = None;
                self.keep(now).await;
            }
            Err(failure) => {
                tracing::warn!(%trust_domain, %failure, "bundle of a federated trust domain stays as it is");
                self.last_error = Some(failure.to_string().into());
            }
        }
    }

    async fn ask(&self) -> Result<SpiffeBundle, FederationFailure> {
        let tls = match &self.relationship.profile {
            EndpointProfile::Web { roots } => tls::web_client_config(roots, &self.clock),
            EndpointProfile::Spiffe { endpoint_id, bootstrap } => {
                let trust_domain = endpoint_id.trust_domain();
                // Section 5.2.2.4: the latest bundle there is, else the one to start with.
                let known = self.publish.borrow().bundles.bundle(trust_domain).cloned();
                let bundle = known
                    .or_else(|| bootstrap.clone())
                    .ok_or_else(|| FederationFailure::NoEndpointBundle(trust_domain.clone()))?;
                let bundles: Arc<dyn BundleSource> = Arc::new(Arc::new(TrustBundles::from(bundle)));
                tls::client_config_without_identity(bundles, PeerPolicy::id(endpoint_id.clone()), &self.clock)
            }
        };
        let tls = tls.map_err(|e| FederationFailure::Tls(e.to_string()))?;
        let limits = FetchLimits { timeout: self.config.fetch_timeout, max_bytes: self.config.document_bytes() };
        let fetched = fetch::get(&self.relationship.url, tls, limits).await?;
        Ok(SpiffeBundle::from_jwks(self.relationship.trust_domain.clone(), &fetched.body)?)
    }

    async fn keep(&self, now: Now) {
        let (Some(cache), Some(bundle)) = (&self.cache, self.poller.bundle(now)) else { return };
        if let Err(error) = cache.save(bundle, now.wall).await {
            tracing::warn!(%error, "a federated bundle is not kept over a restart");
        }
    }

    fn publish(&self) {
        let domain = FederatedDomain {
            bundle: self.poller.bundle(self.clock.now()).cloned(),
            confirmed_at: self.poller.confirmed_at(),
            failures: self.poller.failures(),
            last_error: self.last_error.clone(),
        };
        self.publish.send_if_modified(|state| Arc::make_mut(state).set(&self.relationship.trust_domain, domain));
    }
}
