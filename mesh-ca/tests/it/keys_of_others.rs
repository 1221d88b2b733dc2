//! Keys of token issuers, from files, addresses and OpenID providers, kept fresh.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use mesh_ca::{
    authn::{
        Authenticator, AuthnError, JwksConfig, JwksLocation, JwksSource, JwtAuthenticator, JwtConfig, JwtKey,
        JwtKeyError, JwtKeySource, RequestFacts,
    },
    clock::{Clock, ManualClock},
};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SigningKey};
use serde_json::{Value, json};

use crate::{
    fixture::{trust_domain, workload},
    web::Web,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A key of an issuer that is not ours.
struct Signer {
    id: &'static str,
    key: KeyPair,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        Self { id, key: KeyPair::generate_for(&PKCS_ED25519).unwrap() }
    }

    /// RFC 8037.
    fn jwk(&self) -> Value {
        let x = BASE64URL.encode(self.key.der_bytes());
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.id, "x": x })
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "kid": self.id });
        let signed = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
        let signature = self.key.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64URL.encode(signature))
    }
}

fn set(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|s| s.jwk()).collect::<Vec<_>>() }).to_string()
}

/// The claims of a projected token as Kubernetes 1.32 writes them.
fn claims(clock: &ManualClock, issuer: &str) -> Value {
    let now = clock.now().wall.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    json!({
        "aud": ["istio-ca"], "exp": now + 3607, "iat": now, "nbf": now, "iss": issuer,
        "jti": "ea28ed49-2e11-4280-9ec5-bc3d1d84661a",
        "kubernetes.io": {
            "namespace": "default",
            "node": { "name": "127.0.0.1", "uid": "58456cb0-dd00-45ed-b797-5578fdceaced" },
            "pod": { "name": "reviews-69cbfb9798-jv9gn", "uid": "778a530c-b3f4-47c0-9cd5-ab018fb64f33" },
            "serviceaccount": { "name": "reviews", "uid": "a087d5a0-e1dd-43ec-93ac-f13d89cd13af" },
            "warnafter": now + 3607,
        },
        "sub": "system:serviceaccount:default:reviews",
    })
}

fn config() -> JwksConfig {
    let mut config = JwksConfig::default();
    config.jitter = 0.0;
    config
}

struct World {
    web: Web,
    clock: ManualClock,
    source: Arc<JwksSource>,
    authenticator: JwtAuthenticator,
    issuer: String,
}

