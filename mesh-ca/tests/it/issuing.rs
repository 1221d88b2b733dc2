//! Issuers and stores: the conformance suites, restarts, damage.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use mesh_ca::{
    clock::{Clock, ManualClock},
    issuer::{
        CaStore, CertIssuer, Csr, DirectoryStore, IssuancePolicy, IssueError, IssueRequest, SelfSigned,
        SelfSignedConfig, SelfSignedError, StoreError, StoreItem, conformance, store::MemoryStore,
    },
    spiffe::{KeyType, PrivateKey, SpiffeId, TrustDomain},
};

fn trust_domain() -> TrustDomain {
    TrustDomain::parse("cluster.local").unwrap()
}

fn request(id: &SpiffeId, lifetime: Option<Duration>) -> IssueRequest {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let csr = Csr::from_pem(&Csr::create_pem(&key, id, &[]).unwrap()).unwrap();
    IssueRequest { csr, id: id.clone(), dns_names: vec![], lifetime }
}

#[tokio::test]
async fn self_signed_conforms_with_every_kind_of_root() {
    for kind in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Ed25519, KeyType::Rsa2048] {
        let clock = ManualClock::system();
        let config = SelfSignedConfig::new(trust_domain()).with_key_type(kind);
        let issuer = SelfSigned::open(&MemoryStore::default(), config, Arc::new(clock.clone())).await.unwrap();
        conformance::check_issuer(&issuer, clock.now().wall).await;
    }
}

#[tokio::test]
async fn stores_conform() {
    conformance::check_store(&MemoryStore::default()).await;
    let folder = tempfile::tempdir().unwrap();
    conformance::check_store(&DirectoryStore::open(folder.path().join("a/b")).unwrap()).await;
    let left: Vec<_> = fs::read_dir(folder.path().join("a/b")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), StoreItem::ALL.len() + 1, "the items and the lock, no temporary files: {left:?}");
}

#[tokio::test]
async fn a_restart_keeps_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::system());
    let store = DirectoryStore::open(folder.path()).unwrap();
    let first = SelfSigned::open(&store, SelfSignedConfig::new(trust_domain()), clock.clone()).await.unwrap();
    let again = SelfSigned::open(&store, SelfSignedConfig::new(trust_domain()), clock.clone()).await.unwrap();
    assert_eq!(first.trust_bundle(), again.trust_bundle());
    let mode = |item| fs::metadata(store.path(item)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(StoreItem::SigningCa), 0o600);
    let public = fs::read_to_string(store.path(StoreItem::RootCertificates)).unwrap();
    assert_eq!(public, first.trust_bundle().to_pem());
    assert!(!public.contains("PRIVATE"));

    fs::remove_file(store.path(StoreItem::RootCertificates)).unwrap();
    SelfSigned::open(&store, SelfSignedConfig::new(trust_domain()), clock).await.unwrap();
    assert!(store.path(StoreItem::RootCertificates).exists(), "the public copy is repaired");
}

#[tokio::test]
async fn two_starts_at_once_agree_on_one_root() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::system());
    let store = DirectoryStore::open(folder.path()).unwrap();
    let open = || SelfSigned::open(&store, SelfSignedConfig::new(trust_domain()), clock.clone());
    let (a, b, c) = tokio::join!(open(), open(), open());
    let bundle = a.unwrap().trust_bundle();
    assert_eq!(bundle, b.unwrap().trust_bundle());
    assert_eq!(bundle, c.unwrap().trust_bundle());
}

