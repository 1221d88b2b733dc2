//! The CSR API over TLS: control plane and agents on loopback, over real gRPC.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mesh_ca::{
    agent::{AgentConfig, IssuerSource, RemoteCa, RemoteCaConfig, RotationConfig, TokenSource, WorkloadIdentity},
    api::{
        IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
        istio_certificate_service_server::IstioCertificateService,
    },
    audit::{AuditOutcome, MemoryAudit},
    authn::{
        Authenticator, AuthenticatorChain, ClientCertAuthenticator, JwtAuthenticator, JwtConfig, ProofKind,
        TokenMinter, TokenRequest,
    },
    issuer::{Csr, store::MemoryStore},
    server::{CertificateService, IncomingLimits, PeerCertificates, PeerInfo, ServiceMetrics, tls_incoming},
    spiffe::{KeyType, PrivateKey, SpiffeId, verify_pem},
    tls::{self, ClientAuth, PeerPolicy},
};
use prost_types::{Struct, Value, value::Kind};
use tokio::net::TcpListener;
use tonic::{Code, Request, transport::Server};

use crate::fixture::{Ca, trust_domain, workload};

const ISSUER: &str = "https://mesh.example";

struct ControlPlane {
    ca: Ca,
    minter: TokenMinter,
    audit: Arc<MemoryAudit>,
    metrics: Arc<ServiceMetrics>,
    service: CertificateService,
    _serving: Option<WorkloadIdentity>,
}

fn istiod() -> SpiffeId {
    SpiffeId::for_workload(&trust_domain(), "istio-system", "istiod").unwrap()
}

impl ControlPlane {
    async fn new() -> Self {
        let ca = Ca::new().await;
        let minter = TokenMinter::open(&MemoryStore::default(), ISSUER, ca.clock()).await.unwrap();
        let keys = [minter.verification_key().unwrap()];
        let jwt = JwtAuthenticator::new(JwtConfig::new(ISSUER, trust_domain()), keys, ca.clock());
        let cert = ClientCertAuthenticator::new(trust_domain(), Arc::new(ca.bundles()), ca.clock());
        let chain = AuthenticatorChain::new([Arc::new(cert) as Arc<dyn Authenticator>, Arc::new(jwt)]);
        let audit = Arc::new(MemoryAudit::default());
        let service = CertificateService::new(ca.issuer.clone(), Arc::new(chain), ca.clock()).with_audit(audit.clone());
        Self { ca, minter, audit, metrics: service.metrics(), service, _serving: None }
    }

    /// Serves on loopback over TLS with a certificate of its own.
    async fn listen(&mut self) -> SocketAddr {
        let source = Arc::new(IssuerSource::new(self.ca.issuer.clone()));
        let config = AgentConfig::new(istiod()).with_dns_names(["localhost".to_owned()]);
        let serving = WorkloadIdentity::spawn(config, source, self.ca.clock());
        serving.watch().ready().await.unwrap();
        let mut config = tls::server_config(&serving.watch(), ClientAuth::Optional, PeerPolicy::AnyTrusted).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = tls_incoming(listener, Arc::new(config), IncomingLimits::default());
        let service = self.service.clone().into_server();
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        self._serving = Some(serving);
        address
    }

    fn token(&self, account: &str) -> String {
        self.minter.mint(&TokenRequest::new("default", account)).unwrap().expose().to_owned()
    }

    /// Calls the service itself, without a network.
    async fn call(&self, token: Option<&str>, request: IstioCertificateRequest) -> Result<Vec<String>, (Code, String)> {
        let mut call = Request::new(request);
        if let Some(token) = token {
            call.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let answer = self.service.create_certificate(call).await;
        answer.map(|a| a.into_inner().cert_chain).map_err(|s| (s.code(), s.message().to_owned()))
    }
}

fn request(id: &SpiffeId) -> IstioCertificateRequest {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let csr = Csr::create_pem(&key, id, &[]).unwrap();
    IstioCertificateRequest { csr, validity_duration: 60, metadata: None }
}

#[tokio::test]
async fn the_answer_has_the_leaf_first_and_the_root_last() {
    let plane = ControlPlane::new().await;
    let chain = plane.call(Some(&plane.token("a")), request(&workload("a"))).await.unwrap();
    assert_eq!(chain.len(), 2);
    let now = mesh_ca::clock::Clock::now(&plane.ca.clock).wall;
    let seen = verify_pem(chain[0].as_bytes(), None, chain[1].as_bytes(), now).unwrap();
    assert_eq!(seen.id, workload("a"));
    let left = seen.not_after.duration_since(now).unwrap();
    assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(58), "{left:?}");

