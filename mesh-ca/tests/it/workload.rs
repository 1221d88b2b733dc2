//! The Workload API over a real socket, on a clock in hand.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use mesh_ca::{
    agent::{Behaviour, FlakySource, IssuerSource},
    api::workload::{
        JwtBundlesRequest, JwtsvidRequest, ValidateJwtsvidRequest, X509BundlesRequest, X509svidRequest,
        X509svidResponse, spiffe_workload_api_client::SpiffeWorkloadApiClient,
    },
    audit::{AuditOutcome, MemoryAudit},
    authn::{
        Authenticator, AuthnError, Identity, RequestFacts, UnixPeer, UnixPeerAuthenticator, UnixPeerRule, conformance,
    },
    clock::Clock,
    issuer::{CertIssuer, JwtIssuer, JwtSigner, JwtSignerConfig, store::MemoryStore},
    spiffe::{PrivateKey, SpiffeBundle, SpiffeId, TrustDomain, X509Svid},
    workload::{
        BundleSet, IdentityPool, IdentityPoolConfig, SocketLimits, WorkloadApi, WorkloadApiConfig, unix_incoming,
    },
};
use tokio::{sync::watch, task::JoinHandle};
use tonic::{Code, Request, Status, async_trait, transport::Channel};

use crate::fixture::{Ca, trust_domain, workload};

/// Rules that a test can change under way.
#[derive(Debug)]
struct Rules(Mutex<UnixPeerAuthenticator>);

impl Rules {
    fn set(&self, ids: &[SpiffeId]) {
        *self.0.lock().unwrap() = UnixPeerAuthenticator::new([UnixPeerRule::user(own_uid(), ids.to_vec())]);
    }
}

#[async_trait]
impl Authenticator for Rules {
    async fn authenticate(&self, facts: &RequestFacts) -> Result<Identity, AuthnError> {
        let now = self.0.lock().unwrap().clone();
        now.authenticate(facts).await
    }
}

/// The user of this process, by a file that it made.
fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    tempfile::tempfile().unwrap().metadata().unwrap().uid()
}

struct Agent {
    ca: Ca,
    folder: tempfile::TempDir,
    rules: Arc<Rules>,
    audit: Arc<MemoryAudit>,
    bundles: watch::Sender<Arc<BundleSet>>,
    signer: Arc<JwtSigner>,
    server: JoinHandle<()>,
}

impl Agent {
    async fn new() -> Self {
        Self::with([], WorkloadApiConfig::default()).await
    }

    async fn with(plan: impl IntoIterator<Item = Behaviour>, config: WorkloadApiConfig) -> Self {
        let ca = Ca::new().await;
        let folder = tempfile::tempdir().unwrap();
        let rules = Arc::new(Rules(Mutex::new(UnixPeerAuthenticator::new([]))));
        rules.set(&[workload("a"), workload("b")]);
        let audit = Arc::new(MemoryAudit::default());
        let jwt = JwtSignerConfig::new(trust_domain());
        let signer = Arc::new(JwtSigner::open(&MemoryStore::default(), jwt, ca.clock()).await.unwrap());
        let own = SpiffeBundle::new((*ca.issuer.trust_bundle()).clone()).with_jwt((*signer.jwt_bundle()).clone());
        let bundles = watch::Sender::new(Arc::new(BundleSet::new().with(own)));
        let source = FlakySource::new(Arc::new(IssuerSource::new(ca.issuer.clone())), plan);
        let held = IdentityPoolConfig::default().with_lifetime(Duration::from_secs(600));
        let pool = IdentityPool::new(held, Arc::new(source), ca.clock());
        let api = WorkloadApi::new(rules.clone(), Arc::new(pool), bundles.subscribe(), ca.clock())
            .with_jwt(signer.clone())
            .with_audit(audit.clone())
            .with_config(config);
        let incoming = unix_incoming(&folder.path().join("socket"), SocketLimits::default()).unwrap();
        let server = tokio::spawn(async move {
            let server = tonic::transport::Server::builder().add_service(api.into_server());
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self { ca, folder, rules, audit, bundles, signer, server }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    async fn client(&self) -> SpiffeWorkloadApiClient<Channel> {
        SpiffeWorkloadApiClient::new(channel(&self.socket()).await)
    }
}

async fn channel(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    tonic::transport::Endpoint::from_static("http://localhost")
        .connect_with_connector(tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { tokio::net::UnixStream::connect(socket).await.map(hyper_util::rt::TokioIo::new) }
        }))
        .await
        .unwrap()
}

/// With the header that every call must carry.
fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", "true".parse().unwrap());
    request
}

