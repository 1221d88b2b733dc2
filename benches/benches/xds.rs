//! What the parts of mesh-xds's server cost by themselves, without sockets: `cargo bench -p mesh-benches --bench xds`.
//!
//! 1 000 clusters with 10 endpoints each, as in the side-by-side run. A stream subscribes to all clusters and to every
//! assignment, and acknowledges what it gets.

// Criterion's macros make public functions without a page.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../src/xds_server/resources.rs"]
mod resources;

use std::{hint::black_box, sync::Arc, time::Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use mesh_xds::{
    Nonce, Resource, ResourceName, TypeUrl,
    protocol::{
        Push, Request, Variant,
        server::{Ledger, Revision, ServerStream, Sharing, StreamLimits},
    },
    store::{Batch, View},
};

use self::resources::{assignment, cluster, name};

const CLUSTERS: usize = 1000;
const ENDPOINTS: usize = 10;
const VARIANTS: [Variant; 2] = [Variant::Delta, Variant::Sotw];

fn content(clusters: usize) -> Vec<Resource> {
    (0..clusters).map(cluster).chain((0..clusters).map(|i| assignment(i, ENDPOINTS, 1))).collect()
}

fn ledger() -> Ledger {
    let mut ledger = Ledger::new();
    for resource in content(CLUSTERS) {
        ledger.put(resource);
    }
    ledger
}

/// A stream, and the names it subscribes to.
struct Client {
    stream: ServerStream,
    variant: Variant,
    names: Vec<ResourceName>,
    now: Instant,
}

impl Client {
    fn new(variant: Variant, sharing: &Sharing, names: &[ResourceName]) -> Self {
        let stream = ServerStream::new(variant, 1, StreamLimits::default()).with_sharing(sharing.clone());
        Self { stream, variant, names: names.to_vec(), now: Instant::now() }
    }

    fn ask(&mut self, ledger: &Ledger, type_url: TypeUrl, names: Vec<ResourceName>, answered: Option<&Push>) {
        let request = Request {
            type_url,
            names,
            unsubscribe: Vec::new(),
            initial_versions: Default::default(),
            version: answered.filter(|_| self.variant == Variant::Sotw).map(|push| push.content.version.clone()),
            nonce: answered.map(|push| -> Nonce { push.nonce.clone() }),
            error: None,
        };
        self.stream.handle(&request, ledger, self.now).unwrap();
    }

    /// Takes what there is, acknowledges it, and gives the bytes.
    fn settle(&mut self, ledger: &Ledger) -> usize {
        let mut bytes = 0;
        while let Some(push) = self.stream.poll(ledger, Revision::MAX, self.now) {
            let (shared, own) = push.encoded();
            bytes += shared.len() + own.len();
            let type_url = push.content.type_url.clone();
            let repeats = self.variant == Variant::Sotw && type_url == TypeUrl::ENDPOINT;
            self.ask(ledger, type_url, if repeats { self.names.clone() } else { Vec::new() }, Some(&push));
            while self.stream.poll_event().is_some() {}
        }
        bytes
    }

    fn start(&mut self, ledger: &Ledger) -> usize {
        self.ask(ledger, TypeUrl::CLUSTER, Vec::new(), None);
        self.ask(ledger, TypeUrl::ENDPOINT, self.names.clone(), None);
        self.settle(ledger)
    }
}

fn names() -> Vec<ResourceName> {
    (0..CLUSTERS).map(|i| name(i).into()).collect()
}

/// Everything to a new stream: to the first of its kind, and to one more.
fn cold_start(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cold start");
    let (ledger, names) = (ledger(), names());
    for variant in VARIANTS {
        group.bench_function(BenchmarkId::new("first", format!("{variant:?}")), |bench| {
            let client = || Client::new(variant, &Sharing::default(), &names);
            bench.iter_batched_ref(client, |client| client.start(&ledger), BatchSize::SmallInput);
        });
        group.bench_function(BenchmarkId::new("one more", format!("{variant:?}")), |bench| {
            let sharing = Sharing::default();
            let mut first = Client::new(variant, &sharing, &names);
            first.start(&ledger);
            let client = || Client::new(variant, &sharing, &names);
            bench.iter_batched_ref(client, |client| client.start(&ledger), BatchSize::SmallInput);
        });
    }
    group.finish();
}

/// A change to a stream that has all: of one assignment, and of all.
fn change(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("change");
    for variant in VARIANTS {
        for count in [1, CLUSTERS] {
            group.bench_function(BenchmarkId::new(format!("{count} of {CLUSTERS}"), format!("{variant:?}")), |bench| {
                let mut ledger = ledger();
                let mut client = Client::new(variant, &Sharing::default(), &names());
                client.start(&ledger);
                let versions: [Vec<Arc<Resource>>; 2] =
                    [2, 3].map(|weight| (0..count).map(|i| assignment(i, ENDPOINTS, weight).into()).collect());
                let mut turn = 0;
                bench.iter(|| {
                    turn += 1;
                    for resource in &versions[turn % 2] {
                        ledger.put(resource.clone());
                    }
                    client.settle(&ledger)
                });
            });
        }
    }
    group.finish();
}

/// One resource put into views of two sizes.
fn update(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("update one");
    for clusters in [1_000, 100_000] {
        group.bench_function(BenchmarkId::from_parameter(clusters), |bench| {
            let view = View::new();
            view.replace(content(clusters));
            let versions = [2, 3].map(|weight| assignment(0, ENDPOINTS, weight));
            let mut turn = 0;
            bench.iter(|| {
                turn += 1;
                view.update(Batch::new().put(black_box(versions[turn % 2].clone())))
            });
        });
    }
    group.finish();
}

/// A resource made from a message, and a push written.
fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.bench_function("one assignment", |bench| bench.iter(|| assignment(black_box(7), ENDPOINTS, 2)));
    let (ledger, names) = (ledger(), names());
    for variant in VARIANTS {
        group.bench_function(BenchmarkId::new(format!("push of {CLUSTERS}"), format!("{variant:?}")), |bench| {
            // Polled but not written.
            let push = || {
                let mut client = Client::new(variant, &Sharing::default(), &names);
                client.ask(&ledger, TypeUrl::ENDPOINT, names.clone(), None);
                client.stream.poll(&ledger, Revision::MAX, client.now).unwrap()
            };
            bench.iter_batched_ref(push, |push| push.encoded(), BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, cold_start, change, update, encode);
criterion_main!(benches);
