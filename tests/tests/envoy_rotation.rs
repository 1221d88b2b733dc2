//! Real Envoy takes its secrets by SDS from a CA that rotates: a hundred certificates, revocation lists, and a whole change of
//! the root, under load, without one failed handshake or request.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh_ca::{
    agent::{AgentConfig, IdentityWatch, IssuerSource, WorkloadIdentity},
    clock::{Clock, SystemClock},
    issuer::{
        CertIssuer, Csr, IssueRequest, RevocationReason, RootKeys, RotatingCa, RotatingCaConfig, SelfSignedConfig,
        records::MemoryRecords,
        rotation::{BundleHolders, Laggards, Question, RootId, RootPhase},
        store::MemoryStore,
    },
    sds::{SdsConfig, SdsServer},
    spiffe::{KeyType, PrivateKey, SpiffeId, TrustBundle, TrustBundles, TrustDomain, X509Svid},
    tls::{self, PeerPolicy},
};
use mesh_tests::{
    envoy::{Envoy, socket_address},
    fetch::Target,
    load::Load,
    wait,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(60);
const ROTATIONS: u64 = 100;
const TYPE: &str = "type.googleapis.com/envoy.extensions.";

fn id(account: &str) -> SpiffeId {
    let domain = TrustDomain::parse("cluster.local").expect("a trust domain");
    SpiffeId::for_workload(&domain, "default", account).expect("an id")
}

/// One Envoy: plaintext in front, mutual TLS to itself, and mutual TLS for others.
fn bootstrap(sds_socket: &Path, pipe: &Path) -> Value {
    let sds = |name: &str| {
        json!({ "name": name, "sds_config": { "resource_api_version": "V3", "api_config_source": {
            "api_type": "GRPC", "transport_api_version": "V3",
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "sds" } }],
        } } })
    };
    let common = || {
        json!({
            "tls_certificate_sds_secret_configs": [sds("default")],
            "combined_validation_context": {
                "default_validation_context": { "match_typed_subject_alt_names": [
                    { "san_type": "URI", "matcher": { "prefix": "spiffe://cluster.local/" } },
                ] },
                "validation_context_sds_secret_config": sds("ROOTCA"),
            },
        })
    };
    let server_tls = || {
        json!({ "name": "tls", "typed_config": {
            "@type": format!("{TYPE}transport_sockets.tls.v3.DownstreamTlsContext"),
            "common_tls_context": common(), "require_client_certificate": true,
            "disable_stateless_session_resumption": true, "disable_stateful_session_resumption": true,
        } })
    };
    let manager = |name: &str, action: Value| {
        let mut route = json!({ "match": { "prefix": "/" } });
        let (key, value) = action.as_object().and_then(|a| a.iter().next()).expect("an action");
        route[key] = value.clone();
        json!({ "name": "http", "typed_config": {
            "@type": format!("{TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": name,
            "http_filters": [{ "name": "router", "typed_config": {
                "@type": format!("{TYPE}filters.http.router.v3.Router") } }],
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
        } })
    };
    let answer = || json!({ "direct_response": { "status": 200, "body": { "inline_string": "hello" } } });
    let port = || socket_address(SocketAddr::from(([127, 0, 0, 1], 0)));
    let path = |socket: &Path| json!({ "pipe": { "path": socket.to_str().expect("a path in UTF-8") } });
    let pipe = path(pipe);
    let http = |more: Value| {
        let mut options = json!({ "@type": format!("{TYPE}upstreams.http.v3.HttpProtocolOptions") });
        options.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options })
    };
    let cluster = |name: &str, address: &Value, options: Value| {
        json!({
            "name": name, "type": "STATIC", "connect_timeout": "10s", "typed_extension_protocol_options": options,
            "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [
                { "endpoint": { "address": address } },
            ] }] },
        })
    };
    // A handshake for each request.
    let once = json!({
        "explicit_http_config": { "http_protocol_options": {} },
        "common_http_protocol_options": { "max_requests_per_connection": 1 },
    });
    let mut back = cluster("back", &pipe, http(once));
    back["transport_socket"] = json!({ "name": "tls", "typed_config": {
        "@type": format!("{TYPE}transport_sockets.tls.v3.UpstreamTlsContext"),
        "common_tls_context": common(), "max_session_keys": 0,
    } });
    let h2 = json!({ "explicit_http_config": { "http2_protocol_options": {} } });
    let front = manager("front", json!({ "route": { "cluster": "back" } }));
    json!({
        "node": { "id": "rotating", "cluster": "tests" },
        "admin": { "address": port() },
        "static_resources": {
            "listeners": [
                { "name": "front", "address": port(), "filter_chains": [{ "filters": [front] }] },
                { "name": "back", "address": pipe,
                  "filter_chains": [{ "filters": [manager("back", answer())], "transport_socket": server_tls() }] },
                { "name": "direct", "address": port(),
                  "filter_chains": [{ "filters": [manager("direct", answer())], "transport_socket": server_tls() }] },
            ],
            "clusters": [back, cluster("sds", &path(sds_socket), http(h2))],
        },
    })
}