#[tokio::test]
async fn what_is_damaged_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::system());
    let store = DirectoryStore::open(folder.path()).unwrap();
    let open =
        |td: &str| SelfSigned::open(&store, SelfSignedConfig::new(TrustDomain::parse(td).unwrap()), clock.clone());
    open("cluster.local").await.unwrap();
    let other = open("other.example").await.unwrap_err();
    assert!(matches!(&other, SelfSignedError::TrustDomain { stored, .. } if stored == "cluster.local"), "{other}");

    let path = store.path(StoreItem::SigningCa);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let open_to_others = open("cluster.local").await.unwrap_err();
    assert!(open_to_others.to_string().contains("chmod 600"), "{open_to_others}");
    assert!(matches!(open_to_others, SelfSignedError::Store(StoreError::Permissions { mode: 0o640, .. })));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();

    let good = fs::read(&path).unwrap();
    for bad in [&good[..good.len() / 2], &good[..10], b"", &[0xff; 64]] {
        store.replace(StoreItem::SigningCa, bad).await.unwrap();
        let refused = open("cluster.local").await.unwrap_err();
        assert!(matches!(refused, SelfSignedError::Damaged { .. }), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), bad, "nothing is overwritten");
    }
    // A key that is not the certificate's.
    let mut swapped = PrivateKey::generate(KeyType::EcdsaP256).unwrap().to_pem();
    let text = String::from_utf8(good).unwrap();
    swapped.push_str(&text[text.find("-----BEGIN CERTIFICATE").unwrap()..]);
    store.replace(StoreItem::SigningCa, swapped.as_bytes()).await.unwrap();
    assert!(open("cluster.local").await.unwrap_err().to_string().contains("does not belong"));
}

#[tokio::test]
async fn lifetimes_keep_to_policy_signer_and_clock() {
    let clock = ManualClock::system();
    let config = SelfSignedConfig::new(trust_domain())
        .with_root_lifetime(Duration::from_secs(3600))
        .with_policy(IssuancePolicy::default().with_default_lifetime(Duration::from_secs(30)));
    let issuer = SelfSigned::open(&MemoryStore::default(), config.clone(), Arc::new(clock.clone())).await.unwrap();
    let id = SpiffeId::for_workload(&trust_domain(), "default", "a").unwrap();

    clock.advance(Duration::from_secs(600));
    let issued = issuer.issue(request(&id, None)).await.unwrap();
    let now = clock.now().wall;
    let after = issued.not_after.duration_since(now).unwrap_or_default();
    assert!(after <= Duration::from_secs(30) && after > Duration::from_secs(28), "{after:?}");
    let before = now.duration_since(issued.not_before).unwrap();
    assert!(before >= Duration::from_secs(120) && before < Duration::from_secs(122), "{before:?}");

    let long = issuer.issue(request(&id, Some(Duration::from_secs(86400)))).await.unwrap();
    assert_eq!(long.not_after, issuer.expires(), "cut to the signer's own end");

    clock.advance(Duration::from_secs(3600));
    let late = issuer.issue(request(&id, None)).await;
    assert!(matches!(late, Err(IssueError::SignerNotValid)), "{late:?}");
}

#[tokio::test]
async fn an_expired_root_is_named() {
    let store = MemoryStore::default();
    let clock = ManualClock::system();
    let config = SelfSignedConfig::new(trust_domain()).with_root_lifetime(Duration::from_secs(60));
    SelfSigned::open(&store, config.clone(), Arc::new(clock.clone())).await.unwrap();
    clock.advance(Duration::from_secs(120));
    let refused = SelfSigned::open(&store, config, Arc::new(clock)).await.unwrap_err();
    assert!(matches!(refused, SelfSignedError::Expired), "{refused}");
}

#[tokio::test]
async fn dns_names_stand_beside_the_id() {
    let clock = Arc::new(ManualClock::system());
    let issuer = SelfSigned::open(&MemoryStore::default(), SelfSignedConfig::new(trust_domain()), clock).await.unwrap();
    let id = SpiffeId::for_workload(&trust_domain(), "istio-system", "istiod").unwrap();
    let names = vec!["istiod.istio-system.svc".to_owned(), "localhost".to_owned()];
    let request = IssueRequest { dns_names: names.clone(), ..request(&id, None) };
    let issued = issuer.issue(request.clone()).await.unwrap();
    assert_eq!(issued.pem_with_root().len(), 2);
    let bad = issuer.issue(IssueRequest { dns_names: vec!["not a name".into()], ..request }).await;
    assert!(matches!(bad, Err(IssueError::DnsName(_))), "{bad:?}");
}
