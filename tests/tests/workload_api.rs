//! A real client of the SPIFFE Workload API, the `spiffe` package from PyPI, follows renewals and a change of roots.

use std::{os::unix::fs::MetadataExt, process::Command, sync::Arc, time::Duration};

use mesh_ca::{
    agent::IssuerSource,
    authn::{UnixPeerAuthenticator, UnixPeerRule},
    clock::{Clock, ManualClock},
    issuer::{CertIssuer, JwtIssuer, JwtSigner, JwtSignerConfig, SelfSigned, SelfSignedConfig, store::MemoryStore},
    spiffe::{SpiffeBundle, SpiffeId, TrustDomain},
    workload::{BundleSet, IdentityPool, IdentityPoolConfig, SocketLimits, WorkloadApi, unix_incoming},
};
use mesh_tests::{peer, process::Process, wait};
use serde_json::{Value, json};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(60);

async fn root(trust_domain: &str, clock: &Arc<dyn Clock>) -> Arc<SelfSigned> {
    let config = SelfSignedConfig::new(TrustDomain::parse(trust_domain).expect("a trust domain"));
    let issuer = SelfSigned::open(&MemoryStore::default(), config, clock.clone()).await;
    Arc::new(issuer.expect("a root can be made"))
}

async fn signer(clock: &Arc<dyn Clock>) -> JwtSigner {
    let config = JwtSignerConfig::new(TrustDomain::parse("cluster.local").expect("a trust domain"));
    JwtSigner::open(&MemoryStore::default(), config, clock.clone()).await.expect("a signer can be made")
}

/// The values that the client printed under this name, in order.
fn said(client: &Process, name: &str) -> Vec<Value> {
    let lines = client.output();
    let values = lines.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    values.filter_map(|v| v.get(name).cloned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_follows_renewals_and_bundles() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let hand = ManualClock::system();
    let clock: Arc<dyn Clock> = Arc::new(hand.clone());
    let (ca, other, jwt) =
        (root("cluster.local", &clock).await, root("other.example", &clock).await, signer(&clock).await);
    let own = SpiffeBundle::new((*ca.trust_bundle()).clone()).with_jwt((*jwt.jwt_bundle()).clone());
    let foreign = SpiffeBundle::new((*other.trust_bundle()).clone());
    let bundles = watch::Sender::new(Arc::new(BundleSet::new().with(own.clone()).with(foreign)));

    let ids = ["web", "batch"].map(|account| {
        SpiffeId::for_workload(own.trust_domain(), "shop", account).expect("an id that keeps the rules")
    });
    let uid = std::fs::metadata(folder.path()).expect("it was just made").uid();
    let authenticator = UnixPeerAuthenticator::new([UnixPeerRule::user(uid, ids.clone())]);
    let held = IdentityPoolConfig::default().with_lifetime(Duration::from_secs(600));
    let pool = IdentityPool::new(held, Arc::new(IssuerSource::new(ca.clone())), clock.clone());
    let api = WorkloadApi::new(Arc::new(authenticator), Arc::new(pool), bundles.subscribe(), clock.clone());
    let socket = folder.path().join("workload.sock");
    let incoming = unix_incoming(&socket, SocketLimits::default()).expect("the socket can be made");
    let server = tonic::transport::Server::builder().add_service(api.with_jwt(Arc::new(jwt)).into_server());
    tokio::spawn(server.serve_with_incoming(incoming));

    let mut command = Command::new(peer::spiffe_python());
    command.arg(peer::script("spiffe_client.py")).arg(format!("unix://{}", socket.display()));
    let mut client = Process::start(&mut command, &folder.path().join("log"));
    let once = wait::until("the calls are through", PATIENCE, || {
        assert!(client.ended().is_none(), "the client gave up: {}", client.output());
        said(&client, "once").pop()
    });
    assert_eq!(once["svid"], ids[0].as_str(), "the first one is the default identity: {once}");
    assert_eq!(once["bundles"], json!(["cluster.local", "other.example"]));
    assert_eq!(once["token"], json!({ "id": ids[0].as_str(), "audience": ["reports"] }));
    assert_eq!(once["validated"], ids[0].as_str());
    assert!(once["refused"].as_str().is_some_and(|r| r.contains("jwt-audience-named")), "{once}");

    let contexts = || said(&client, "context");
    let count = |serials: &[Value]| {
        let all = serials.iter().flat_map(|c| c["svids"].as_array().cloned().unwrap_or_default());
        all.map(|s| s["serial"].to_string()).collect::<std::collections::BTreeSet<_>>().len()
    };
    wait::until("the first certificates are there", PATIENCE, || (count(&contexts()) == 2).then_some(()));
    for renewal in 2..12 {
        hand.advance(Duration::from_secs(310));
        wait::until("both are renewed", PATIENCE, || (count(&contexts()) == 2 * renewal).then_some(()));
    }
    let next_root = root("cluster.local", &clock).await;
    let next_keys = signer(&clock).await.jwt_bundle();
    bundles.send_modify(|set| {
        let both = own.x509.clone().union(&next_root.trust_bundle());
        let own = SpiffeBundle::new(both).with_jwt((*next_keys).clone());
        *set = Arc::new(BundleSet::new().with(own));
    });
    let last = wait::until("the roots have changed", PATIENCE, || {
        contexts().pop().filter(|c| c["roots"] == json!({ "cluster.local": 2 }))
    });
    assert_eq!(count(&[last]), 2, "certificates stay when roots come");
    let key_id = next_keys.authorities()[0].key_id();
    wait::until("the JWT keys have changed", PATIENCE, || {
        said(&client, "keys").pop().filter(|k| *k == json!({ "cluster.local": [key_id] }))
    });
    for context in contexts() {
        let svids = context["svids"].as_array().expect("a list");
        let listed: Vec<_> = svids.iter().map(|s| s["id"].as_str().expect("an id")).collect();
        assert_eq!(listed, [ids[0].as_str(), ids[1].as_str()]);
        assert!(svids.iter().all(|s| s["known"] == true && s["key"] == true), "{context}");
    }
    assert_eq!(said(&client, "error"), Vec::<Value>::new());
}
