//! Credentials of service accounts: written, repaired, renewed, removed, and never torn.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use mesh_ca::{
    issuer::{CertIssuer, Csr, IssueRequest},
    sink::{
        CredentialKeeper, CredentialSet, CredentialSink, FolderSink, KeeperConfig, KeeperStatus, MemorySink, Reason,
        ServiceAccount, SinkError, Stored, Verdict, conformance, judge,
    },
    spiffe::{KeyType, PrivateKey, certificates_to_pem, verify_pem},
};
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_oneof, proptest};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::fixture::{Ca, trust_domain, workload};

const CHAIN: &str = "cert-chain.pem";
const FOLDER: &str = "MESH_CA_SINK_FOLDER";
/// How often a process is killed.
const ROUNDS: u32 = 40;

fn account(name: &str) -> ServiceAccount {
    ServiceAccount::new("default", name).unwrap()
}

fn accounts(names: &[&str]) -> Arc<BTreeSet<ServiceAccount>> {
    Arc::new(names.iter().map(|n| account(n)).collect())
}

fn config() -> KeeperConfig {
    let mut config = KeeperConfig::new(trust_domain());
    config.lifetime = Some(Duration::from_secs(3600));
    config
}

async fn set(ca: &Ca, name: &str) -> CredentialSet {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let id = workload(name);
    let csr = Csr::from_pem(&Csr::create_pem(&key, &id, &[]).unwrap()).unwrap();
    let request = IssueRequest { csr, id, dns_names: vec![], lifetime: Some(Duration::from_secs(3600)) };
    let issued = ca.issuer.issue(request).await.unwrap();
    CredentialSet::new(certificates_to_pem(&issued.chain), key.to_pem(), ca.issuer.trust_bundle().to_pem())
}

#[tokio::test]
async fn both_sinks_keep_the_contract() {
    conformance::check_sink(&MemorySink::default()).await;
    let folder = tempfile::tempdir().unwrap();
    conformance::check_sink(&FolderSink::open(folder.path().join("new/folder")).unwrap()).await;
}

#[test]
fn names_cannot_leave_the_folder() {
    for bad in ["", ".", "..", "a/b", "A", "-a", "a-", "a b", "..data", "a\0", "é"] {
        assert!(ServiceAccount::new("default", bad).is_err(), "{bad:?}");
        assert!(ServiceAccount::new(bad, "default").is_err(), "{bad:?}");
    }
    assert!(ServiceAccount::new("a.b-c", "0").is_ok());
}

#[tokio::test]
async fn what_is_held_is_judged() {
    let (ca, other) = (Ca::new().await, Ca::new().await);
    let now = mesh_ca::clock::Clock::now(&ca.clock).wall;
    let (bundle, good) = (ca.issuer.trust_bundle(), set(&ca, "web").await);
    let verdict = |set: &CredentialSet, now| judge(&Stored::Held(set.clone()), &workload("web"), &bundle, now, 0.5);
    let Verdict::Keep { renew_at, not_after, .. } = verdict(&good, now) else { panic!("a good set is kept") };
    // A half of an hour, give or take a hundredth, from its start, which lies a little before now.
    let half = not_after.duration_since(renew_at).unwrap().as_secs();
    assert!((1770..1900).contains(&half), "{half}");
    assert_eq!(verdict(&good, renew_at), Verdict::Issue(Reason::Due));
    assert_eq!(verdict(&good, not_after), Verdict::Issue(Reason::Due));

    let with = |change: &dyn Fn(&mut CredentialSet)| {
        let mut set = good.clone();
        change(&mut set);
        set
    };
    let foreign = set(&other, "web").await;
    let rewritten = with(&|s| s.roots = foreign.roots.clone());
    assert_eq!(verdict(&rewritten, now), Verdict::Rewrite(good.clone()), "roots are brought up to date");
    for (bad, why) in [
        (with(&|s| s.chain = String::new()), "chain"),
        (with(&|s| s.key = Zeroizing::new("x".into())), "key"),
        (with(&|s| s.key = foreign.key.clone()), "does not belong"),
        (with(&|s| s.chain.truncate(200)), "chain"),
        (foreign.clone(), "root"),
    ] {
        let Verdict::Issue(Reason::Damaged(what)) = verdict(&bad, now) else {
            panic!("{why}: {:?}", verdict(&bad, now))
        };
        assert!(what.contains(why) || why == "root", "{what}");
    }
    let others = set(&ca, "other").await;
    assert!(matches!(verdict(&others, now), Verdict::Issue(Reason::Damaged(_))), "of another account");
}

/// Waits until the keeper has looked at everything once more.
async fn round(keeper: &CredentialKeeper) -> Arc<KeeperStatus> {
    let mut status = keeper.status();
    let rounds = status.borrow().rounds;
    keeper.check_now();
    Arc::clone(&*status.wait_for(|s| s.rounds > rounds).await.unwrap())
}

