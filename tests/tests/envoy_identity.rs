//! Envoy with an identity from mesh-ca by SDS over a Unix socket: it follows renewals and a change of the root under load,
//! and talks across two federated trust domains.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use mesh_ca::{
    agent::{
        AgentConfig, CertRequest, CertSource, FetchedCertificate, IdentityWatch, IssuerSource, SourceError,
        WorkloadIdentity,
    },
    clock::{Clock, SystemClock},
    federation::{
        BundleEndpoint, BundlePublisher, FederatedSource, FederationClient, FederationConfig, HttpsUrl, Relationship,
        serve_bundle,
    },
    issuer::{CertIssuer, SelfSigned, SelfSignedConfig, store::MemoryStore},
    sds::{FileSecret, SdsConfig, SdsServer},
    server::IncomingLimits,
    spiffe::{SpiffeBundle, SpiffeId, TrustDomain},
    tls::{self, PeerPolicy},
};
use mesh_tests::{bootstrapped::Bootstrapped, envoy::socket_address, wait};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(60);
const RENEWALS: usize = 100;

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).expect("a trust domain")
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

async fn ca(trust_domain: &TrustDomain) -> Arc<SelfSigned> {
    let made = SelfSigned::open(&MemoryStore::default(), SelfSignedConfig::new(trust_domain.clone()), clock()).await;
    Arc::new(made.expect("a root can be made"))
}

fn workload(trust_domain: &TrustDomain, account: &str) -> SpiffeId {
    SpiffeId::for_workload(trust_domain, "shop", account).expect("an id")
}

/// A CA whose signer and roots change under way.
#[derive(Debug)]
struct Changing(Mutex<(Arc<SelfSigned>, Vec<Arc<SelfSigned>>)>);

#[async_trait]
impl CertSource for Changing {
    async fn fetch(&self, request: &CertRequest) -> Result<FetchedCertificate, SourceError> {
        let (signer, believed) = self.0.lock().expect("nobody panics with it").clone();
        let chain = IssuerSource::new(signer).fetch(request).await?.chain;
        let roots = believed.iter().flat_map(|ca| ca.trust_bundle().roots().to_vec());
        Ok(FetchedCertificate::new(chain, roots.map(|r| r.certificate().clone()).collect()))
    }
}

/// Serves an identity's secrets on a socket, for as long as the value lives.
struct Secrets {
    socket: PathBuf,
    _folder: tempfile::TempDir,
    serving: tokio::task::JoinHandle<()>,
}

impl Secrets {
    fn serve(config: SdsConfig, identity: &IdentityWatch) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let socket = folder.path().join("sds.sock");
        let (server, path) = (SdsServer::spawn(config, identity), socket.clone());
        let serving = tokio::spawn(async move { server.serve(&path).await.expect("the socket can be made") });
        Self { socket, _folder: folder, serving }
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn http2() -> Value {
    json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": { "http2_protocol_options": {} },
    } })
}

fn sds(name: &str) -> Value {
    json!({ "name": name, "sds_config": { "resource_api_version": "V3", "api_config_source": {
        "api_type": "GRPC", "transport_api_version": "V3",
        "grpc_services": [{ "envoy_grpc": { "cluster_name": "sds" } }],
    } } })
}

/// Mutual TLS with secrets by these names; the peer must have the id.
fn tls_context(side: &str, own: &str, trust: &str, peer: &SpiffeId) -> Value {
    let san = json!([{ "san_type": "URI", "matcher": { "exact": peer.as_str() } }]);
    let mut context = json!({
        "@type": format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{side}TlsContext"),
        "common_tls_context": {
            "tls_certificate_sds_secret_configs": [sds(own)],
            "combined_validation_context": {
                "default_validation_context": { "match_typed_subject_alt_names": san },
                "validation_context_sds_secret_config": sds(trust),
            },
        },
    });
    if side == "Downstream" {
        context["require_client_certificate"] = json!(true);
    }
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": context })
}