struct World {
    runtime: Runtime,
    clock: Arc<dyn Clock>,
    ca: Arc<RotatingCa>,
    envoy_identity: WorkloadIdentity,
    envoy: Envoy,
    _client: WorkloadIdentity,
    client: IdentityWatch,
    _kept: Vec<mesh_ca::issuer::rotation::Supervision>,
    _folder: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime can be made");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut config =
            RotatingCaConfig::new(SelfSignedConfig::new(TrustDomain::parse("cluster.local").expect("a trust domain")));
        config.rotation.settle = Duration::from_millis(500);
        config.rotation.check_interval = Duration::from_millis(50);
        let (store, records) = (Arc::new(MemoryStore::default()), Arc::new(MemoryRecords::default()));
        let ca = runtime.block_on(RotatingCa::open(store, records, RootKeys::Inline, config, clock.clone()));
        let ca = Arc::new(ca.expect("a CA can be made"));
        let identity = |account: &str| {
            let _in = runtime.enter();
            let config = AgentConfig::new(id(account)).with_lifetime(Duration::from_secs(3600));
            WorkloadIdentity::spawn(config, Arc::new(IssuerSource::new(ca.clone())), clock.clone())
        };
        let (envoy_identity, client) = (identity("envoy"), identity("client"));
        for identity in [&envoy_identity, &client] {
            runtime.block_on(identity.watch().ready()).expect("a certificate is issued");
        }
        let folder = tempfile::tempdir().expect("a folder can be made");
        let socket = folder.path().join("sds.sock");
        let kept = {
            let _in = runtime.enter();
            let sds = SdsConfig::new(id("envoy").trust_domain().clone()).with_rotation(ca.feed());
            let (sds, socket) = (SdsServer::spawn(sds, &envoy_identity.watch()), socket.clone());
            tokio::spawn(async move { sds.serve(&socket).await.expect("the socket can be made") });
            vec![ca.supervise(), ca.follow(&envoy_identity), ca.follow(&client)]
        };
        let envoy = Envoy::start("rotating", &bootstrap(&socket, &folder.path().join("back.sock")));
        let watch = client.watch();
        Self { runtime, clock, ca, envoy_identity, envoy, _client: client, client: watch, _kept: kept, _folder: folder }
    }

    fn target(&self, listener: &str, identity: Option<&IdentityWatch>) -> Target {
        let address = wait::until("Envoy listens", PATIENCE, || self.envoy.listener(listener));
        let tls = identity.map(|identity| {
            Arc::new(tls::client_config(identity, PeerPolicy::id(id("envoy"))).expect("a TLS configuration"))
        });
        Target { address, tls }
    }

    /// An identity that does not rotate, and its serial number.
    fn fixed(&self, account: &str) -> (String, IdentityWatch) {
        let key = PrivateKey::generate(KeyType::EcdsaP256).expect("a key");
        let csr = Csr::from_pem(&Csr::create_pem(&key, &id(account), &[]).expect("a request")).expect("a request");
        let request =
            IssueRequest { csr, id: id(account), dns_names: vec![], lifetime: Some(Duration::from_secs(600)) };
        let issued = self.runtime.block_on(self.ca.issue(request)).expect("a certificate");
        let bundles = TrustBundles::from(TrustBundle::clone(&self.ca.trust_bundle()));
        let svid = X509Svid::new(issued.chain, key).expect("they belong together");
        (issued.serial, IdentityWatch::fixed(Some(Arc::new(svid)), Arc::new(bundles), self.clock.clone()))
    }

    /// Counters of Envoy that must stay at nothing.
    fn failures(&self) -> Vec<(String, u64)> {
        let suffixes =
            ["connection_error", "fail_verify_error", "fail_verify_san", "connect_fail", "update_rejected", "_5xx"];
        suffixes.iter().flat_map(|s| self.envoy.stats_ending(s)).collect()
    }

    fn phase(&self) -> RootPhase {
        self.runtime.block_on(self.ca.status()).phase
    }
}

