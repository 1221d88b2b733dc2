//! Traffic at a steady rate, which remembers every request that failed.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{
    runtime::{Handle, Runtime},
    sync::RwLock,
    task::JoinHandle,
};

use crate::fetch::{Connection, Reply, Target};

/// Requests on one connection before it is given up for a new one.
const REQUESTS_PER_CONNECTION: u32 = 20;
/// Longer than any answer takes that should come.
const LIMIT: Duration = Duration::from_secs(20);

/// Running traffic.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
    handle: Handle,
}

#[derive(Debug)]
struct Shared {
    /// Held for reading while a request is on its way.
    hosts: RwLock<Vec<String>>,
    next: AtomicUsize,
    sent: AtomicU64,
    stop: AtomicBool,
    started: Instant,
    failures: Mutex<Vec<Failure>>,
}

/// A request that was not answered with 200.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When, since the start.
    pub at: Duration,
    /// Where it was sent.
    pub target: SocketAddr,
    /// For whom.
    pub host: String,
    /// What came instead.
    pub what: String,
}

impl Load {
    /// One connection to each target, on each a request for the next of `hosts` every `pause`.
    #[must_use]
    pub fn start(runtime: &Runtime, targets: &[Target], hosts: Vec<String>, pause: Duration) -> Self {
        let shared = Arc::new(Shared {
            hosts: RwLock::new(hosts),
            next: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            started: Instant::now(),
            failures: Mutex::default(),
        });
        let spawn = |target: &Target| runtime.spawn(shared.clone().run(target.clone(), pause));
        let tasks = targets.iter().map(spawn).collect();
        Self { shared, tasks, handle: runtime.handle().clone() }
    }

    /// Sends requests for these hosts only from now on. Requests for others have been answered when it returns.
    pub fn set_hosts(&self, hosts: Vec<String>) {
        *self.handle.block_on(self.shared.hosts.write()) = hosts;
    }

    /// Waits until every connection has been used again, so that those of a listener that drains are closed.
    pub fn turn_over(&self) {
        let enough = self.sent() + 3 * self.tasks.len() as u64;
        let end = Instant::now() + LIMIT;
        while self.sent() < enough {
            assert!(Instant::now() < end, "the traffic does not flow");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// Requests sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// What failed so far.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        self.shared.failures.lock().clone()
    }

    /// Ends, and gives how many requests were sent, and which failed.
    ///
    /// # Panics
    /// If the traffic itself broke.
    #[must_use]
    pub fn finish(self) -> (u64, Vec<Failure>) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            self.handle.block_on(task).expect("the traffic runs to its end");
        }
        let failures = self.shared.failures.lock().clone();
        (self.shared.sent.load(Ordering::Relaxed), failures)
    }
}

impl Shared {
    async fn run(self: Arc<Self>, target: Target, pause: Duration) {
        let mut connection = None;
        let mut ticks = tokio::time::interval(pause);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut left = REQUESTS_PER_CONNECTION;
        while !self.stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let hosts = self.hosts.read().await;
            let host = hosts[self.next.fetch_add(1, Ordering::Relaxed) % hosts.len()].clone();
            self.sent.fetch_add(1, Ordering::Relaxed);
            let asking = ask(&target, &mut connection, &host);
            let outcome = tokio::time::timeout(LIMIT, asking).await.unwrap_or_else(|_| Err("no answer".into()));
            left -= 1;
            let what = match outcome {
                Ok(reply) if reply.status == 200 => {
                    if reply.closes() || left == 0 {
                        (connection, left) = (None, REQUESTS_PER_CONNECTION);
                    }
                    continue;
                }
                Ok(reply) => format!("{} {:?} {:?}", reply.status, reply.body, reply.header("server")),
                Err(error) => error,
            };
            (connection, left) = (None, REQUESTS_PER_CONNECTION);
            let at = self.started.elapsed();
            self.failures.lock().push(Failure { at, target: target.address, host, what });
        }
    }
}

async fn ask(target: &Target, connection: &mut Option<Connection>, host: &str) -> Result<Reply, String> {
    for _ in 0..2 {
        let mut open = match connection.take().filter(Connection::is_open) {
            Some(open) => open,
            None => target.connect().await.map_err(|e| format!("connecting: {e}"))?,
        };
        match open.send(host, &[]).await {
            Ok(reply) => {
                *connection = Some(open);
                return Ok(reply);
            }
            // The connection was idle, and has ended before the request left.
            Err(error) if error.is_canceled() || error.is_closed() => {}
            Err(error) => return Err(format!("asking: {error:?}")),
        }
    }
    Err("connections close before a request".into())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:?}, {} for {}: {}", self.at, self.target, self.host, self.what)
    }
}