/// The status once it is as wanted. Rounds that begin by themselves, at the start and after a change, are waited for like this.
async fn until(keeper: &CredentialKeeper, wanted: impl FnMut(&Arc<KeeperStatus>) -> bool) -> Arc<KeeperStatus> {
    let mut status = keeper.status();
    let seen = tokio::time::timeout(Duration::from_secs(60), status.wait_for(wanted)).await;
    Arc::clone(&*seen.unwrap().unwrap())
}

#[tokio::test]
async fn accounts_are_served_repaired_renewed_and_removed() {
    let ca = Ca::new().await;
    let folder = tempfile::tempdir().unwrap();
    let sink = Arc::new(FolderSink::open(folder.path()).unwrap());
    let (declare, declared) = watch::channel(accounts(&["web"]));
    let keeper = CredentialKeeper::spawn(config(), declared, ca.issuer.clone(), sink.clone(), ca.clock());
    let status = until(&keeper, |s| s.rounds == 1).await;
    assert_eq!(status.created, 1, "{status:?}");
    let web = sink.path(&account("web"));
    let files = |name: &str| fs::read_to_string(web.join(name)).unwrap();
    let now = || mesh_ca::clock::Clock::now(&ca.clock).wall;
    let check = || {
        let seen = verify_pem(files(CHAIN).as_bytes(), None, files("root-cert.pem").as_bytes(), now()).unwrap();
        assert_eq!(seen.id, workload("web"));
        assert_eq!(fs::metadata(web.join("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
        seen.serial
    };
    let mut serials = BTreeSet::from([check()]);

    declare.send_replace(accounts(&["web", "late"]));
    let status = until(&keeper, |s| s.accounts.len() == 2).await;
    assert_eq!((status.created, status.accounts.len()), (2, 2), "an account that comes later");

    type Damage = Box<dyn Fn(&Path)>;
    let damages: [(&str, Damage); 9] = [
        ("a file is deleted", Box::new(|f| fs::remove_file(f.join(CHAIN)).unwrap())),
        ("the folder is deleted", Box::new(|f| fs::remove_dir_all(f).unwrap())),
        (
            "the set is deleted",
            Box::new(|f| {
                fs::remove_dir_all(f.canonicalize().unwrap().join("..data/").canonicalize().unwrap()).unwrap()
            }),
        ),
        ("the link is deleted", Box::new(|f| fs::remove_file(f.join("..data")).unwrap())),
        ("a key is emptied", Box::new(|f| fs::write(f.join("key.pem"), "").unwrap())),
        ("a chain is cut", Box::new(|f| fs::write(f.join(CHAIN), &fs::read(f.join(CHAIN)).unwrap()[..300]).unwrap())),
        (
            "a file takes a link's place",
            Box::new(|f| {
                fs::remove_file(f.join(CHAIN)).unwrap();
                fs::write(f.join(CHAIN), "mine").unwrap();
            }),
        ),
        ("a file is no text", Box::new(|f| fs::write(f.join("root-cert.pem"), [0xff, 0xfe]).unwrap())),
        (
            "others may read the key",
            Box::new(|f| {
                fs::set_permissions(f.join("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
            }),
        ),
    ];
    for (what, damage) in &damages {
        damage(&web);
        let before = keeper.status().borrow().clone();
        let after = round(&keeper).await;
        let made = (after.created + after.repaired) - (before.created + before.repaired);
        assert_eq!((made, after.failed), (1, 0), "{what}: {after:?}");
        assert!(serials.insert(check()), "{what}: a new certificate");
    }
    // The other account was left alone all the time, and the next round finds nothing to do.
    let before = keeper.status().borrow().clone();
    assert_eq!(round(&keeper).await.accounts, before.accounts);

    ca.clock.advance(Duration::from_secs(1900));
    let status = until(&keeper, |s| s.renewed > 0).await;
    assert_eq!(status.renewed, 2, "{status:?}");
    assert!(serials.insert(check()));

    fs::write(web.join("notes.txt"), "of somebody else").unwrap();
    declare.send_replace(accounts(&["late"]));
    let status = until(&keeper, |s| s.accounts.len() == 1).await;
    assert_eq!((status.removed, status.accounts.len()), (1, 1), "{status:?}");
    assert_eq!(fs::read_dir(&web).unwrap().count(), 1, "what is not ours stays");
    assert_eq!(sink.list().await.unwrap(), [account("late")]);
}

#[tokio::test]
async fn failures_leave_what_there_is_and_are_retried() {
    let ca = Ca::new().await;
    let sink = Arc::new(MemorySink::default());
    let (_declare, declared) = watch::channel(accounts(&["web"]));
    let keeper = CredentialKeeper::spawn(config(), declared, ca.issuer.clone(), sink.clone(), ca.clock());
    until(&keeper, |s| s.rounds == 1).await;
    let held = sink.load(&account("web")).await.unwrap();
    sink.set_failing(true);
    ca.clock.advance(Duration::from_secs(1900));
    let status = until(&keeper, |s| s.failed > 0).await;
    let web = &status.accounts[&account("web")];
    assert!(web.failures >= 1 && web.last_error.is_some() && web.serial.is_some(), "{web:?}");
    sink.set_failing(false);
    assert_eq!(sink.load(&account("web")).await.unwrap(), held, "it stays");
    ca.clock.advance(Duration::from_secs(120));
    let status = until(&keeper, |s| s.renewed > 0).await;
    assert_eq!((status.renewed, status.accounts[&account("web")].failures), (1, 0), "{status:?}");
}

#[tokio::test]
async fn what_is_in_the_way_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let sink = FolderSink::open(folder.path()).unwrap();
    fs::create_dir_all(sink.path(&account("web")).join(CHAIN)).unwrap();
    let set = CredentialSet::new("a", Zeroizing::new("secret".into()), "c");
    assert!(!format!("{set:?}").contains("secret"));
    let refused = sink.store(&account("web"), &set).await.unwrap_err();
    assert!(matches!(&refused, SinkError::InTheWay(path) if path.ends_with(CHAIN)), "{refused}");
}

#[derive(Debug, Clone)]
enum Meddling {
    Delete(usize),
    Overwrite(usize, Vec<u8>),
    Folder,
}

fn meddling() -> impl Strategy<Value = Meddling> {
    prop_oneof![
        (0usize..4).prop_map(Meddling::Delete),
        (0usize..3, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(n, b)| Meddling::Overwrite(n, b)),
        prop::strategy::Just(Meddling::Folder),
    ]
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 48, ..Default::default() })]
    /// Whatever is done to the files: it is seen, never an error, and the next write repairs it.
    #[test]
    fn whatever_is_done_to_the_files_is_repaired(all in prop::collection::vec(meddling(), 1..5)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let sink = FolderSink::open(folder.path()).unwrap();
            let set = CredentialSet::new("chain", Zeroizing::new("key".into()), "roots");
            sink.store(&account("web"), &set).await.unwrap();
            let web = sink.path(&account("web"));
            for meddling in all {
                let name = |n: usize| [CHAIN, "key.pem", "root-cert.pem", "..data"][n];
                let _ = match meddling {
                    Meddling::Delete(n) => fs::remove_file(web.join(name(n))),
                    Meddling::Overwrite(n, bytes) => fs::write(web.join(name(n)), bytes),
                    Meddling::Folder => fs::remove_dir_all(&web),
                };
                prop_assert!(sink.load(&account("web")).await.is_ok());
            }
            sink.store(&account("web"), &set).await.unwrap();
            prop_assert!(sink.load(&account("web")).await.unwrap() == Stored::Held(set));
            Ok(())
        })?;
    }
}

