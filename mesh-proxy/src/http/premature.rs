//! Clients that open streams only to reset them (CVE-2023-44487), however slowly.
//!
//! As Envoy's `maybeDrainDueToPrematureResets`, with its runtime defaults: a connection is closed once half of its streams,
//! and half of 500 at least, were reset within a second of their begin and before they were answered.

use std::{cell::Cell, time::Duration};

/// A stream reset within this time was premature (`overload.premature_reset_min_stream_lifetime_seconds`).
pub(super) const SHORT: Duration = Duration::from_secs(1);

/// Streams after which the share counts (`overload.premature_reset_total_stream_count`).
const STREAMS: u32 = 500;

/// The streams of one connection that are over.
#[derive(Debug, Default)]
pub(super) struct PrematureResets {
    streams: Cell<u32>,
    premature: Cell<u32>,
}

impl PrematureResets {
    /// A stream is over. True if the connection is to be closed.
    pub(super) fn stream_ends(&self, premature: bool) -> bool {
        let streams = self.streams.get().saturating_add(1);
        self.streams.set(streams);
        if !premature {
            return false;
        }
        let resets = self.premature.get().saturating_add(1);
        self.premature.set(resets);
        u64::from(resets) * 2 >= u64::from(streams.max(STREAMS))
    }
}

#[cfg(test)]
mod tests {
    use super::PrematureResets;

    /// Streams until the connection is closed, where `premature` says which were reset.
    fn closed_after(premature: impl Fn(u32) -> bool) -> Option<u32> {
        let resets = PrematureResets::default();
        (1..5000).find(|n| resets.stream_ends(premature(*n)))
    }

    #[test]
    fn half_of_all_is_too_many() {
        assert_eq!(closed_after(|_| true), Some(250));
        assert_eq!(closed_after(|n| n % 2 == 0), Some(500));
        assert_eq!(closed_after(|n| n % 3 == 0), None);
        assert_eq!(closed_after(|n| n > 1000), Some(2000));
    }
}
