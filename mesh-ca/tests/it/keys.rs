//! Key stores, and CAs whose key is in one.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use mesh_ca::{
    clock::{Clock, ManualClock},
    issuer::{
        CaStore, CertIssuer, Csr, DirectoryKeyStore, IssueError, IssueRequest, KeyName, KeyStore, KeyStoreError,
        MemoryKeyStore, SelfSigned, SelfSignedConfig, SelfSignedError, StoreError, StoreItem, conformance,
        keys::{CaKey, KeyAlgorithm},
        store::MemoryStore,
    },
    spiffe::{KeyType, PrivateKey},
};
use tonic::async_trait;

use crate::{
    fixture::{trust_domain, workload},
    openssl::run,
};

fn name(text: &str) -> KeyName {
    KeyName::new(text).unwrap()
}

fn request() -> IssueRequest {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let csr = Csr::from_pem(&Csr::create_pem(&key, &workload("a"), &[]).unwrap()).unwrap();
    IssueRequest { csr, id: workload("a"), dns_names: vec![], lifetime: Some(Duration::from_secs(60)) }
}

/// A key service: the key never comes out, signing takes its time, and it can be away.
#[derive(Debug)]
struct Service {
    inner: MemoryKeyStore,
    away: Arc<std::sync::atomic::AtomicBool>,
}

#[derive(Debug)]
struct ServiceKey {
    inner: Arc<dyn CaKey>,
    away: Arc<std::sync::atomic::AtomicBool>,
}

impl Service {
    fn new() -> Self {
        Self { inner: MemoryKeyStore::new(), away: Arc::default() }
    }

    fn wrap(&self, inner: Arc<dyn CaKey>) -> Arc<dyn CaKey> {
        Arc::new(ServiceKey { inner, away: Arc::clone(&self.away) })
    }
}

impl CaKey for ServiceKey {
    fn public_key_der(&self) -> &[u8] {
        self.inner.public_key_der()
    }

    fn algorithm(&self) -> KeyAlgorithm {
        self.inner.algorithm()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyStoreError> {
        // Waiting like this on a thread of the runtime would panic.
        tokio::runtime::Handle::current().block_on(tokio::task::yield_now());
        if self.away.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(KeyStoreError::Unavailable("the service is away".into()));
        }
        self.inner.sign(message)
    }

    fn is_remote(&self) -> bool {
        true
    }
}

#[async_trait]
impl KeyStore for Service {
    async fn generate(&self, name: &KeyName, key_type: KeyType) -> Result<Arc<dyn CaKey>, KeyStoreError> {
        if key_type == KeyType::Ed25519 {
            return Err(KeyStoreError::KeyType(key_type));
        }
        Ok(self.wrap(self.inner.generate(name, key_type).await?))
    }

    async fn get(&self, name: &KeyName) -> Result<Option<Arc<dyn CaKey>>, KeyStoreError> {
        Ok(self.inner.get(name).await?.map(|key| self.wrap(key)))
    }

    async fn remove(&self, name: &KeyName) -> Result<(), KeyStoreError> {
        self.inner.remove(name).await
    }
}

#[tokio::test]
async fn key_stores_conform_and_openssl_reads_the_files() {
    conformance::check_key_store(&MemoryKeyStore::new()).await;
    let folder = tempfile::tempdir().unwrap();
    let store = DirectoryKeyStore::open(folder.path().join("a/keys")).unwrap();
    conformance::check_key_store(&store).await;
    assert_eq!(fs::read_dir(folder.path().join("a/keys")).unwrap().count(), 0, "nothing stays behind");

    let made = store.generate(&name("root"), KeyType::EcdsaP384).await.unwrap();
    let path = store.path(&name("root"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    run(folder.path(), &["pkey", "-in", path.to_str().unwrap(), "-pubout", "-outform", "DER", "-out", "pub.der"]);
    assert_eq!(fs::read(folder.path().join("pub.der")).unwrap(), made.public_key_der());
    assert!(!format!("{made:?} {store:?}").contains("BEGIN"));

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = store.get(&name("root")).await.unwrap_err();
    assert!(matches!(refused, KeyStoreError::Store(StoreError::Permissions { .. })), "{refused}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "damaged").unwrap();
    let refused = store.get(&name("root")).await.unwrap_err();
    assert!(matches!(refused, KeyStoreError::Damaged { .. }), "{refused}");
    let refused = store.generate(&name("root"), KeyType::EcdsaP256).await.unwrap_err();
    assert!(matches!(refused, KeyStoreError::Exists(_)), "what is damaged is not overwritten: {refused}");
}

#[test]
fn key_names_cannot_lead_elsewhere() {
    for bad in ["", "../root", "a/b", "a.b", "Root", "a b", "é", &"x".repeat(65)] {
        assert!(KeyName::new(bad).is_err(), "{bad}");
    }
    assert_eq!(name("root-2026").as_str(), "root-2026");
}

#[tokio::test]
async fn of_two_that_make_a_key_at_once_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let store = DirectoryKeyStore::open(folder.path()).unwrap();
    let root = name("root");
    let make = || store.generate(&root, KeyType::EcdsaP256);
    let (a, b, c) = tokio::join!(make(), make(), make());
    let all = [a, b, c];
    let won: Vec<_> = all.iter().flatten().collect();
    assert_eq!(won.len(), 1, "{all:?}");
    let kept = store.get(&root).await.unwrap().unwrap();
    assert_eq!(kept.public_key_der(), won[0].public_key_der());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_with_its_key_in_a_service_conforms_and_survives_restarts() {
    let service = Service::new();
    conformance::check_key_store(&service).await;
    let (store, clock, root) = (MemoryStore::default(), ManualClock::system(), name("root"));
    let open = |store, keys| {
        SelfSigned::open_with_keys(store, keys, &root, SelfSignedConfig::new(trust_domain()), Arc::new(clock.clone()))
    };
    // A start that broke off after the key was made: the next one goes on with that key.
    let made = service.generate(&root, KeyType::EcdsaP256).await.unwrap();
    let ca = open(&store, &service).await.unwrap();
    conformance::check_issuer(&ca, clock.now().wall).await;
    let facts = ca.trust_bundle().roots()[0].certificate().clone();
    let spki = made.public_key_der();
    assert!(facts.windows(spki.len()).any(|w| w == spki), "the root is of the key that was there");
    let kept = store.load(StoreItem::SigningCa).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&kept).contains("PRIVATE"), "the store of the CA holds no secret");
    assert_eq!(open(&store, &service).await.unwrap().trust_bundle(), ca.trust_bundle());

    // The service is away: no certificate, and the asker is told to come back.
    service.away.store(true, std::sync::atomic::Ordering::Relaxed);
    let refused = ca.issue(request()).await.unwrap_err();
    assert!(matches!(refused, IssueError::Unavailable(_)) && !refused.is_request_fault(), "{refused}");
    service.away.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(ca.issue(request()).await.is_ok());

    // A key of the same name that is another one, or none: no new root behind anybody's back.
    let other = MemoryKeyStore::new();
    let refused = open(&store, &other).await.unwrap_err();
    assert!(matches!(refused, SelfSignedError::KeyMissing(_)), "{refused}");
    other.generate(&root, KeyType::EcdsaP256).await.unwrap();
    let refused = open(&store, &other).await.unwrap_err();
    assert!(matches!(refused, SelfSignedError::Damaged { .. }), "{refused}");
}