/// What a workload makes of an answer.
fn svids(answer: &X509svidResponse) -> Vec<X509Svid> {
    answer
        .svids
        .iter()
        .map(|svid| {
            let der = svid.x509_svid_key.as_slice();
            let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", base64(der));
            // These chains are the leaf alone, so the bytes are one certificate.
            let made =
                X509Svid::new(vec![svid.x509_svid.clone().into()], PrivateKey::from_pem(pem.as_bytes()).unwrap());
            let made = made.unwrap();
            assert_eq!(made.id().as_str(), svid.spiffe_id);
            made
        })
        .collect()
}

fn base64(bytes: &[u8]) -> String {
    use ::base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

async fn next<T>(stream: &mut tonic::Streaming<T>) -> Result<T, Status> {
    let message = tokio::time::timeout(Duration::from_secs(20), stream.message()).await.expect("an answer in time");
    message.map(|m| m.expect("the stream goes on"))
}

#[tokio::test]
async fn a_caller_gets_its_certificates_and_follows_their_renewal() {
    let agent = Agent::new().await;
    let mut stream = agent.client().await.fetch_x509svid(call(X509svidRequest {})).await.unwrap().into_inner();
    let first = next(&mut stream).await.unwrap();
    let bundle = agent.ca.issuer.trust_bundle();
    let now = agent.ca.clock.now().wall;
    let ids: Vec<_> = svids(&first).iter().map(|s| s.id().clone()).collect();
    assert_eq!(ids, [workload("a"), workload("b")], "all of the caller's ids, in the order of the rules");
    for (svid, message) in svids(&first).iter().zip(&first.svids) {
        svid.verify(&bundle, now).unwrap();
        assert_eq!(message.bundle, bundle.roots()[0].certificate().as_ref());
    }
    assert!(first.federated_bundles.is_empty() && first.crl.is_empty());

    let mut seen: Vec<_> = svids(&first).iter().map(|s| s.serial().to_owned()).collect();
    let mut answer = first;
    for _ in 0..5 {
        agent.ca.clock.advance(Duration::from_secs(310));
        // Both are renewed, each with an answer of its own or both in one.
        let mut left = 2;
        while left > 0 {
            answer = next(&mut stream).await.unwrap();
            let new: Vec<_> = svids(&answer).iter().map(|s| s.serial().to_owned()).collect();
            assert_eq!(new.len(), 2, "an answer is whole");
            left -= new.iter().filter(|serial| !seen.contains(serial)).count().min(left);
            seen.extend(new.into_iter().filter(|s| !seen.contains(s)).collect::<Vec<_>>());
        }
    }
    for svid in svids(&answer) {
        svid.verify(&bundle, agent.ca.clock.now().wall).unwrap();
    }
    let issued = agent.audit.records().into_iter().filter(|r| matches!(r.outcome, AuditOutcome::Issued { .. }));
    assert_eq!(issued.count(), 12, "one record for each certificate given");
    let record = &agent.audit.records()[0];
    assert_eq!(record.proof.map(mesh_ca::authn::ProofKind::name), Some("unix-peer"));
    assert!(record.caller.as_deref().unwrap().contains(&format!("pid {}", std::process::id())), "{record:?}");
}

#[tokio::test]
async fn bundles_reach_every_stream_when_they_change() {
    let agent = Agent::new().await;
    let mut client = agent.client().await;
    let mut svid_stream = client.fetch_x509svid(call(X509svidRequest {})).await.unwrap().into_inner();
    let mut x509_stream = client.fetch_x509_bundles(call(X509BundlesRequest {})).await.unwrap().into_inner();
    let mut jwt_stream = client.fetch_jwt_bundles(call(JwtBundlesRequest {})).await.unwrap().into_inner();
    let serials = |answer: &X509svidResponse| svids(answer).iter().map(|s| s.serial().to_owned()).collect::<Vec<_>>();
    let before = next(&mut svid_stream).await.unwrap();
    assert_eq!(next(&mut x509_stream).await.unwrap().bundles.len(), 1);
    assert_eq!(next(&mut jwt_stream).await.unwrap().bundles.len(), 1);

    let other = Ca::of(TrustDomain::parse("other.example").unwrap(), agent.ca.clock.clone()).await;
    let second = Ca::of(trust_domain(), agent.ca.clock.clone()).await;
    agent.bundles.send_modify(|set| {
        let own = set.x509.bundle(&trust_domain()).unwrap().clone().union(&second.issuer.trust_bundle());
        let own = SpiffeBundle::new(own).with_jwt((*agent.signer.jwt_bundle()).clone());
        let foreign = SpiffeBundle::new((*other.issuer.trust_bundle()).clone());
        *set = Arc::new(BundleSet::new().with(own).with(foreign));
    });
    let after = next(&mut svid_stream).await.unwrap();
    assert_eq!(serials(&after), serials(&before), "a new root renews no certificate");
    let both: Vec<u8> =
        [&agent.ca, &second].iter().flat_map(|ca| ca.issuer.trust_bundle().roots()[0].certificate().to_vec()).collect();
    assert_eq!(after.svids[0].bundle, both, "root after root");
    let foreign = other.issuer.trust_bundle().roots()[0].certificate().to_vec();
    assert_eq!(after.federated_bundles, [("spiffe://other.example".to_owned(), foreign.clone())].into());
    let x509 = next(&mut x509_stream).await.unwrap().bundles;
    assert_eq!((x509.len(), &x509["spiffe://other.example"], &x509["spiffe://cluster.local"]), (2, &foreign, &both));

    // JWT keys alone: nothing to say on the other streams. The next message there is about the removal below.
    let (store, config) = (MemoryStore::default(), JwtSignerConfig::new(trust_domain()));
    let next_keys = JwtSigner::open(&store, config, agent.ca.clock()).await.unwrap().jwt_bundle();
    let renewed = |set: &BundleSet| {
        SpiffeBundle::new(set.x509.bundle(&trust_domain()).unwrap().clone()).with_jwt((*next_keys).clone())
    };
    agent.bundles.send_modify(|set| *set = Arc::new((**set).clone().with(renewed(set))));
    let jwks = next(&mut jwt_stream).await.unwrap().bundles;
    let read = SpiffeBundle::from_jwks(trust_domain(), &jwks["spiffe://cluster.local"]).unwrap();
    assert_eq!((read.jwt, read.x509.roots().len()), ((*next_keys).clone(), 0), "JWT keys and nothing else");
    tokio::time::sleep(Duration::from_millis(50)).await; // gives a wrong message the time to be sent
    agent.bundles.send_modify(|set| *set = Arc::new(BundleSet::new().with(renewed(set))));
    assert!(next(&mut svid_stream).await.unwrap().federated_bundles.is_empty(), "what is gone is gone from the answer");
    assert_eq!(next(&mut x509_stream).await.unwrap().bundles.len(), 1);
}

#[tokio::test]
async fn tokens_are_issued_and_validated() {
    let agent = Agent::new().await;
    let mut client = agent.client().await;
    let ask = |audience: &[&str], id: &str| {
        call(JwtsvidRequest { audience: audience.iter().map(|a| (*a).to_owned()).collect(), spiffe_id: id.into() })
    };
    let all = client.fetch_jwtsvid(ask(&["reports"], "")).await.unwrap().into_inner().svids;
    let ids: Vec<_> = all.iter().map(|s| s.spiffe_id.as_str()).collect();
    assert_eq!(ids, [workload("a").as_str(), workload("b").as_str()]);
    let one = client.fetch_jwtsvid(ask(&["reports"], workload("b").as_str())).await.unwrap().into_inner().svids;
    assert_eq!((one.len(), one[0].spiffe_id.as_str()), (1, workload("b").as_str()));

    let validate =
        |audience: &str, svid: &str| call(ValidateJwtsvidRequest { audience: audience.into(), svid: svid.into() });
    let seen = client.validate_jwtsvid(validate("reports", &one[0].svid)).await.unwrap().into_inner();
    assert_eq!(seen.spiffe_id, workload("b").as_str());
    let claims = seen.claims.unwrap().fields;
    let Some(prost_types::value::Kind::StringValue(subject)) = &claims["sub"].kind else { panic!("{claims:?}") };
    assert_eq!(subject, workload("b").as_str());
    assert!(claims.contains_key("exp") && claims.contains_key("aud"));

    let mut refused = Vec::new();
    refused.push((client.fetch_jwtsvid(ask(&[], "")).await.unwrap_err(), Code::InvalidArgument, "audience"));
    refused.push((client.fetch_jwtsvid(ask(&[""], "")).await.unwrap_err(), Code::InvalidArgument, "audiences"));
    refused.push((
        client.fetch_jwtsvid(ask(&["x"], "nonsense")).await.unwrap_err(),
        Code::InvalidArgument,
        "spiffe://",
    ));
    let strange = ask(&["x"], workload("c").as_str());
    refused.push((client.fetch_jwtsvid(strange).await.unwrap_err(), Code::PermissionDenied, "may not have"));
    for (audience, svid, reason) in [
        ("", one[0].svid.as_str(), "audience is missing"),
        ("reports", "", "svid is missing"),
        ("other", &one[0].svid, "jwt-audience-named"),
        ("reports", "a.b.c", "jwt-well-formed"),
    ] {
        let status = client.validate_jwtsvid(validate(audience, svid)).await.unwrap_err();
        refused.push((status, Code::InvalidArgument, reason));
    }
    agent.ca.clock.advance(Duration::from_secs(311));
    let late = client.validate_jwtsvid(validate("reports", &one[0].svid)).await.unwrap_err();
    refused.push((late, Code::InvalidArgument, "jwt-expired"));
    let records = agent.audit.records();
    let written = records.iter().filter(|r| matches!(r.outcome, AuditOutcome::Refused { .. })).count();
    assert_eq!(written, refused.len(), "{records:#?}");
    assert_eq!(records.len() - written, 3, "and one record for each token");
    for (status, code, reason) in refused {
        assert!(status.code() == code && status.message().contains(reason), "{reason}: {status:?}");
    }
    assert!(!format!("{records:?}").contains(one[0].svid.rsplit('.').next().unwrap()), "records hold no token");
}

/// SPIFFE_Workload_Endpoint.md section 3: without the header, every call is refused before anything else is looked at.
#[tokio::test]
async fn the_header_is_asked_for_by_every_call() {
    let agent = Agent::new().await;
    let mut client = agent.client().await;
    for value in [None, Some("True"), Some("1"), Some("")] {
        fn with<T>(message: T, value: Option<&str>) -> Request<T> {
            let mut request = Request::new(message);
            if let Some(value) = value {
                request.metadata_mut().insert("workload.spiffe.io", value.parse().unwrap());
            }
            request
        }
        let refused = [
            client.fetch_x509svid(with(X509svidRequest {}, value)).await.unwrap_err(),
            client.fetch_x509_bundles(with(X509BundlesRequest {}, value)).await.unwrap_err(),
            client.fetch_jwtsvid(with(JwtsvidRequest::default(), value)).await.unwrap_err(),
            client.fetch_jwt_bundles(with(JwtBundlesRequest {}, value)).await.unwrap_err(),
            client.validate_jwtsvid(with(ValidateJwtsvidRequest::default(), value)).await.unwrap_err(),
        ];
        for status in refused {
            assert_eq!(status.code(), Code::InvalidArgument, "{value:?}: {status}");
            assert!(status.message().contains("workload.spiffe.io"), "{status}");
        }
    }
}

#[tokio::test]
async fn who_has_no_identity_gets_nothing_and_who_loses_it_loses_the_stream() {
    let agent = Agent::new().await;
    let mut client = agent.client().await;
    let mut stream = client.fetch_x509svid(call(X509svidRequest {})).await.unwrap().into_inner();
    let mut bundles = client.fetch_x509_bundles(call(X509BundlesRequest {})).await.unwrap().into_inner();
    next(&mut stream).await.unwrap();
    next(&mut bundles).await.unwrap();
    // Fewer ids: the next answer leaves the others out.
    agent.rules.set(&[workload("b")]);
    agent.bundles.send_modify(|_| {});
    let answer = next(&mut stream).await.unwrap();
    assert_eq!(answer.svids.iter().map(|s| s.spiffe_id.as_str()).collect::<Vec<_>>(), [workload("b").as_str()]);
    agent.rules.set(&[]);
    agent.bundles.send_modify(|_| {});
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(next(&mut bundles).await.unwrap_err().code(), Code::PermissionDenied);
    let refused = client.fetch_x509svid(call(X509svidRequest {})).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
}

#[tokio::test]
async fn an_outage_of_the_ca_shows_as_unavailable_and_nothing_that_ended_is_sent() {
    let agent = Agent::with([Behaviour::Refuse; 100], WorkloadApiConfig::default()).await;
    agent.rules.set(&[workload("a")]);
    let mut client = agent.client().await;
    let mut stream = client.fetch_x509svid(call(X509svidRequest {})).await.unwrap().into_inner();
    let clock = agent.ca.clock.clone();
    let ticking = tokio::spawn(async move {
        loop {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            clock.advance(Duration::from_secs(1));
        }
    });
    let status = next(&mut stream).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    ticking.abort();

    // One that had a certificate, and then the CA stays away.
    let plan = std::iter::once(Behaviour::Well).chain([Behaviour::Refuse; 1000]);
    let agent = Agent::with(plan, WorkloadApiConfig::default()).await;
    agent.rules.set(&[workload("a")]);
    let mut stream = agent.client().await.fetch_x509svid(call(X509svidRequest {})).await.unwrap().into_inner();
    next(&mut stream).await.unwrap();
    agent.ca.clock.advance(Duration::from_secs(601));
    let status = next(&mut stream).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("ended"), "{status}");
}

