use std::sync::OnceLock;

use super::EjectionCause;
use crate::stats::{Counter, Gauge, Histogram, Kind, Stats, Table};

macro_rules! cluster_stats {
    ($(counter $counter:ident $cname:literal $cdoc:literal;)* $(gauge $gauge:ident $gname:literal $gdoc:literal;)*) => {
        /// Statistics of a cluster, named as Envoy names them: `cluster.NAME.…`.
        #[derive(Debug)]
        pub struct ClusterStats {
            stats: Stats,
            prefix: String,
            $(#[doc = concat!("`", $cname, "`: ", $cdoc)] pub $counter: Counter,)*
            $(#[doc = concat!("`", $gname, "`: ", $gdoc)] pub $gauge: Gauge,)*
            /// `upstream_rq_time`: milliseconds from the end of the request to the first byte of the response.
            pub upstream_rq_time: Histogram,
            /// `upstream_cx_connect_ms`: time to connect.
            pub upstream_cx_connect_ms: Histogram,
            codes: [OnceLock<Box<CodeClass>>; 5],
        }

        static TABLE: Table = &[
            $(($cname, Kind::Counter),)*
            $(($gname, Kind::Gauge),)*
            ("upstream_rq_time", Kind::Histogram),
            ("upstream_cx_connect_ms", Kind::Histogram),
        ];

        impl ClusterStats {
            /// Looks up every handle once.
            #[must_use]
            pub fn new(stats: &Stats, stat_name: &str) -> Self {
                let prefix = format!("cluster.{stat_name}.");
                // In the order of the table.
                let mut handles = stats.block(&prefix, TABLE);
                Self {
                    $($counter: handles.counter(),)*
                    $($gauge: handles.gauge(),)*
                    upstream_rq_time: handles.histogram(),
                    upstream_cx_connect_ms: handles.histogram(),
                    codes: Default::default(),
                    stats: stats.clone(),
                    prefix,
                }
            }
        }
    };
}

cluster_stats! {
    counter upstream_cx_total "upstream_cx_total" "connections.";
    counter upstream_cx_http1_total "upstream_cx_http1_total" "HTTP/1.1 connections.";
    counter upstream_cx_http2_total "upstream_cx_http2_total" "HTTP/2 connections.";
    counter upstream_cx_connect_fail "upstream_cx_connect_fail" "connections that could not be made.";
    counter upstream_cx_connect_timeout "upstream_cx_connect_timeout" "of those, because of time.";
    counter upstream_cx_overflow "upstream_cx_overflow" "times the connection breaker was open.";
    counter upstream_cx_destroy "upstream_cx_destroy" "connections closed.";
    counter upstream_cx_idle_timeout "upstream_cx_idle_timeout" "idle connections closed.";
    counter upstream_cx_max_requests "upstream_cx_max_requests" "connections closed after their last request.";
    counter upstream_cx_max_duration_reached "upstream_cx_max_duration_reached" "connections closed because of age.";
    counter upstream_cx_none_healthy "upstream_cx_none_healthy" "times no host was available.";
    counter upstream_cx_protocol_error "upstream_cx_protocol_error" "protocol errors.";
    counter upstream_cx_rx_bytes_total "upstream_cx_rx_bytes_total" "bytes received.";
    counter upstream_cx_tx_bytes_total "upstream_cx_tx_bytes_total" "bytes sent.";
    counter upstream_rq_total "upstream_rq_total" "requests.";
    counter upstream_rq_completed "upstream_rq_completed" "requests that got a response.";
    counter upstream_rq_pending_total "upstream_rq_pending_total" "requests that waited for a connection.";
    counter upstream_rq_pending_overflow "upstream_rq_pending_overflow" "requests refused by the pending or request breaker.";
    counter upstream_rq_pending_failure_eject "upstream_rq_pending_failure_eject" "waiting requests failed by a connection failure.";
    counter upstream_rq_cancelled "upstream_rq_cancelled" "requests given up while waiting.";
    counter upstream_rq_timeout "upstream_rq_timeout" "requests that timed out.";
    counter upstream_rq_per_try_timeout "upstream_rq_per_try_timeout" "tries that timed out.";
    counter upstream_rq_max_duration_reached "upstream_rq_max_duration_reached" "streams ended because of age.";
    counter upstream_rq_rx_reset "upstream_rq_rx_reset" "streams reset by the host.";
    counter upstream_rq_tx_reset "upstream_rq_tx_reset" "streams reset here.";
    counter upstream_rq_retry "upstream_rq_retry" "retries.";
    counter upstream_rq_retry_success "upstream_rq_retry_success" "retries that succeeded.";
    counter upstream_rq_retry_overflow "upstream_rq_retry_overflow" "retries refused by their breaker.";
    counter upstream_rq_retry_limit_exceeded "upstream_rq_retry_limit_exceeded" "requests whose retries ran out.";
    counter membership_change "membership_change" "changes of the host set.";
    counter update_attempt "update_attempt" "resolutions tried.";
    counter update_success "update_success" "resolutions done.";
    counter update_failure "update_failure" "resolutions that failed.";
    counter lb_healthy_panic "lb_healthy_panic" "picks in panic mode.";
    counter ejections_enforced_total "outlier_detection.ejections_enforced_total" "hosts ejected.";
    counter ejections_overflow "outlier_detection.ejections_overflow" "ejections refused by the cap.";
    counter ejections_5xx "outlier_detection.ejections_enforced_consecutive_5xx" "ejected for 5xx.";
    counter ejections_gateway "outlier_detection.ejections_enforced_consecutive_gateway_failure" "ejected for gateway failures.";
    counter ejections_local "outlier_detection.ejections_enforced_consecutive_local_origin_failure" "ejected for local failures.";
    counter detected_5xx "outlier_detection.ejections_detected_consecutive_5xx" "runs of 5xx.";
    counter detected_gateway "outlier_detection.ejections_detected_consecutive_gateway_failure" "runs of gateway failures.";
    counter detected_local "outlier_detection.ejections_detected_consecutive_local_origin_failure" "runs of local failures.";
    gauge upstream_cx_active "upstream_cx_active" "open connections.";
    gauge upstream_rq_active "upstream_rq_active" "requests under way.";
    gauge upstream_rq_pending_active "upstream_rq_pending_active" "requests that wait for a connection.";
    gauge membership_total "membership_total" "hosts.";
    gauge membership_healthy "membership_healthy" "healthy hosts.";
    gauge membership_degraded "membership_degraded" "degraded hosts.";
    gauge ejections_active "outlier_detection.ejections_active" "hosts ejected now.";
    gauge max_host_weight "max_host_weight" "largest weight of a host.";
}

#[derive(Debug)]
struct CodeClass {
    class: Counter,
    codes: [OnceLock<Counter>; 100],
}

impl ClusterStats {
    /// Counts a response: `upstream_rq_completed`, `upstream_rq_2xx` and `upstream_rq_200`.
    pub fn response(&self, status: u16) {
        self.upstream_rq_completed.inc();
        let Some(class) = (status / 100).checked_sub(1).and_then(|i| self.codes.get(usize::from(i))) else { return };
        let class = class.get_or_init(|| {
            Box::new(CodeClass {
                class: self.stats.counter(&format!("{}upstream_rq_{}xx", self.prefix, status / 100)),
                codes: std::array::from_fn(|_| OnceLock::new()),
            })
        });
        class.class.inc();
        class.codes[usize::from(status % 100)]
            .get_or_init(|| self.stats.counter(&format!("{}upstream_rq_{status}", self.prefix)))
            .inc();
    }

    pub(super) fn detected(&self, cause: EjectionCause) {
        match cause {
            EjectionCause::Consecutive5xx => self.detected_5xx.inc(),
            EjectionCause::ConsecutiveGatewayFailure => self.detected_gateway.inc(),
            EjectionCause::ConsecutiveLocalOriginFailure => self.detected_local.inc(),
        }
    }

    pub(super) fn ejected(&self, cause: EjectionCause) {
        self.ejections_enforced_total.inc();
        match cause {
            EjectionCause::Consecutive5xx => self.ejections_5xx.inc(),
            EjectionCause::ConsecutiveGatewayFailure => self.ejections_gateway.inc(),
            EjectionCause::ConsecutiveLocalOriginFailure => self.ejections_local.inc(),
        }
    }
}
