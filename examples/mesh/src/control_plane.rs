//! `mesh control-plane`: configuration, discovery, certificate authority and xDS server in one process.
//!
//! ```text
//!   folder ─▸ mesh-config store ─▸ registry + translator ─▸ one view for each proxy ─▸ xDS (TLS, identity checked)
//!                                                                        certificate service ─▸ the same port
//! ```

mod admin;
mod mesh;
mod nodes;
mod services;
mod sidecars;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use mesh_ca::{
    agent::{AgentConfig, IssuerSource, WorkloadIdentity},
    spiffe::{SpiffeId, TrustBundle, TrustBundles},
    tls::{self, ClientAuth, PeerPolicy},
};
use mesh_config::{DirectorySource, StoreOptions};
use mesh_xds::server::{AllowAll, HandshakeErrors, ListenConfig, NodeIdentity, XdsServer, serve};
use serde_json::json;
use tokio::net::TcpListener;

pub(crate) use self::mesh::Reader;
use self::{mesh::Mesh, sidecars::Sidecars};
use crate::{
    authority::Authority,
    cli::ControlPlaneArgs,
    command::{self, told_to_end},
    exit, net,
};

/// How long the certificate of the control plane itself may take. It is made in this process.
const OWN_CERTIFICATE: Duration = Duration::from_secs(10);
/// Life of the control plane's own certificate.
const OWN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// SPIFFE id of a trust domain's control plane, as Istio has it.
pub(crate) fn identity(trust_domain: &str) -> String {
    format!("spiffe://{trust_domain}/ns/istio-system/sa/istiod")
}

/// Runs until asked to end.
pub(crate) fn run(args: ControlPlaneArgs) -> anyhow::Result<u8> {
    command::block_on(control_plane(args))
}

async fn control_plane(args: ControlPlaneArgs) -> anyhow::Result<u8> {
    let config = folder(&args.config)?;
    let plaintext_address = args.plaintext.filter(|a| !a.ip().is_loopback());
    anyhow::ensure!(
        plaintext_address.is_none(),
        "--plaintext serves without identities and is for loopback addresses only"
    );
    let listener = net::bind(args.listen, "--listen").await?;
    let admin = net::bind(args.admin, "--admin").await?;
    let plaintext = match args.plaintext {
        Some(address) => Some(net::bind(address, "--plaintext").await?),
        None => None,
    };

    let authority =
        Authority::open(&args.state, args.ca_dir.as_deref(), &args.trust_domain, args.certificate_ttl).await?;
    let own = own_identity(&authority, &args).await?;
    let _kept = authority.keep(&own);
    let states = mesh_config::watch(DirectorySource::new([config]), StoreOptions::default());
    let sidecars = Sidecars::open(args.state.join("sidecars.json"))?;
    let mesh = Mesh::follow(states, sidecars.subscribe(), Reader::new(&args.trust_domain, args.access_log.clone()));
    // Whoever connects before the configuration has been read waits in the backlog.
    let mut first = mesh.subscribe();
    let read = first.wait_for(Option::is_some).await.is_ok();
    anyhow::ensure!(read, "the configuration was not read");
    let views = nodes::views(mesh.clone(), sidecars);

    let secured = XdsServer::builder(views.clone())
        .authorizer(NodeIdentity::new([args.trust_domain.clone()], services::spiffe_id))
        .build();
    let open = plaintext.as_ref().map(|_| XdsServer::builder(views.clone()).authorizer(AllowAll).build());
    let (certificates, metrics) = services::certificates(&authority)?;
    let mut routes = tonic::service::Routes::builder();
    secured.add_to(&mut routes);
    routes.add_service(certificates);
    let believed = Arc::new(authority.bundles());
    let mut tls = tls::server_config_trusting(&own.watch(), believed, ClientAuth::Optional, PeerPolicy::AnyTrusted)
        .context("TLS")?;
    tls.alpn_protocols = vec![b"h2".to_vec()];

    addresses(&args, &listener, &admin, plaintext.as_ref())?;
    let servers: Vec<XdsServer> = std::iter::once(secured.clone()).chain(open.clone()).collect();
    // A proxy that refuses the control plane's certificate, which may be revoked or too old for its clock, leads to a new one.
    let renewal = tls::RenewOnRefusal::new(own.renewer(), authority.clock());
    let handshake_errors = HandshakeErrors::new(move |error| {
        renewal.note_io(error);
    });
    let secure_port = ListenConfig { handshake_errors, ..ListenConfig::default() };
    let handshakes = secure_port.failed_handshakes.clone();
    tokio::spawn(admin::serve(
        admin,
        admin::State::new(mesh, servers.clone(), metrics, (authority.ca.clone(), own.watch()), handshakes),
    ));
    if let (Some(listener), Some(open)) = (plaintext, open) {
        tokio::spawn(serve(listener, None, open.routes(), ListenConfig::default(), open.stopped()));
    }
    let end = args.end;
    tokio::spawn(async move {
        told_to_end(end).await;
        tracing::info!("asked to end: proxies reconnect elsewhere, or go on with what they have");
        servers.iter().for_each(XdsServer::shutdown);
    });
    serve(listener, Some(Arc::new(tls)), routes.routes(), secure_port, secured.stopped())
        .await
        .context("xDS server")?;
    Ok(exit::OK)
}

fn folder(path: &Path) -> anyhow::Result<&Path> {
    std::fs::read_dir(path).with_context(|| {
        format!("--config {} is no folder that can be read: make it, or name another", path.display())
    })?;
    Ok(path)
}

/// The control plane's own certificate, signed by its own authority, renewed while it runs.
async fn own_identity(authority: &Authority, args: &ControlPlaneArgs) -> anyhow::Result<WorkloadIdentity> {
    let id = SpiffeId::parse(&identity(&args.trust_domain)).context("control plane's SPIFFE id")?;
    let bundles = TrustBundles::from(TrustBundle::clone(&authority.bundle()));
    let names = ["istiod.istio-system.svc", "istiod.istio-system.svc.cluster.local", "localhost"];
    let config =
        AgentConfig::new(id).with_dns_names(names.map(str::to_owned)).with_bundles(bundles).with_lifetime(OWN_LIFETIME);
    let identity =
        WorkloadIdentity::spawn(config, Arc::new(IssuerSource::new(authority.ca.issuer())), authority.clock());
    let watch = identity.watch();
    let ready = tokio::time::timeout(OWN_CERTIFICATE, watch.ready()).await;
    anyhow::ensure!(
        ready.is_ok_and(|svid| svid.is_some()),
        "the control plane's own certificate could not be made: {}",
        watch.state().last_error.as_deref().unwrap_or("no reason given")
    );
    Ok(identity)
}

/// Says where it listens: in the log, and in a file if asked for.
fn addresses(
    args: &ControlPlaneArgs,
    listener: &TcpListener,
    admin: &TcpListener,
    plaintext: Option<&TcpListener>,
) -> anyhow::Result<()> {
    let plaintext: Option<SocketAddr> = plaintext.map(TcpListener::local_addr).transpose()?;
    let (listen, admin) = (listener.local_addr()?, admin.local_addr()?);
    tracing::info!(%listen, %admin, ?plaintext, config = %args.config.display(), "control plane is up");
    if let Some(path) = &args.addresses_path {
        let text = json!({"listen": listen, "admin": admin, "plaintext": plaintext}).to_string();
        net::write_atomically(path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
