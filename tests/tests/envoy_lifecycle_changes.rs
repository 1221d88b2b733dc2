//! Two real Envoys on one view, one by state of the world and one by delta, through hundreds of random consistent changes
//! with traffic on both: routes move between clusters that come and go, and no request fails.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use mesh_tests::{
    envoy::Envoy,
    fetch::Target,
    lab::Lab,
    load::{Failure, Load},
    shop::{Change, Shop},
    wait,
    xds::{PATIENCE, Transport},
};
use mesh_xds::protocol::Variant;
use rand::{RngExt, SeedableRng, rngs::StdRng};

const CHANGES: usize = 500;

/// What happened, to be told when something failed.
type History = Vec<(Duration, String)>;

struct Street {
    lab: Lab,
    envoys: [Envoy; 2],
    targets: Vec<Target>,
    load: Load,
    shop: Shop,
    /// Hosts that traffic may use: there, and known to be in force.
    open: BTreeSet<String>,
    rng: StdRng,
    history: History,
}

#[test]
fn no_request_fails_through_hundreds_of_changes() {
    let seed = std::env::var("MESH_TEST_SEED").map_or(1, |text| text.parse().expect("MESH_TEST_SEED is a number"));
    let started = Instant::now();
    let mut street = Street::open(seed);
    let mut changes = 0;
    while changes < CHANGES {
        changes += street.update();
        // Now and then the next update comes before this one is through.
        if street.rng.random_range(0..3) > 0 {
            street.settle();
        }
    }
    street.settle();
    eprintln!("seed {seed}: {changes} changes in {:?}", started.elapsed());
    street.close();
}

impl Street {
    fn open(seed: u64) -> Self {
        let lab = Lab::new(Transport::ads(Variant::Delta));
        let shop = Shop::new(&lab.authority, lab.plain.len());
        lab.view.replace(shop.resources(&lab));
        let envoys = [
            lab.envoy_by("world", Transport::ads(Variant::Sotw)),
            lab.envoy_by("delta", Transport::ads(Variant::Delta)),
        ];
        let mut targets = Vec::new();
        for envoy in &envoys {
            lab.xds.settle(envoy.node());
            targets.extend([lab.target(envoy, "front", false), lab.target(envoy, "secure", true)]);
        }
        let open = shop.hosts();
        let hosts = open.iter().cloned().collect();
        let load = Load::start(&lab.runtime, &targets, hosts, Duration::from_millis(8));
        Self { lab, envoys, targets, load, shop, open, rng: StdRng::seed_from_u64(seed), history: History::new() }
    }

    /// One update of the view with one or a few changes. Gives their number.
    fn update(&mut self) -> usize {
        let (shop, made) = self.shop.changed(&mut self.rng, &self.lab.authority);
        let alone = made.iter().any(|change| change.is_alone());
        if alone {
            self.settle();
        }
        self.shop = shop;
        self.apply(&made);
        if alone {
            self.settle();
            self.load.turn_over();
        }
        made.len()
    }

    fn apply(&mut self, made: &[Change]) {
        // A host that goes is not asked for any more.
        let hosts = self.shop.hosts();
        let staying: BTreeSet<String> = self.open.intersection(&hosts).cloned().collect();
        if staying != self.open {
            self.open_for(staying);
        }
        self.history.push((self.load.elapsed(), format!("{made:?} {:?}", self.shop.clusters())));
        self.lab.view.replace(self.shop.resources(&self.lab));
    }

    /// Both proxies have everything, and do as they are told.
    fn settle(&mut self) {
        for envoy in &self.envoys {
            self.lab.xds.settle(envoy.node());
        }
        self.history.push((self.load.elapsed(), "settled".into()));
        let hosts = self.shop.hosts();
        for host in hosts.difference(&self.open) {
            self.reaches(host);
        }
        let any = hosts.iter().nth(self.rng.random_range(0..hosts.len())).expect("there is one at least");
        self.reaches(any);
        self.open_for(hosts);
    }

    fn reaches(&self, host: &str) {
        let wanted = self.shop.reached(&self.lab, host);
        for target in &self.targets {
            self.lab.ask_until(&format!("{host} reaches one of {wanted:?}"), target, host, |reply| {
                reply.status == 200 && wanted.contains(&reply.body)
            });
        }
    }

    fn open_for(&mut self, hosts: BTreeSet<String>) {
        self.load.set_hosts(hosts.iter().cloned().collect());
        self.open = hosts;
    }

    /// The end: all is acknowledged, nothing was refused, nothing failed, nothing is left that should be gone.
    fn close(self) {
        let Self { lab, envoys, load, shop, history, .. } = self;
        let (sent, failures) = load.finish();
        assert!(
            failures.is_empty(),
            "{} of {sent} requests failed\n{}",
            failures.len(),
            story(&failures, &history, &envoys)
        );
        assert!(sent > 500, "only {sent} requests were sent");
        assert_eq!(lab.xds.nacks(), []);
        let metrics = lab.xds.server().metrics();
        assert_eq!((metrics.holds_expired, metrics.violations), (0, 0), "{metrics:?}");
        for envoy in &envoys {
            assert_eq!(envoy.names("dynamic_active_clusters"), shop.clusters(), "{}", envoy.node());
            assert_eq!(envoy.names("dynamic_warming_clusters"), [""; 0]);
            let drained = || {
                let listeners = envoy.names("dynamic_listeners") == shop.listeners();
                (listeners && envoy.names("dynamic_route_configs") == [shop.routes()]).then_some(())
            };
            wait::until("what drains is gone", PATIENCE, drained);
            assert_eq!(envoy.stats_ending("update_rejected"), []);
            assert_eq!(envoy.stats_ending("downstream_rq_5xx"), []);
            assert!(envoy.stat("cluster_manager.cluster_removed") > 50, "clusters come and go");
        }
    }
}

/// The first failures, with what happened before.
fn story(failures: &[Failure], history: &History, envoys: &[Envoy]) -> String {
    let first = failures[0].at;
    let near = |at: &Duration| *at + Duration::from_millis(500) > first && *at < first + Duration::from_millis(100);
    let events = history.iter().filter(|(at, _)| near(at)).map(|(at, what)| format!("{at:?} {what}"));
    let failed = failures.iter().take(10).map(Failure::to_string);
    let logs = envoys.iter().map(|envoy| format!("{}: {:.4000}", envoy.node(), envoy.log()));
    events.chain(failed).chain(logs).collect::<Vec<_>>().join("\n")
}
