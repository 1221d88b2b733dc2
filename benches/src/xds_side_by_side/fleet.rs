//! All subscribers of one server, and what a change costs while they listen.

use std::{
    future::Future,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::task::JoinSet;

use super::{
    process::Server,
    progress::{Progress, Target},
    subscriber::{self, Resume, Subscription},
};

/// How long everyone may take to get what was changed.
const PATIENCE: Duration = Duration::from_secs(300);
/// A server that used less than this in each of some windows is at rest.
const WINDOW: Duration = Duration::from_millis(40);
const REST_MS: f64 = 0.8;
const RESTFUL_WINDOWS: usize = 3;
/// A server that is never at rest is looked at no longer.
const RESTLESS: Duration = Duration::from_secs(60);

/// Subscribers; they go away when this is dropped.
pub(crate) struct Fleet {
    streams: JoinSet<anyhow::Result<()>>,
    subscription: Subscription,
    progress: Rc<Progress>,
}

/// What a measurement started with.
pub(crate) struct Mark {
    cpu_ms: f64,
    at: Instant,
}

/// What something cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Of the server, till it was at rest again.
    pub(crate) cpu_ms: f64,
    /// Until the last acknowledgement.
    pub(crate) wall_ms: f64,
    /// Sent by the server, HTTP/2's own included.
    pub(crate) mib: f64,
    /// Resident memory of the server afterwards.
    pub(crate) rss_mib: f64,
}

impl Fleet {
    pub(crate) fn new(subscription: Subscription) -> Self {
        Self { streams: JoinSet::new(), subscription, progress: Rc::new(Progress::new()) }
    }

    /// Adds subscribers. They connect as soon as this task waits.
    pub(crate) fn connect(&mut self, count: usize, server: &Server) {
        for _ in 0..count {
            let id = self.streams.len();
            let run = subscriber::run(id, server.ads(), self.subscription.clone(), self.progress.clone());
            self.streams.spawn_local(run);
        }
    }

    /// What these subscribers would resume with.
    pub(crate) fn resume(&self, clusters: usize) -> Resume {
        self.progress.resume(self.subscription.variant, clusters)
    }

    /// Starts a measurement.
    pub(crate) fn mark(&self, server: &Server, target: Target) -> anyhow::Result<Mark> {
        self.progress.aim(target);
        Ok(Mark { cpu_ms: server.cpu_ms()?, at: Instant::now() })
    }

    /// Waits until so many subscribers have the target, and the server is at rest.
    pub(crate) async fn reach(&mut self, subscribers: usize, server: &Server, mark: &Mark) -> anyhow::Result<Cost> {
        let progress = self.progress.clone();
        self.wait(progress.reached(subscribers)).await?;
        self.rest(server, mark).await
    }

    /// Waits until all have opened their streams, and the server is at rest.
    pub(crate) async fn reconnect(&mut self, server: &Server, mark: &Mark) -> anyhow::Result<Cost> {
        let progress = self.progress.clone();
        self.wait(progress.connected(self.streams.len())).await?;
        self.rest(server, mark).await
    }

    async fn wait(&mut self, reached: impl Future<Output = ()>) -> anyhow::Result<()> {
        let size = self.streams.len();
        tokio::select! {
            reached = tokio::time::timeout(PATIENCE, reached) => {
                reached.with_context(|| format!("{} of {size} subscribers got it in {PATIENCE:?}", self.progress.done()))
            }
            ended = self.streams.join_next() => ended.context("there are no subscribers")??,
        }
    }

    /// Waits until the server is at rest.
    pub(crate) async fn rest(&mut self, server: &Server, mark: &Mark) -> anyhow::Result<Cost> {
        at_rest(server).await?;
        if let Some(ended) = self.streams.try_join_next() {
            ended??;
        }
        Ok(Cost {
            cpu_ms: server.cpu_ms()? - mark.cpu_ms,
            wall_ms: self.progress.last_sent().saturating_duration_since(mark.at).as_secs_f64() * 1e3,
            mib: self.progress.bytes() as f64 / f64::from(1 << 20),
            rss_mib: server.rss_mib()?,
        })
    }
}

/// Waits until a server is at rest.
pub(crate) async fn at_rest(server: &Server) -> anyhow::Result<()> {
    let end = Instant::now() + RESTLESS;
    let (mut restful, mut before) = (0, server.cpu_ms()?);
    while restful < RESTFUL_WINDOWS && Instant::now() < end {
        tokio::time::sleep(WINDOW).await;
        let now = server.cpu_ms()?;
        restful = if now - before < REST_MS && server.waits() { restful + 1 } else { 0 };
        before = now;
    }
    Ok(())
}
