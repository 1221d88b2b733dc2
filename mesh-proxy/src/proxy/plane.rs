//! The workers as one.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

#[cfg(test)]
use crate::model::Address;
use crate::{
    state::Snapshot,
    worker::{Command, Shared, Worker, spawn},
};

/// All workers of a proxy.
pub(crate) struct DataPlane {
    workers: Vec<Worker>,
    commands: Arc<watch::Sender<Command>>,
    #[cfg(test)]
    shared: Arc<Shared>,
}

impl DataPlane {
    /// Starts `concurrency` workers (at least one) that follow `snapshots`.
    ///
    /// # Errors
    /// A thread or runtime cannot be made.
    pub(crate) fn start(
        concurrency: usize,
        shared: Arc<Shared>,
        snapshots: &watch::Receiver<Arc<Snapshot>>,
        commands: Arc<watch::Sender<Command>>,
        seed: u64,
    ) -> io::Result<Self> {
        let told = commands.subscribe();
        let start = |index: usize| {
            let seed = seed.wrapping_add(index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            spawn(index, &shared, snapshots, &told, seed)
        };
        let workers = (0..concurrency.max(1)).map(start).collect::<io::Result<_>>()?;
        Ok(Self {
            workers,
            commands,
            #[cfg(test)]
            shared,
        })
    }

    /// Waits until every worker has taken over snapshot `version` or a later one. `false`: a worker has ended.
    pub(crate) async fn applied(&self, version: u64) -> bool {
        for worker in &self.workers {
            let mut applied = worker.applied.clone();
            if applied.wait_for(|at| at.is_some_and(|at| at >= version)).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Waits until a worker has ended.
    pub(crate) async fn ended(&self) {
        let ends = self.workers.iter().map(|worker| {
            let mut applied = worker.applied.clone();
            Box::pin(async move {
                let _ = applied.wait_for(|_| false).await;
            })
        });
        futures::future::select_all(ends).await;
    }

    /// Listeners with their bound addresses, sorted by name.
    #[cfg(test)]
    pub(crate) fn bound(&self) -> Vec<(String, Address)> {
        self.shared.binder.bound()
    }

    /// Listeners without sockets, and why.
    #[cfg(test)]
    pub(crate) fn bind_failures(&self) -> Vec<(String, String)> {
        self.shared.bind_failures()
    }

    /// Stops accepting, lets what is under way finish for at most `drain_time`, and ends the workers.
    pub(crate) async fn shut_down(self, drain_time: Duration) {
        self.commands.send_replace(Command::ShutDown { deadline: Instant::now() + drain_time });
        let threads: Vec<_> = self.workers.into_iter().map(|w| w.thread).collect();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a worker ended by a panic");
                }
            }
        });
        // Cancelled only when the runtime itself ends.
        let _ = joined.await;
    }
}