impl World {
    async fn new(documents: &str, headers: &[(&'static str, &str)]) -> Self {
        let web = Web::start().await;
        web.set("/keys", 200, headers, documents);
        let location = JwksLocation::Url { url: web.url("/keys"), roots: web.roots.clone() };
        Self::at(web, location, "https://issuer.example".into())
    }

    fn at(web: Web, location: JwksLocation, issuer: String) -> Self {
        let clock = ManualClock::system();
        let source = Arc::new(JwksSource::spawn(location, config(), Arc::new(clock.clone())));
        let config = JwtConfig::new(&issuer, trust_domain());
        let authenticator = JwtAuthenticator::with_source(config, source.clone(), Arc::new(clock.clone()));
        Self { web, clock, source, authenticator, issuer }
    }

    async fn call(&self, signer: &Signer) -> Result<(), AuthnError> {
        self.present(&signer.sign(&claims(&self.clock, &self.issuer))).await
    }

    async fn present(&self, token: &str) -> Result<(), AuthnError> {
        let facts = RequestFacts::new().with_token(token);
        let seen = self.authenticator.authenticate(&facts).await?;
        assert_eq!(seen.ids, [workload("reviews")]);
        Ok(())
    }

    /// Moves the clock once the background task waits on it, and waits for what that causes.
    async fn pass(&self, time: Duration, looks: u64) {
        let before = self.source.state().looks;
        self.clock.advance(time);
        for _ in 0..2000 {
            if self.source.state().looks >= before + looks {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("{looks} looks after {time:?}: {:?}", self.source.state());
    }
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_once_and_not_too_often() {
    let (first, second, third) = (Signer::new("1"), Signer::new("2"), Signer::new("3"));
    let world = World::new(&set(&[&first]), &[]).await;
    world.call(&first).await.unwrap();
    assert_eq!(world.web.asked("/keys"), 1);
    world.web.set("/keys", 200, &[], set(&[&first, &second]));
    // Within the least interval nobody looks; strangers cannot make us.
    for _ in 0..20 {
        assert!(matches!(world.call(&second).await, Err(AuthnError::Refused { .. })));
    }
    assert_eq!(world.web.asked("/keys"), 1);
    world.clock.advance(Duration::from_secs(6));
    // Many at once share one look.
    let calls = (0..20).map(|_| world.call(&second));
    for outcome in futures::future::join_all(calls).await {
        outcome.unwrap();
    }
    assert_eq!(world.web.asked("/keys"), 2);
    // A key that is known does not make us look again when a signature does not fit, and neither does another issuer.
    world.clock.advance(Duration::from_secs(6));
    let impostor = Signer::new("1");
    assert!(world.call(&impostor).await.is_err());
    let foreign = third.sign(&claims(&world.clock, "https://other.example"));
    let refused = world.present(&foreign).await.unwrap_err();
    assert!(refused.to_string().contains("issuer"), "{refused}");
    assert_eq!(world.web.asked("/keys"), 2);
}

#[tokio::test]
async fn an_outage_is_survived_for_a_time() {
    let signer = Signer::new("1");
    let world = World::new(&set(&[&signer]), &[]).await;
    world.call(&signer).await.unwrap();
    for (status, body) in [(500, ""), (200, "{\"keys\":[]}"), (200, "<html>")] {
        world.web.set("/keys", status, &[], body);
        world.pass(Duration::from_secs(301), 1).await;
        world.call(&signer).await.unwrap();
        assert!(world.source.state().last_error.is_some());
    }
    world.pass(24 * HOUR, 1).await;
    let gone = world.call(&signer).await.unwrap_err();
    assert!(matches!(gone, AuthnError::Unavailable { .. }), "too old: nobody can say, {gone:?}");
    world.web.set("/keys", 200, &[], set(&[&signer]));
    world.pass(Duration::from_secs(301), 1).await;
    world.call(&signer).await.unwrap();
}

#[tokio::test]
async fn the_server_says_how_often() {
    let signer = Signer::new("1");
    for (header, stays, looks_after) in [("max-age=600", 599, 601), ("no-cache", 9, 11), ("max-age=999999", 3599, 3601)]
    {
        let world = World::new(&set(&[&signer]), &[("cache-control", header)]).await;
        world.call(&signer).await.unwrap();
        world.clock.advance(Duration::from_secs(stays));
        world.call(&signer).await.unwrap();
        assert_eq!(world.web.asked("/keys"), 1, "{header}");
        world.pass(Duration::from_secs(looks_after - stays), 1).await;
        assert_eq!(world.web.asked("/keys"), 2, "{header}");
    }
}

#[tokio::test]
async fn an_openid_provider_says_where_its_keys_are() {
    let signer = Signer::new("1");
    let web = Web::start().await;
    let issuer = format!("https://localhost:{}/realm", web.address.port());
    let at = "/realm/.well-known/openid-configuration";
    let keys = web.url("/elsewhere").to_string();
    let configuration = |issuer: &str| {
        json!({ "issuer": issuer, "jwks_uri": keys, "response_types_supported": ["id_token"] }).to_string()
    };
    web.set("/elsewhere", 200, &[], set(&[&signer]));
    web.set(at, 200, &[], configuration(&issuer));
    let location = JwksLocation::Discovery { issuer: issuer.clone(), roots: web.roots.clone() };
    let world = World::at(web, location.clone(), issuer);
    world.call(&signer).await.unwrap();

    // OpenID Connect Discovery 1.0 section 4.3: who it says it is must be who was asked.
    world.web.set(at, 200, &[], configuration("https://other.example"));
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let refused = JwksSource::spawn(location, config(), clock).keys().await.unwrap_err();
    assert!(refused.to_string().contains("https://other.example"), "{refused}");
}

#[tokio::test]
async fn a_file_may_change() {
    let (first, second) = (Signer::new("1"), Signer::new("2"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, set(&[&first])).unwrap();
    let world = World::at(Web::start().await, JwksLocation::File(path.clone()), "https://issuer.example".into());
    world.call(&first).await.unwrap();
    std::fs::write(&path, set(&[&second])).unwrap();
    world.pass(Duration::from_secs(11), 1).await;
    world.call(&second).await.unwrap();
    assert!(world.call(&first).await.is_err(), "withdrawn");
    std::fs::remove_file(&path).unwrap();
    world.pass(Duration::from_secs(11), 1).await;
    world.call(&second).await.unwrap();
}

#[tokio::test]
async fn projected_tokens_must_agree_with_themselves() {
    let signer = Signer::new("1");
    let world = World::new(&set(&[&signer]), &[]).await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims(&world.clock, &world.issuer);
        change(&mut claims);
        signer.sign(&claims)
    };
    world.present(&with(&|c| c["aud"] = json!("istio-ca"))).await.unwrap();
    world.present(&with(&|c| _ = c.as_object_mut().unwrap().remove("kubernetes.io"))).await.unwrap();
    for (name, token) in [
        ("audience", with(&|c| c["aud"] = json!(["https://kubernetes.default.svc"]))),
        ("audience", with(&|c| c["aud"] = json!([]))),
        ("expired", with(&|c| c["exp"] = json!(1))),
        ("kubernetes.io", with(&|c| c["kubernetes.io"]["namespace"] = json!("other"))),
        ("kubernetes.io", with(&|c| c["kubernetes.io"]["serviceaccount"]["name"] = json!("other"))),
        ("subject", with(&|c| c["sub"] = json!("system:node:reviews"))),
        ("claim", with(&|c| _ = c.as_object_mut().unwrap().remove("exp"))),
        ("claim", with(&|c| _ = c.as_object_mut().unwrap().remove("sub"))),
    ] {
        let refused = world.present(&token).await.unwrap_err();
        assert!(refused.to_string().contains(name), "{name}: {refused}");
    }
}

#[test]
fn key_sets() {
    let ed = Signer::new("ed").jwk();
    let read = |keys: Value| JwtKey::all_from_jwks(json!({ "keys": keys }).to_string().as_bytes());
    let point = |key: &KeyPair| {
        let bytes = key.der_bytes()[1..].to_vec();
        let (x, y) = bytes.split_at(bytes.len() / 2);
        (BASE64URL.encode(x), BASE64URL.encode(y))
    };
    let (x, y) = point(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
    let (x3, y3) = point(&KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
    let good = json!([
        ed,
        { "kty": "EC", "crv": "P-256", "kid": "a", "x": x, "y": y, "x5t": "ignored" },
        { "kty": "EC", "crv": "P-384", "alg": "ES384", "x": x3, "y": y3 },
        { "kty": "RSA", "alg": "PS512", "kid": "r", "n": BASE64URL.encode([0xff; 256]), "e": "AQAB" },
    ]);
    assert_eq!(
        read(good).unwrap().iter().map(JwtKey::id).collect::<Vec<_>>(),
        [Some("ed"), Some("a"), None, Some("r")]
    );
    // RFC 7517 section 5: what is not understood is passed over.
    let others = json!([
        ed,
        { "kty": "oct", "k": "c2VjcmV0" },
        { "kty": "EC", "crv": "P-256", "use": "enc", "x": x, "y": y },
        { "kty": "EC", "crv": "secp256k1", "x": x, "y": y },
        { "kty": "EC", "crv": "P-256", "alg": "RS256", "x": x, "y": y },
        { "kty": "EC", "crv": "P-256", "x": x },
        { "kty": "RSA", "alg": "HS256", "n": "AQAB", "e": "AQAB" },
        { "kty": 7 },
        "text",
    ]);
    assert_eq!(read(others).unwrap().len(), 1);
    assert_eq!(read(json!([])).unwrap_err(), JwtKeyError::NoneUsable);
    assert_eq!(read(json!(vec![ed; 65])).unwrap_err(), JwtKeyError::TooMany(65));
    assert!(matches!(JwtKey::all_from_jwks(b"{}"), Err(JwtKeyError::Set(_))));
    assert!(matches!(JwtKey::all_from_jwks(&vec![b' '; 300_000]), Err(JwtKeyError::Set(_))));
}
