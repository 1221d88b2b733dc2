//! When to report, and what: as the server said last. No IO; time is an argument.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use mesh_xds_api::envoy::service::load_stats::v3::LoadStatsResponse;

/// What the server wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) clusters: Clusters,
    /// Figures of single endpoints too.
    pub(super) endpoints: bool,
    pub(super) interval: Duration,
}

/// Of which clusters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Clusters {
    All,
    Named(BTreeSet<String>),
}

/// The reports of one stream.
#[derive(Debug)]
pub(super) struct Schedule {
    min_interval: Duration,
    wanted: Option<Wanted>,
    next: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(min_interval: Duration) -> Self {
        Self { min_interval, wanted: None, next: None }
    }

    /// The server says what it wants. The same again changes nothing; anything else starts its interval now.
    pub(super) fn told(&mut self, response: LoadStatsResponse, now: Instant) {
        let wanted = self.read(response);
        if self.wanted.as_ref() == Some(&wanted) {
            return;
        }
        let nothing = matches!(&wanted.clusters, Clusters::Named(names) if names.is_empty());
        self.next = if nothing { None } else { now.checked_add(wanted.interval) };
        self.wanted = Some(wanted);
    }

    fn read(&self, response: LoadStatsResponse) -> Wanted {
        let LoadStatsResponse { clusters, send_all_clusters, load_reporting_interval, report_endpoint_granularity } =
            response;
        // One that is missing or negative asks for no more than the least.
        let interval = load_reporting_interval.and_then(|i| Duration::try_from(i).ok()).unwrap_or_default();
        Wanted {
            clusters: if send_all_clusters { Clusters::All } else { Clusters::Named(clusters.into_iter().collect()) },
            endpoints: report_endpoint_granularity,
            interval: interval.max(self.min_interval),
        }
    }

    /// When [`Schedule::due`] should be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// What is to be reported now, if it is time. Reports that were missed are not made up for.
    pub(super) fn due(&mut self, now: Instant) -> Option<&Wanted> {
        self.next.take_if(|next| *next <= now)?;
        let wanted = self.wanted.as_ref()?;
        self.next = now.checked_add(wanted.interval);
        Some(wanted)
    }
}
