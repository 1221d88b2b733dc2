//! The SPIFFE Workload API for the processes of one user, with a CA plugged in from files.
//!
//! ```text
//! cargo run -p mesh-ca --example workload_api -- CACERTS SOCKET UID spiffe://cluster.local/ns/shop/sa/web
//! SPIFFE_ENDPOINT_SOCKET=unix://SOCKET any-spiffe-client
//! ```
//!
//! `CACERTS` holds Istio's files: root-cert.pem, cert-chain.pem, ca-cert.pem, ca-key.pem. They may change at any time.

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use mesh_ca::{
    agent::IssuerSource,
    authn::{UnixPeerAuthenticator, UnixPeerRule},
    clock::{Clock, SystemClock},
    issuer::{PluggedIn, PluggedInConfig},
    spiffe::{SpiffeBundle, SpiffeId, TrustBundle},
    workload::{BundleSet, IdentityPool, IdentityPoolConfig, SocketLimits, WorkloadApi, unix_incoming},
};
use tokio::sync::watch;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [files, socket, uid, id] = arguments.as_slice() else { return Err("give CACERTS SOCKET UID ID".into()) };
    let (id, clock) = (SpiffeId::parse(id)?, Arc::new(SystemClock) as Arc<dyn Clock>);

    let config = PluggedInConfig::new(id.trust_domain().clone());
    let ca = Arc::new(PluggedIn::open(files, config, clock.clone()).await?);
    let _watch = ca.watch(Duration::from_secs(10));

    let processes = UnixPeerAuthenticator::new([UnixPeerRule::user(uid.parse()?, [id])]);
    let pool = IdentityPool::new(IdentityPoolConfig::default(), Arc::new(IssuerSource::new(ca.clone())), clock.clone());
    let own = |roots: &TrustBundle| Arc::new(BundleSet::new().with(SpiffeBundle::new(roots.clone())));
    let mut roots = ca.subscribe();
    let (publish, bundles) = watch::channel(own(&roots.borrow_and_update()));
    tokio::spawn(async move {
        while roots.changed().await.is_ok() {
            publish.send_replace(own(&roots.borrow_and_update()));
        }
    });
    let api = WorkloadApi::new(Arc::new(processes), Arc::new(pool), bundles, clock);
    let incoming = unix_incoming(Path::new(socket), SocketLimits::default())?;
    Ok(tonic::transport::Server::builder().add_service(api.into_server()).serve_with_incoming(incoming).await?)
}