    let records = plane.audit.records();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(record.proof, Some(ProofKind::Jwt));
    assert_eq!(record.caller.as_deref(), Some("system:serviceaccount:default:a"));
    let AuditOutcome::Issued { id, serial, not_after } = &record.outcome else { panic!("{record:?}") };
    assert_eq!((id, serial, *not_after), (&workload("a"), &seen.serial, seen.not_after));
}

#[tokio::test]
async fn every_refusal_has_its_code_a_count_and_a_record() {
    let plane = ControlPlane::new().await;
    let token = plane.token("a");
    let own = request(&workload("a"));
    let with = |change: &dyn Fn(&mut IstioCertificateRequest)| {
        let mut request = own.clone();
        change(&mut request);
        request
    };
    let impersonate = Struct {
        fields: [("ImpersonatedIdentity".to_owned(), Value { kind: Some(Kind::StringValue("x".into())) })].into(),
    };
    let cases = [
        ("no proof", None, own.clone(), Code::Unauthenticated),
        ("a bad token", Some("bad"), own.clone(), Code::Unauthenticated),
        ("somebody else", Some(token.as_str()), request(&workload("b")), Code::PermissionDenied),
        ("a node proxy", Some(&token), with(&|r| r.metadata = Some(impersonate.clone())), Code::PermissionDenied),
        ("no CSR", Some(&token), with(&|r| r.csr.clear()), Code::InvalidArgument),
        ("not a CSR", Some(&token), with(&|r| r.csr = "hello".into()), Code::InvalidArgument),
        ("a huge CSR", Some(&token), with(&|r| r.csr = "x".repeat(20_000)), Code::InvalidArgument),
    ];
    let mut expected = 0;
    for (name, token, request, code) in cases {
        let (got, message) = plane.call(token, request).await.expect_err(name);
        assert_eq!(got, code, "{name}: {message}");
        expected += 1;
        let records = plane.audit.records();
        assert_eq!(records.len(), expected, "{name}");
        assert!(matches!(records.last().unwrap().outcome, AuditOutcome::Refused { .. }), "{name}");
        if let Some(token) = token.filter(|t| t.len() > 20) {
            assert!(!format!("{records:?}").contains(token), "{name}: the record shows the token");
        }
    }
    let counted = plane.metrics.snapshot();
    assert_eq!((counted.unauthenticated, counted.permission_denied, counted.invalid_argument), (2, 2, 3));
    assert_eq!((counted.issued, counted.internal), (0, 0));

    // Our own fault is not told in detail.
    plane.ca.clock.advance(Duration::from_secs(11 * 365 * 86400));
    let late = plane.token("a");
    let (code, message) = plane.call(Some(&late), request(&workload("a"))).await.unwrap_err();
    assert_eq!(code, Code::Internal);
    assert!(!message.contains("expired"), "{message}");
    assert_eq!(plane.metrics.snapshot().internal, 1);
}

