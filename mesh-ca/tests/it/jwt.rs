//! JWT-SVIDs and bundle documents: each rule broken on its own, and OpenSSL as the other signer.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use mesh_ca::{
    clock::{Clock, ManualClock},
    issuer::{
        CertIssuer, JwtIssuer, JwtRequest, JwtSigner, JwtSignerConfig, JwtSignerError, conformance, store::MemoryStore,
    },
    spiffe::{
        JwtAuthority, JwtBundle, JwtBundles, JwtRule, JwtSvid, KeyType, PrivateKey, SpiffeBundle, SpiffeId,
        TrustBundle, TrustDomain,
    },
};
use serde_json::{Value, json};

use crate::{
    fixture::{Ca, trust_domain, workload},
    openssl::run,
};

/// A signer made of the `openssl` command: nothing of ours signs here.
struct Signer {
    folder: tempfile::TempDir,
    bundles: JwtBundles,
}

impl Signer {
    fn new(key: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut arguments = vec!["genpkey", "-out", "key.pem"];
        arguments.extend(key);
        run(folder.path(), &arguments);
        run(folder.path(), &["pkey", "-in", "key.pem", "-pubout", "-outform", "DER", "-out", "pub.der"]);
        let authority = JwtAuthority::from_public_der("k1", &fs::read(folder.path().join("pub.der")).unwrap()).unwrap();
        let bundles = JwtBundles::from(JwtBundle::new(trust_domain(), [authority]));
        Self { folder, bundles }
    }

    /// Signs with `openssl dgst`; `width` is that of one ECDSA number, 0 for RSA.
    fn sign(&self, header: &Value, claims: &Value, arguments: &[&str], width: usize) -> String {
        let signed = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
        fs::write(self.folder.path().join("signed"), &signed).unwrap();
        let mut all = vec!["dgst", "-sign", "key.pem", "-out", "signature"];
        all.extend(arguments);
        all.push("signed");
        run(self.folder.path(), &all);
        let mut signature = fs::read(self.folder.path().join("signature")).unwrap();
        if width > 0 {
            signature = fixed(self.folder.path(), width);
        }
        format!("{signed}.{}", BASE64URL.encode(signature))
    }

    fn es256(&self, header: &Value, claims: &Value) -> String {
        self.sign(header, claims, &["-sha256"], 32)
    }

    fn verify(&self, token: &str) -> Result<JwtSvid, JwtRule> {
        JwtSvid::verify(token, &self.bundles, &["reports"], at(1_000), Duration::ZERO).map_err(|b| b.rule)
    }
}

