//! A server under churn for a while: subscribers come and go, refuse, and are slow, while resources change. Ends with an
//! error if memory grows, or if a subscriber that stays does not hold what the server has in the end.
//!
//!     cargo run --release -p mesh-xds --example soak -- [SECONDS] [SUBSCRIBERS] [CHANGES PER SECOND]
//!
//! Default 180 seconds, 200 subscribers, 200 changes a second. Half of the subscribers speak state of the world, half
//! delta. Memory is the resident set of this process, server and clients together (Linux): its slope after the first
//! third must stay below 2 MiB a minute or 2 % of it, whichever is more.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use mesh_xds::{
    Resource, TypeUrl,
    client::{BackoffConfig, Client, Rejection, TcpConnect, Update, WatchEvent},
    protocol::{Subscription, Variant},
    server::{ListenConfig, XdsServer, serve},
    store::{Batch, SingleView, View},
};
use mesh_xds_api::envoy::config::{
    cluster::v3::Cluster, core::v3::Node, endpoint::v3::ClusterLoadAssignment, listener::v3::Listener,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{net::TcpListener, sync::watch, time::Instant};

/// Clusters with their endpoints; a tenth as many listeners.
const CLUSTERS: u32 = 500;
/// Of ten subscribers, one is slow and one refuses now and then.
const KINDS: u64 = 10;

/// Content of the end.
const LAST: u32 = 5000;

/// What subscribers did, all together.
#[derive(Default)]
struct Counts {
    updates: AtomicU64,
    refusals: AtomicU64,
    reconnects: AtomicU64,
}

type Held = BTreeMap<String, String>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: u64| args.next().map_or(Ok(default), |text| text.parse());
    let (seconds, subscribers, rate) = (number(180)?, number(200)?, number(200)?);

    let view = View::new();
    fill(&view, 0);
    let server = XdsServer::builder(SingleView(view.clone())).build();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(serve(listener, None, server.routes(), ListenConfig::default(), server.stopped()));

    let counts: Arc<Counts> = Arc::default();
    let (phase, phases) = watch::channel(Phase::Churn);
    let subscribers: Vec<_> = (0..subscribers)
        .map(|number| tokio::spawn(subscriber(number, address.clone(), phases.clone(), counts.clone())))
        .collect();
    let changing = tokio::spawn(churn(view.clone(), rate, phases));
    let samples = sample(Duration::from_secs(seconds), &server, &counts).await?;
    phase.send_replace(Phase::Settle);
    changing.await?;

    let wanted = content(&view);
    let mut behind = 0;
    phase.send_replace(Phase::Compare(Arc::new(wanted)));
    for subscriber in subscribers {
        behind += u64::from(!subscriber.await?);
    }
    let metrics = server.metrics();
    println!("in the end: {} pushes, {} accepted, {} refused", metrics.pushes, metrics.acks, metrics.nacks);
    judge(&samples, behind)
}

/// What is going on.
#[derive(Clone)]
enum Phase {
    Churn,
    /// Nothing changes any more; who has left comes back.
    Settle,
    /// This is what all should hold.
    Compare(Arc<Held>),
}

fn cluster(number: u32, content: u32) -> Resource {
    let name = format!("cluster-{number}");
    let alt_stat_name = format!("content-{content}");
    Resource::pack(name.clone(), &Cluster { name, alt_stat_name, ..Default::default() })
}

fn endpoints(number: u32, content: u32) -> Resource {
    let name = format!("cluster-{number}");
    let policy = mesh_xds_api::envoy::config::endpoint::v3::cluster_load_assignment::Policy {
        overprovisioning_factor: Some(100 + content),
        ..Default::default()
    };
    let message = ClusterLoadAssignment { cluster_name: name.clone(), policy: Some(policy), ..Default::default() };
    Resource::pack(name, &message)
}

fn listener(number: u32, content: u32) -> Resource {
    let name = format!("listener-{number}");
    let stat_prefix = format!("content-{content}");
    Resource::pack(name.clone(), &Listener { name, stat_prefix, ..Default::default() })
}

