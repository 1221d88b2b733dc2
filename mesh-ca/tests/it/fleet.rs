//! A rotating CA with workloads that hold its certificates, and a store that can die at any write.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use mesh_ca::{
    clock::{Clock, ManualClock},
    issuer::{
        CaStore, CertIssuer, Csr, IssueError, IssueRequest, RootKeys, RotatingCa, RotatingCaConfig, RotatingCaError,
        SelfSignedConfig, StoreError, StoreItem, StoreLock,
        records::MemoryRecords,
        rotation::{HolderStream, RootId, RootRotationConfig},
        store::MemoryStore,
    },
    spiffe::{KeyType, PrivateKey, TrustBundle, X509Svid, verify},
};
use zeroize::Zeroizing;

use crate::fixture::{trust_domain, workload};

/// A store whose writes fail from a certain one on, as when the process is killed there: that one may still be done.
#[derive(Debug, Default)]
pub(crate) struct MortalStore {
    pub(crate) inner: MemoryStore,
    /// Writes that are left; negative for no end.
    left: AtomicI64,
    /// Whether the last one is done and only its answer is lost.
    last_is_done: std::sync::atomic::AtomicBool,
    writes: AtomicI64,
}

impl MortalStore {
    pub(crate) fn new() -> Self {
        let store = Self::default();
        store.left.store(-1, SeqCst);
        store
    }

    pub(crate) fn die_after(&self, writes: i64, last_is_done: bool) {
        self.last_is_done.store(last_is_done, SeqCst);
        self.left.store(writes, SeqCst);
    }

    pub(crate) fn heal(&self) {
        self.left.store(-1, SeqCst);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.left.load(SeqCst) == 0
    }

    pub(crate) fn writes(&self) -> i64 {
        self.writes.load(SeqCst)
    }

    async fn write(&self, item: StoreItem, content: &[u8], new: bool) -> Result<(), StoreError> {
        self.writes.fetch_add(1, SeqCst);
        let dead = || StoreError::Other("killed".into());
        let left = self.left.load(SeqCst);
        if left == 0 {
            return Err(dead());
        }
        let kills = left == 1;
        if left > 0 {
            self.left.store(left - 1, SeqCst);
        }
        if kills && !self.last_is_done.load(SeqCst) {
            return Err(dead());
        }
        if new {
            self.inner.create(item, content).await?
        } else {
            self.inner.replace(item, content).await?
        }
        if kills { Err(dead()) } else { Ok(()) }
    }
}

#[async_trait]
impl CaStore for MortalStore {
    async fn lock(&self) -> Result<StoreLock, StoreError> {
        self.inner.lock().await
    }

    async fn load(&self, item: StoreItem) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.inner.load(item).await
    }

    async fn create(&self, item: StoreItem, content: &[u8]) -> Result<(), StoreError> {
        self.write(item, content, true).await
    }

    async fn replace(&self, item: StoreItem, content: &[u8]) -> Result<(), StoreError> {
        self.write(item, content, false).await
    }
}

/// One workload: what it shows, and whom it believes.
pub(crate) struct Member {
    pub(crate) svid: X509Svid,
    pub(crate) root: RootId,
    pub(crate) bundle: Arc<TrustBundle>,
    stream: Option<HolderStream>,
}

pub(crate) struct Fleet {
    pub(crate) clock: ManualClock,
    pub(crate) store: Arc<MortalStore>,
    pub(crate) records: Arc<MemoryRecords>,
    pub(crate) config: RotatingCaConfig,
    /// `None` while the CA is down.
    pub(crate) ca: Option<Arc<RotatingCa>>,
    pub(crate) members: Vec<Option<Member>>,
    pub(crate) lifetime: Duration,
    /// The members' keys as PEM, with the requests for them.
    keys: HashMap<usize, (String, Csr)>,
}

pub(crate) fn config() -> RotatingCaConfig {
    let mut rotation = RootRotationConfig::default();
    rotation.start_after = None;
    rotation.settle = Duration::from_secs(10);
    RotatingCaConfig::new(SelfSignedConfig::new(trust_domain())).with_rotation(rotation)
}

