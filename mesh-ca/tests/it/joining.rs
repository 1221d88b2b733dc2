//! Who comes for the first time, and who comes for others: join tokens, node proxies, a CA behind a CA; and what the audit
//! says of each.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use mesh_ca::{
    agent::{
        AgentConfig, CertRequest, CertSource, FetchedCertificate, IdentityWatch, IssuerSource, RemoteCa,
        RemoteCaConfig, SourceError, TokenSource, WorkloadIdentity, conformance as agent_conformance,
    },
    audit::{AuditOutcome, AuditRecord, AuditSink, JsonLinesAudit, MemoryAudit},
    authn::{
        Authenticator, AuthenticatorChain, BearerToken, ClientCertAuthenticator, DirectoryJoinTokens, JoinTokenError,
        JoinTokenStore, JoinTokens, MemoryJoinTokens, NodeProxies, NodeProxyRule, ProofKind, RequestFacts, conformance,
    },
    clock::{Clock, ManualClock},
    issuer::{
        CertIssuer, Csr, IssueError, IssueRequest, RemoteIssuer, RemoteIssuerConfig, conformance as issuer_conformance,
    },
    server::{CertificateService, IncomingLimits, tls_incoming},
    spiffe::{KeyType, PrivateKey, SpiffeId},
    tls::{self, ClientAuth, PeerPolicy},
};
use serde_json::Value;
use tokio::net::TcpListener;
use tonic::transport::Server;

use crate::fixture::{Ca, trust_domain, workload};

const HOUR: Duration = Duration::from_secs(3600);

fn with(token: &BearerToken) -> RequestFacts {
    RequestFacts::new().with_token(token.expose())
}

fn joins(store: Arc<dyn JoinTokenStore>, clock: &ManualClock) -> JoinTokens {
    JoinTokens::new(store, Arc::new(clock.clone()))
}

#[tokio::test]
async fn stores_keep_the_contract() {
    conformance::check_join_token_store(&MemoryJoinTokens::default()).await;
    let folder = tempfile::tempdir().unwrap();
    conformance::check_join_token_store(&DirectoryJoinTokens::open(folder.path().join("new")).unwrap()).await;
}

#[tokio::test]
async fn a_join_token_lets_in_once() {
    let clock = ManualClock::system();
    let folder = tempfile::tempdir().unwrap();
    let open = || joins(Arc::new(DirectoryJoinTokens::open(folder.path()).unwrap()), &clock);
    let tokens = open();
    let (good, late) =
        (tokens.create(workload("a"), HOUR).await.unwrap(), tokens.create(workload("b"), HOUR).await.unwrap());
    let (handle, secret) = good.expose().rsplit_once('.').unwrap();
    let other_secret = late.expose().rsplit_once('.').unwrap().1;
    let fact = |text: String| RequestFacts::new().with_token(text);
    let bad = [
        ("another secret", fact(format!("{handle}.{other_secret}"))),
        ("no secret", fact(handle.to_owned())),
        ("an unknown handle", fact(format!("mesh-join.AAAAAAAAAAAAAAAA.{secret}"))),
        ("a path", fact(format!("mesh-join.../../../../a.{secret}"))),
        ("a longer secret", fact(format!("{handle}.{secret}A"))),
    ];
    conformance::check_authenticator(&tokens, &with(&good), &workload("a"), &bad).await;
    let replayed = tokens.authenticate(&with(&good)).await.unwrap_err();
    assert!(replayed.to_string().contains("used already"), "{replayed}");
    // Also after a restart, and by another process at the same folder.
    assert!(open().authenticate(&with(&good)).await.unwrap_err().to_string().contains("used already"));
    for name in std::fs::read_dir(folder.path()).unwrap() {
        let text = std::fs::read_to_string(name.unwrap().path()).unwrap();
        assert!(!text.contains(secret) && !text.contains(other_secret), "the secret is not kept");
    }
    clock.advance(HOUR);
    assert!(tokens.authenticate(&with(&late)).await.unwrap_err().to_string().contains("expired"));
    tokens.create(workload("c"), HOUR).await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "what has ended is forgotten");
    assert!(tokens.authenticate(&with(&good)).await.unwrap_err().to_string().contains("not known"));
    let few = open().with_limit(1);
    assert!(matches!(few.create(workload("d"), HOUR).await, Err(JoinTokenError::TooMany(1))));
}

#[tokio::test]
async fn of_many_at_once_one_gets_in() {
    let clock = ManualClock::system();
    let folder = tempfile::tempdir().unwrap();
    let open = || joins(Arc::new(DirectoryJoinTokens::open(folder.path()).unwrap()), &clock);
    let token = open().create(workload("a"), HOUR).await.unwrap();
    let all: Vec<JoinTokens> = (0..16).map(|_| open()).collect();
    let facts = with(&token);
    let outcomes = futures::future::join_all(all.iter().map(|t| t.authenticate(&facts))).await;
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1, "{outcomes:?}");
}

