//! Suites that anyone's [`CertIssuer`], [`JwtIssuer`], [`CaStore`] or [`KeyStore`] can run in its tests. They panic with what is wrong.
#![allow(clippy::unwrap_used)] // a conformance suite reports by panicking

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    CaStore, CertIssuer, Csr, CsrError, IssueError, IssueRequest, JwtIssuer, JwtRequest,
    keys::{CaKey, KeyAlgorithm, KeyName, KeyStore, KeyStoreError},
    store::{StoreError, StoreItem},
};
use crate::spiffe::{JwtBundle, JwtBundles, JwtSvid, KeyType, PrivateKey, SpiffeId, verify};

/// Checks the contract of [`CertIssuer`]. `now` is the time on the issuer's clock.
///
/// # Panics
/// When the contract is broken.
pub async fn check_issuer(issuer: &dyn CertIssuer, now: SystemTime) {
    let trust_domain = issuer.trust_bundle().trust_domain().clone();
    let id = SpiffeId::for_workload(&trust_domain, "conformance", "alice").unwrap();
    let mut serials = BTreeSet::new();
    for kind in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Ed25519, KeyType::Rsa2048] {
        let key = PrivateKey::generate(kind).unwrap();
        let csr = Csr::from_pem(&Csr::create_pem(&key, &id, &[]).unwrap()).unwrap();
        let request = IssueRequest { csr, id: id.clone(), dns_names: vec![], lifetime: Some(Duration::from_secs(60)) };
        let issued = issuer.issue(request).await.unwrap_or_else(|e| panic!("{kind}: {e}"));
        let (leaf, rest) = issued.chain.split_first().expect("the chain has a leaf");
        let seen = verify(leaf, rest, &issuer.trust_bundle(), now).unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert_eq!(seen.id, id, "the id is the one granted");
        assert!(seen.not_after <= now + Duration::from_secs(60), "a wished lifetime is not exceeded");
        assert!(seen.not_before <= now, "validity has begun");
        assert!(seen.not_after <= issuer.expires(), "no leaf outlives its signer");
        assert!(seen.serial.len() >= 16, "serial numbers have 64 bits or more");
        assert!(serials.insert(seen.serial), "serial numbers never repeat");
    }
    assert!(issuer.begins() <= now && now < issuer.expires(), "the issuer's own certificate is valid");
    refuses_foreign_names(issuer, &id).await;
    cuts_lifetimes(issuer, &id).await;
}

async fn refuses_foreign_names(issuer: &dyn CertIssuer, id: &SpiffeId) {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let bob = SpiffeId::for_workload(id.trust_domain(), "conformance", "bob").unwrap();
    let csr = Csr::from_pem(&Csr::create_pem(&key, &bob, &[]).unwrap()).unwrap();
    let request = IssueRequest { csr, id: id.clone(), dns_names: vec![], lifetime: None };
    let refused = issuer.issue(request).await;
    assert!(matches!(refused, Err(IssueError::Csr(CsrError::ForeignName(_)))), "{refused:?}");

    let dns = ["example.com".to_owned()];
    let csr = Csr::from_pem(&Csr::create_pem(&key, id, &dns).unwrap()).unwrap();
    let request = IssueRequest { csr: csr.clone(), id: id.clone(), dns_names: vec![], lifetime: None };
    let refused = issuer.issue(request).await;
    assert!(matches!(refused, Err(IssueError::Csr(CsrError::ForeignName(_)))), "{refused:?}");

    let stranger = SpiffeId::parse("spiffe://stranger.example/ns/a/sa/b").unwrap();
    let csr = Csr::from_pem(&Csr::create_pem(&key, &stranger, &[]).unwrap()).unwrap();
    let request = IssueRequest { csr, id: stranger, dns_names: vec![], lifetime: None };
    let refused = issuer.issue(request).await;
    assert!(matches!(refused, Err(IssueError::TrustDomain { .. })), "{refused:?}");
}

async fn cuts_lifetimes(issuer: &dyn CertIssuer, id: &SpiffeId) {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let csr = Csr::from_pem(&Csr::create_pem(&key, id, &[]).unwrap()).unwrap();
    let request = IssueRequest { csr, id: id.clone(), dns_names: vec![], lifetime: Some(Duration::MAX) };
    let issued = issuer.issue(request).await.expect("a long wish is cut, not refused");
    assert!(issued.not_after <= issuer.expires(), "no leaf outlives its signer");
}

