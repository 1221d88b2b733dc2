//! Turning clients away for the server's own reasons.

use std::fmt;

/// How much a server has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLoad {
    /// Streams open, the one that is decided on included.
    pub streams: u64,
    /// Of these, streams that are being given their view and first answer.
    pub starting: u64,
    /// Of these, streams that wait for their turn to start.
    pub waiting: u64,
}

/// Decides whether a server takes one more client, whoever it is: by memory, by what other replicas have. A closure is
/// one.
///
/// # Contract
/// Called for each new stream and each single question, before the client is authorised; many calls at the same time. It
/// must not block. Streams that are open stay.
pub trait Shed: Send + Sync + 'static {
    /// Why the client should go elsewhere: it is told `UNAVAILABLE` and this. `None` lets it in.
    fn shed(&self, load: &ServerLoad) -> Option<String>;
}

/// Takes everyone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NeverShed;

impl Shed for NeverShed {
    fn shed(&self, _load: &ServerLoad) -> Option<String> {
        None
    }
}

impl<F> Shed for F
where
    F: Fn(&ServerLoad) -> Option<String> + Send + Sync + 'static,
{
    fn shed(&self, load: &ServerLoad) -> Option<String> {
        self(load)
    }
}

type FairShare = dyn Fn() -> Option<u64> + Send + Sync;

/// Turns clients away while this server has clearly more streams than its share, so that they go to replicas that have
/// fewer. Together with [`ServerLimits::max_stream_age`](crate::server::ServerLimits::max_stream_age), replicas even out.
pub struct ShedImbalance {
    fair_share: Box<FairShare>,
    tolerance: f64,
}

impl ShedImbalance {
    /// `fair_share` gives the number of streams this server should have (all streams of the fleet by the number of its
    /// replicas), or `None` if that is not known, which turns nobody away; it must not block. `tolerance` is the part of
    /// it that may be more: 0.2 allows a fifth.
    pub fn new(fair_share: impl Fn() -> Option<u64> + Send + Sync + 'static, tolerance: f64) -> Self {
        Self { fair_share: Box::new(fair_share), tolerance: tolerance.max(0.0) }
    }
}

impl Shed for ShedImbalance {
    fn shed(&self, load: &ServerLoad) -> Option<String> {
        let fair = (self.fair_share)()?;
        // Somebody has to take the first.
        let limit = ((fair as f64 * (1.0 + self.tolerance)).ceil() as u64).max(1);
        let text = || format!("this server has more than its share of {fair} streams; try another");
        (load.streams > limit).then(text)
    }
}

impl fmt::Debug for ShedImbalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShedImbalance").field("tolerance", &self.tolerance).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_share_and_the_tolerance() {
        let load = |streams| ServerLoad { streams, starting: 0, waiting: 0 };
        let sheds = |fair, streams| ShedImbalance::new(move || fair, 0.2).shed(&load(streams)).is_some();
        assert!(!sheds(Some(100), 120) && sheds(Some(100), 121));
        assert!(!sheds(Some(0), 1) && sheds(Some(0), 2));
        assert!(!sheds(None, u64::MAX));
    }
}
