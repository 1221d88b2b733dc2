//! Ten years of a CA, its roots and its workloads, with outages of every part at random, on a clock in hand.

use std::{sync::Arc, time::Duration};

use mesh_ca::{
    agent::{Action, RotationConfig, Rotator},
    clock::{Clock, Now},
    issuer::{CertIssuer, RevocationReason, rotation::RootPhase},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::fleet::{Fleet, config};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const WORKLOADS: usize = 4;
/// Life of a workload's certificate: it is renewed at half of it, so the grace period is as long.
const LIFE: Duration = Duration::from_secs(6 * 86_400);
/// So long a workload must reach the CA within its grace period to be sure of its renewal: the longest pause between tries,
/// and one look at the clock.
const ENOUGH: Duration = Duration::from_secs(3 * 3600);

/// How long something is away, or not.
struct Outage {
    hours: u32,
    /// Share of hours in which one starts.
    chance: f64,
    longest: u32,
}

impl Outage {
    fn new(chance: f64, longest: u32) -> Self {
        Self { hours: 0, chance, longest }
    }

    /// One more hour: whether it is away in it.
    fn hour(&mut self, random: &mut StdRng) -> bool {
        if self.hours == 0 && random.random_bool(self.chance) {
            self.hours = random.random_range(1..=self.longest);
        }
        let away = self.hours > 0;
        self.hours = self.hours.saturating_sub(1);
        away
    }
}

struct Workload {
    rotator: Rotator,
    network: Outage,
    /// How long the CA could be reached without a break, in this grace period.
    reachable: Duration,
    best: Duration,
}

impl Workload {
    fn new(seed: u64) -> Self {
        let mut config = RotationConfig::default();
        config.check_interval = HOUR;
        config.backoff_initial = Duration::from_secs(60);
        config.backoff_max = HOUR;
        Self {
            rotator: Rotator::new(config, seed),
            network: Outage::new(0.002, 24 * 5),
            reachable: Duration::ZERO,
            best: Duration::ZERO,
        }
    }

    /// Keeps the books of the grace period: from when a renewal is due until the end.
    fn note(&mut self, due: bool, reaches: bool) {
        self.reachable = if due && reaches { self.reachable + HOUR } else { Duration::ZERO };
        self.best = if due { self.best.max(self.reachable) } else { Duration::ZERO };
    }
}

#[derive(Debug, Default)]
struct Seen {
    renewals: u64,
    failures: u64,
    ended: u64,
    roots: u64,
    crashes: u64,
    aborts: u64,
}

struct World {
    fleet: Fleet,
    workloads: Vec<Workload>,
    random: StdRng,
    seen: Seen,
    ca_away: Outage,
    disk_away: Outage,
    phase: RootPhase,
    sequence: u64,
}

impl World {
    async fn new(seed: u64) -> Self {
        let mut config = config();
        config.ca = config.ca.with_root_lifetime(730 * DAY);
        config.rotation.start_after = Some(0.5);
        config.rotation.settle = HOUR;
        config.rotation.deadline = 10 * LIFE;
        let mut fleet = Fleet::new(WORKLOADS, config).await;
        fleet.lifetime = LIFE;
        fleet.members.iter_mut().for_each(|m| *m = None);
        Self {
            fleet,
            workloads: (0..WORKLOADS as u64).map(|n| Workload::new(seed * 100 + n)).collect(),
            random: StdRng::seed_from_u64(seed),
            seen: Seen::default(),
            ca_away: Outage::new(0.001, 24 * 3),
            disk_away: Outage::new(0.001, 24),
            phase: RootPhase::Steady,
            sequence: 1,
        }
    }

    fn now(&self) -> Now {
        self.fleet.clock.now()
    }

    async fn hour(&mut self) {
        self.fleet.clock.advance(HOUR);
        if self.disk_away.hour(&mut self.random) {
            self.fleet.store.die_after(0, false)
        } else {
            self.fleet.store.heal()
        }
        self.run_ca().await;
        for n in 0..WORKLOADS {
            self.run_workload(n).await;
        }
    }

    /// The CA: away, crashed, or at work; now and then an operator changes his mind, or takes a certificate back.
    async fn run_ca(&mut self) {
        if self.ca_away.hour(&mut self.random) {
            self.fleet.crash();
            return;
        }
        if self.random.random_bool(0.001) {
            self.seen.crashes += 1;
            self.fleet.crash();
        }
        if self.fleet.ca.is_none() && self.fleet.open().await.is_err() {
            assert!(self.fleet.store.is_dead(), "only a dead disk stops it");
            return;
        }
        if self.phase != RootPhase::Steady && self.random.random_bool(0.02) && self.fleet.ca().abort().await.is_ok() {
            self.seen.aborts += 1;
        }
        if self.random.random_bool(0.0002)
            && let Some(serial) = self.fleet.members[0].as_ref().map(|m| m.svid.serial().to_owned())
            && self.fleet.ca().revoke(&serial, RevocationReason::CessationOfOperation).await.is_ok()
        {
            // Whose certificate was taken back gets a new one.
            self.fleet.members[0] = None;
            self.workloads[0].rotator.renew_now();
        }
        // A dead disk fails the step, which is due again then.
        let _ = self.fleet.ca().tick().await;
        let sequence = self.fleet.ca().subscribe().borrow().sequence;
        if self.phase == RootPhase::Steady && self.sequence == sequence {
            return;
        }
        self.sequence = sequence;
        let phase = self.fleet.ca().status().await.phase;
        if self.phase == RootPhase::Tainted && phase == RootPhase::Steady {
            self.seen.roots += 1;
        }
        if self.phase != phase {
            self.fleet.check();
        }
        self.phase = phase;
    }

    async fn run_workload(&mut self, n: usize) {
        let cut_off = self.workloads[n].network.hour(&mut self.random);
        let reaches = !cut_off && self.fleet.ca.is_some();
        let now = self.now();
        let holds = self.fleet.members[n].as_ref().map(|m| m.svid.not_after());
        let had_ended = holds.is_some_and(|end| now.wall >= end);
        if had_ended {
            let best = self.workloads[n].best;
            assert!(best < ENOUGH, "w{n} reached the CA for {best:?} in its grace period, and its certificate ended");
            assert!(!self.workloads[n].rotator.is_servable(now), "what has ended is not served");
            self.fleet.members[n] = None;
            self.seen.ended += 1;
        }
        if reaches {
            self.fleet.deliver(n);
            let tainted = self.fleet.ca().subscribe().borrow().tainted.clone();
            if self.fleet.members[n].as_ref().is_some_and(|m| Some(&m.root) == tainted.as_ref()) {
                self.workloads[n].rotator.renew_now();
            }
        }
        let due = holds.is_some_and(|end| now.wall + LIFE / 2 >= end + HOUR);
        self.workloads[n].note(due, reaches);
        // Tries within this hour: the pauses between them are shorter.
        for minute in 0..60 {
            let now = Now { wall: now.wall + minute * HOUR / 60, monotonic: now.monotonic + minute * HOUR / 60 };
            match self.workloads[n].rotator.poll(now) {
                Action::Fetch => {}
                _ if minute == 0 && !due => break,
                _ => continue,
            }
            if reaches && self.fleet.renew(n).await.is_ok() {
                let end = self.fleet.members[n].as_ref().map(|m| m.svid.not_after()).unwrap();
                assert!(self.workloads[n].rotator.obtained(now, end));
                self.seen.renewals += 1;
                self.fleet.deliver(n);
                if self.seen.renewals.is_multiple_of(100) {
                    self.fleet.check();
                }
                break;
            }
            self.workloads[n].rotator.failed(now);
            self.seen.failures += 1;
        }
    }
}

async fn decade(seed: u64) -> Seen {
    let mut world = World::new(seed).await;
    for _ in 0..10 * 365 * 24 {
        world.hour().await;
    }
    world.fleet.store.heal();
    if world.fleet.ca.is_none() {
        world.fleet.open().await.unwrap();
    }
    let (now, ca) = (world.now().wall, Arc::clone(world.fleet.ca()));
    assert!(now < ca.expires(), "the CA has outlived its first root");
    world.seen
}

#[tokio::test]
async fn ten_years_with_outages_of_every_part() {
    let seen = decade(7).await;
    // The world was as bad as it should be, and the CA went on.
    assert!(seen.renewals > 4_000 && seen.failures > 1000, "{seen:?}");
    assert!(seen.roots >= 6 && seen.aborts > 0 && seen.crashes > 50, "{seen:?}");
    assert!(seen.ended > 0, "some were cut off for all of their grace period, or the outages are too short: {seen:?}");
}