/// Checks the contract of [`CaStore`] on an empty store.
///
/// # Panics
/// When the contract is broken.
pub async fn check_store(store: &dyn CaStore) {
    let lock = store.lock().await.unwrap();
    assert!(matches!(store.lock().await, Err(StoreError::Locked { .. })), "one at a time is the CA");
    drop(lock);
    drop(store.lock().await.expect("a lock that was given back can be taken"));
    for item in StoreItem::ALL {
        assert!(store.load(item).await.unwrap().is_none(), "an empty store has nothing");
        store.create(item, b"one").await.unwrap();
        assert_eq!(store.load(item).await.unwrap().unwrap().as_slice(), b"one");
        assert!(matches!(store.create(item, b"two").await, Err(StoreError::Exists(_))), "create never overwrites");
        assert_eq!(store.load(item).await.unwrap().unwrap().as_slice(), b"one");
        store.replace(item, b"three").await.unwrap();
        assert_eq!(store.load(item).await.unwrap().unwrap().as_slice(), b"three");
    }
}

/// Checks the contract of [`JwtIssuer`]. `now` is the time on the issuer's clock.
///
/// # Panics
/// When the contract is broken.
pub async fn check_jwt_issuer(issuer: &dyn JwtIssuer, now: SystemTime) {
    let bundles = JwtBundles::from(JwtBundle::clone(&issuer.jwt_bundle()));
    let trust_domain = issuer.jwt_bundle().trust_domain().clone();
    let id = SpiffeId::for_workload(&trust_domain, "conformance", "alice").unwrap();
    let audiences = vec!["reports".to_owned(), "spiffe://example.org/reports".to_owned()];
    let lifetime = Some(Duration::from_secs(60));
    let request = JwtRequest { id: id.clone(), audiences: audiences.clone(), lifetime };
    let issued = issuer.issue_jwt(request.clone()).await.unwrap_or_else(|e| panic!("a good request is refused: {e}"));
    for audience in &audiences {
        let seen = JwtSvid::verify(issued.token(), &bundles, &[audience], now, Duration::ZERO).unwrap();
        assert_eq!((seen.id(), seen.audiences()), (&id, audiences.as_slice()), "it says what was asked for");
        assert!(seen.expires() <= now + Duration::from_secs(60), "a wished lifetime is not exceeded");
    }
    let long = JwtRequest { lifetime: Some(Duration::MAX), ..request.clone() };
    assert!(issuer.issue_jwt(long).await.is_ok(), "a long wish is cut, not refused");

    let stranger = SpiffeId::parse("spiffe://stranger.example/a").unwrap();
    let bad = [
        ("no audience", JwtRequest { audiences: vec![], ..request.clone() }),
        ("an empty audience", JwtRequest { audiences: vec![String::new()], ..request.clone() }),
        ("a foreign trust domain", JwtRequest { id: stranger, ..request }),
    ];
    for (name, request) in bad {
        let refused = issuer.issue_jwt(request).await;
        assert!(refused.as_ref().is_err_and(super::IssueJwtError::is_request_fault), "{name}: {refused:?}");
    }
}

/// Checks the contract of [`KeyStore`] on a store that holds no keys called `conformance-*`. Kinds of keys that the store
/// does not make are passed over, but for ECDSA P-256.
///
/// # Panics
/// When the contract is broken.
pub async fn check_key_store(store: &dyn KeyStore) {
    for kind in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Ed25519, KeyType::Rsa2048] {
        let name = KeyName::new(format!("conformance-{kind}")).unwrap();
        assert!(store.get(&name).await.unwrap().is_none(), "{kind}: nothing is there before");
        let key = match store.generate(&name, kind).await {
            Err(KeyStoreError::KeyType(_)) if kind != KeyType::EcdsaP256 => continue,
            made => made.unwrap_or_else(|e| panic!("{kind}: {e}")),
        };
        check_signature(Arc::clone(&key), b"a message").await;
        let refused = store.generate(&name, kind).await;
        assert!(matches!(refused, Err(KeyStoreError::Exists(_))), "{kind}: generate never overwrites");
        let again = store.get(&name).await.unwrap().unwrap_or_else(|| panic!("{kind}: the key stays"));
        assert_eq!(again.public_key_der(), key.public_key_der(), "{kind}: get gives the same key");
        check_signature(again, b"another message").await;
        store.remove(&name).await.unwrap();
        assert!(store.get(&name).await.unwrap().is_none(), "{kind}: a key that was removed is gone");
        store.remove(&name).await.unwrap();
    }
}

async fn check_signature(key: Arc<dyn CaKey>, message: &'static [u8]) {
    use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
    use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};
    let algorithm: &'static dyn VerificationAlgorithm = match key.algorithm() {
        KeyAlgorithm::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        KeyAlgorithm::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
        KeyAlgorithm::Ed25519 => &signature::ED25519,
        KeyAlgorithm::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
    };
    let spki = key.public_key_der().to_vec();
    let (_, info) = SubjectPublicKeyInfo::from_der(&spki).unwrap();
    let public = UnparsedPublicKey::new(algorithm, info.subject_public_key.data.as_ref());
    let signature = tokio::task::spawn_blocking(move || key.sign(message)).await.unwrap().unwrap();
    assert!(public.verify(message, &signature).is_ok(), "the signature is of the message by the key");
    assert!(public.verify(b"something else", &signature).is_err());
}