impl Fleet {
    pub(crate) async fn new(members: usize, config: RotatingCaConfig) -> Self {
        let mut fleet = Self {
            clock: ManualClock::system(),
            store: Arc::new(MortalStore::new()),
            records: Arc::default(),
            config,
            ca: None,
            members: (0..members).map(|_| None).collect(),
            lifetime: Duration::from_secs(3600),
            keys: HashMap::new(),
        };
        fleet.open().await.unwrap();
        for member in 0..members {
            fleet.renew(member).await.unwrap();
        }
        fleet
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now().wall
    }

    pub(crate) fn ca(&self) -> &Arc<RotatingCa> {
        self.ca.as_ref().expect("the CA is up")
    }

    /// Starts the CA.
    pub(crate) async fn open(&mut self) -> Result<(), RotatingCaError> {
        let (store, records) = (self.store.clone(), self.records.clone());
        let clock = Arc::new(self.clock.clone());
        self.ca = Some(Arc::new(RotatingCa::open(store, records, RootKeys::Inline, self.config.clone(), clock).await?));
        Ok(())
    }

    /// Ends the CA as a crash does.
    pub(crate) fn crash(&mut self) {
        self.members.iter_mut().flatten().for_each(|m| m.stream = None);
        self.ca = None;
    }

    /// A member gets a new certificate, and the bundle that comes with it.
    pub(crate) async fn renew(&mut self, member: usize) -> Result<(), IssueError> {
        let id = workload(&format!("w{member}"));
        // One key for each: a new one at each renewal would show nothing here.
        let (key, csr) = self.keys.entry(member).or_insert_with(|| {
            let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
            let csr = Csr::from_pem(&Csr::create_pem(&key, &id, &[]).unwrap()).unwrap();
            (key.to_pem().as_str().to_owned(), csr)
        });
        let (key, csr) = (PrivateKey::from_pem(key.as_bytes()).unwrap(), csr.clone());
        let request = IssueRequest { csr, id, dns_names: vec![], lifetime: Some(self.lifetime) };
        let ca = self.ca().clone();
        let issued = ca.issue(request).await?;
        let root = RootId::of(&issued.root);
        let bundle = Arc::new(TrustBundle::new(trust_domain(), issued.roots).unwrap());
        let svid = X509Svid::new(issued.chain, key).unwrap();
        let old = self.members[member].take();
        if let Some(old) = &old {
            ca.holders().link(svid.serial(), old.svid.serial());
        }
        ca.holders().seen(svid.serial());
        self.members[member] = Some(Member { svid, root, bundle, stream: old.and_then(|o| o.stream) });
        if self.members[member].as_ref().is_some_and(|m| m.stream.is_some()) {
            self.deliver(member);
        }
        Ok(())
    }

    /// A member gets what is published, by its stream, and acknowledges it.
    pub(crate) fn deliver(&mut self, member: usize) {
        let ca = self.ca().clone();
        let Some(held) = &mut self.members[member] else { return };
        let published = ca.subscribe().borrow().clone();
        held.bundle = published.bundle.clone();
        let stream = held.stream.get_or_insert_with(|| ca.holders().open_stream(format!("w{member}")));
        stream.acknowledge(published.sequence, vec![held.root.clone()]);
        ca.holders().acknowledge(held.svid.serial(), published.sequence);
    }

    /// Members whose certificate is tainted renew, as they are told to.
    pub(crate) async fn renew_tainted(&mut self) {
        let tainted = self.ca().subscribe().borrow().tainted.clone();
        for member in 0..self.members.len() {
            if self.members[member].as_ref().is_some_and(|m| Some(&m.root) == tainted.as_ref()) {
                self.renew(member).await.unwrap();
            }
        }
    }

    /// Every certificate that has not ended verifies with the bundle of everybody who has such a certificate too. (Who has
    /// none has to ask for one before it can speak to anybody, and gets the bundle of the day with it.)
    pub(crate) fn check(&self) {
        let now = self.now();
        let live = || self.members.iter().enumerate().filter_map(|(n, m)| Some((n, m.as_ref()?)));
        let live = || live().filter(|(_, m)| now < m.svid.not_after());
        for (a, holder) in live() {
            for (b, verifier) in live() {
                let (leaf, rest) = holder.svid.chain().split_first().unwrap();
                let seen = verify(leaf, rest, &verifier.bundle, now);
                assert!(seen.is_ok(), "w{b} does not believe w{a}: {seen:?}");
            }
        }
    }

    /// The members' serial numbers.
    pub(crate) fn serial(&self, member: usize) -> String {
        self.members[member].as_ref().unwrap().svid.serial().to_owned()
    }
}
