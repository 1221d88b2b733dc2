//! Whatever is bad about a request for a certificate: its gRPC code, and the line in the audit.

use std::{sync::Arc, time::Duration};

use mesh_ca::{
    api::{IstioCertificateRequest, istio_certificate_service_server::IstioCertificateService},
    audit::{AuditOutcome, AuditRecord, MemoryAudit},
    authn::{
        Authenticator, AuthenticatorChain, ClientCertAuthenticator, JoinTokens, JwtAuthenticator, JwtConfig,
        MemoryJoinTokens, TokenMinter, TokenRequest,
    },
    clock::{Clock, ManualClock},
    issuer::{Csr, IssuerBundles, RevocationReason, store::MemoryStore},
    server::{CertificateService, PeerCertificates, PeerInfo},
    spiffe::{KeyType, PrivateKey, SpiffeId},
};
use rustls_pki_types::CertificateDer;
use tonic::{Code, Request};

use crate::{
    fixture::{trust_domain, workload},
    fleet::{Fleet, config},
    openssl,
};

const ISSUER: &str = "https://mesh.example";
const HOUR: Duration = Duration::from_secs(3600);

struct Plane {
    /// Its members `w0`, `w1` ... hold certificates.
    fleet: Fleet,
    clock: ManualClock,
    joins: JoinTokens,
    keys: MemoryStore,
    audit: Arc<MemoryAudit>,
    service: CertificateService,
}

#[derive(Default)]
struct Ask {
    token: Option<String>,
    shown: Vec<CertificateDer<'static>>,
    csr: String,
}

impl Plane {
    async fn new() -> Self {
        let fleet = Fleet::new(3, config()).await;
        let (clock, keys) = (fleet.clock.clone(), MemoryStore::default());
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let minter = TokenMinter::open(&keys, ISSUER, shared.clone()).await.unwrap();
        let joins = JoinTokens::new(Arc::new(MemoryJoinTokens::default()), shared.clone());
        let bundles = Arc::new(IssuerBundles(fleet.ca().clone()));
        let all: [Arc<dyn Authenticator>; 3] = [
            Arc::new(ClientCertAuthenticator::new(trust_domain(), bundles, shared.clone())),
            Arc::new(joins.clone()),
            Arc::new(JwtAuthenticator::new(
                JwtConfig::new(ISSUER, trust_domain()),
                [minter.verification_key().unwrap()],
                shared.clone(),
            )),
        ];
        let audit = Arc::new(MemoryAudit::default());
        let service = CertificateService::new(fleet.ca().clone(), Arc::new(AuthenticatorChain::new(all)), shared)
            .with_audit(audit.clone());
        Self { fleet, clock, joins, keys, audit, service }
    }

    /// A token of a maker whose clock differs.
    async fn token(&self, ahead: Duration, behind: Duration) -> String {
        let clock = ManualClock::new(self.clock.now().wall + ahead - behind);
        let minter = TokenMinter::open(&self.keys, ISSUER, Arc::new(clock)).await.unwrap();
        minter.mint(&TokenRequest::new("default", "w0").with_lifetime(HOUR)).unwrap().expose().to_owned()
    }

    async fn call(&self, ask: Ask) -> (Code, AuditRecord) {
        let message = IstioCertificateRequest { csr: ask.csr, validity_duration: 600, metadata: None };
        let mut call = Request::new(message);
        if let Some(token) = ask.token {
            call.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        call.extensions_mut().insert(PeerInfo::new(PeerCertificates(ask.shown.into()), None));
        let before = self.audit.records().len();
        let answer = self.service.create_certificate(call).await;
        let mut records = self.audit.records();
        assert_eq!(records.len(), before + 1, "one line for each call");
        (answer.map_or_else(|s| s.code(), |_| Code::Ok), records.pop().unwrap())
    }

    async fn refused(&self, what: &str, ask: Ask, code: Code, name: &str, words: &str) {
        let (got, record) = self.call(ask).await;
        let AuditOutcome::Refused { code: told, reason } = &record.outcome else { panic!("{what}: {record:?}") };
        assert_eq!((got, *told), (code, name), "{what}: {reason}");
        assert!(reason.contains(words), "{what}: {reason}");
    }

    fn chain(&self, member: usize) -> Vec<CertificateDer<'static>> {
        self.fleet.members[member].as_ref().unwrap().svid.chain().to_vec()
    }
}

fn csr(id: &SpiffeId) -> String {
    Csr::create_pem(&PrivateKey::generate(KeyType::EcdsaP256).unwrap(), id, &[]).unwrap()
}

