//! Rotation of the root: every phase, proof, abort at each of them, a crash at every write.

use std::{sync::Arc, time::Duration};

use mesh_ca::{
    agent::{AgentConfig, IssuerSource, WorkloadIdentity},
    clock::{Clock, ManualClock},
    issuer::{
        CaStore, CertIssuer, DirectoryRecords, DirectoryStore, KeyName, KeyStore, MemoryKeyStore, RootKeys, RotatingCa,
        RotatingCaError, SelfSigned, SelfSignedConfig, SelfSignedError, StoreItem, conformance,
        records::MemoryRecords,
        rotation::{RootPhase, RotationRefused},
        store::MemoryStore,
    },
    spiffe::{TrustBundle, TrustBundles},
};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

use crate::{
    fixture::{trust_domain, workload},
    fleet::{Fleet, config},
};

const SETTLE: Duration = Duration::from_secs(11);

async fn phase(fleet: &Fleet) -> RootPhase {
    fleet.ca().status().await.phase
}

/// Lets everybody follow, until the rotation is over.
async fn through(fleet: &mut Fleet) {
    for round in 0..60 {
        if phase(fleet).await == RootPhase::Steady {
            return;
        }
        // Certificates that were given up before a crash are waited for until their end.
        if round > 10 {
            fleet.clock.advance(Duration::from_secs(300));
        }
        for member in 0..fleet.members.len() {
            if fleet.members[member].as_ref().is_none_or(|m| fleet.now() >= m.svid.not_after()) {
                fleet.renew(member).await.unwrap();
            }
        }
        for member in 0..fleet.members.len() {
            fleet.deliver(member);
        }
        fleet.renew_tainted().await;
        fleet.clock.advance(SETTLE);
        fleet.ca().tick().await.unwrap();
        fleet.check();
    }
    panic!("no end: {}", fleet.ca().status().await);
}

#[tokio::test]
async fn it_conforms_and_takes_over_the_root_of_a_ca_that_does_not_rotate() {
    let store = Arc::new(MemoryStore::default());
    let clock = ManualClock::system();
    let plain = SelfSigned::open(&*store, SelfSignedConfig::new(trust_domain()), Arc::new(clock.clone()));
    let root = plain.await.unwrap().trust_bundle();
    let records = Arc::new(MemoryRecords::default());
    let open = || RotatingCa::open(store.clone(), records.clone(), RootKeys::Inline, config(), Arc::new(clock.clone()));
    let ca = open().await.unwrap();
    assert_eq!(ca.trust_bundle(), root);
    conformance::check_issuer(&ca, clock.now().wall).await;
    assert!(open().await.unwrap_err().to_string().contains("is in use by"), "one at a time");

    // What was signed before there were records counts until it must have ended, also after a restart.
    ca.start().await.unwrap();
    let behind = ca.status().await.waiting.unwrap();
    assert!(behind.names.iter().any(|n| n.contains("before-there-were-records")), "{behind:?}");
    let longest = config().ca.policy.max_lifetime;
    assert_eq!(behind.until.map(|u| u.duration_since(clock.now().wall).unwrap() <= longest), Some(true));
    ca.abort().await.unwrap();
    drop(ca);
    let ca = open().await.unwrap();
    assert!(ca.revoke("unknown", mesh_ca::issuer::RevocationReason::Unspecified).await.is_err());

    // While two roots are there the other kind of CA does not start; after that it does.
    ca.start().await.unwrap();
    let plain = || SelfSigned::open(&*store, SelfSignedConfig::new(trust_domain()), Arc::new(clock.clone()));
    let refused = plain().await.unwrap_err();
    assert!(matches!(&refused, SelfSignedError::Damaged { reason } if reason.contains("rotation")), "{refused}");
    ca.abort().await.unwrap();
    assert_eq!(plain().await.unwrap().trust_bundle(), root);
}

