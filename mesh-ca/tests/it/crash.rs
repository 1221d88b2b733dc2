//! A process that is killed while it writes leaves a store that the next one can use: the old content or the new one, and a
//! CA that is whole.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use mesh_ca::{
    clock::ManualClock,
    issuer::{
        CaStore, CertIssuer, DirectoryKeyStore, DirectoryStore, KeyName, SelfSigned, SelfSignedConfig, StoreItem,
    },
};

use crate::fixture::trust_domain;

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
        other => panic!("{other}"),
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