#[tokio::test]
async fn a_certificate_of_the_connection_renews_itself() {
    let plane = ControlPlane::new().await;
    let svid = plane.ca.svid(&workload("a"), Duration::from_secs(60)).await;
    let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let mut call = Request::new(request(&workload("a")));
    let certificates = PeerCertificates(svid.chain().to_vec().into());
    assert_eq!(PeerInfo::new(certificates.clone(), None).id(), Some(workload("a")));
    assert_eq!(PeerInfo::default().id(), None);
    call.extensions_mut().insert(PeerInfo::new(certificates.clone(), Some(address)));
    plane.service.create_certificate(call).await.unwrap();
    let record = plane.audit.records().pop().unwrap();
    assert_eq!((record.proof, record.peer), (Some(ProofKind::ClientCertificate), Some(address)));

    let mut other = Request::new(request(&workload("b")));
    other.extensions_mut().insert(PeerInfo::new(certificates, None));
    let refused = plane.service.create_certificate(other).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

fn agent(plane: &ControlPlane, address: SocketAddr, account: &str, token: TokenSource) -> WorkloadIdentity {
    let remote = RemoteCaConfig::new(address.to_string(), PeerPolicy::id(istiod())).with_token(token);
    // The clock of the test stands still: pauses are short in its time, and it is moved by hand.
    let config = AgentConfig::new(workload(account))
        .with_bundles((*plane.ca.bundles()).clone())
        .with_lifetime(Duration::from_secs(60))
        .with_rotation(RotationConfig::default());
    WorkloadIdentity::spawn(config, Arc::new(RemoteCa::new(remote, plane.ca.clock())), plane.ca.clock())
}

#[tokio::test]
async fn agents_get_and_renew_over_the_wire() {
    let mut plane = ControlPlane::new().await;
    let address = plane.listen().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, format!("{}\n", plane.token("a"))).unwrap();
    let identity = agent(&plane, address, "a", TokenSource::File(path.clone()));
    let watch = identity.watch();
    watch.ready().await.unwrap();
    // From now on the certificate is proof enough.
    std::fs::remove_file(&path).unwrap();
    plane.ca.clock.advance(Duration::from_secs(31));
    watch.subscribe().wait_for(|s| s.rotations == 2).await.unwrap();
    let proofs: Vec<_> = plane.audit.records().iter().map(|r| r.proof.unwrap()).collect();
    assert_eq!(proofs, [ProofKind::Jwt, ProofKind::ClientCertificate]);
    assert!(plane.audit.records().iter().all(|r| r.peer.is_some_and(|p| p.ip().is_loopback())));
    assert_eq!(plane.metrics.snapshot().issued, 2);
}

#[tokio::test]
async fn a_certificate_that_is_not_liked_falls_back_to_the_token() {
    let mut plane = ControlPlane::new().await;
    let address = plane.listen().await;
    let id = workload("a");
    let impostor = Ca::of(trust_domain(), plane.ca.clock.clone()).await;
    let token = TokenSource::Fixed(mesh_ca::authn::BearerToken::new(plane.token("a")));
    let remote = RemoteCaConfig::new(address.to_string(), PeerPolicy::id(istiod())).with_token(token);
    let source = RemoteCa::new(remote, plane.ca.clock());
    // The agent's request, with a certificate of a CA that is gone.
    #[derive(Debug)]
    struct WithOld(RemoteCa, Arc<mesh_ca::spiffe::X509Svid>);
    #[async_trait::async_trait]
    impl mesh_ca::agent::CertSource for WithOld {
        async fn fetch(
            &self,
            request: &mesh_ca::agent::CertRequest,
        ) -> Result<mesh_ca::agent::FetchedCertificate, mesh_ca::agent::SourceError> {
            let mut request = request.clone();
            request.current = Some(self.1.clone());
            self.0.fetch(&request).await
        }
    }
    let old = Arc::new(impostor.svid(&id, Duration::from_secs(60)).await);
    let config = AgentConfig::new(id).with_bundles((*plane.ca.bundles()).clone());
    let identity = WorkloadIdentity::spawn(config, Arc::new(WithOld(source, old)), plane.ca.clock());
    identity.watch().ready().await.unwrap();
    assert_eq!(plane.audit.records().last().unwrap().proof, Some(ProofKind::Jwt));
}

#[tokio::test]
async fn agents_refuse_a_false_control_plane_and_say_why_they_fail() {
    let mut plane = ControlPlane::new().await;
    let address = plane.listen().await;
    let token = || TokenSource::Fixed(mesh_ca::authn::BearerToken::new(plane.token("a")));
    let failing = |identity: WorkloadIdentity| async move {
        let watch = identity.watch();
        let state = watch.subscribe().wait_for(|s| s.failures > 0).await.unwrap().clone();
        state.last_error.as_deref().unwrap().to_owned()
    };
    // Whoever is there is not the control plane we look for.
    let wrong = RemoteCaConfig::new(address.to_string(), PeerPolicy::id(workload("other"))).with_token(token());
    let config = AgentConfig::new(workload("a")).with_bundles((*plane.ca.bundles()).clone());
    let identity = WorkloadIdentity::spawn(config, Arc::new(RemoteCa::new(wrong, plane.ca.clock())), plane.ca.clock());
    let reason = failing(identity).await;
    assert!(reason.contains("not allowed by the policy"), "{reason}");
    assert_eq!(plane.audit.records().len(), 0, "the token was not sent");

    let reason = failing(agent(&plane, address, "b", token())).await;
    assert!(reason.contains("may not have the id"), "{reason}");
    let reason = failing(agent(&plane, address, "a", TokenSource::None)).await;
    assert!(reason.contains("refused"), "{reason}");
    let reason = failing(agent(&plane, address, "a", TokenSource::File("/nowhere/token".into()))).await;
    assert!(reason.contains("/nowhere/token"), "{reason}");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let reason = failing(agent(&plane, closed, "a", token())).await;
    assert!(reason.contains("cannot be reached"), "{reason}");
}

