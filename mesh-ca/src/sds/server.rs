//! [`SdsServer`].

use std::{
    collections::BTreeSet,
    future::Future,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh_xds::{
    Resource,
    server::XdsServer,
    store::{SingleView, View},
};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    ALL, OWN, ROOTS,
    acknowledged::{Acknowledged, Meaning},
    files::FileSecret,
    secrets,
};
use crate::{
    agent::IdentityWatch,
    federation::FederationWatch,
    issuer::rotation::RotationFeed,
    spiffe::{TrustBundle, TrustBundles, TrustDomain, X509Svid},
    workload::{SocketLimits, unix_incoming},
};

const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// What is served.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SdsConfig {
    /// The trust domain whose roots are `ROOTCA`.
    pub trust_domain: TrustDomain,
    /// The trust domains that are followed. Default none.
    pub federation: Option<FederationWatch>,
    /// The CA in this process that signs the identity: its bundle is sent as soon as it changes, with revocation lists, and its
    /// rotation waits for the proxies' acknowledgements. Default none: the bundle is the identity's.
    pub rotation: Option<RotationFeed>,
    /// Secrets from files. Default none.
    pub files: BTreeSet<FileSecret>,
    /// How often the files are looked at. Default 5 seconds; at least 10 milliseconds.
    pub file_interval: Duration,
}

impl SdsConfig {
    /// The own certificate and roots.
    pub fn new(trust_domain: TrustDomain) -> Self {
        let file_interval = Duration::from_secs(5);
        Self { trust_domain, federation: None, rotation: None, files: BTreeSet::new(), file_interval }
    }

    /// With the roots of federated trust domains.
    #[must_use]
    pub fn with_federation(mut self, federation: FederationWatch) -> Self {
        self.federation = Some(federation);
        self
    }

    /// With a CA in this process that signs the identity. Let it also renew the identity
    /// ([`RotationFeed::follow`]).
    #[must_use]
    pub fn with_rotation(mut self, rotation: RotationFeed) -> Self {
        self.rotation = Some(rotation);
        self
    }

    /// With one more secret from files.
    #[must_use]
    pub fn with_file(mut self, secret: FileSecret) -> Self {
        self.files.insert(secret);
        self
    }
}

/// Serves a workload's secrets to its proxy, each new one as soon as it is there, for as long as this value lives.
///
/// A certificate that has ended is not sent to anybody any more. A file secret that cannot be read stays as it was.
#[derive(Debug)]
pub struct SdsServer {
    view: Arc<View>,
    acknowledged: Option<Arc<Acknowledged>>,
    task: JoinHandle<()>,
}

impl SdsServer {
    /// Starts a task on the current tokio runtime that keeps the secrets up to date.
    pub fn spawn(config: SdsConfig, identity: &IdentityWatch) -> Self {
        let view = View::new();
        let acknowledged = config.rotation.as_ref().map(|feed| Acknowledged::new(feed, Arc::clone(identity.clock())));
        let files = vec![None; config.files.len()];
        let mut keeper = Keeper { identity: identity.clone(), files, acknowledged: acknowledged.clone(), config };
        keeper.update(&view);
        let task = tokio::spawn(keeper.run(Arc::clone(&view)));
        Self { view, acknowledged, task }
    }

    /// The secrets as mesh-xds serves them, for a server of one's own: over ADS, for example. A rotation does not wait for the
    /// streams of such a server.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// An xDS server with nothing but these secrets: SDS and ADS, SotW and delta.
    pub fn server(&self) -> XdsServer {
        let builder = XdsServer::builder(SingleView(Arc::clone(&self.view)));
        match &self.acknowledged {
            Some(acknowledged) => acknowledged.build(builder),
            None => builder.build(),
        }
    }

    /// Serves on a Unix socket that only this process' user may open, until the future is dropped. A socket of an earlier
    /// process is replaced.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub async fn serve(&self, socket: &Path) -> io::Result<()> {
        self.bind(socket)?.await
    }

    /// As [`SdsServer::serve`], in two steps: when this returns, proxies can connect; the future serves them. Must be called on
    /// a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn bind(&self, socket: &Path) -> io::Result<impl Future<Output = io::Result<()>> + Send + use<>> {
        let incoming = unix_incoming(socket, SocketLimits { mode: 0o600, ..SocketLimits::default() })?;
        let serving = tonic::transport::Server::builder().add_routes(self.server().routes());
        Ok(async { serving.serve_with_incoming(incoming).await.map_err(io::Error::other) })
    }
}