/// Sets that differ everywhere, larger than what one write takes.
fn numbered(n: usize) -> CredentialSet {
    let text = |what: &str| format!("{what} {n};").repeat(8000 + 500 * (n % 7));
    CredentialSet::new(text("chain"), Zeroizing::new(text("key")), text("roots"))
}

/// What the killed process does; it is a test so that the same program can run it.
#[tokio::test]
#[ignore = "runs in a process of its own, started by the other test"]
async fn child() {
    let sink = FolderSink::open(std::env::var_os(FOLDER).expect("the other test sets it")).unwrap();
    for n in 0.. {
        sink.store(&account("web"), &numbered(n)).await.unwrap();
    }
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sink::child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_writer_that_is_killed_leaves_a_whole_set() {
    let folder = tempfile::tempdir().unwrap();
    let sink = FolderSink::open(folder.path()).unwrap();
    let mut last = None;
    for round in 0..ROUNDS {
        let mut child = start(folder.path());
        let deadline = Instant::now() + Duration::from_secs(60);
        // Killed after some writes of its own, at a moment that differs from round to round.
        while sink.load(&account("web")).await.unwrap() == last.clone().unwrap_or(Stored::Absent) {
            assert!(Instant::now() < deadline, "it writes");
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(u64::from(round) * 137));
        child.kill().unwrap();
        child.wait().unwrap();
        let stored = sink.load(&account("web")).await.unwrap();
        let Stored::Held(set) = &stored else { panic!("round {round}: {stored:?}") };
        let n: usize = set.chain.split([' ', ';']).nth(1).unwrap().parse().unwrap();
        assert_eq!(*set, numbered(n), "round {round}: all of one write");
        last = Some(stored);
    }
    sink.store(&account("web"), &numbered(0)).await.unwrap();
    let left = fs::read_dir(sink.path(&account("web"))).unwrap().count();
    assert_eq!(left, 5, "three links, the current one and its set: what was cut off is cleared away");
}