#[tokio::test]
async fn each_phase_waits_for_its_proof() {
    let mut fleet = Fleet::new(3, config()).await;
    let old = fleet.ca().trust_bundle();
    let status = fleet.ca().start().await.unwrap();
    assert_eq!((status.phase, status.sequence), (RootPhase::Distributing, 2));
    assert_eq!(fleet.ca().trust_bundle().roots().len(), 2);
    let refused = fleet.ca().start().await.unwrap_err();
    assert!(matches!(refused, RotatingCaError::Refused(RotationRefused::UnderWay(_))), "{refused}");

    // Two of three have it: not enough, however long it takes; then the third one has it too.
    (0..2).for_each(|m| fleet.deliver(m));
    fleet.clock.advance(SETTLE * 10);
    fleet.ca().tick().await.unwrap();
    let status = fleet.ca().status().await;
    assert_eq!((status.phase, status.waiting.as_ref().unwrap().behind), (RootPhase::Distributing, 1));
    assert!(status.to_string().contains("w2"), "it says who: {status}");
    fleet.renew(0).await.unwrap();
    assert_eq!(
        fleet.members[0].as_ref().unwrap().root,
        mesh_ca::issuer::rotation::RootId::of(old.roots()[0].certificate())
    );
    fleet.deliver(2);
    fleet.ca().tick().await.unwrap();
    assert_eq!(phase(&fleet).await, RootPhase::Activated);
    fleet.check();

    fleet.clock.advance(SETTLE);
    fleet.ca().tick().await.unwrap();
    assert_eq!(phase(&fleet).await, RootPhase::Tainted);
    fleet.renew(0).await.unwrap();
    fleet.check();
    fleet.clock.advance(SETTLE);
    fleet.ca().tick().await.unwrap();
    assert_eq!(fleet.ca().status().await.waiting.unwrap().behind, 4, "two certificates and two streams");
    fleet.renew_tainted().await;
    fleet.ca().tick().await.unwrap();
    let status = fleet.ca().status().await;
    assert_eq!((status.phase, status.sequence, status.roots.len()), (RootPhase::Steady, 3, 1));
    assert!(!fleet.ca().trust_bundle().roots().iter().any(|r| r.certificate() == old.roots()[0].certificate()));
    fleet.check();
}

#[tokio::test]
async fn certificates_that_nobody_acknowledges_count_until_they_end() {
    let mut fleet = Fleet::new(2, config()).await;
    fleet.ca().start().await.unwrap();
    let status = fleet.ca().status().await;
    let waiting = status.waiting.unwrap();
    assert_eq!((waiting.behind, waiting.until), (2, Some(fleet.members[0].as_ref().unwrap().svid.not_after())));
    // A wall clock that is set forward ends nothing.
    let wall = fleet.now();
    fleet.clock.set_wall(wall + Duration::from_secs(7200));
    fleet.ca().tick().await.unwrap();
    assert_eq!(phase(&fleet).await, RootPhase::Distributing);
    fleet.clock.set_wall(wall);
    // After a crash the records still know them.
    fleet.crash();
    fleet.open().await.unwrap();
    fleet.clock.advance(Duration::from_secs(3500));
    fleet.ca().tick().await.unwrap();
    assert_eq!(phase(&fleet).await, RootPhase::Distributing);
    fleet.clock.advance(Duration::from_secs(110));
    fleet.ca().tick().await.unwrap();
    assert_eq!(phase(&fleet).await, RootPhase::Activated);
}

#[tokio::test]
async fn an_operator_may_go_on_without_proof_and_is_told_when_it_takes_long() {
    let mut config = config();
    config.rotation.deadline = Duration::from_secs(60);
    let fleet = Fleet::new(1, config).await;
    assert!(fleet.ca().approve().await.is_err(), "there is nothing to approve");
    fleet.ca().start().await.unwrap();
    fleet.clock.advance(Duration::from_secs(61));
    fleet.ca().tick().await.unwrap();
    let status = fleet.ca().status().await;
    assert!(status.overdue && status.phase == RootPhase::Distributing, "{status}");
    assert!(status.to_string().contains("OVERDUE"));
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(
        (&json["phase"], &json["overdue"], &json["waiting"]["behind"]),
        (&"distributing".into(), &true.into(), &1.into())
    );
    assert!(fleet.ca().approve().await.unwrap().approved);
    fleet.ca().tick().await.unwrap();
    assert_eq!(phase(&fleet).await, RootPhase::Activated);
}

#[tokio::test]
async fn it_starts_by_itself_in_time_and_outlives_its_roots() {
    let mut config = config();
    config.ca = config.ca.with_root_lifetime(Duration::from_secs(100_000));
    config.rotation.start_after = Some(0.5);
    let mut fleet = Fleet::new(2, config).await;
    for generation in 1..5u64 {
        fleet.clock.advance(Duration::from_secs(48_000));
        fleet.ca().tick().await.unwrap();
        assert_eq!(phase(&fleet).await, RootPhase::Steady);
        for member in 0..2 {
            fleet.renew(member).await.unwrap();
        }
        fleet.clock.advance(Duration::from_secs(2100));
        fleet.ca().tick().await.unwrap();
        assert_eq!(phase(&fleet).await, RootPhase::Distributing, "{generation}");
        through(&mut fleet).await;
        assert_eq!(fleet.ca().status().await.sequence, 1 + 2 * generation);
    }
}