impl Drop for SdsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Keeper {
    identity: IdentityWatch,
    config: SdsConfig,
    /// The last good value of each file secret, in their order.
    files: Vec<Option<Resource>>,
    acknowledged: Option<Arc<Acknowledged>>,
}

impl Keeper {
    async fn run(mut self, view: Arc<View>) {
        let mut states = self.identity.subscribe();
        let mut foreign = self.config.federation.as_ref().map(FederationWatch::subscribe);
        let mut told = self.config.rotation.as_ref().map(RotationFeed::subscribe);
        // Without files, only for a certificate that ends and whose owner does not say so.
        let interval = if self.config.files.is_empty() { CHECK_INTERVAL } else { self.config.file_interval };
        let interval = interval.max(Duration::from_millis(10));
        let clock = Arc::clone(self.identity.clock());
        loop {
            tokio::select! {
                changed = states.changed() => if changed.is_err() {
                    // The rotation has stopped; the certificate may still end.
                    clock.sleep(interval).await;
                },
                () = changed(&mut foreign) => {}
                () = changed(&mut told) => {}
                () = clock.sleep(interval) => {}
            }
            states.mark_unchanged();
            self = match tokio::task::spawn_blocking({
                let view = Arc::clone(&view);
                move || {
                    self.update(&view);
                    self
                }
            })
            .await
            {
                Ok(keeper) => keeper,
                Err(_) => return,
            };
        }
    }

    fn update(&mut self, view: &View) {
        let (svid, now) = (self.identity.svid(), self.identity.clock().now().wall);
        let published = self.config.rotation.as_ref().map(RotationFeed::published);
        let published = published.filter(|p| *p.bundle.trust_domain() == self.config.trust_domain);
        let intermediates =
            svid.iter().flat_map(|s| s.chain().get(1..).unwrap_or_default().to_vec()).collect::<Vec<_>>();
        let bundles = self.bundles(published.as_ref().map(|p| &*p.bundle));
        let mut resources: Vec<Resource> = svid.iter().map(|svid| secrets::own(svid)).collect();
        resources.extend(secrets::bundles(&self.config.trust_domain, &bundles, &intermediates, now));
        if let Some(published) = &published {
            self.note(&resources, svid.as_deref(), published.sequence, now);
        }
        for (secret, held) in self.config.files.iter().zip(&mut self.files) {
            match secret.read() {
                Ok(resource) => *held = Some(resource),
                Err(error) => tracing::warn!(%secret, %error, "secret stays as it is"),
            }
            resources.extend(held.clone());
        }
        // What has not changed is not sent again: versions come from content.
        view.replace(resources);
        if let Some(acknowledged) = &self.acknowledged {
            acknowledged.refresh();
        }
        for refused in view.refused() {
            tracing::error!(secret = %refused.key.name, "secret cannot be sent: it breaks a rule of Envoy's API");
        }
    }

    /// What the secrets mean to the CA whose bundle has this number.
    fn note(&self, secrets: &[Resource], svid: Option<&X509Svid>, sequence: u64, now: SystemTime) {
        let (Some(acknowledged), Some(feed)) = (&self.acknowledged, &self.config.rotation) else { return };
        let own_domain = self.config.trust_domain.id();
        for secret in secrets {
            match (secret.name().as_str(), svid) {
                (OWN, Some(svid)) => {
                    acknowledged.note(secret, Meaning::Certificate(feed.root_of(svid, now), svid.not_after()));
                }
                (name, _) if [ROOTS, ALL, own_domain.as_str()].contains(&name) => {
                    acknowledged.note(secret, Meaning::Bundle(sequence));
                }
                _ => {}
            }
        }
    }

    /// The own bundle and the federated ones; each trust domain's by its own.
    fn bundles(&self, published: Option<&TrustBundle>) -> TrustBundles {
        let mut all = self.config.federation.as_ref().map_or_else(TrustBundles::new, |f| (*f.state().bundles).clone());
        for bundle in self.identity.state().bundles.iter().chain(published) {
            all.insert(bundle.clone());
        }
        all
    }
}

/// Waits for the next change; for ever when nothing is followed, or not any more.
async fn changed<T>(followed: &mut Option<watch::Receiver<T>>) {
    let alive = match followed {
        Some(states) => states.changed().await.is_ok(),
        None => false,
    };
    if !alive {
        std::future::pending().await
    }
}