fn fill(view: &View, content: u32) {
    let all = (0..CLUSTERS).flat_map(|n| [cluster(n, content), endpoints(n, content)]);
    view.replace(all.chain((0..CLUSTERS / 10).map(|n| listener(n, content))));
}

/// Changes, adds and removes at a rate until the churn is over, and then makes everything whole.
async fn churn(view: Arc<View>, rate: u64, mut phases: watch::Receiver<Phase>) {
    let mut rng = StdRng::seed_from_u64(1);
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate.max(1) as f64));
    let mut content = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = phases.changed() => break,
        }
        content = (content + 1) % 1000;
        let number = rng.random_range(0..CLUSTERS);
        let name = format!("cluster-{number}");
        view.update(match rng.random_range(0..10) {
            0 => Batch::new().remove(TypeUrl::CLUSTER, name.as_str()).remove(TypeUrl::ENDPOINT, name),
            1 => Batch::new().put(cluster(number, content)).put(endpoints(number, content)),
            2 => Batch::new().put(listener(number / 10, content)),
            _ => Batch::new().put(endpoints(number, content)),
        });
    }
    // Content that nobody has refused.
    fill(&view, LAST);
}

/// Clusters and listeners: what every subscriber holds.
fn content(view: &View) -> Held {
    let all = [TypeUrl::CLUSTER, TypeUrl::LISTENER].into_iter().flat_map(|t| view.list(&t));
    all.map(|r| (r.name().to_string(), r.version().to_string())).collect()
}

/// Comes and goes until the churn is over. Gives whether it holds in the end what it should.
async fn subscriber(number: u64, address: String, mut phases: watch::Receiver<Phase>, counts: Arc<Counts>) -> bool {
    let mut rng = StdRng::seed_from_u64(number);
    loop {
        let stay = Duration::from_secs(rng.random_range(2..60));
        let mut session = Session::open(number, &address);
        let over = session.run(stay, &mut phases, &counts, &mut rng).await;
        if let Some(converged) = over {
            return converged;
        }
        counts.reconnects.fetch_add(1, Relaxed);
    }
}

/// One life of a subscriber.
struct Session {
    number: u64,
    _client: Client,
    clusters: mesh_xds::client::Watch,
    listeners: mesh_xds::client::Watch,
    endpoints: mesh_xds::client::Watch,
    held: Held,
}

impl Session {
    fn open(number: u64, address: &str) -> Self {
        let node = Node { id: format!("node-{number}"), ..Default::default() };
        let variant = if number.is_multiple_of(2) { Variant::Delta } else { Variant::Sotw };
        let backoff = BackoffConfig { base: Duration::from_millis(50), max: Duration::from_secs(1) };
        let client = Client::builder(node, TcpConnect::new(address)).variant(variant).backoff(backoff).spawn();
        // Each is interested in the endpoints of some.
        let some = (0..20).map(|i| format!("cluster-{}", (number as u32 * 7 + i * 13) % CLUSTERS));
        Self {
            number,
            clusters: client.watch(TypeUrl::CLUSTER, Subscription::Wildcard),
            listeners: client.watch(TypeUrl::LISTENER, Subscription::Wildcard),
            endpoints: client.watch(TypeUrl::ENDPOINT, Subscription::named(some)),
            held: Held::new(),
            _client: client,
        }
    }