#[tokio::test]
async fn abort_at_every_phase_leads_back() {
    for wanted in [RootPhase::Distributing, RootPhase::Activated, RootPhase::Tainted] {
        for renewed in [false, true] {
            let mut fleet = Fleet::new(3, config()).await;
            assert!(fleet.ca().abort().await.is_err(), "there is nothing to abort");
            let old = fleet.ca().trust_bundle();
            fleet.ca().start().await.unwrap();
            while phase(&fleet).await != wanted {
                (0..3).for_each(|m| fleet.deliver(m));
                fleet.clock.advance(SETTLE);
                fleet.ca().tick().await.unwrap();
            }
            if renewed {
                fleet.renew(0).await.unwrap();
            }
            let aborted = fleet.ca().abort().await.unwrap();
            fleet.check();
            if wanted == RootPhase::Distributing {
                assert_eq!(aborted.phase, RootPhase::Steady);
            } else {
                assert!(aborted.aborting);
                assert!(fleet.ca().abort().await.is_err(), "once");
                fleet.crash();
                fleet.open().await.unwrap();
            }
            through(&mut fleet).await;
            assert_eq!(fleet.ca().trust_bundle(), old, "{wanted} {renewed}");
            fleet.renew(1).await.unwrap();
            fleet.check();
            // And the next one goes through.
            fleet.ca().start().await.unwrap();
            through(&mut fleet).await;
            assert_ne!(fleet.ca().trust_bundle(), old);
        }
    }
}

