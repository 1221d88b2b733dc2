use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::{ClusterHandle, dns};
use crate::model::{Assignment, ClusterKind, DnsFamily};

/// Unused original destinations are forgotten after this (`cleanup_interval`'s default).
const ORIGINAL_CLEANUP: Duration = Duration::from_secs(5);

impl ClusterHandle {
    /// Runs what the cluster needs beside requests: resolution of names and sweeps. Spawn it on the control thread; it
    /// ends soon after the last handle is dropped. Cancel safe.
    pub async fn maintain(this: Weak<Self>) {
        let resolve = Self::maintain_names(this.clone());
        let sweep = Self::maintain_sweeps(this);
        tokio::join!(resolve, sweep);
    }

    async fn maintain_names(this: Weak<Self>) {
        loop {
            let Some(cluster) = this.upgrade() else { return };
            let Some((endpoints, refresh, family)) = dns_source(&cluster.config().kind) else { return };
            cluster.resolve_once(&endpoints, family).await;
            drop(cluster);
            tokio::time::sleep(refresh).await;
        }
    }

    async fn maintain_sweeps(this: Weak<Self>) {
        let period = match this.upgrade() {
            None => return,
            Some(cluster) => match (&cluster.config().outlier, &cluster.config().kind) {
                (Some(outlier), _) => outlier.interval.max(Duration::from_millis(1)),
                (None, ClusterKind::OriginalDst { .. }) => ORIGINAL_CLEANUP,
                _ => return,
            },
        };
        loop {
            tokio::time::sleep(period).await;
            let Some(cluster) = this.upgrade() else { return };
            cluster.sweep(Instant::now());
        }
    }

    async fn resolve_once(&self, endpoints: &Assignment, family: DnsFamily) {
        let lookups = dns::names(endpoints).into_iter().map(|(name, port)| async move {
            let answer = dns::lookup(&name, port, family).await;
            ((name, port), answer)
        });
        let answers = futures::future::join_all(lookups).await;
        for ((name, _), answer) in &answers {
            self.stats().update_attempt.inc();
            match answer {
                Ok(_) => self.stats().update_success.inc(),
                Err(error) => {
                    self.stats().update_failure.inc();
                    tracing::debug!(cluster = %self.config().name, name, %error, "name not resolved");
                }
            }
        }
        self.set_resolved(answers);
    }
}

fn dns_source(kind: &ClusterKind) -> Option<(Arc<Assignment>, Duration, DnsFamily)> {
    match kind {
        ClusterKind::StrictDns { endpoints, refresh, family }
        | ClusterKind::LogicalDns { endpoints, refresh, family }
            if !dns::names(endpoints).is_empty() =>
        {
            Some((endpoints.clone(), (*refresh).max(Duration::from_millis(1)), *family))
        }
        _ => None,
    }
}