    /// `None` if it left before the end; else whether it held what it should.
    async fn run(
        &mut self,
        stay: Duration,
        phases: &mut watch::Receiver<Phase>,
        counts: &Counts,
        rng: &mut StdRng,
    ) -> Option<bool> {
        let leave = Instant::now() + stay;
        let mut deadline = None;
        loop {
            // Nobody leaves after the churn, but nobody is waited for without end either.
            let churns = matches!(*phases.borrow_and_update(), Phase::Churn);
            if !churns && deadline.is_none() {
                deadline = Some(Instant::now() + Duration::from_secs(60));
            }
            if let Phase::Compare(wanted) = &*phases.borrow()
                && **wanted == self.held
            {
                return Some(true);
            }
            let event = tokio::select! {
                event = self.clusters.next() => event,
                event = self.listeners.next() => event,
                event = self.endpoints.next() => event,
                changed = phases.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Some(false),
                },
                () = tokio::time::sleep_until(deadline.unwrap_or(leave)) => return deadline.map(|_| false),
            };
            let Some(WatchEvent::Update(update)) = event else { continue };
            counts.updates.fetch_add(1, Relaxed);
            let churns = matches!(*phases.borrow(), Phase::Churn);
            match self.number % KINDS {
                3 if churns => tokio::time::sleep(Duration::from_millis(rng.random_range(0..2000))).await,
                6 if churns && rng.random_range(0..20) == 0 => {
                    counts.refusals.fetch_add(1, Relaxed);
                    self.refuse(update);
                    continue;
                }
                _ => {}
            }
            self.take(update);
        }
    }

    /// Refuses the first resource, and takes the rest.
    fn refuse(&mut self, update: Update) {
        let Some(first) = update.added().first().map(|r| r.name().clone()) else { return self.take(update) };
        self.keep(&update, Some(first.as_str()));
        update.reject(Rejection::new("refused by chance").resource(first, "not today"));
    }

    fn take(&mut self, update: Update) {
        self.keep(&update, None);
        update.accept();
    }

    fn keep(&mut self, update: &Update, except: Option<&str>) {
        if *update.type_url() == TypeUrl::ENDPOINT {
            return;
        }
        for name in update.removed() {
            self.held.remove(name.as_str());
        }
        for resource in update.added().iter().filter(|r| except != Some(r.name().as_str())) {
            self.held.insert(resource.name().to_string(), resource.version().to_string());
        }
    }
}

/// Seconds since the start, and kilobytes.
type Sample = (f64, f64);

async fn sample(length: Duration, server: &XdsServer, counts: &Counts) -> Result<Vec<Sample>, Box<dyn Error>> {
    let start = Instant::now();
    let mut samples = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    while start.elapsed() < length {
        ticks.tick().await;
        let (at, resident) = (start.elapsed().as_secs_f64(), resident()?);
        samples.push((at, resident));
        let metrics = server.metrics();
        println!(
            "{at:6.0} s  {:6.1} MiB  {} streams, {} opened, {} pushes, {} updates, {} refusals, {} departures",
            resident / 1024.0,
            metrics.streams_open,
            metrics.streams_total,
            metrics.pushes,
            counts.updates.load(Relaxed),
            counts.refusals.load(Relaxed),
            counts.reconnects.load(Relaxed),
        );
    }
    Ok(samples)
}

/// Resident memory of this process, in kilobytes.
fn resident() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// The slope of a line through the samples, in kilobytes a minute.
fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len() as f64;
    let (x, y) = samples.iter().fold((0.0, 0.0), |(x, y), s| (x + s.0 / count, y + s.1 / count));
    let over: f64 = samples.iter().map(|s| (s.0 - x) * (s.1 - y)).sum();
    let under: f64 = samples.iter().map(|s| (s.0 - x).powi(2)).sum();
    if under > 0.0 { over / under * 60.0 } else { 0.0 }
}

fn judge(samples: &[Sample], behind: u64) -> Result<(), Box<dyn Error>> {
    let warm = &samples[samples.len() / 3..];
    let mean = warm.iter().map(|s| s.1).sum::<f64>() / warm.len().max(1) as f64;
    let slope = slope(warm);
    println!("memory: {:.1} MiB, slope {:.0} KiB a minute; {behind} subscribers behind", mean / 1024.0, slope);
    if behind > 0 {
        return Err(format!("{behind} subscribers do not hold what the server has").into());
    }
    if slope > (2.0 * 1024.0_f64).max(mean * 0.02) {
        return Err(format!("memory grows by {slope:.0} KiB a minute").into());
    }
    Ok(())
}