/// The two numbers of OpenSSL's DER signature side by side, as JWS wants them (RFC 7518 section 3.4).
fn fixed(folder: &Path, width: usize) -> Vec<u8> {
    let listing = run(folder, &["asn1parse", "-inform", "DER", "-in", "signature"]);
    let numbers =
        listing.lines().filter_map(|l| l.split_once("INTEGER").map(|(_, n)| n.trim_start_matches([' ', ':'])));
    let mut out = Vec::new();
    for number in numbers {
        let padded = format!("{number:0>width$}", width = 2 * width);
        out.extend((0..width).map(|i| u8::from_str_radix(&padded[2 * i..2 * i + 2], 16).unwrap()));
    }
    out
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn header(alg: &str) -> Value {
    json!({ "alg": alg, "kid": "k1", "typ": "JWT" })
}

fn claims() -> Value {
    json!({ "sub": "spiffe://cluster.local/ns/default/sa/a", "aud": ["reports"], "exp": 2_000, "iat": 900, "x": { "y": 1 } })
}

const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

#[test]
fn each_algorithm_of_the_standard_verifies_openssl_s_signatures() {
    let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];
    let rsa = Signer::new(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    for bits in ["256", "384", "512"] {
        let digest = format!("-sha{bits}");
        let token = rsa.sign(&header(&format!("RS{bits}")), &claims(), &[&digest], 0);
        assert_eq!(rsa.verify(&token).unwrap().id(), &workload("a"), "RS{bits}");
        let mut arguments = vec![digest.as_str()];
        arguments.extend(pss);
        let token = rsa.sign(&header(&format!("PS{bits}")), &claims(), &arguments, 0);
        assert_eq!(rsa.verify(&token).unwrap().id(), &workload("a"), "PS{bits}");
        let crossed = rsa.sign(&header(&format!("RS{bits}")), &claims(), &arguments, 0);
        assert_eq!(rsa.verify(&crossed).unwrap_err(), JwtRule::Signature);
    }
    for (curve, bits, width) in [("P-256", "256", 32), ("P-384", "384", 48), ("P-521", "512", 66)] {
        let ec = Signer::new(&["-algorithm", "EC", "-pkeyopt", &format!("ec_paramgen_curve:{curve}")]);
        let token = ec.sign(&header(&format!("ES{bits}")), &claims(), &[&format!("-sha{bits}")], width);
        assert_eq!(ec.verify(&token).unwrap().id(), &workload("a"), "ES{bits}");
        // The key decides which algorithm is possible, not the token.
        let crossed = ec.sign(&header("RS256"), &claims(), &["-sha256"], width);
        assert_eq!(ec.verify(&crossed).unwrap_err(), JwtRule::KeyKnown);
    }
}

#[test]
fn rules() {
    let signer = Signer::new(P256);
    let with = |name: &str, value: Value| {
        let mut all = claims();
        match value {
            Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
            value => all[name] = value,
        }
        signer.es256(&header("ES256"), &all)
    };
    let good = signer.verify(&signer.es256(&header("ES256"), &claims())).unwrap();
    assert_eq!((good.expires(), &good.claims()["x"]["y"]), (at(2_000), &json!(1)));
    assert!(signer.verify(&signer.es256(&json!({ "alg": "ES256" }), &claims())).is_ok(), "kid and typ may be absent");
    assert!(signer.verify(&signer.es256(&json!({ "alg": "ES256", "typ": "JOSE" }), &claims())).is_ok());
    assert!(signer.verify(&with("aud", json!("reports"))).is_ok(), "one audience may stand alone");
    assert!(signer.verify(&with("aud", json!(["other", "reports"]))).is_ok());
    assert!(signer.verify(&with("exp", json!(1_000.5))).is_ok(), "a NumericDate may have a fraction");
    assert!(signer.verify(&with("nbf", json!(1_000))).is_ok());

    let token = signer.es256(&header("ES256"), &claims());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = Signer::new(P256).es256(&header("ES256"), &claims());
    let headed = |value: Value| signer.es256(&value, &claims());
    let cases = [
        ("nothing", JwtRule::WellFormed, String::new()),
        ("one part", JwtRule::WellFormed, "abc".into()),
        ("two parts", JwtRule::WellFormed, signed.into()),
        ("four parts", JwtRule::WellFormed, format!("{token}.abc")),
        ("JSON serialization", JwtRule::WellFormed, json!({ "payload": "e30", "signatures": [] }).to_string()),
        ("padding", JwtRule::WellFormed, format!("{token}=")),
        ("too long", JwtRule::WellFormed, with("x", json!("x".repeat(20_000)))),
        ("claims no object", JwtRule::WellFormed, signer.es256(&header("ES256"), &json!([]))),
        ("exp a text", JwtRule::WellFormed, with("exp", json!("2000"))),
        ("exp out of range", JwtRule::WellFormed, with("exp", json!(1e300))),
        ("crit", JwtRule::HeaderParameters, headed(json!({ "alg": "ES256", "crit": ["x"] }))),
        ("jwk", JwtRule::HeaderParameters, headed(json!({ "alg": "ES256", "jwk": { "kty": "EC" } }))),
        ("jku", JwtRule::HeaderParameters, headed(json!({ "alg": "ES256", "jku": "https://evil.example" }))),
        ("no alg", JwtRule::Algorithm, headed(json!({ "kid": "k1" }))),
        ("none", JwtRule::Algorithm, headed(json!({ "alg": "none" }))),
        ("HS256", JwtRule::Algorithm, headed(json!({ "alg": "HS256" }))),
        ("EdDSA", JwtRule::Algorithm, headed(json!({ "alg": "EdDSA" }))),
        ("lower case", JwtRule::Algorithm, headed(json!({ "alg": "es256" }))),
        ("typ", JwtRule::Type, headed(json!({ "alg": "ES256", "typ": "at+jwt" }))),
        ("no sub", JwtRule::Subject, with("sub", Value::Null)),
        ("sub no SPIFFE id", JwtRule::Subject, with("sub", json!("system:serviceaccount:a:b"))),
        ("no aud", JwtRule::AudiencePresent, with("aud", Value::Null)),
        ("empty aud", JwtRule::AudiencePresent, with("aud", json!([]))),
        ("another aud", JwtRule::AudienceNamed, with("aud", json!(["report", "Reports"]))),
        ("no exp", JwtRule::ExpirationPresent, with("exp", Value::Null)),
        ("ended now", JwtRule::Expired, with("exp", json!(1_000))),
        ("ended before time began", JwtRule::Expired, with("exp", json!(-5))),
        ("not begun", JwtRule::NotYetValid, with("nbf", json!(1_001))),
        ("another trust domain", JwtRule::TrustDomainKnown, with("sub", json!("spiffe://other.example/a"))),
        ("another kid", JwtRule::KeyKnown, headed(json!({ "alg": "ES256", "kid": "k2" }))),
        ("another key", JwtRule::Signature, other),
        ("no signature", JwtRule::Signature, format!("{signed}.")),
        ("a cut signature", JwtRule::Signature, format!("{signed}.{}", &signature[..80])),
    ];
    for (name, rule, token) in cases {
        assert_eq!(signer.verify(&token).expect_err(name), rule, "{name}");
    }
    // Twice the same claim: which one counts would depend on the reader.
    let twice = r#"{"sub":"spiffe://cluster.local/a","sub":"spiffe://cluster.local/b","aud":"reports","exp":2000}"#;
    let forged = format!("{}.{}.{signature}", BASE64URL.encode(header("ES256").to_string()), BASE64URL.encode(twice));
    assert_eq!(signer.verify(&forged).unwrap_err(), JwtRule::WellFormed);

    let late = |leeway| JwtSvid::verify(&token, &signer.bundles, &["reports"], at(2_010), Duration::from_secs(leeway));
    assert!(late(11).is_ok() && late(10).is_err(), "leeway counts in seconds");
    assert!(!format!("{:?}", late(11).unwrap()).contains(signature), "Debug does not show the token");
}

#[tokio::test]
async fn signers_conform_and_openssl_verifies_their_signatures() {
    for (kind, alg) in [(KeyType::EcdsaP256, "ES256"), (KeyType::EcdsaP384, "ES384"), (KeyType::Rsa2048, "RS256")] {
        let clock = ManualClock::system();
        let config = JwtSignerConfig::new(trust_domain()).with_key_type(kind);
        let store = MemoryStore::default();
        let signer = JwtSigner::open(&store, config.clone(), Arc::new(clock.clone())).await.unwrap();
        conformance::check_jwt_issuer(&signer, clock.now().wall).await;
        let again = JwtSigner::open(&store, config, Arc::new(clock.clone())).await.unwrap();
        assert_eq!(again.jwt_bundle(), signer.jwt_bundle(), "a restart keeps the key");
        let request = JwtRequest { id: workload("a"), audiences: vec!["x".into()], lifetime: None };
        let token = signer.issue_jwt(request).await.unwrap().token().to_owned();
        let head: Value = serde_json::from_slice(&BASE64URL.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
        assert_eq!(head["alg"], alg);
    }
    let config = JwtSignerConfig::new(trust_domain()).with_key_type(KeyType::Ed25519);
    let refused = JwtSigner::open(&MemoryStore::default(), config, Arc::new(ManualClock::system())).await.unwrap_err();
    assert!(matches!(refused, JwtSignerError::Authority(_)), "{refused}");

    // RS256 can be handed to OpenSSL as it is.
    let folder = tempfile::tempdir().unwrap();
    let key = PrivateKey::generate(KeyType::Rsa2048).unwrap();
    let config = JwtSignerConfig::new(trust_domain());
    let signer = JwtSigner::new(&key, config, Arc::new(ManualClock::system())).unwrap();
    let request = JwtRequest { id: workload("a"), audiences: vec!["x".into()], lifetime: None };
    let svid = signer.issue_jwt(request).await.unwrap();
    let (signed, signature) = svid.token().rsplit_once('.').unwrap();
    fs::write(folder.path().join("key.pem"), key.to_pem().as_bytes()).unwrap();
    fs::write(folder.path().join("signed"), signed).unwrap();
    fs::write(folder.path().join("signature"), BASE64URL.decode(signature).unwrap()).unwrap();
    let verdict = run(folder.path(), &["dgst", "-sha256", "-prverify", "key.pem", "-signature", "signature", "signed"]);
    assert_eq!(verdict.trim(), "Verified OK");
}

fn read(document: &Value) -> Result<SpiffeBundle, String> {
    let domain = TrustDomain::parse("example.org").unwrap();
    SpiffeBundle::from_jwks(domain, document.to_string().as_bytes()).map_err(|e| e.to_string())
}

#[tokio::test]
async fn a_bundle_survives_its_document() {
    let mut roots = Vec::new();
    let domain = trust_domain();
    for kind in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Ed25519, KeyType::Rsa2048] {
        let config = mesh_ca::issuer::SelfSignedConfig::new(domain.clone()).with_key_type(kind);
        let clock = Arc::new(ManualClock::system());
        let ca = mesh_ca::issuer::SelfSigned::open(&MemoryStore::default(), config, clock).await.unwrap();
        roots.push(ca.trust_bundle().roots()[0].certificate().clone());
    }
    let keys = [("a", KeyType::EcdsaP256), ("b", KeyType::EcdsaP384), ("c", KeyType::Rsa2048)].map(|(id, kind)| {
        JwtAuthority::from_public_der(id, &PrivateKey::generate(kind).unwrap().public_key_der().unwrap()).unwrap()
    });
    let bundle = SpiffeBundle::new(TrustBundle::new(domain.clone(), roots).unwrap())
        .with_jwt(JwtBundle::new(domain.clone(), keys))
        .with_sequence(u64::MAX)
        .with_refresh_hint(Duration::from_secs(300));
    let document: Value = serde_json::from_str(&bundle.to_jwks()).unwrap();
    assert_eq!(SpiffeBundle::from_jwks(domain, bundle.to_jwks().as_bytes()).unwrap(), bundle);
    assert_eq!(document["spiffe_sequence"], json!(u64::MAX), "64 bits are kept");
    for key in document["keys"].as_array().unwrap() {
        // X509-SVID 6.1 and JWT-SVID 6.1.
        let x509 = key["use"] == "x509-svid";
        assert!(x509 || key["use"] == "jwt-svid", "{key}");
        assert_eq!(x509, key.get("kid").is_none(), "{key}");
        assert_eq!(x509, key["x5c"].as_array().is_some_and(|c| c.len() == 1), "{key}");
        assert!(matches!(key["kty"].as_str(), Some("EC" | "RSA" | "OKP")), "{key}");
    }
}

/// What the standards say of documents of others.
#[tokio::test]
async fn documents_of_others_are_read_as_the_standard_asks() {
    let ca = Ca::of(TrustDomain::parse("example.org").unwrap(), ManualClock::system()).await;
    let bundle = SpiffeBundle::new((*ca.issuer.trust_bundle()).clone());
    let root = serde_json::from_str::<Value>(&bundle.to_jwks()).unwrap()["keys"][0].clone();
    let changed = |changes: &[(&str, Value)]| {
        let mut key = root.clone();
        for (name, value) in changes {
            key[*name] = value.clone();
        }
        json!({ "keys": [key] })
    };
    let x5c = root["x5c"][0].clone();
    let jwt = json!({ "kty": "EC", "use": "jwt-svid", "kid": "k", "crv": "P-256", "x": root["x"], "y": root["y"] });
    let counts = |document: &Value| read(document).map(|b| (b.x509.roots().len(), b.jwt.authorities().len()));

    assert_eq!(counts(&json!({ "keys": [root, jwt, jwt] })), Ok((1, 1)), "the same key twice counts once");
    assert_eq!(counts(&json!({ "keys": [], "more": { "x": 1 } })), Ok((0, 0)));
    for (name, changes) in [
        ("an unknown use", vec![("use", json!("wit-svid"))]),
        ("a use in another case", vec![("use", json!("X509-SVID"))]),
        ("no use", vec![("use", Value::Null)]),
        ("an unknown key type", vec![("kty", json!("XYZ"))]),
        ("no certificate", vec![("x5c", json!([]))]),
        ("no x5c", vec![("x5c", Value::Null)]),
    ] {
        assert_eq!(counts(&changed(&changes)), Ok((0, 0)), "{name} is passed over");
    }
    let several = changed(&[("x5c", json!([x5c, "not even base64"]))]);
    assert_eq!(counts(&several), Ok((1, 0)), "all but the first certificate are passed over");
    let bare = json!({ "keys": [{ "kty": "EC", "use": "x509-svid", "x5c": [x5c] }] });
    assert_eq!(counts(&bare), Ok((1, 0)), "the certificate alone is enough");
    let mut unknown_curve = jwt.clone();
    unknown_curve["crv"] = json!("secp256k1");
    assert_eq!(counts(&json!({ "keys": [unknown_curve] })), Ok((0, 0)));

    let mut anonymous = jwt.clone();
    anonymous.as_object_mut().unwrap().remove("kid");
    let mut twin = jwt.clone();
    (twin["x"], twin["y"]) = (jwt["y"].clone(), jwt["x"].clone());
    let mut short = jwt.clone();
    short["x"] = json!("AAAA");
    for (name, document, reason) in [
        ("no keys", json!({ "spiffe_sequence": 1 }), "keys"),
        ("a sequence that is no integer", json!({ "keys": [], "spiffe_sequence": 1.5 }), "JWK Set"),
        ("a negative hint", json!({ "keys": [], "spiffe_refresh_hint": -1 }), "JWK Set"),
        ("too many keys", json!({ "keys": vec![json!({}); 1025] }), "1025"),
        ("garbage for a certificate", changed(&[("x5c", json!(["AAAA"]))]), "key 0 (x509-svid)"),
        ("another key than the certificate's", changed(&[("x", root["y"].clone())]), "not the one"),
        ("a JWT key without id", json!({ "keys": [anonymous] }), "key id"),
        ("two JWT keys with one id", json!({ "keys": [jwt, twin] }), "another key"),
        ("a coordinate that is too short", json!({ "keys": [short] }), "x has 3 bytes"),
    ] {
        let refused = counts(&document).expect_err(name);
        assert!(refused.contains(reason), "{name}: {refused}");
    }
}

/// A root is for certificates, a JWT key for tokens: neither stands in for the other (SPIFFE Trust Domain and Bundle 4.2).
#[tokio::test]
async fn uses_are_kept_apart() {
    let signer = Signer::new(P256);
    let token = signer.es256(&header("ES256"), &claims());
    let own = signer.bundles.bundle(&trust_domain()).unwrap().to_jwks();
    let as_root: Value = serde_json::from_str(&own.replace("jwt-svid", "x509-svid")).unwrap();
    let bundle = SpiffeBundle::from_jwks(trust_domain(), as_root.to_string().as_bytes()).unwrap();
    let refused = JwtSvid::verify(&token, &bundle.jwt.into(), &["reports"], at(1_000), Duration::ZERO).unwrap_err();
    assert_eq!(refused.rule, JwtRule::TrustDomainKnown);
    let bundle = SpiffeBundle::from_jwks(trust_domain(), own.as_bytes()).unwrap();
    assert!(bundle.x509.roots().is_empty());
    let id = SpiffeId::parse("spiffe://cluster.local/ns/default/sa/a").unwrap();
    let seen = JwtSvid::verify(&token, &bundle.jwt.into(), &["reports"], at(1_000), Duration::ZERO).unwrap();
    assert_eq!(seen.id(), &id);
}
