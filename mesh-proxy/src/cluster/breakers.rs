use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use crate::{
    model::{CircuitBreakers, Thresholds},
    stats::{Gauge, Kind, Stats, Table},
};

/// A circuit breaker was open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Overflow {
    /// `max_connections`.
    #[error("circuit breaker open: too many connections")]
    Connections,
    /// `max_pending_requests`.
    #[error("circuit breaker open: too many requests wait for a connection")]
    Pending,
    /// `max_requests`.
    #[error("circuit breaker open: too many requests under way")]
    Requests,
    /// `max_retries`, or the retry budget.
    #[error("circuit breaker open: too many retries under way")]
    Retries,
}

/// What a breaker counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerKind {
    Connections,
    Pending,
    Requests,
    Retries,
}

/// In the order of [`BreakerKind`].
static OPEN: Table = &[
    ("cx_open", Kind::Gauge),
    ("rq_pending_open", Kind::Gauge),
    ("rq_open", Kind::Gauge),
    ("rq_retry_open", Kind::Gauge),
];
static REMAINING: Table = &[
    ("remaining_cx", Kind::Gauge),
    ("remaining_pending", Kind::Gauge),
    ("remaining_rq", Kind::Gauge),
    ("remaining_retries", Kind::Gauge),
];

/// The circuit breakers of a cluster (`cluster.v3.CircuitBreakers`), counted over all workers.
///
/// As in Envoy the limits are soft: workers that admit at the same instant may pass one by a few.
#[derive(Debug)]
pub struct Breakers {
    levels: [Level; 2],
}

#[derive(Debug)]
struct Level {
    limits: Thresholds,
    used: [AtomicU32; 4],
    open: [Gauge; 4],
    remaining: Option<[Gauge; 4]>,
}

impl Breakers {
    /// Breakers with these limits and gauges below `cluster.NAME.circuit_breakers.`.
    #[must_use]
    pub fn new(limits: &CircuitBreakers, stats: &Stats, stat_name: &str) -> Arc<Self> {
        let level = |name: &str, limits: &Thresholds| {
            let prefix = format!("cluster.{stat_name}.circuit_breakers.{name}.");
            let gauges = |table| {
                let mut handles = stats.block(&prefix, table);
                std::array::from_fn(|_| handles.gauge())
            };
            let level = Level {
                limits: limits.clone(),
                used: Default::default(),
                open: gauges(OPEN),
                remaining: limits.track_remaining.then(|| gauges(REMAINING)),
            };
            for kind in [BreakerKind::Connections, BreakerKind::Pending, BreakerKind::Requests, BreakerKind::Retries] {
                level.show(kind);
            }
            level
        };
        Arc::new(Self { levels: [level("default", &limits.default), level("high", &limits.high)] })
    }

    /// Whether one more fits.
    pub(crate) fn can_take(&self, high: bool, kind: BreakerKind) -> bool {
        let level = &self.levels[usize::from(high)];
        level.used[kind as usize].load(Relaxed) < level.limit(kind)
    }

    /// Takes one if it fits. Dropping the permit gives it back.
    pub(crate) fn try_take(self: &Arc<Self>, high: bool, kind: BreakerKind) -> Result<BreakerPermit, Overflow> {
        if self.can_take(high, kind) {
            return Ok(self.take(high, kind));
        }
        Err(match kind {
            BreakerKind::Connections => Overflow::Connections,
            BreakerKind::Pending => Overflow::Pending,
            BreakerKind::Requests => Overflow::Requests,
            BreakerKind::Retries => Overflow::Retries,
        })
    }

    /// Takes one whether it fits or not.
    pub(crate) fn take(self: &Arc<Self>, high: bool, kind: BreakerKind) -> BreakerPermit {
        let level = &self.levels[usize::from(high)];
        level.used[kind as usize].fetch_add(1, Relaxed);
        level.show(kind);
        BreakerPermit { breakers: self.clone(), high, kind }
    }

    #[cfg(test)]
    pub(crate) fn used(&self, high: bool, kind: BreakerKind) -> u32 {
        self.levels[usize::from(high)].used[kind as usize].load(Relaxed)
    }
}

impl Level {
    fn limit(&self, kind: BreakerKind) -> u32 {
        match kind {
            BreakerKind::Connections => self.limits.max_connections,
            BreakerKind::Pending => self.limits.max_pending_requests,
            BreakerKind::Requests => self.limits.max_requests,
            BreakerKind::Retries => self.retry_limit(),
        }
    }

    /// `retry_budget`: a share of what is active and pending, but never less than the minimum.
    fn retry_limit(&self) -> u32 {
        let Some((percent, min)) = self.limits.retry_budget else { return self.limits.max_retries };
        let busy = self.used[BreakerKind::Requests as usize]
            .load(Relaxed)
            .saturating_add(self.used[BreakerKind::Pending as usize].load(Relaxed));
        let share = (f64::from(busy) * percent / 100.0) as u32;
        share.max(min)
    }

    /// Brings the gauges up to date. They are written only when they change, so that the request path stays quiet.
    fn show(&self, kind: BreakerKind) {
        let used = self.used[kind as usize].load(Relaxed);
        let limit = self.limit(kind);
        let open = u64::from(used >= limit);
        let gauge = &self.open[kind as usize];
        if gauge.value() != open {
            gauge.set(open);
        }
        if let Some(remaining) = &self.remaining {
            remaining[kind as usize].set(u64::from(limit.saturating_sub(used)));
        }
    }
}

/// One admitted connection, request or retry.
#[derive(Debug)]
pub(crate) struct BreakerPermit {
    breakers: Arc<Breakers>,
    high: bool,
    kind: BreakerKind,
}

impl Drop for BreakerPermit {
    fn drop(&mut self) {
        let level = &self.breakers.levels[usize::from(self.high)];
        level.used[self.kind as usize].fetch_sub(1, Relaxed);
        level.show(self.kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breakers(limits: Thresholds) -> Arc<Breakers> {
        let limits = CircuitBreakers { default: limits, high: Thresholds::default() };
        Breakers::new(&limits, &Stats::default(), "c")
    }

    #[test]
    fn permits_come_back() {
        let b = breakers(Thresholds { max_requests: 1, ..Thresholds::default() });
        let one = b.try_take(false, BreakerKind::Requests).unwrap();
        assert_eq!(b.try_take(false, BreakerKind::Requests).unwrap_err(), Overflow::Requests);
        assert!(b.try_take(true, BreakerKind::Requests).is_ok(), "priorities are counted apart");
        drop(one);
        assert!(b.try_take(false, BreakerKind::Requests).is_ok());
    }

    #[test]
    fn a_retry_budget_grows_with_the_load() {
        let b = breakers(Thresholds { retry_budget: Some((20.0, 1)), ..Thresholds::default() });
        let first = b.try_take(false, BreakerKind::Retries).unwrap();
        assert!(b.try_take(false, BreakerKind::Retries).is_err(), "only the minimum while idle");
        let _load: Vec<_> = (0..10).map(|_| b.take(false, BreakerKind::Requests)).collect();
        let second = b.try_take(false, BreakerKind::Retries).unwrap();
        assert!(b.try_take(false, BreakerKind::Retries).is_err(), "20% of ten");
        drop((first, second));
        assert_eq!(b.used(false, BreakerKind::Retries), 0);
    }
}
