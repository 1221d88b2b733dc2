//! Properties of what comes from outside.

use std::time::{Duration, SystemTime};

use mesh_ca::{
    issuer::Csr,
    spiffe::{JwtBundles, JwtSvid, PrivateKey, SpiffeBundle, SpiffeId, TrustDomain, certificates_from_pem, verify_pem},
};
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn ids_survive_text(td in "[a-z0-9._-]{1,40}", path in "(/[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,12}){0,5}") {
        let text = format!("spiffe://{td}{path}");
        let id = SpiffeId::parse(&text).unwrap();
        prop_assert_eq!(id.to_string(), text.clone());
        prop_assert_eq!(id.path(), path);
        prop_assert_eq!(id.trust_domain(), &TrustDomain::parse(&td).unwrap());
        let json = serde_json::to_string(&id).unwrap();
        prop_assert_eq!(serde_json::from_str::<SpiffeId>(&json).unwrap(), id);
    }

    /// What is accepted is exactly what the standard's grammar allows.
    #[test]
    fn ids_keep_the_grammar(text in "(spiffe://)?[a-zA-Z0-9./%:?#@_ -]{0,24}") {
        let good = text.strip_prefix("spiffe://").is_some_and(|rest| {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host_ok = !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
            let path_ok = path.is_empty() || path[1..].split('/').all(|s| {
                !["", ".", ".."].contains(&s) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            });
            host_ok && path_ok
        });
        prop_assert_eq!(SpiffeId::parse(&text).is_ok(), good, "{}", text);
    }

    #[test]
    fn workload_ids_come_apart_again(ns in "[a-z0-9-]{1,20}", sa in "[a-z0-9.-]{1,20}x") {
        let id = SpiffeId::for_workload(&TrustDomain::parse("td").unwrap(), &ns, &sa).unwrap();
        prop_assert_eq!(id.workload(), Some((ns.as_str(), sa.as_str())));
    }

    #[test]
    fn no_panic_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Csr::from_der(&bytes).is_err());
        prop_assert!(PrivateKey::from_pem(&bytes).is_err());
        let _ = certificates_from_pem(&bytes);
        prop_assert!(verify_pem(&bytes, Some(&bytes), &bytes, SystemTime::UNIX_EPOCH).is_err());
        let text = String::from_utf8_lossy(&bytes);
        let _ = SpiffeId::parse(&text);
        prop_assert!(SpiffeBundle::from_jwks(TrustDomain::parse("td").unwrap(), &bytes).is_err());
        let now = SystemTime::UNIX_EPOCH;
        prop_assert!(JwtSvid::verify(&text, &JwtBundles::new(), &[], now, Duration::MAX).is_err());
    }

    /// Key sets in the right shape with any content.
    #[test]
    fn no_panic_on_key_sets(
        kty in "(EC|RSA|OKP|x)", usage in "(x509|jwt)-svid", crv in "(P-256|P-384|P-521|Ed25519)",
        x in "[A-Za-z0-9_-]{0,90}", n in "[A-Za-z0-9_=-]{0,20}", x5c in prop::collection::vec("[A-Za-z0-9+/=]{0,40}", 0..3),
    ) {
        let key = serde_json::json!({
            "kty": kty, "use": usage, "crv": crv, "kid": "k", "x": x, "y": x, "n": n, "e": n, "x5c": x5c,
        });
        let document = serde_json::json!({ "keys": [key] }).to_string();
        if let Ok(read) = SpiffeBundle::from_jwks(TrustDomain::parse("td").unwrap(), document.as_bytes()) {
            let again = SpiffeBundle::from_jwks(TrustDomain::parse("td").unwrap(), read.to_jwks().as_bytes());
            prop_assert_eq!(again.unwrap(), read);
        }
    }

    /// Tokens in the right shape with any content.
    #[test]
    fn no_panic_on_tokens(header in "\\{[\"a-z:,{}0-9]{0,30}\\}", claims in "\\{[\"a-z:,{}0-9]{0,30}\\}", end in "[A-Za-z0-9_-]{0,90}") {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let token = format!("{}.{}.{end}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        prop_assert!(JwtSvid::verify(&token, &JwtBundles::new(), &[""], SystemTime::now(), Duration::ZERO).is_err());
    }
}

/// A good request with bytes changed is read without a panic, and never accepted with another content.
#[test]
fn changed_requests_are_refused() {
    use mesh_ca::spiffe::KeyType;
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let id = SpiffeId::parse("spiffe://td/ns/a/sa/b").unwrap();
    let csr = Csr::create_pem(&key, &id, &[]).unwrap();
    use base64::{Engine, engine::general_purpose::STANDARD};
    let der = STANDARD.decode(csr.lines().filter(|l| !l.starts_with("--")).collect::<String>()).unwrap();
    assert!(Csr::from_der(&der).is_ok());
    for at in 0..der.len() {
        for bit in [0x01, 0x80] {
            let mut changed = der.clone();
            changed[at] ^= bit;
            if let Ok(read) = Csr::from_der(&changed) {
                assert_eq!(read.public_key_der(), key.public_key_der().unwrap(), "byte {at}");
                assert!(read.check_names(&id, &[]).is_ok(), "byte {at}");
            }
        }
    }
}
