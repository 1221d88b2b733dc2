//! Counters of a server.

mod by_type;
mod converging;
mod histogram;
mod prometheus;

use std::sync::atomic::{AtomicU64, Ordering};

pub(super) use self::{by_type::ByType, converging::Converging, histogram::Histogram};
pub use self::{
    by_type::TypeMetrics,
    histogram::HistogramSnapshot,
    prometheus::{Labels, prometheus},
};

/// Counters that go down as well.
const GAUGES: &[&str] = &[
    "streams_open",
    "streams_starting",
    "streams_waiting",
    "push_bytes_in_flight",
    "pushes_waiting",
    "load_streams_open",
];
/// Istio's bounds of `pilot_proxy_convergence_time`, in seconds.
pub(super) const CONVERGENCE_TIMES: &[f64] = &[0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0];

macro_rules! counters {
    ($(#[doc = $doc:literal] $name:ident,)*) => {
        /// Counters of a server.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(pub(super) $name: AtomicU64,)*
        }

        /// Counters as of one moment.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
        #[non_exhaustive]
        pub struct MetricsSnapshot {
            $(#[doc = $doc] pub $name: u64,)*
        }

        impl Metrics {
            pub(super) fn snapshot(&self) -> MetricsSnapshot {
                MetricsSnapshot { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl MetricsSnapshot {
            /// Names, meanings, and kinds in Prometheus' terms.
            fn families() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
                let kind = |name| if GAUGES.contains(&name) { "gauge" } else { "counter" };
                [$((stringify!($name), $doc),)*].into_iter().map(move |(name, help)| (name, help, kind(name)))
            }

            /// Names and values, for an exporter.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Streams open now.
    streams_open,
    /// Streams opened so far.
    streams_total,
    /// Streams refused: not allowed, no view, too many, or no first request that can be read. Those turned away included.
    streams_refused,
    /// Streams and single questions turned away for the server's own load.
    streams_shed,
    /// Streams and single questions that are being given their view and first answer now.
    streams_starting,
    /// Streams and single questions that wait for their turn now.
    streams_waiting,
    /// Streams ended because they had reached their age.
    streams_aged,
    /// Requests taken.
    requests,
    /// Single questions taken, by gRPC's unary form or by REST.
    fetches,
    /// Of these, answered with "not modified".
    fetches_unchanged,
    /// Pushes sent.
    pushes,
    /// Resources in them.
    resources_pushed,
    /// Removals in them.
    removals_pushed,
    /// Encoded bytes of the resources in them.
    bytes_pushed,
    /// Bytes of large pushes that are on their way now, each content once.
    push_bytes_in_flight,
    /// Large pushes that wait for others to leave now.
    pushes_waiting,
    /// Large pushes that did not wait any longer for others to leave.
    push_turns_skipped,
    /// Pushes accepted.
    acks,
    /// Pushes refused.
    nacks,
    /// Answers dropped for their nonce.
    stale_nonces,
    /// Changes sent although what they depend on was not acknowledged in time.
    holds_expired,
    /// Streams of load reports open now.
    load_streams_open,
    /// Load reports taken.
    load_reports,
    /// Streams ended because the client broke the protocol or a limit.
    violations,
    /// Streams ended because the client did not read.
    write_timeouts,
}

pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}