#[tokio::test]
async fn a_crash_at_every_write_leaves_a_rotation_that_goes_on() {
    for last_is_done in [false, true] {
        for killed_at in 1.. {
            let mut fleet = Fleet::new(2, config()).await;
            fleet.ca().revoke(&fleet.serial(1), mesh_ca::issuer::RevocationReason::Superseded).await.unwrap();
            fleet.renew(1).await.unwrap();
            let before = fleet.store.writes();
            fleet.store.die_after(killed_at, last_is_done);
            // Whatever fails, the process that fails may go on for a while.
            let _ = fleet.ca().start().await;
            for _ in 0..6 {
                (0..2).for_each(|m| fleet.deliver(m));
                fleet.renew_tainted().await;
                fleet.clock.advance(SETTLE);
                let _ = fleet.ca().tick().await;
                fleet.check();
            }
            let survived = !fleet.store.is_dead();
            assert!(fleet.store.writes() > before);
            fleet.crash();
            fleet.store.heal();
            fleet.open().await.unwrap();
            fleet.check();
            assert_eq!(fleet.ca().revoked().await.len(), 1, "what is revoked stays so");
            if phase(&fleet).await == RootPhase::Steady && fleet.ca().status().await.sequence == 1 {
                fleet.ca().start().await.unwrap();
            }
            through(&mut fleet).await;
            assert_eq!(fleet.ca().trust_bundle().roots().len(), 1);
            if survived {
                assert!(killed_at > 5, "a rotation has several writes: {killed_at}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn keys_can_be_in_a_key_store() {
    let (store, keys) = (Arc::new(MemoryStore::default()), Arc::new(MemoryKeyStore::default()));
    let name = KeyName::new("root").unwrap();
    let where_keys_are = RootKeys::Store { keys: keys.clone(), name: name.clone() };
    let clock = ManualClock::system();
    let records = Arc::new(MemoryRecords::default());
    let open =
        || RotatingCa::open(store.clone(), records.clone(), where_keys_are.clone(), config(), Arc::new(clock.clone()));
    let ca = open().await.unwrap();
    ca.start().await.unwrap();
    let text = store.load(StoreItem::SigningCa).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&text).contains("PRIVATE"));
    drop(ca);
    let ca = open().await.unwrap();
    for _ in 0..3 {
        clock.advance(SETTLE);
        ca.tick().await.unwrap();
    }
    assert_eq!(ca.status().await.phase, RootPhase::Steady);
    assert!(keys.get(&name).await.unwrap().is_none(), "the key of the withdrawn root is destroyed");
    assert!(keys.get(&KeyName::new("root-2").unwrap()).await.unwrap().is_some());
    conformance::check_issuer(&ca, clock.now().wall).await;
}

#[tokio::test]
async fn an_identity_of_the_same_process_follows() {
    let clock = ManualClock::system();
    let (store, records) = (Arc::new(MemoryStore::default()), Arc::new(MemoryRecords::default()));
    let ca = RotatingCa::open(store, records, RootKeys::Inline, config(), Arc::new(clock.clone())).await;
    let ca = Arc::new(ca.unwrap());
    let old = ca.trust_bundle();
    let agent = AgentConfig::new(workload("istiod")).with_bundles(TrustBundles::from(TrustBundle::clone(&old)));
    let identity = WorkloadIdentity::spawn(agent, Arc::new(IssuerSource::new(ca.clone())), Arc::new(clock.clone()));
    let watch = identity.watch();
    let first = watch.ready().await.unwrap();
    let _following = ca.follow(&identity);
    let _supervised = ca.supervise();
    ca.start().await.unwrap();
    for _ in 0..2000 {
        if ca.status().await.phase == RootPhase::Steady {
            break;
        }
        clock.advance(Duration::from_millis(500));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(ca.status().await.phase, RootPhase::Steady, "{}", ca.status().await);
    let last = watch.svid().unwrap();
    assert_ne!(first.serial(), last.serial());
    last.verify(&ca.trust_bundle(), clock.now().wall).unwrap();
    let mut states = watch.subscribe();
    let told = states.wait_for(|s| s.bundles.bundle(&trust_domain()) == Some(&*ca.trust_bundle()));
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("the old root is not believed any more").unwrap();
}

#[tokio::test]
async fn on_disk_it_survives_a_restart_in_each_phase() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::system();
    let open = || async {
        let store = Arc::new(DirectoryStore::open(folder.path()).unwrap());
        let records = Arc::new(DirectoryRecords::open(folder.path(), Arc::new(clock.clone())).await.unwrap());
        RotatingCa::open(store, records, RootKeys::Inline, config(), Arc::new(clock.clone())).await.unwrap()
    };
    let first = open().await.trust_bundle();
    open().await.start().await.unwrap();
    for wanted in [RootPhase::Distributing, RootPhase::Activated, RootPhase::Tainted, RootPhase::Steady] {
        let ca = open().await;
        assert_eq!(ca.status().await.phase, wanted);
        let file = std::fs::read_to_string(folder.path().join("root-cert.pem")).unwrap();
        assert_eq!(file, ca.trust_bundle().to_pem());
        clock.advance(SETTLE);
        ca.tick().await.unwrap();
    }
    assert_ne!(open().await.trust_bundle(), first);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Renew(usize),
    Deliver(usize),
    Pass(u64),
    Tick,
    Start,
    Abort,
    Crash,
    Kill(i64, bool),
}

const MEMBERS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..MEMBERS).prop_map(Step::Renew),
        4 => (0..MEMBERS).prop_map(Step::Deliver),
        3 => (0..40u64).prop_map(Step::Pass),
        1 => (1000..4000u64).prop_map(Step::Pass),
        6 => Just(Step::Tick),
        2 => Just(Step::Start),
        1 => Just(Step::Abort),
        1 => Just(Step::Crash),
        1 => (1..4i64, any::<bool>()).prop_map(|(n, done)| Step::Kill(n, done)),
    ]
}

async fn play(steps: Vec<Step>) {
    let mut fleet = Fleet::new(MEMBERS, config()).await;
    for step in steps {
        match step {
            Step::Renew(member) => fleet.renew(member).await.unwrap(),
            Step::Deliver(member) => fleet.deliver(member),
            Step::Pass(seconds) => fleet.clock.advance(Duration::from_secs(seconds)),
            // Refusals and dead stores are part of the play.
            Step::Tick => drop(fleet.ca().tick().await),
            Step::Start => drop(fleet.ca().start().await),
            Step::Abort => drop(fleet.ca().abort().await),
            Step::Kill(writes, done) => fleet.store.die_after(writes, done),
            Step::Crash => {
                fleet.crash();
                fleet.store.heal();
                fleet.open().await.unwrap();
            }
        }
        fleet.check();
    }
    fleet.crash();
    fleet.store.heal();
    fleet.open().await.unwrap();
    through(&mut fleet).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever happens in which order: nobody holds a certificate that somebody else does not believe.
    #[test]
    fn nobody_is_cut_off(steps in prop::collection::vec(step(), 1..80)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(steps));
    }
}
