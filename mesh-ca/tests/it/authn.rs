//! Who is let in, and who is not.

use std::{sync::Arc, time::Duration};

use mesh_ca::{
    authn::{
        Authenticator, AuthenticatorChain, AuthnError, BearerToken, ClientCertAuthenticator, JwtAuthenticator,
        JwtConfig, JwtKey, ProofKind, RequestFacts, TokenMinter, TokenRequest, conformance,
    },
    clock::ManualClock,
    issuer::{CaStore, StoreItem, store::MemoryStore},
    spiffe::{BundleSource, KeyType, PrivateKey, TrustDomain},
};

use crate::fixture::{Ca, trust_domain, workload};

const ISSUER: &str = "https://mesh.example";

async fn minter(clock: &ManualClock) -> TokenMinter {
    TokenMinter::open(&MemoryStore::default(), ISSUER, Arc::new(clock.clone())).await.unwrap()
}

fn authenticator(minter: &TokenMinter, clock: &ManualClock) -> JwtAuthenticator {
    let config = JwtConfig::new(ISSUER, trust_domain());
    JwtAuthenticator::new(config, [minter.verification_key().unwrap()], Arc::new(clock.clone()))
}

fn with(token: &BearerToken) -> RequestFacts {
    RequestFacts::new().with_token(token.expose())
}

/// The token with its payload or signature changed.
fn tampered(token: &BearerToken, part: usize) -> RequestFacts {
    let mut parts: Vec<String> = token.expose().split('.').map(str::to_owned).collect();
    let flipped = if parts[part].starts_with('A') { "B" } else { "A" };
    parts[part].replace_range(0..1, flipped);
    RequestFacts::new().with_token(parts.join("."))
}

#[tokio::test]
async fn join_tokens() {
    let clock = ManualClock::system();
    let minter = minter(&clock).await;
    let request = TokenRequest::new("default", "reviews");
    let good = minter.mint(&request).unwrap();
    assert!(!format!("{good:?}").contains(good.expose()));

    let foreign = TokenMinter::open(&MemoryStore::default(), ISSUER, Arc::new(clock.clone())).await.unwrap();
    let late = ManualClock::system();
    late.set_wall(std::time::SystemTime::now() + Duration::from_secs(600));
    let store = MemoryStore::default();
    let other_issuer = TokenMinter::open(&store, "https://other.example", Arc::new(clock.clone())).await.unwrap();
    let same_key = JwtAuthenticator::new(
        JwtConfig::new(ISSUER, trust_domain()),
        [other_issuer.verification_key().unwrap()],
        Arc::new(clock.clone()),
    );
    let wrong_issuer = same_key.authenticate(&with(&other_issuer.mint(&request).unwrap())).await.unwrap_err();
    assert!(wrong_issuer.to_string().contains("issuer"), "{wrong_issuer}");

    let bad = [
        ("foreign key", with(&foreign.mint(&request).unwrap())),
        ("other audience", with(&minter.mint(&request.clone().with_audience("vault")).unwrap())),
        ("changed payload", tampered(&good, 1)),
        ("changed signature", tampered(&good, 2)),
        ("not a token", RequestFacts::new().with_token("hello")),
        ("empty", RequestFacts::new().with_token("")),
        ("no algorithm", RequestFacts::new().with_token("eyJhbGciOiJub25lIn0.e30.")),
        ("too large", RequestFacts::new().with_token("x".repeat(20_000))),
        ("not valid yet", {
            let future = ManualClock::system();
            future.advance(Duration::from_secs(3600));
            let store = MemoryStore::default();
            let pem = PrivateKey::generate(KeyType::EcdsaP256).unwrap().to_pem();
            store.create(StoreItem::TokenKey, pem.as_bytes()).await.unwrap();
            with(&TokenMinter::open(&store, ISSUER, Arc::new(future)).await.unwrap().mint(&request).unwrap())
        }),
    ];
    let authenticator = authenticator(&minter, &clock);
    conformance::check_authenticator(&authenticator, &with(&good), &workload("reviews"), &bad).await;

    clock.advance(Duration::from_secs(3600 + 31));
    let expired = authenticator.authenticate(&with(&good)).await.unwrap_err();
    assert!(expired.to_string().contains("expired"), "{expired}");
}

#[tokio::test]
async fn the_minter_keeps_its_key_and_checks_names() {
    let store = MemoryStore::default();
    let clock = Arc::new(ManualClock::system());
    let first = TokenMinter::open(&store, ISSUER, clock.clone()).await.unwrap();
    let token = first.mint(&TokenRequest::new("default", "a")).unwrap();
    let again = TokenMinter::open(&store, ISSUER, clock.clone()).await.unwrap();
    authenticator(&again, &clock).authenticate(&with(&token)).await.unwrap();
    for (namespace, account) in [("", "a"), ("a:b", "c"), ("a", "b/c"), ("a", "B"), ("a", "")] {
        assert!(first.mint(&TokenRequest::new(namespace, account)).is_err(), "{namespace} {account}");
    }
    store.replace(StoreItem::TokenKey, b"damaged").await.unwrap();
    let refused = TokenMinter::open(&store, ISSUER, clock).await.unwrap_err();
    assert!(refused.to_string().contains("token-key.pem"), "{refused}");
}