#[tokio::test]
async fn the_remote_source_conforms() {
    let mut plane = ControlPlane::new().await;
    let address = plane.listen().await;
    let token = TokenSource::Fixed(mesh_ca::authn::BearerToken::new(plane.token("a")));
    let remote = RemoteCaConfig::new(address.to_string(), PeerPolicy::id(istiod())).with_token(token);
    let source = RemoteCa::new(remote, plane.ca.clock());
    let now = mesh_ca::clock::Clock::now(&plane.ca.clock).wall;
    mesh_ca::agent::conformance::check_source(&source, &workload("a"), plane.ca.bundles(), now).await;
}

/// Peers that connect and say nothing keep nobody else waiting.
#[tokio::test]
async fn silent_peers_do_not_block() {
    let mut plane = ControlPlane::new().await;
    let address = plane.listen().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    let token = TokenSource::Fixed(mesh_ca::authn::BearerToken::new(plane.token("a")));
    let identity = agent(&plane, address, "a", token);
    assert!(identity.watch().ready().await.is_some());
}

#[tokio::test]
async fn oversize_messages_are_refused_counted_and_recorded() {
    let mut plane = ControlPlane::new().await;
    let address = plane.listen().await;
    let bundles = Arc::new(plane.ca.bundles());
    let mut config = tls::client_config_without_identity(bundles, PeerPolicy::id(istiod()), &plane.ca.clock()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_with_connector(tower::service_fn(move |_| {
            let connector = connector.clone();
            async move {
                let tcp = tokio::net::TcpStream::connect(address).await?;
                let tls = connector.connect("localhost".try_into().unwrap(), tcp).await?;
                Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(tls))
            }
        }))
        .await
        .unwrap();
    let mut client = IstioCertificateServiceClient::new(channel);
    let big = IstioCertificateRequest { csr: "x".repeat(100_000), ..Default::default() };
    let refused = client.create_certificate(big).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("at most 65536 bytes"), "{refused}");
    assert_eq!(plane.metrics.snapshot().resource_exhausted, 1);
    let records = plane.audit.records();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert!(record.peer.is_some_and(|p| p.ip().is_loopback()), "{record:?}");
    assert!(matches!(record.outcome, AuditOutcome::Refused { code: "RESOURCE_EXHAUSTED", .. }), "{record:?}");

    // What reaches the service is refused there, and counted there only.
    let refused = client.create_certificate(request(&workload("a"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    assert_eq!((plane.audit.records().len(), plane.metrics.snapshot().unauthenticated), (2, 1));
}

/// OpenSSL's client knows the server by its chain, and the server knows it by a certificate of ours.
#[tokio::test]
async fn openssl_s_client_connects() {
    let mut plane = ControlPlane::new().await;
    let address = plane.listen().await;
    let folder = tempfile::tempdir().unwrap();
    let svid = plane.ca.svid(&workload("a"), Duration::from_secs(600)).await;
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("root.pem", &mesh_ca::issuer::CertIssuer::trust_bundle(&*plane.ca.issuer).to_pem());
    write("chain.pem", &svid.chain_pem());
    write("key.pem", &svid.key().to_pem());
    let out = tokio::task::spawn_blocking(move || {
        std::process::Command::new("openssl")
            .args(["s_client", "-connect", &address.to_string(), "-CAfile", "root.pem", "-verify_return_error"])
            .args(["-verify_hostname", "localhost", "-cert", "chain.pem", "-key", "key.pem", "-alpn", "h2", "-brief"])
            .current_dir(folder.path())
            .stdin(std::process::Stdio::null())
            .output()
            .expect("the tests need the openssl command; on Debian: apt-get install openssl")
    });
    let out = out.await.unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && text.contains("Verification: OK"), "{text}");
}