/// A control plane with join tokens for workloads, and a node proxy that may ask for those of the namespace `default`.
struct Plane {
    ca: Ca,
    tokens: JoinTokens,
    audit: Arc<MemoryAudit>,
    _serving: WorkloadIdentity,
    address: SocketAddr,
}

fn istiod() -> SpiffeId {
    SpiffeId::for_workload(&trust_domain(), "istio-system", "istiod").unwrap()
}

fn ztunnel() -> SpiffeId {
    SpiffeId::for_workload(&trust_domain(), "istio-system", "ztunnel").unwrap()
}

impl Plane {
    async fn new(namespaces: &[&str]) -> Self {
        let ca = Ca::new().await;
        let tokens = joins(Arc::new(MemoryJoinTokens::default()), &ca.clock);
        let by_certificate = ClientCertAuthenticator::new(trust_domain(), Arc::new(ca.bundles()), ca.clock());
        let chain =
            AuthenticatorChain::new([Arc::new(by_certificate) as Arc<dyn Authenticator>, Arc::new(tokens.clone())]);
        let rule = namespaces.iter().fold(NodeProxyRule::new(), |r, n| r.with_namespace(trust_domain(), *n));
        let rule = rule.with_id(SpiffeId::parse("spiffe://cluster.local/ns/other/sa/named").unwrap());
        let audit = Arc::new(MemoryAudit::default());
        let service = CertificateService::new(ca.issuer.clone(), Arc::new(chain), ca.clock())
            .with_impersonation(Arc::new(NodeProxies::new([(ztunnel(), rule)])))
            .with_audit(audit.clone());
        let source = Arc::new(IssuerSource::new(ca.issuer.clone()));
        let serving = WorkloadIdentity::spawn(AgentConfig::new(istiod()), source, ca.clock());
        serving.watch().ready().await.unwrap();
        let mut config = tls::server_config(&serving.watch(), ClientAuth::Optional, PeerPolicy::AnyTrusted).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = tls_incoming(listener, Arc::new(config), IncomingLimits::default());
        tokio::spawn(Server::builder().add_service(service.into_server()).serve_with_incoming(incoming));
        Self { ca, tokens, audit, _serving: serving, address }
    }

    fn remote(&self) -> RemoteCaConfig {
        RemoteCaConfig::new(self.address.to_string(), PeerPolicy::id(istiod()))
    }

    async fn proxy(&self) -> IdentityWatch {
        let svid = self.ca.svid(&ztunnel(), HOUR).await;
        IdentityWatch::fixed(Some(Arc::new(svid)), self.ca.bundles(), self.ca.clock())
    }

    fn last(&self) -> AuditRecord {
        self.audit.records().pop().unwrap()
    }
}

fn ask(id: &SpiffeId, own: &IdentityWatch) -> CertRequest {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let mut request =
        CertRequest::new(Csr::create_pem(&key, id, &[]).unwrap(), id.clone(), own.state().bundles.clone());
    request.current = own.svid();
    request
}

#[tokio::test]
async fn a_workload_joins_and_then_renews_itself() {
    let plane = Plane::new(&[]).await;
    let token = plane.tokens.create(workload("web"), HOUR).await.unwrap();
    let remote = RemoteCa::new(plane.remote().with_token(TokenSource::Fixed(token.clone())), plane.ca.clock());
    let config = AgentConfig::new(workload("web")).with_bundles((*plane.ca.bundles()).clone()).with_lifetime(HOUR);
    let identity = WorkloadIdentity::spawn(config.clone(), Arc::new(remote), plane.ca.clock());
    identity.watch().ready().await.unwrap();
    assert_eq!(plane.last().proof, Some(ProofKind::JoinToken));
    identity.renew_now();
    let mut states = identity.watch().subscribe();
    states.wait_for(|s| s.rotations == 2).await.unwrap();
    assert_eq!(plane.last().proof, Some(ProofKind::ClientCertificate), "the token is used up, and not needed");

    // Somebody who has seen the token comes second.
    let thief = RemoteCa::new(plane.remote().with_token(TokenSource::Fixed(token)), plane.ca.clock());
    let mut request = ask(&workload("web"), &identity.watch());
    request.current = None;
    let refused = thief.fetch(&request).await.unwrap_err();
    assert!(matches!(&refused, SourceError::Refused(why) if why.contains("used already")), "{refused}");
    let AuditOutcome::Refused { code, reason } = plane.last().outcome else { panic!("{:?}", plane.last()) };
    assert_eq!(code, "UNAUTHENTICATED");
    assert!(reason.contains("join token refused"), "{reason}");
}