/// A token of Kubernetes' own kind: RS256, made by OpenSSL, verified with the issuer's public key.
#[tokio::test]
async fn tokens_signed_by_openssl_with_rsa() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    crate::openssl::run(folder.path(), &["genrsa", "-out", key.to_str().unwrap(), "2048"]);
    let public = crate::openssl::run(folder.path(), &["rsa", "-in", "key.pem", "-pubout"]);
    let clock = ManualClock::system();
    let claims = format!(
        r#"{{"iss":"{ISSUER}","sub":"system:serviceaccount:default:reviews","aud":"istio-ca","exp":{}}}"#,
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 600
    );
    let encode = |s: &str| URL_SAFE_NO_PAD.encode(s);
    let signed = format!("{}.{}", encode(r#"{"alg":"RS256","kid":"k1"}"#), encode(&claims));
    std::fs::write(folder.path().join("signed"), &signed).unwrap();
    crate::openssl::run(folder.path(), &["dgst", "-sha256", "-sign", "key.pem", "-out", "signature", "signed"]);
    let signature = URL_SAFE_NO_PAD.encode(std::fs::read(folder.path().join("signature")).unwrap());
    let facts = RequestFacts::new().with_token(format!("{signed}.{signature}"));

    let with_key = |id: &str| {
        let key = JwtKey::from_public_pem(Some(id.into()), public.as_bytes()).unwrap();
        JwtAuthenticator::new(JwtConfig::new(ISSUER, trust_domain()), [key], Arc::new(clock.clone()))
    };
    let seen = with_key("k1").authenticate(&facts).await.unwrap();
    assert_eq!(seen.ids, [workload("reviews")]);
    assert!(with_key("k2").authenticate(&facts).await.is_err(), "another key id is not tried");
}

#[tokio::test]
async fn client_certificates() {
    let ca = Ca::new().await;
    let svid = ca.svid(&workload("reviews"), Duration::from_secs(60)).await;
    let other_clock = ca.clock.clone();
    let stranger = Ca::of(TrustDomain::parse("other.example").unwrap(), other_clock.clone()).await;
    let id = mesh_ca::spiffe::SpiffeId::parse("spiffe://other.example/ns/a/sa/b").unwrap();
    let foreign = stranger.svid(&id, Duration::from_secs(60)).await;
    let impostor = Ca::of(trust_domain(), other_clock).await.svid(&workload("reviews"), Duration::from_secs(60)).await;

    let mut all = (*ca.bundles()).clone();
    all.insert((*mesh_ca::issuer::CertIssuer::trust_bundle(&*stranger.issuer)).clone());
    let bundles: Arc<dyn BundleSource> = Arc::new(Arc::new(all));
    let authenticator = ClientCertAuthenticator::new(trust_domain(), bundles, ca.clock());
    let facts = |s: &mesh_ca::spiffe::X509Svid| RequestFacts::new().with_peer_certificates(s.chain().to_vec());
    let bad = [("of a federated trust domain", facts(&foreign)), ("of another CA", facts(&impostor))];
    conformance::check_authenticator(&authenticator, &facts(&svid), &workload("reviews"), &bad).await;

    ca.clock.advance(Duration::from_secs(61));
    let expired = authenticator.authenticate(&facts(&svid)).await.unwrap_err();
    assert!(expired.to_string().contains("expired"), "{expired}");
}

#[tokio::test]
async fn a_chain_takes_the_first_proof_that_holds() {
    let ca = Ca::new().await;
    let minter = minter(&ca.clock).await;
    let jwt = Arc::new(authenticator(&minter, &ca.clock));
    let cert = Arc::new(ClientCertAuthenticator::new(trust_domain(), Arc::new(ca.bundles()), ca.clock()));
    let chain = AuthenticatorChain::new([jwt as Arc<dyn Authenticator>, cert]);
    let token = minter.mint(&TokenRequest::new("default", "a")).unwrap();
    let svid = ca.svid(&workload("b"), Duration::from_secs(60)).await;
    let both = with(&token).with_peer_certificates(svid.chain().to_vec());
    assert_eq!(chain.authenticate(&both).await.unwrap().ids, [workload("a")]);
    let bad_token_good_cert = RequestFacts::new().with_token("x").with_peer_certificates(svid.chain().to_vec());
    let seen = chain.authenticate(&bad_token_good_cert).await.unwrap();
    assert_eq!((seen.ids, seen.proof), (vec![workload("b")], ProofKind::ClientCertificate));
    assert!(matches!(chain.authenticate(&RequestFacts::new()).await, Err(AuthnError::NoProof(_))));
    let refused = chain.authenticate(&RequestFacts::new().with_token("x")).await;
    assert!(matches!(refused, Err(AuthnError::Refused { .. })), "{refused:?}");
    let nobody = AuthenticatorChain::new([]).authenticate(&both).await;
    assert!(matches!(nobody, Err(AuthnError::NoProof(_))));
}
