//! A process that is killed while it writes leaves a store that the next one can use: the old content or the new one, and a
//! CA that is whole.

use std::{
    fs::OpenOptions,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use mesh_ca::{
    clock::{ManualClock, SystemClock},
    issuer::{
        CaStore, CertIssuer, Csr, DirectoryKeyStore, DirectoryRecords, DirectoryStore, IssueRequest, IssuedCertificate,
        KeyName, RevocationReason, RootKeys, RotatingCa, RotatingCaConfig, SelfSigned, SelfSignedConfig, StoreItem,
        rotation::RootPhase,
    },
    spiffe::{KeyType, PrivateKey, verify},
};

use crate::fixture::{trust_domain, workload};

/// Where the killed process notes what it has handed out.
const HANDED_OUT: &str = "handed-out";
const FOLDER: &str = "MESH_CA_CRASH_FOLDER";
const WORK: &str = "MESH_CA_CRASH_WORK";
/// How often a process is killed in each test.
const ROUNDS: u32 = 40;

/// Contents of different lengths, larger than what one write takes.
fn content(n: usize) -> Vec<u8> {
    format!("{n};").repeat(40_000 + 1000 * (n % 7)).into_bytes()
}

async fn root(store: &DirectoryStore, keys: Option<&DirectoryKeyStore>) -> SelfSigned {
    let (config, clock) = (SelfSignedConfig::new(trust_domain()), Arc::new(ManualClock::system()));
    match keys {
        Some(keys) => {
            SelfSigned::open_with_keys(store, keys, &KeyName::new("root").unwrap(), config, clock).await.unwrap()
        }
        None => SelfSigned::open(store, config, clock).await.unwrap(),
    }
}

/// What the killed process does; it is a test so that the same program can run it.
#[tokio::test]
#[ignore = "runs in a process of its own, started by the other tests of this file"]
async fn child() {
    let folder = std::env::var_os(FOLDER).expect("the other tests of this file set it");
    let folder = Path::new(&folder);
    let store = DirectoryStore::open(folder).unwrap();
    match std::env::var(WORK).unwrap().as_str() {
        "replace" => {
            for n in 0.. {
                store.replace(StoreItem::RootCertificates, &content(n)).await.unwrap();
            }
        }
        "root" => drop(root(&store, None).await),
        "root and key" => {
            let keys = DirectoryKeyStore::open(folder.join("keys")).unwrap();
            drop(root(&store, Some(&keys)).await);
        }
        "rotate" => rotate(folder).await,
        other => panic!("{other}"),
    }
}

async fn rotating(folder: &Path) -> RotatingCa {
    let clock = Arc::new(SystemClock);
    let store = Arc::new(DirectoryStore::open(folder).unwrap());
    let records = Arc::new(DirectoryRecords::open(folder, clock.clone()).await.unwrap());
    let mut config = RotatingCaConfig::new(SelfSignedConfig::new(trust_domain()));
    config.rotation.settle = Duration::ZERO;
    RotatingCa::open(store, records, RootKeys::Inline, config, clock).await.unwrap()
}

async fn issue(ca: &RotatingCa) -> IssuedCertificate {
    let (id, key) = (workload("a"), PrivateKey::generate(KeyType::EcdsaP256).unwrap());
    let csr = Csr::from_pem(&Csr::create_pem(&key, &id, &[]).unwrap()).unwrap();
    ca.issue(IssueRequest { csr, id, dns_names: vec![], lifetime: None }).await.unwrap()
}

/// Changes the root again and again, and notes each certificate that was handed out.
async fn rotate(folder: &Path) {
    let ca = rotating(folder).await;
    let mut handed_out = OpenOptions::new().create(true).append(true).open(folder.join(HANDED_OUT)).unwrap();
    for n in 0.. {
        let issued = issue(&ca).await;
        handed_out.write_all(format!("{}\n", issued.serial).as_bytes()).unwrap();
        if n % 5 == 3 {
            ca.revoke(&issued.serial, RevocationReason::Superseded).await.unwrap();
        }
        match ca.status().await.phase {
            RootPhase::Steady => drop(ca.start().await.unwrap()),
            RootPhase::Distributing | RootPhase::Tainted => drop(ca.approve().await.unwrap()),
            _ => {}
        }
        ca.tick().await.unwrap();
    }
}

fn start(folder: &Path, work: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--ignored"])
        .env(FOLDER, folder)
        .env(WORK, work)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills a child some time after it has begun to write; a bit later in each round.
fn kill_while_writing(folder: &Path, work: &str, round: u32) {
    let count = || std::fs::read_dir(folder).map_or(0, Iterator::count);
    let before = count();
    let mut child = start(folder, work);
    let begun = Instant::now();
    while count() == before && child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(20) {
        std::thread::yield_now();
    }
    let pause = Duration::from_micros(u64::from(round) * 150);
    let begun = Instant::now();
    while begun.elapsed() < pause {
        std::thread::yield_now();
    }
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_replaced_item_is_the_old_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(folder.path()).unwrap();
    store.create(StoreItem::RootCertificates, &content(0)).await.unwrap();
    for round in 0..ROUNDS {
        kill_while_writing(folder.path(), "replace", round);
        let kept = store.load(StoreItem::RootCertificates).await.unwrap().unwrap();
        let text = std::str::from_utf8(&kept).unwrap();
        let n: usize = text.split(';').next().unwrap().parse().unwrap();
        assert!(kept.as_slice() == content(n), "round {round}: torn, {} bytes", kept.len());
    }
}

#[tokio::test]
async fn a_start_that_is_killed_leaves_a_ca_that_starts() {
    for (work, with_keys) in [("root", false), ("root and key", true)] {
        for round in 0..ROUNDS {
            let folder = tempfile::tempdir().unwrap();
            kill_while_writing(folder.path(), work, round);
            let store = DirectoryStore::open(folder.path()).unwrap();
            let keys = with_keys.then(|| DirectoryKeyStore::open(folder.path().join("keys")).unwrap());
            let kept = store.load(StoreItem::SigningCa).await.unwrap();
            let first = root(&store, keys.as_ref()).await.trust_bundle();
            if let Some(kept) = kept {
                let kept = String::from_utf8_lossy(&kept).into_owned();
                assert!(kept.contains(&first.to_pem()), "{work} {round}: a root that was kept is used");
            }
            assert_eq!(root(&store, keys.as_ref()).await.trust_bundle(), first, "{work} {round}");
        }
    }
}

#[tokio::test]
async fn a_rotating_ca_that_is_killed_goes_on_and_knows_what_it_has_issued() {
    let folder = tempfile::tempdir().unwrap();
    let noted = || std::fs::read_to_string(folder.path().join(HANDED_OUT)).unwrap_or_default();
    let (mut sequence, mut phases) = (0, std::collections::HashSet::new());
    for round in 0..ROUNDS {
        let before = noted().len();
        let mut child = start(folder.path(), "rotate");
        let begun = Instant::now();
        while noted().len() == before && begun.elapsed() < Duration::from_secs(20) {
            assert!(child.try_wait().unwrap().is_none(), "round {round}: it could not start");
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(u64::from(round) * 3777));
        child.kill().unwrap();
        child.wait().unwrap();

        let ca = rotating(folder.path()).await;
        let status = ca.status().await;
        assert!(status.sequence >= sequence, "round {round}: {status}");
        sequence = status.sequence;
        phases.insert(status.phase);
        let now = std::time::SystemTime::now();
        // The last line may be cut off by the kill, but then it has no end.
        let noted = noted();
        for serial in noted.split_inclusive('\n').filter_map(|l| l.strip_suffix('\n')).filter(|l| l.len() == 32) {
            assert!(ca.holders().leaf(serial, now).is_some(), "round {round}: {serial} is not on record");
        }
        let issued = issue(&ca).await;
        verify(&issued.chain[0], &issued.chain[1..], &ca.trust_bundle(), now).unwrap();
        assert_eq!(ca.trust_bundle().roots().len(), status.roots.len());
    }
    assert!(sequence > 5 && phases.len() > 1, "it was killed at different places: {sequence} {phases:?}");
}
