//! Envoy as the oracle of routing: one bootstrap file starts both proxies, the same generated requests go through both, and
//! whatever the client, the back ends or the access log see differently is a failure, unless
//! `mesh-proxy/docs/differences.md` lists it.
//!
//! The requests come from a fixed seed; `MESH_TEST_SEED` sets another, `MESH_TEST_CASES` another number of them.

mod backend;
mod bootstrap;
mod case;
mod client;
mod differences;
mod generate;
mod outcome;
mod proxies;
mod random;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use backend::Backends;
use case::Case;
use client::Client;
use differences::{Difference, KNOWN};
use generate::Generator;
use outcome::Outcome;
use proxies::{Log, Proxies, Side};
use random::Random;

/// Requests of one run.
const CASES: usize = 3000;
/// Clients that send side by side, each with connections of its own to both proxies.
const CLIENTS: usize = 8;
/// A number anybody may choose.
const SEED: u64 = 0x6d65_7368;

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).unwrap_or_default();
    if text.is_empty() { default } else { text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")) }
}

#[test]
fn the_same_requests_fare_the_same() {
    let seed = number("MESH_TEST_SEED", SEED);
    let count = usize::try_from(number("MESH_TEST_CASES", CASES as u64)).expect("a number of requests");
    let mut generator = Generator::new(Random::new(seed));
    let cases: Vec<Arc<Case>> = (0..count).map(|id| Arc::new(generator.case(id))).collect();
    let world = World::start();
    let outcomes = world.run(&cases);
    let mut found: Vec<(Arc<Case>, Difference)> = Vec::new();
    let mut choices = Choices::default();
    for (case, [mesh, envoy]) in cases.iter().zip(&outcomes) {
        if case.is_random() {
            choices.note(case, mesh, envoy);
            continue;
        }
        for difference in outcome::differences(mesh, envoy) {
            found.push((case.clone(), difference));
        }
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unknown = Vec::new();
    for (case, difference) in found {
        match KNOWN.iter().find(|known| (known.explains)(&case, &difference)) {
            Some(known) => *seen.entry(known.id).or_default() += 1,
            None => unknown.push((case, difference)),
        }
    }
    println!("seed {seed}: {count} requests, known differences {seen:?}");
    assert!(unknown.is_empty(), "seed {seed}: {} differences\n{}", unknown.len(), differences::report(&unknown));
    choices.assert_alike();
    // A listed difference that is gone must leave the list. Only the usual run is long enough to say so.
    if seed == SEED && count >= CASES {
        let gone: Vec<_> = KNOWN.iter().map(|k| k.id).filter(|id| !seen.contains_key(id)).collect();
        assert!(gone.is_empty(), "no request shows these any more: {gone:?}");
    }
}

/// How often random choices fell on what.
#[derive(Default)]
struct Choices(BTreeMap<String, BTreeMap<String, [u32; 2]>>);

impl Choices {
    fn note(&mut self, case: &Case, mesh: &Outcome, envoy: &Outcome) {
        let by_choice = self.0.entry(case.choice()).or_default();
        for (side, outcome) in [mesh, envoy].into_iter().enumerate() {
            by_choice.entry(outcome.choice()).or_default()[side] += 1;
        }
    }

    /// Both drew from the same distribution, as far as the numbers tell: shares differ by five standard deviations at most.
    fn assert_alike(&self) {
        for (choice, counts) in &self.0 {
            let total = f64::from(counts.values().map(|c| c[0]).sum::<u32>());
            for (what, [mesh, envoy]) in counts {
                let (mesh, envoy) = (f64::from(*mesh) / total, f64::from(*envoy) / total);
                let mean = f64::midpoint(mesh, envoy);
                let deviation = (2.0 * mean * (1.0 - mean) / total).sqrt();
                assert!((mesh - envoy).abs() <= 5.0 * deviation + 1.0 / total, "{choice}, {what}: {counts:?}");
            }
        }
    }
}

/// Back ends and the two proxies.
struct World {
    runtime: tokio::runtime::Runtime,
    backends: Backends,
    proxies: Proxies,
}

impl World {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let backends = Backends::start(runtime.handle());
        let proxies = Proxies::start(&bootstrap::yaml(&backends));
        Self { runtime, backends, proxies }
    }

    /// What became of each request, in order: through mesh, through Envoy.
    fn run(&self, cases: &[Arc<Case>]) -> Vec<[Outcome; 2]> {
        let chunks = cases.chunks(cases.len().div_ceil(CLIENTS).max(1)).map(<[_]>::to_vec);
        let tasks: Vec<_> = chunks
            .map(|chunk| self.runtime.spawn(drive(chunk, Side::BOTH.map(|side| self.proxies.addresses(side)))))
            .collect();
        let mut outcomes = Vec::with_capacity(cases.len());
        for task in tasks {
            outcomes.extend(self.runtime.block_on(task).expect("the client runs to its end"));
        }
        let logs = Side::BOTH.map(|side| self.proxies.log(side, outcomes.iter().filter(|o| o[0].is_logged()).count()));
        self.backends.settle();
        for (case, pair) in cases.iter().zip(&mut outcomes) {
            for (side, outcome) in Side::BOTH.into_iter().zip(pair) {
                let name = case.name(side);
                outcome.seen = self.backends.seen(&name);
                outcome.log = logs[side as usize].get(&name).cloned().map(Log::fields).unwrap_or_default();
            }
        }
        outcomes
    }
}

async fn drive(cases: Vec<Arc<Case>>, addresses: [[SocketAddr; 2]; 2]) -> Vec<[Outcome; 2]> {
    let mut mesh = Client::new(Side::Mesh, addresses[0]);
    let mut envoy = Client::new(Side::Envoy, addresses[1]);
    let mut outcomes = Vec::with_capacity(cases.len());
    for case in cases {
        let (mesh, envoy) = tokio::join!(mesh.send(&case), envoy.send(&case));
        outcomes.push([mesh, envoy]);
    }
    outcomes
}