fn listener(name: &str, transport: Option<Value>, route: Value) -> Value {
    let mut chain = json!({ "filters": [{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "http_filters": [{ "name": "router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }],
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
        },
    }] });
    if let Some(transport) = transport {
        chain["transport_socket"] = transport;
    }
    json!({ "name": name, "address": socket_address(SocketAddr::from(([127, 0, 0, 1], 0))), "filter_chains": [chain] })
}

fn hello() -> Value {
    json!({ "match": { "prefix": "/" }, "direct_response": { "status": 200, "body": { "inline_string": "hello" } } })
}

fn start(socket: &Path, listeners: Vec<Value>, mut clusters: Vec<Value>) -> Bootstrapped {
    clusters.push(json!({
        "name": "sds", "type": "STATIC", "connect_timeout": "1s", "typed_extension_protocol_options": http2(),
        "load_assignment": { "cluster_name": "sds", "endpoints": [{ "lb_endpoints": [
            { "endpoint": { "address": { "pipe": { "path": socket } } } },
        ] }] },
    }));
    Bootstrapped::start(&json!({
        "node": { "id": "identity", "cluster": "tests" },
        "admin": { "address": socket_address(SocketAddr::from(([127, 0, 0, 1], 0))) },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    }))
}

fn address(envoy: &Bootstrapped, name: &str) -> SocketAddr {
    let open = || envoy.listener(name).filter(|a| a.port() > 0);
    wait::until("the listener is open", PATIENCE, open)
}

/// One handshake and one request on it; gives the certificate that the server showed.
async fn call(address: SocketAddr, tls: rustls::ClientConfig) -> std::io::Result<CertificateDer<'static>> {
    let tcp = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(Arc::new(tls)).connect(address.ip().into(), tcp).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    // Envoy waits a second for us to close first.
    while !answer.ends_with(b"\r\n\r\nhello") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(std::io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
        }
    }
    let shown = stream.get_ref().1.peer_certificates().and_then(|c| c.first().cloned());
    shown.ok_or_else(|| std::io::Error::other("no certificate"))
}

/// Calls again and again, and notes what the server shows and what fails.
#[derive(Debug, Default)]
struct Load {
    calls: AtomicU64,
    failures: Mutex<Vec<String>>,
    shown: Mutex<Option<CertificateDer<'static>>>,
    stop: AtomicBool,
}

impl Load {
    async fn run(&self, address: SocketAddr, identity: &IdentityWatch, server: &SpiffeId) {
        while !self.stop.load(SeqCst) {
            let tls = tls::client_config(identity, PeerPolicy::id(server.clone())).expect("a configuration");
            match call(address, tls).await {
                Ok(shown) => *self.shown.lock().expect("nobody panics with it") = Some(shown),
                Err(error) => self.failures.lock().expect("nobody panics with it").push(error.to_string()),
            }
            self.calls.fetch_add(1, SeqCst);
        }
    }

