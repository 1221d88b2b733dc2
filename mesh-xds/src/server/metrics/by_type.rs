//! What is counted for each type of resource.

use std::{sync::atomic::AtomicU64, time::Duration};

use super::{Histogram, HistogramSnapshot, add};
use crate::TypeUrl;

/// The types told apart, as Istio names them in `type` labels. All others are `other`: the label is bounded.
const TYPES: [(&str, &str); 10] = [
    ("CDS", "cds"),
    ("EDS", "eds"),
    ("LDS", "lds"),
    ("RDS", "rds"),
    ("SDS", "sds"),
    ("ECDS", "ecds"),
    ("RTDS", "rtds"),
    ("SRDS", "srds"),
    ("VHDS", "vhds"),
    ("", "other"),
];

/// Istio's bounds of `pilot_xds_config_size_bytes`.
const SIZES: &[f64] = &[1.0, 10e3, 1e6, 4e6, 10e6, 40e6];
/// Istio's bounds of `pilot_xds_push_time`.
const TIMES: &[f64] = &[0.01, 0.1, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0];

/// Counters of every type.
#[derive(Debug)]
pub(in crate::server) struct ByType([OneType; TYPES.len()]);

#[derive(Debug)]
struct OneType {
    pushes: AtomicU64,
    acks: AtomicU64,
    nacks: AtomicU64,
    stale_nonces: AtomicU64,
    push_bytes: Histogram,
    answer_time: Histogram,
}

/// Counters of one type of resource, as of one moment.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TypeMetrics {
    /// `cds`, `eds`, `lds`, `rds`, `sds`, `ecds`, `rtds`, `srds`, `vhds`, or `other`.
    pub type_name: &'static str,
    /// Pushes sent.
    pub pushes: u64,
    /// Pushes accepted.
    pub acks: u64,
    /// Pushes refused.
    pub nacks: u64,
    /// Answers dropped for their nonce.
    pub stale_nonces: u64,
    /// Encoded bytes of the resources of each push.
    pub push_bytes: HistogramSnapshot,
    /// Seconds from a push to its acceptance.
    pub answer_time: HistogramSnapshot,
}

impl Default for ByType {
    fn default() -> Self {
        Self(std::array::from_fn(|_| OneType {
            pushes: AtomicU64::new(0),
            acks: AtomicU64::new(0),
            nacks: AtomicU64::new(0),
            stale_nonces: AtomicU64::new(0),
            push_bytes: Histogram::new(SIZES),
            answer_time: Histogram::new(TIMES),
        }))
    }
}

impl ByType {
    fn of(&self, type_url: &TypeUrl) -> &OneType {
        let short = type_url.short().unwrap_or_default();
        let place = TYPES.iter().position(|(known, _)| *known == short);
        &self.0[place.unwrap_or(TYPES.len() - 1)]
    }

    pub(in crate::server) fn pushed(&self, type_url: &TypeUrl, bytes: usize) {
        add(&self.of(type_url).pushes, 1);
        self.of(type_url).push_bytes.record(bytes as f64);
    }

    pub(in crate::server) fn acked(&self, type_url: &TypeUrl, after: Duration) {
        add(&self.of(type_url).acks, 1);
        self.of(type_url).answer_time.record(after.as_secs_f64());
    }

    pub(in crate::server) fn nacked(&self, type_url: &TypeUrl) {
        add(&self.of(type_url).nacks, 1);
    }

    pub(in crate::server) fn stale_nonce(&self, type_url: &TypeUrl) {
        add(&self.of(type_url).stale_nonces, 1);
    }

    pub(in crate::server) fn snapshot(&self) -> Vec<TypeMetrics> {
        let get = |n: &AtomicU64| n.load(std::sync::atomic::Ordering::Relaxed);
        let one = |(t, (_, type_name)): (&OneType, &(&str, &'static str))| TypeMetrics {
            type_name,
            pushes: get(&t.pushes),
            acks: get(&t.acks),
            nacks: get(&t.nacks),
            stale_nonces: get(&t.stale_nonces),
            push_bytes: t.push_bytes.snapshot(),
            answer_time: t.answer_time.snapshot(),
        };
        self.0.iter().zip(&TYPES).map(one).collect()
    }
}