#[test]
fn envoy_serves_through_a_hundred_certificates_and_a_change_of_the_root() {
    let world = World::start();
    let front = world.target("front", None);
    let direct = world.target("direct", Some(&world.client));
    wait::until("Envoy has its secrets", PATIENCE, || {
        let both =
            [&front, &direct].map(|t| world.runtime.block_on(t.fetch("any", &[])).is_ok_and(|r| r.status == 200));
        (both == [true, true]).then_some(())
    });
    let before = world.failures();
    let new = || {
        let mut all = world.failures();
        all.retain(|found| !before.contains(found));
        all
    };
    let targets = [front.clone(), front.clone(), direct.clone(), direct.clone()];
    let load = Load::start(&world.runtime, &targets, vec!["any".into()], Duration::from_millis(4));

    // Its streams are known, and have acknowledged what they were sent.
    let behind = |question: &Question| world.ca.holders().behind(question, SystemTime::now());
    let is_envoy = |l: &Laggards| l.names.iter().any(|name| name.contains("rotating"));
    wait::until("Envoy has acknowledged the roots and its certificate", PATIENCE, || {
        let root = RootId::of(world.ca.trust_bundle().roots().first().expect("a root").certificate());
        (is_envoy(&behind(&Question::UnderRoot(root))) && !is_envoy(&behind(&Question::WithoutBundle(1)))).then_some(())
    });

    // A hundred certificates.
    let states = world.envoy_identity.watch();
    let taken = || {
        let updates = world.envoy.stats_ending("ssl_context_update_by_sds");
        updates.iter().filter(|(name, _)| name.starts_with("cluster.back")).map(|(_, n)| *n).sum::<u64>()
    };
    for _ in 0..ROTATIONS {
        let (before, updates) = (states.state().rotations, taken());
        world.envoy_identity.renew_now();
        wait::until("Envoy has taken the new certificate", PATIENCE, || {
            (states.state().rotations > before && taken() > updates).then_some(())
        });
    }
    load.turn_over();
    assert!(taken() >= ROTATIONS);
    assert_eq!((load.failures().iter().map(ToString::to_string).collect::<Vec<_>>(), new()), (vec![], vec![]));

    // Somebody's certificate is revoked, and everybody has lists from now on; then the root changes.
    let (serial, mallory) = world.fixed("mallory");
    let as_mallory = world.target("direct", Some(&mallory));
    assert!(world.runtime.block_on(as_mallory.fetch("any", &[])).is_ok_and(|r| r.status == 200));
    world.runtime.block_on(world.ca.revoke(&serial, RevocationReason::KeyCompromise)).expect("it was issued here");
    world.ca.holders().retire(&serial);
    let old = world.ca.trust_bundle();
    world.runtime.block_on(world.ca.start()).expect("a rotation can start");
    let mut phases = vec![world.phase()];
    wait::until("the root has changed", PATIENCE, || {
        let phase = world.phase();
        if phases.last() != Some(&phase) {
            phases.push(phase);
        }
        (phase == RootPhase::Steady).then_some(())
    });
    use RootPhase::{Activated, Distributing, Steady, Tainted};
    assert_eq!(phases, [Distributing, Activated, Tainted, Steady]);
    load.turn_over();
    std::thread::sleep(Duration::from_millis(200));
    load.turn_over();
    assert_eq!(new(), vec![]);
    let (sent, failed) = load.finish();
    assert_eq!(failed.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    assert!(sent > 1000, "there was load: {sent}");
    assert_ne!(world.ca.trust_bundle().roots()[0].certificate(), old.roots()[0].certificate());
    let handshakes = world.envoy.stat("cluster.back.ssl.handshake");
    assert!(handshakes > 500, "each request had its own: {handshakes}");

    // The proof was Envoy's: it holds the new root and no other.
    let root = RootId::of(world.ca.trust_bundle().roots().first().expect("a root").certificate());
    wait::until("Envoy has acknowledged the last bundle", PATIENCE, || {
        let sequence = world.ca.subscribe().borrow().sequence;
        (!is_envoy(&behind(&Question::WithoutBundle(sequence)))).then_some(())
    });
    assert!(is_envoy(&behind(&Question::UnderRoot(root))));
    let old = RootId::of(old.roots().first().expect("a root").certificate());
    assert!(!is_envoy(&behind(&Question::UnderRoot(old))));

    // What was revoked is refused now, and so is what the old root has signed.
    let refused = world.runtime.block_on(as_mallory.fetch("any", &[]));
    assert!(refused.is_err(), "{refused:?}");
    eprintln!("{sent} requests, {handshakes} handshakes within Envoy, none failed");
}
