//! Bounds of a server, and the rate of requests.

use std::time::{Duration, Instant};

use super::{AdmissionLimits, PushLimits};
use crate::protocol::server::StreamLimits;

/// Bounds of a server.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Streams open at a time. More are refused with `RESOURCE_EXHAUSTED`. Default 20 000.
    pub max_streams: u64,
    /// The largest request. Default 16 MiB: a client that resumes lists all it holds.
    pub max_request_bytes: usize,
    /// How long a stream may be open without a request. Default 10 s.
    pub first_request_timeout: Duration,
    /// Requests per second and stream, after a burst of as many as come in ten seconds. A faster client is read more
    /// slowly. Default 200.
    pub max_requests_per_second: u32,
    /// How old a stream may become. It is then ended with `UNAVAILABLE`, the client connects again, to another server
    /// perhaps, and goes on with what it holds: so that streams spread over servers that were started later. A client
    /// keeps its connection and comes back on it; for it to really move, set [`ListenConfig::max_connection_age`] to no
    /// more than this. Load report streams age too. Default `None`: for ever.
    ///
    /// [`ListenConfig::max_connection_age`]: super::ListenConfig::max_connection_age
    pub max_stream_age: Option<Duration>,
    /// The share of [`ServerLimits::max_stream_age`] by which each stream's age is shortened or prolonged at random, from 0
    /// to 1, so that streams that began together do not all end together. Default 0.1, as gRPC has it for connections.
    pub stream_age_jitter: f64,
    /// Bounds of starts.
    pub admission: AdmissionLimits,
    /// Bounds of what is on its way.
    pub pushes: PushLimits,
    /// Bounds of the protocol.
    pub stream: StreamLimits,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_streams: 20_000,
            max_request_bytes: 16 << 20,
            first_request_timeout: Duration::from_secs(10),
            max_requests_per_second: 200,
            max_stream_age: None,
            stream_age_jitter: 0.1,
            admission: AdmissionLimits::default(),
            pushes: PushLimits::default(),
            stream: StreamLimits::default(),
        }
    }
}

/// Seconds of requests that may come at once.
const BURST_SECONDS: f64 = 10.0;

/// A token bucket.
#[derive(Debug)]
pub(super) struct RequestRate {
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl RequestRate {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self { per_second, tokens: per_second * BURST_SECONDS, at: now }
    }

    /// Counts a request.
    pub(super) fn take(&mut self, now: Instant) {
        self.refill(now);
        self.tokens -= 1.0;
    }

    /// Lets time pass.
    pub(super) fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.per_second * BURST_SECONDS);
    }

    /// Until when nothing should be read.
    pub(super) fn blocked_until(&self) -> Option<Instant> {
        (self.tokens < 0.0).then(|| self.at + Duration::from_secs_f64(-self.tokens / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_then_rate() {
        let start = Instant::now();
        let mut rate = RequestRate::new(2, start);
        for _ in 0..20 {
            rate.take(start);
            assert_eq!(rate.blocked_until(), None);
        }
        rate.take(start);
        assert_eq!(rate.blocked_until(), Some(start + Duration::from_millis(500)));
        rate.take(start + Duration::from_secs(1));
        assert_eq!(rate.blocked_until(), None);
    }
}
