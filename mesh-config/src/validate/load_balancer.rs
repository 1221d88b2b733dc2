//! The rules of load balancer settings.

use super::{Findings, locality, rules};
use crate::{
    model::{ConsistentHashLb, LoadBalancerSettings, WarmupConfiguration},
    path::FieldPath,
};

/// Checks how an endpoint is chosen.
pub(super) fn validate(path: FieldPath<'_>, settings: &LoadBalancerSettings, findings: &mut Findings<'_>) {
    if settings.simple.is_some() && settings.consistent_hash.is_some() {
        findings.error(path.field("consistentHash"), "simple and consistentHash exclude each other: keep one");
    }
    if settings.backend_utilization.is_some() && (settings.simple.is_some() || settings.consistent_hash.is_some()) {
        let message = "backendUtilization excludes simple and consistentHash: keep one";
        findings.error(path.field("backendUtilization"), message);
    }
    if let Some(hash) = &settings.consistent_hash {
        consistent_hash(path.field("consistentHash"), hash, findings);
    }
    if let Some(locality) = &settings.locality_lb_setting {
        let at = path.field("localityLbSetting");
        locality::setting(at, locality, findings);
        if settings.zone_aware_lb_setting.is_some() {
            findings
                .error(path.field("zoneAwareLbSetting"), "localityLbSetting and zoneAwareLbSetting exclude each other");
        }
    }
    if let Some(zones) = &settings.zone_aware_lb_setting {
        let at = path.field("zoneAwareLbSetting");
        locality::failover(at, &zones.failover, findings);
    }
    rules::duration(path.field("warmupDurationSecs"), settings.warmup_duration_secs, findings);
    if let Some(warmup) = &settings.warmup {
        warm_up(path.field("warmup"), warmup, findings);
    }
}

fn consistent_hash(path: FieldPath<'_>, hash: &ConsistentHashLb, findings: &mut Findings<'_>) {
    let keys = [
        hash.http_header_name.as_ref().is_some_and(|name| !name.is_empty()),
        hash.http_cookie.is_some(),
        hash.use_source_ip == Some(true),
        hash.http_query_parameter_name.as_ref().is_some_and(|name| !name.is_empty()),
    ];
    match keys.iter().filter(|given| **given).count() {
        // Istio accepts it, though nothing is hashed then.
        0 => findings
            .warning(path, "one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName is required"),
        1 => {}
        _ => findings
            .error(path, "httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName exclude each other"),
    }
    if hash.ring_hash.is_some() && hash.maglev.is_some() {
        findings.error(path.field("maglev"), "ringHash and maglev exclude each other");
    }
    if let Some(cookie) = &hash.http_cookie {
        let path = path.field("httpCookie");
        if cookie.name.is_empty() {
            findings.error(path.field("name"), "the name of the cookie is required");
        }
        if cookie.ttl.is_none() {
            findings.error(path, "ttl is required; 0s makes a session cookie");
        }
    }
    if let Some(size) = hash.maglev.and_then(|maglev| maglev.table_size) {
        let path = path.field("maglev");
        if !is_prime(size) {
            findings.error(path.field("tableSize"), format_args!("{size} must be a prime of at most 5000011"));
        }
    }
}

/// Whether the number is a prime that Envoy takes as the size of a Maglev table.
fn is_prime(number: u64) -> bool {
    (2..=5_000_011).contains(&number)
        && (2..).take_while(|d| d * d <= number).all(|divisor| !number.is_multiple_of(divisor))
}

fn warm_up(path: FieldPath<'_>, warmup: &WarmupConfiguration, findings: &mut Findings<'_>) {
    if warmup.duration.is_none() {
        findings.error(path, "duration is required");
    }
    rules::duration(path.field("duration"), warmup.duration, findings);
    if let Some(share) = warmup.minimum_percent.filter(|share| !(0.0..=100.0).contains(share)) {
        findings.error(path.field("minimumPercent"), format_args!("{share} must be between 0 and 100 percent"));
    }
    if let Some(shape) = warmup.aggression.filter(|shape| *shape < 1.0 || shape.is_nan()) {
        findings.error(path.field("aggression"), format_args!("{shape} must be at least 1"));
    }
}