    /// Waits until the server shows what its identity holds.
    async fn until_shown(&self, identity: &WorkloadIdentity, what: &str) {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let held = identity.watch().svid().and_then(|s| s.chain().first().cloned());
            if held.is_some() && *self.shown.lock().expect("nobody panics with it") == held {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{what}: {:?}", self.failures);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn renewed(identity: &WorkloadIdentity) {
    let mut states = identity.watch().subscribe();
    let before = states.borrow_and_update().rotations;
    identity.renew_now();
    states.wait_for(|s| s.rotations > before).await.expect("it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_serves_through_renewals_and_a_change_of_the_root() {
    let home = domain("cluster.local");
    let (old, new) = (ca(&home).await, ca(&home).await);
    let source = Arc::new(Changing(Mutex::new((old.clone(), vec![old.clone()]))));
    let (server, client) = (workload(&home, "server"), workload(&home, "client"));
    let spawn = |id: &SpiffeId| WorkloadIdentity::spawn(AgentConfig::new(id.clone()), source.clone(), clock());
    let (served, calling) = (spawn(&server), spawn(&client));
    served.watch().ready().await.expect("a certificate");
    calling.watch().ready().await.expect("a certificate");
    let secrets = Secrets::serve(SdsConfig::new(home.clone()), &served.watch());
    let transport = tls_context("Downstream", "default", "ROOTCA", &client);
    let envoy = start(&secrets.socket, vec![listener("mtls", Some(transport), hello())], vec![]);
    let address = address(&envoy, "mtls");

    let watch = calling.watch();
    wait::until("Envoy has its secrets", PATIENCE, || {
        (envoy.stat("listener.127.0.0.1_0.server_ssl_socket_factory.downstream_context_secrets_not_ready") == 0
            && envoy.admin("/certs")["certificates"].as_array().is_some_and(|c| !c.is_empty()))
        .then_some(())
    });
    let load = Arc::new(Load::default());
    let running = {
        let (load, server, watch) = (load.clone(), server.clone(), watch.clone());
        tokio::spawn(async move { load.run(address, &watch, &server).await })
    };
    load.until_shown(&served, "the first certificate").await;
    for n in 0..RENEWALS {
        renewed(&served).await;
        load.until_shown(&served, &format!("renewal {n}")).await;
    }
    // The root: both believed, then the other signs, then it alone is believed. Each step reaches both sides first.
    let steps = [
        (old.clone(), vec![old.clone(), new.clone()]),
        (new.clone(), vec![old.clone(), new.clone()]),
        (new.clone(), vec![new.clone()]),
    ];
    for (n, step) in steps.into_iter().enumerate() {
        *source.0.lock().expect("nobody panics with it") = step;
        renewed(&calling).await;
        renewed(&served).await;
        load.until_shown(&served, &format!("step {n}")).await;
    }
    load.stop.store(true, SeqCst);
    running.await.expect("the load ends well");
    let (calls, failures) = (load.calls.load(SeqCst), load.failures.lock().expect("nobody panics with it").clone());
    println!("{calls} handshakes, {} failed", failures.len());
    assert_eq!(failures, Vec::<String>::new(), "of {calls}");
    assert!(calls >= RENEWALS as u64);

    // A client of the root that was taken away is refused, so the change has come through to the end.
    let late = WorkloadIdentity::spawn(AgentConfig::new(client), Arc::new(IssuerSource::new(old.clone())), clock());
    late.watch().ready().await.expect("a certificate");
    let mut bundles = (*watch.state().bundles).clone();
    bundles.insert((*new.trust_bundle()).clone());
    let stale = IdentityWatch::fixed(late.watch().svid(), Arc::new(bundles), clock());
    let tls = tls::client_config(&stale, PeerPolicy::id(server)).expect("a configuration");
    assert!(call(address, tls).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_takes_secrets_from_files_as_istios_agent_names_them() {
    let home = domain("cluster.local");
    let ca = ca(&home).await;
    let (server, client) = (workload(&home, "server"), workload(&home, "client"));
    let identity = |id: &SpiffeId| {
        WorkloadIdentity::spawn(AgentConfig::new(id.clone()), Arc::new(IssuerSource::new(ca.clone())), clock())
    };
    let (served, calling) = (identity(&server), identity(&client));
    calling.watch().ready().await.expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = |name: &str| folder.path().join(name);
    let write = |svid: &mesh_ca::spiffe::X509Svid| {
        std::fs::write(file("chain.pem"), svid.chain_pem()).expect("a file can be written");
        std::fs::write(file("key.pem"), svid.key().to_pem().as_bytes()).expect("a file can be written");
    };
    write(&served.watch().ready().await.expect("a certificate"));
    std::fs::write(file("root.pem"), ca.trust_bundle().to_pem()).expect("a file can be written");
    let own = format!("file-cert:{}~{}", file("chain.pem").display(), file("key.pem").display());
    let roots = format!("file-root:{}", file("root.pem").display());
    let mut config = SdsConfig::new(home.clone());
    config.file_interval = Duration::from_millis(50);
    let named = |name: &str| name.parse::<FileSecret>().expect("a name");
    let config = config.with_file(named(&own)).with_file(named(&roots));
    let secrets = Secrets::serve(config, &calling.watch());
    let transport = tls_context("Downstream", &own, &roots, &client);
    let envoy = start(&secrets.socket, vec![listener("mtls", Some(transport), hello())], vec![]);
    let address = address(&envoy, "mtls");
    let until = async |wanted: CertificateDer<'static>| {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let tls = tls::client_config(&calling.watch(), PeerPolicy::id(server.clone())).expect("a configuration");
            let shown = call(address, tls).await;
            if shown.as_ref().is_ok_and(|s| *s == wanted) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{shown:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let held = || served.watch().svid().expect("a certificate");
    until(held().chain()[0].clone()).await;
    let before = held().chain()[0].clone();
    // A key that does not go with the certificate is not sent.
    std::fs::write(file("key.pem"), calling.watch().svid().expect("a certificate").key().to_pem().as_bytes())
        .expect("a file can be written");
    tokio::time::sleep(Duration::from_millis(200)).await;
    until(before).await;
    renewed(&served).await;
    write(&held());
    until(held().chain()[0].clone()).await;
}

/// A trust domain with its CA, its published bundle and its federation.
struct Domain {
    name: TrustDomain,
    ca: Arc<SelfSigned>,
    endpoint: SocketAddr,
    bundle_server: SpiffeId,
    _serving: (WorkloadIdentity, tokio::task::JoinHandle<()>, BundlePublisher),
}

impl Domain {
    async fn new(name: &str) -> Self {
        let name = domain(name);
        let ca = ca(&name).await;
        let bundle_server = SpiffeId::parse(&format!("spiffe://{name}/bundles")).expect("an id");
        let config = AgentConfig::new(bundle_server.clone());
        let identity = WorkloadIdentity::spawn(config, Arc::new(IssuerSource::new(ca.clone())), clock());
        identity.watch().ready().await.expect("a certificate");
        let bundle = SpiffeBundle::new((*ca.trust_bundle()).clone());
        let publisher = BundlePublisher::new(bundle, Duration::from_secs(300), clock());
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = socket.local_addr().expect("an address");
        let tls = tls::server_config_without_client_auth(&identity.watch()).expect("a configuration");
        let service = BundleEndpoint::new("/bundle", publisher.subscribe());
        let serving = tokio::spawn(async move {
            serve_bundle(socket, tls, service, IncomingLimits::default()).await.expect("it goes on");
        });
        Self { name, ca, endpoint, bundle_server, _serving: (identity, serving, publisher) }
    }

    async fn follow(&self, other: &Self) -> FederationClient {
        let url = HttpsUrl::parse(&format!("https://{}/bundle", other.endpoint)).expect("a URL");
        let bootstrap = (*other.ca.trust_bundle()).clone();
        let relationship = Relationship::spiffe(other.name.clone(), url, other.bundle_server.clone(), Some(bootstrap))
            .expect("parameters");
        let config = FederationConfig::default();
        let client = FederationClient::spawn(&self.name, [relationship], config, None, clock()).await;
        let client = client.expect("it can be followed");
        client.watch().wait_for(|s| s.domains[&other.name].confirmed_at.is_some()).await.expect("it goes on");
        client
    }

    async fn identity(&self, account: &str) -> (SpiffeId, WorkloadIdentity) {
        let id = workload(&self.name, account);
        let config = AgentConfig::new(id.clone());
        let identity = WorkloadIdentity::spawn(config, Arc::new(IssuerSource::new(self.ca.clone())), clock());
        identity.watch().ready().await.expect("a certificate");
        (id, identity)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_envoys_talk_across_federated_trust_domains() {
    let (home, abroad) = (Domain::new("home.example").await, Domain::new("abroad.example").await);
    let (from_home, from_abroad) = (home.follow(&abroad).await, abroad.follow(&home).await);
    let ((client_id, client), (server_id, server)) = (home.identity("client").await, abroad.identity("server").await);
    let serve = |domain: &Domain, federation: &FederationClient, identity: &WorkloadIdentity| {
        Secrets::serve(SdsConfig::new(domain.name.clone()).with_federation(federation.watch()), &identity.watch())
    };
    let (of_home, of_abroad) = (serve(&home, &from_home, &client), serve(&abroad, &from_abroad, &server));

    let transport = tls_context("Downstream", "default", "ALL", &client_id);
    let upstream = start(&of_abroad.socket, vec![listener("mtls", Some(transport), hello())], vec![]);
    let mtls = address(&upstream, "mtls");
    let cluster = json!({
        "name": "abroad", "type": "STATIC", "connect_timeout": "5s",
        "transport_socket": tls_context("Upstream", "default", "ALL", &server_id),
        "load_assignment": { "cluster_name": "abroad", "endpoints": [{ "lb_endpoints": [
            { "endpoint": { "address": socket_address(mtls) } },
        ] }] },
    });
    let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": "abroad" } });
    let envoy = start(&of_home.socket, vec![listener("plain", None, route)], vec![cluster]);
    let plain = address(&envoy, "plain");
    let answer = wait::until("the call goes through both", PATIENCE, || {
        mesh_tests::process::get(plain, "localhost", "/", &[]).ok().filter(|a| a.status == 200)
    });
    assert_eq!(answer.body, "hello");

    // A Rust client of home, with the federated bundles, is as good as Envoy.
    let own: Arc<dyn mesh_ca::spiffe::BundleSource> = Arc::new(client.watch());
    let trusted = Arc::new(FederatedSource::new(home.name.clone(), own, from_home.watch()));
    let config = |identity: &IdentityWatch| {
        tls::client_config_trusting(identity, trusted.clone(), PeerPolicy::id(server_id.clone()))
            .expect("a configuration")
    };
    call(mtls, config(&client.watch())).await.expect("it is let in");

    // The same id by a CA that is trusted, but for the other trust domain alone, is not; nor by a stranger.
    let forger = Domain::new("home.example").await;
    let (_, forged) = forger.identity("client").await;
    assert!(call(mtls, config(&forged.watch())).await.is_err(), "by a CA of nobody");
    let (other, identity) = home.identity("other").await;
    assert!(call(mtls, config(&identity.watch())).await.is_err(), "{other} is not the one who may");
}
