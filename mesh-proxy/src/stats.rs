//! Counters, gauges and histograms under Envoy's dotted names.
//!
//! [`Stats`] is the registry. A handle ([`Counter`], [`Gauge`], [`Histogram`]) is looked up once, when a listener, cluster
//! or filter is built, and kept; using it takes no lock. Counters and histograms are split into shards, so that workers
//! do not write to the same cache line. The number of series is bounded: beyond the limit a handle works but is not
//! listed, and `stats.overflow` counts it.
//!
//! Names are the contract: `cluster.NAME.upstream_rq_total`, `http.PREFIX.downstream_rq_2xx`,
//! `listener.ADDR.downstream_cx_total`. The Prometheus form takes the variable parts out as labels, as Envoy's default
//! tag extraction does; unlike there, a cluster name or prefix that has dots in it is one label, whole.

mod block;
mod histogram;
mod prometheus;
mod registry;
mod tags;
mod text;
mod value;

pub(crate) use block::{Kind, Table};
pub use histogram::{Histogram, HistogramSnapshot};
pub use registry::{Stats, StatsOptions};
pub use text::{StatKind, StatsQuery};
pub use value::{Counter, Gauge, GaugeHold};