#[tokio::test]
async fn streams_are_bounded_and_a_missing_profile_is_named() {
    let mut config = WorkloadApiConfig::default();
    config.max_streams = 1;
    let agent = Agent::with([], config).await;
    let mut client = agent.client().await;
    let mut first = client.fetch_x509_bundles(call(X509BundlesRequest {})).await.unwrap().into_inner();
    next(&mut first).await.unwrap();
    let refused = client.fetch_x509svid(call(X509svidRequest {})).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    drop(first);
    let mut tries = 0;
    while client.fetch_x509_bundles(call(X509BundlesRequest {})).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        tries += 1;
        assert!(tries < 500, "a stream that ended gives its place back");
    }

    let pool = IdentityPool::new(
        IdentityPoolConfig::default().with_max_identities(1),
        Arc::new(IssuerSource::new(agent.ca.issuer.clone())),
        agent.ca.clock(),
    );
    let in_use = pool.identity(&workload("a")).unwrap();
    assert_eq!(
        pool.identity(&workload("b")).unwrap_err().to_string(),
        "all 1 identities that may be held at once are in use"
    );
    drop(in_use);
    pool.identity(&workload("b")).unwrap();
    assert_eq!(pool.len(), 1, "an identity that nobody uses makes room");

    let api = WorkloadApi::new(agent.rules.clone(), Arc::new(pool), agent.bundles.subscribe(), agent.ca.clock());
    let socket = agent.folder.path().join("second");
    let incoming = unix_incoming(&socket, SocketLimits::default()).unwrap();
    tokio::spawn(tonic::transport::Server::builder().add_service(api.into_server()).serve_with_incoming(incoming));
    let mut client = SpiffeWorkloadApiClient::new(channel(&socket).await);
    let request = JwtsvidRequest { audience: vec!["x".into()], spiffe_id: String::new() };
    assert_eq!(client.fetch_jwtsvid(call(request)).await.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(client.fetch_jwt_bundles(call(JwtBundlesRequest {})).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn the_socket_is_taken_over_only_from_the_dead() {
    let agent = Agent::new().await;
    let mode = std::fs::metadata(agent.socket()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o666);
    let refused = unix_incoming(&agent.socket(), SocketLimits::default()).err().expect("somebody listens there");
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    let file = agent.folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let refused = unix_incoming(&file, SocketLimits::default()).err().expect("that is no socket");
    assert!(refused.to_string().contains("no socket"), "{refused}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");

    let stale = agent.folder.path().join("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(stale.exists(), "what a killed process leaves behind");
    let incoming = unix_incoming(&stale, SocketLimits::default()).unwrap();
    drop(incoming);
    let mut tries = 0;
    while stale.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        tries += 1;
        assert!(tries < 1000, "the socket goes with the server");
    }
    agent.server.abort();
}

#[tokio::test]
async fn unix_peers_are_known_by_user_and_group() {
    let peer = |uid, gid| RequestFacts::new().with_unix_peer(UnixPeer { uid, gid, pid: Some(1) });
    let mut both = UnixPeerRule::user(1, [workload("a")]);
    both.gid = Some(2);
    let mut empty = UnixPeerRule::user(1, [workload("admin")]);
    empty.uid = None;
    let authenticator = UnixPeerAuthenticator::new([both, empty]);
    let bad = [("another user", peer(3, 2)), ("another group", peer(1, 3)), ("root", peer(0, 0))];
    conformance::check_authenticator(&authenticator, &peer(1, 2), &workload("a"), &bad).await;
    let rules =
        [UnixPeerRule::user(1, [workload("b"), workload("a")]), UnixPeerRule::group(2, [workload("a"), workload("c")])];
    let known = UnixPeerAuthenticator::new(rules).authenticate(&peer(1, 2)).await.unwrap();
    assert_eq!(known.ids, [workload("b"), workload("a"), workload("c")], "all rules that fit, each id once");
}