/// A request whose signature differs in one bit: well formed, and no proof.
fn forged(id: &SpiffeId) -> String {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let body: String = csr(id).lines().filter(|line| !line.starts_with('-')).collect();
    let mut der = base64.decode(body).unwrap();
    *der.last_mut().unwrap() ^= 1;
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", base64.encode(der))
}

#[tokio::test]
async fn requests_are_refused_by_code_and_with_a_line() {
    let plane = Plane::new().await;
    let (w0, zero) = (workload("w0"), Duration::ZERO);
    let token = plane.token(zero, zero).await;
    let with = |token: &str, csr: String| Ask { token: Some(token.to_owned()), csr, ..Ask::default() };
    let (code, record) = plane.call(with(&token, csr(&w0))).await;
    assert_eq!(code, Code::Ok, "the same with nothing bad: {record:?}");

    let folder = tempfile::tempdir().unwrap();
    let made =
        |key: &[&str], more: &str| openssl::request(folder.path(), key, &format!("subjectAltName=URI:{w0}{more}"));
    let p256 = &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    use Code::{InvalidArgument, PermissionDenied, Unauthenticated};
    let cases = [
        ("wrong proof of possession", forged(&w0), InvalidArgument, "INVALID_ARGUMENT", "proof of possession"),
        ("foreign id", csr(&workload("w1")), PermissionDenied, "PERMISSION_DENIED", "sa/w1"),
        ("foreign name", made(p256, ",DNS:example.com"), PermissionDenied, "PERMISSION_DENIED", "example.com"),
        (
            "CA bit",
            made(p256, "\nbasicConstraints=critical,CA:TRUE"),
            PermissionDenied,
            "PERMISSION_DENIED",
            "CA certificate",
        ),
        ("small key", made(&["rsa:1024"], ""), InvalidArgument, "INVALID_ARGUMENT", "1024 bits"),
        ("oversize", "x".repeat(20_000), InvalidArgument, "INVALID_ARGUMENT", "at most 16384"),
        ("no CSR", String::new(), InvalidArgument, "INVALID_ARGUMENT", "PKCS #10"),
    ];
    for (what, csr, code, name, words) in cases {
        plane.refused(what, with(&token, csr), code, name, words).await;
    }

    // The clocks of token maker and CA may differ by half a minute, and not more.
    let seconds = Duration::from_secs;
    for (ahead, behind, words) in [
        (seconds(25), zero, None),
        (seconds(40), zero, Some("not valid yet")),
        (zero, HOUR + seconds(25), None),
        (zero, HOUR + seconds(40), Some("expired")),
    ] {
        let ask = with(&plane.token(ahead, behind).await, csr(&w0));
        match words {
            None => assert_eq!(plane.call(ask).await.0, Code::Ok, "{ahead:?} {behind:?}"),
            Some(words) => plane.refused("clock skew", ask, Unauthenticated, "UNAUTHENTICATED", words).await,
        }
    }

    // A join token lets in once.
    let join = plane.joins.create(w0.clone(), HOUR).await.unwrap();
    assert_eq!(plane.call(with(join.expose(), csr(&w0))).await.0, Code::Ok);
    let again = with(join.expose(), csr(&w0));
    plane.refused("replayed join token", again, Unauthenticated, "UNAUTHENTICATED", "used already").await;
    assert!(!format!("{:?}", plane.audit.records()).contains(join.expose()), "no secret is in a line");
    let unproven = Ask { csr: csr(&w0), ..Ask::default() };
    plane.refused("no proof", unproven, Unauthenticated, "UNAUTHENTICATED", "no credential").await;
}

#[tokio::test]
async fn certificates_that_are_no_proof_any_more_are_refused() {
    let plane = Plane::new().await;
    let show = |shown, account: &str| Ask { shown, csr: csr(&workload(account)), ..Ask::default() };
    assert_eq!(plane.call(show(plane.chain(0), "w0")).await.0, Code::Ok);
    let (code, name) = (Code::Unauthenticated, "UNAUTHENTICATED");
    plane.fleet.ca().revoke(&plane.fleet.serial(1), RevocationReason::KeyCompromise).await.unwrap();
    plane.refused("revoked", show(plane.chain(1), "w1"), code, name, "revoked").await;
    let other = Fleet::new(1, config()).await;
    let foreign = other.members[0].as_ref().unwrap().svid.chain().to_vec();
    plane.refused("of another CA", show(foreign, "w0"), code, name, "client certificate").await;
    plane.clock.advance(plane.fleet.lifetime + Duration::from_secs(1));
    plane.refused("ended", show(plane.chain(2), "w2"), code, name, "expired").await;
}