#[tokio::test]
async fn a_node_proxy_asks_for_those_it_may() {
    let plane = Plane::new(&["default"]).await;
    let proxy = plane.proxy().await;
    let remote = RemoteCa::new(plane.remote().acting_for_others(), plane.ca.clock());
    for id in [workload("web"), SpiffeId::parse("spiffe://cluster.local/ns/other/sa/named").unwrap()] {
        remote.fetch(&ask(&id, &proxy)).await.unwrap();
        let record = plane.last();
        assert!(matches!(&record.outcome, AuditOutcome::Issued { id: issued, .. } if *issued == id), "{record:?}");
        assert!(record.caller.unwrap().starts_with(ztunnel().as_str()), "the record says who asked");
    }
    let denied = async |remote: &RemoteCa, request: &CertRequest, why: &str| {
        let refused = remote.fetch(request).await.unwrap_err();
        assert!(matches!(&refused, SourceError::Refused(_)), "{refused}");
        let AuditOutcome::Refused { code, reason } = plane.last().outcome else { panic!("{:?}", plane.last()) };
        assert_eq!(code, "PERMISSION_DENIED", "{reason}");
        assert!(reason.contains(why), "{reason}");
    };
    let elsewhere = SpiffeId::parse("spiffe://cluster.local/ns/other/sa/web").unwrap();
    denied(&remote, &ask(&elsewhere, &proxy), "may not ask for").await;
    denied(&remote, &ask(&ztunnel(), &proxy), "may not ask for").await;
    // The names in the request are those of another one than is named beside it.
    let mut other = ask(&workload("a"), &proxy);
    other.id = workload("b");
    denied(&remote, &other, "not granted").await;
    // A workload that is no node proxy, and a node proxy that does not say for whom it asks.
    let nobody = plane.ca.identity("nobody").await;
    denied(&remote, &ask(&workload("web"), &nobody), "no node proxy").await;
    let plain = RemoteCa::new(plane.remote(), plane.ca.clock());
    denied(&plain, &ask(&workload("web"), &proxy), "may not have the id").await;
}

#[tokio::test]
async fn a_registration_authority_has_another_ca_sign() {
    let plane = Plane::new(&["conformance", "default"]).await;
    let proxy = plane.proxy().await;
    let remote = Arc::new(RemoteCa::new(plane.remote().acting_for_others(), plane.ca.clock()));
    let config = RemoteIssuerConfig::new(trust_domain());
    let issuer = RemoteIssuer::new(config, remote, proxy.clone(), plane.ca.clock());
    issuer_conformance::check_issuer(&issuer, plane.ca.clock.now().wall).await;
    assert_eq!(issuer.expires(), plane.ca.issuer.expires());
    agent_conformance::check_source(
        &IssuerSource::new(Arc::new(issuer)),
        &workload("web"),
        plane.ca.bundles(),
        plane.ca.clock.now().wall,
    )
    .await;
}

/// A CA that answers with what it is told to.
#[derive(Debug)]
struct Lying(Mutex<Vec<Result<FetchedCertificate, SourceError>>>);

#[async_trait]
impl CertSource for Lying {
    async fn fetch(&self, _request: &CertRequest) -> Result<FetchedCertificate, SourceError> {
        self.0.lock().unwrap().remove(0)
    }
}

#[tokio::test]
async fn what_a_remote_ca_answers_is_checked() {
    let (ca, stranger) = (Ca::new().await, Ca::new().await);
    let own = ca.identity("registration").await;
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let request = |lifetime| IssueRequest {
        csr: Csr::from_pem(&Csr::create_pem(&key, &workload("web"), &[]).unwrap()).unwrap(),
        id: workload("web"),
        dns_names: vec![],
        lifetime: Some(lifetime),
    };
    let answer = async |ca: &Ca, request: IssueRequest| {
        Ok(FetchedCertificate::new(ca.issuer.issue(request).await.unwrap().chain, vec![]))
    };
    let issue = async |answers: Vec<Result<FetchedCertificate, SourceError>>| {
        let source = Arc::new(Lying(Mutex::new(answers)));
        let mut config = RemoteIssuerConfig::new(trust_domain());
        config.pause = Duration::ZERO;
        RemoteIssuer::new(config, source, own.clone(), ca.clock()).issue(request(HOUR)).await
    };
    let issued = issue(vec![answer(&ca, request(HOUR)).await]).await.unwrap();
    assert_eq!((issued.id, issued.root), (workload("web"), ca.issuer.trust_bundle().roots()[0].certificate().clone()));

    let of_another = ca.svid(&workload("web"), HOUR).await.chain().to_vec();
    let mut other_id = request(HOUR);
    other_id.id = workload("other");
    other_id.csr = Csr::from_pem(&Csr::create_pem(&key, &other_id.id, &[]).unwrap()).unwrap();
    let mut with_dns = request(HOUR);
    with_dns.dns_names = vec!["example.com".into()];
    for (what, answered) in [
        ("public key", Ok(FetchedCertificate::new(of_another, vec![]))),
        ("identity", answer(&ca, other_id).await),
        ("list of DNS names", answer(&ca, with_dns).await),
        ("validity", answer(&ca, request(3 * HOUR)).await),
    ] {
        let refused = issue(vec![answered]).await.unwrap_err();
        assert!(matches!(refused, IssueError::Mismatch(found) if found == what), "{what}: {refused}");
    }
    let foreign = issue(vec![answer(&stranger, request(HOUR)).await]).await.unwrap_err();
    assert!(matches!(foreign, IssueError::Verification(_)), "{foreign}");
    assert!(issue(vec![Ok(FetchedCertificate::new(vec![], vec![]))]).await.is_err(), "an empty chain");

    // Tries go on while it is away, and end when it says no.
    let away = || Err(SourceError::Unreachable("away".into()));
    issue(vec![away(), away(), answer(&ca, request(HOUR)).await]).await.unwrap();
    let gone = issue(vec![away(), away(), away()]).await.unwrap_err();
    assert!(matches!(gone, IssueError::Unavailable(_)), "{gone}");
    let no = issue(vec![Err(SourceError::Refused("no".into()))]).await.unwrap_err();
    assert!(matches!(no, IssueError::Sign(_)), "{no}");
}

