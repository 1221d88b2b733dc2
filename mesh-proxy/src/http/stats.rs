//! Statistics of an HTTP connection manager: `http.PREFIX.*`.

use http::Version;

use super::watchdog::Expired;
use crate::{
    filter::StreamInfo,
    stats::{Counter, Gauge, Histogram, Stats},
};

/// Handles of one connection manager, looked up when it is built.
pub(super) struct HttpStats {
    pub(super) cx_total: Counter,
    pub(super) cx_active: Gauge,
    pub(super) cx_http1_total: Counter,
    pub(super) cx_http2_total: Counter,
    pub(super) cx_ssl_total: Counter,
    pub(super) cx_protocol_error: Counter,
    pub(super) cx_idle_timeout: Counter,
    pub(super) cx_header_timeout: Counter,
    pub(super) cx_max_duration_reached: Counter,
    pub(super) cx_max_requests_reached: Counter,
    pub(super) cx_drain_close: Counter,
    pub(super) cx_upgrades_total: Counter,
    pub(super) cx_upgrades_active: Gauge,
    pub(super) no_route: Counter,
    pub(super) no_cluster: Counter,
    pub(super) rq_redirect: Counter,
    pub(super) rq_direct_response: Counter,
    rq_total: Counter,
    rq_active: Gauge,
    rq_http1_total: Counter,
    rq_http2_total: Counter,
    rq_completed: Counter,
    rq_rx_reset: Counter,
    pub(super) rq_idle_timeout: Counter,
    pub(super) rq_too_many_premature_resets: Counter,
    rq_max_duration_reached: Counter,
    rq_timeout: Counter,
    rq_classes: [Counter; 5],
    rq_time: Histogram,
}

impl HttpStats {
    pub(super) fn new(stats: &Stats, prefix: &str) -> Self {
        let counter = |name: &str| stats.counter(&format!("http.{prefix}.{name}"));
        let gauge = |name: &str| stats.gauge(&format!("http.{prefix}.{name}"));
        Self {
            cx_total: counter("downstream_cx_total"),
            cx_active: gauge("downstream_cx_active"),
            cx_http1_total: counter("downstream_cx_http1_total"),
            cx_http2_total: counter("downstream_cx_http2_total"),
            cx_ssl_total: counter("downstream_cx_ssl_total"),
            cx_protocol_error: counter("downstream_cx_protocol_error"),
            cx_idle_timeout: counter("downstream_cx_idle_timeout"),
            cx_header_timeout: counter("downstream_rq_header_timeout"),
            cx_max_duration_reached: counter("downstream_cx_max_duration_reached"),
            cx_max_requests_reached: counter("downstream_cx_max_requests_reached"),
            cx_drain_close: counter("downstream_cx_drain_close"),
            cx_upgrades_total: counter("downstream_cx_upgrades_total"),
            cx_upgrades_active: gauge("downstream_cx_upgrades_active"),
            no_route: counter("no_route"),
            no_cluster: counter("no_cluster"),
            rq_redirect: counter("rq_redirect"),
            rq_direct_response: counter("rq_direct_response"),
            rq_total: counter("downstream_rq_total"),
            rq_active: gauge("downstream_rq_active"),
            rq_http1_total: counter("downstream_rq_http1_total"),
            rq_http2_total: counter("downstream_rq_http2_total"),
            rq_completed: counter("downstream_rq_completed"),
            rq_rx_reset: counter("downstream_rq_rx_reset"),
            rq_too_many_premature_resets: counter("downstream_rq_too_many_premature_resets"),
            rq_idle_timeout: counter("downstream_rq_idle_timeout"),
            rq_max_duration_reached: counter("downstream_rq_max_duration_reached"),
            rq_timeout: counter("downstream_rq_timeout"),
            rq_classes: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|c| counter(&format!("downstream_rq_{c}"))),
            rq_time: stats.histogram(&format!("http.{prefix}.downstream_rq_time")),
        }
    }

    pub(super) fn request_begins(&self, version: Version) {
        self.rq_total.inc();
        self.rq_active.inc();
        if version == Version::HTTP_2 { &self.rq_http2_total } else { &self.rq_http1_total }.inc();
    }

    pub(super) fn request_ends(&self, info: &StreamInfo, complete: bool) {
        self.rq_active.dec();
        if complete {
            self.rq_completed.inc();
        } else {
            self.rq_rx_reset.inc();
        }
        if let Some(class) = info.status.and_then(|s| self.rq_classes.get(usize::from(s / 100).wrapping_sub(1))) {
            class.inc();
        }
        if let Some(time) = info.timings.duration() {
            self.rq_time.record_ms(time);
        }
    }

    pub(super) fn note_expired(&self, which: Expired) {
        match which {
            Expired::Idle => self.rq_idle_timeout.inc(),
            Expired::Life => self.rq_max_duration_reached.inc(),
            Expired::Request => self.rq_timeout.inc(),
            Expired::Total | Expired::Attempt => {}
        }
    }
}
