//! [`SdsServer`].

use std::{collections::BTreeSet, io, path::Path, sync::Arc, time::Duration};

use mesh_xds::{
    Resource,
    server::XdsServer,
    store::{SingleView, View},
};
use tokio::{sync::watch, task::JoinHandle};

use super::{files::FileSecret, secrets};
use crate::{
    agent::IdentityWatch,
    federation::FederationWatch,
    spiffe::{TrustBundles, TrustDomain},
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
    /// Secrets from files. Default none.
    pub files: BTreeSet<FileSecret>,
    /// How often the files are looked at. Default 5 seconds; at least 10 milliseconds.
    pub file_interval: Duration,
}

impl SdsConfig {
    /// The own certificate and roots.
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self { trust_domain, federation: None, files: BTreeSet::new(), file_interval: Duration::from_secs(5) }
    }

    /// With the roots of federated trust domains.
    #[must_use]
    pub fn with_federation(mut self, federation: FederationWatch) -> Self {
        self.federation = Some(federation);
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
    task: JoinHandle<()>,
}

impl SdsServer {
    /// Starts a task on the current tokio runtime that keeps the secrets up to date.
    pub fn spawn(config: SdsConfig, identity: &IdentityWatch) -> Self {
        let view = View::new();
        let mut keeper = Keeper { identity: identity.clone(), files: vec![None; config.files.len()], config };
        keeper.update(&view);
        let task = tokio::spawn(keeper.run(Arc::clone(&view)));
        Self { view, task }
    }

    /// The secrets as mesh-xds serves them, for a server of one's own: over ADS, for example.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// An xDS server with nothing but these secrets: SDS and ADS, SotW and delta.
    pub fn server(&self) -> XdsServer {
        XdsServer::builder(SingleView(Arc::clone(&self.view))).build()
    }

    /// Serves on a Unix socket that only this process' user may open, until the future is dropped. A socket of an earlier
    /// process is replaced.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub async fn serve(&self, socket: &Path) -> io::Result<()> {
        let incoming = unix_incoming(socket, SocketLimits { mode: 0o600, ..SocketLimits::default() })?;
        let serving = tonic::transport::Server::builder().add_routes(self.server().routes());
        serving.serve_with_incoming(incoming).await.map_err(io::Error::other)
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
}

impl Keeper {
    async fn run(mut self, view: Arc<View>) {
        let mut states = self.identity.subscribe();
        let mut foreign = self.config.federation.as_ref().map(FederationWatch::subscribe);
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
        let svid = self.identity.svid();
        let mut resources: Vec<Resource> = svid.iter().map(|svid| secrets::own(svid)).collect();
        resources.extend(secrets::bundles(&self.config.trust_domain, &self.bundles()));
        for (secret, held) in self.config.files.iter().zip(&mut self.files) {
            match secret.read() {
                Ok(resource) => *held = Some(resource),
                Err(error) => tracing::warn!(%secret, %error, "secret stays as it is"),
            }
            resources.extend(held.clone());
        }
        // What has not changed is not sent again: versions come from content.
        view.replace(resources);
        for refused in view.refused() {
            tracing::error!(secret = %refused.key.name, "secret cannot be sent: it breaks a rule of Envoy's API");
        }
    }

    /// The own bundle and the federated ones; each trust domain's by its own.
    fn bundles(&self) -> TrustBundles {
        let state = self.identity.state();
        let Some(federation) = &self.config.federation else { return (*state.bundles).clone() };
        let foreign = federation.state();
        let mut all = (*foreign.bundles).clone();
        state.bundles.iter().for_each(|b| {
            all.insert(b.clone());
        });
        all
    }
}

/// Waits for the next change; for ever when nothing is followed, or not any more.
async fn changed(foreign: &mut Option<watch::Receiver<Arc<crate::federation::FederationState>>>) {
    let alive = match foreign {
        Some(states) => states.changed().await.is_ok(),
        None => false,
    };
    if !alive {
        std::future::pending().await
    }
}