#[tokio::test]
async fn another_instance_is_asked_when_one_is_away_or_hangs() {
    let plane = Plane::new(&[]).await;
    let web = plane.ca.identity("web").await;
    // One that nobody listens on, and one that takes connections and says nothing.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = plane.remote();
    config.address = closed.to_string();
    config.attempt_timeout = Duration::from_millis(300);
    let config = config.with_fallback(hangs.local_addr().unwrap().to_string()).with_fallback(plane.address.to_string());
    let remote = RemoteCa::new(config, plane.ca.clock());
    remote.fetch(&ask(&workload("web"), &web)).await.unwrap();
    let start = std::time::Instant::now();
    remote.fetch(&ask(&workload("web"), &web)).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(300), "who answered last is asked first");
    let refused = remote.fetch(&ask(&workload("other"), &web)).await.unwrap_err();
    assert!(matches!(refused, SourceError::Refused(_)), "a refusal is an answer: {refused}");
}

#[tokio::test]
async fn decisions_are_lines_of_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let lines = |name: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    };
    let plane = Plane::new(&["default"]).await;
    let token = plane.tokens.create(workload("web"), HOUR).await.unwrap();
    let remote = RemoteCa::new(plane.remote().with_token(TokenSource::Fixed(token.clone())), plane.ca.clock());
    let mut request = ask(&workload("web"), &plane.proxy().await);
    request.current = None;
    remote.fetch(&request).await.unwrap();
    remote.fetch(&request).await.unwrap_err();
    let records = plane.audit.records();

    let audit = JsonLinesAudit::open(&path).unwrap();
    records.iter().for_each(|r| audit.record(r));
    drop(audit);
    let [issued, refused] = &lines("audit.jsonl")[..] else { panic!("{:?}", lines("audit.jsonl")) };
    assert_eq!((&issued["outcome"], &issued["proof"]), (&"issued".into(), &"join-token".into()), "{issued}");
    assert_eq!(issued["id"], workload("web").as_str());
    let AuditOutcome::Issued { serial, .. } = &records[0].outcome else { panic!("{records:?}") };
    assert_eq!(issued["serial"], serial.as_str());
    for time in [&issued["time"], &issued["not_after"]] {
        assert!(time.as_str().unwrap().ends_with('Z') && time.as_str().unwrap().len() >= 20, "RFC 3339: {time}");
    }
    assert_eq!((&refused["outcome"], &refused["code"]), (&"refused".into(), &"UNAUTHENTICATED".into()));
    assert!(refused["reason"].as_str().unwrap().contains("used already"), "{refused}");
    assert!(refused["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{refused}");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(token.expose().rsplit('.').next().unwrap()), "no secret in it");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    // Appended to by the next process, and begun anew when it is moved away.
    let audit = JsonLinesAudit::open(&path).unwrap();
    audit.record(&records[0]);
    drop(audit);
    assert_eq!(lines("audit.jsonl").len(), 3);
    let audit = JsonLinesAudit::open(&path).unwrap();
    std::fs::rename(&path, folder.path().join("audit.1")).unwrap();
    records.iter().for_each(|r| audit.record(r));
    assert_eq!(audit.lost(), 0);
    drop(audit);
    let both = BTreeMap::from(["audit.1", "audit.jsonl"].map(|name| (name, lines(name).len())));
    assert_eq!(both, BTreeMap::from([("audit.1", 3), ("audit.jsonl", 2)]));
}
