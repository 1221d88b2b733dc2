//! Circuit breakers and outlier detection.

use std::time::Duration;

use mesh_xds_api::envoy::config::{
    cluster::v3::{
        CircuitBreakers as ProtoBreakers, OutlierDetection as ProtoOutlier, circuit_breakers::Thresholds as ProtoLimits,
    },
    core::v3::RoutingPriority,
};

use crate::{
    config::{
        error::{At as _, Translated, refuse_field},
        value::{duration_or, enumeration, positive_duration_or},
    },
    model::{CircuitBreakers, OutlierDetection, Thresholds},
    supported,
};

supported! {
    /// Limits of clusters.
    pub(in crate::config) static LIMITS =
    envoy.config.cluster.v3.CircuitBreakers {
        carried: thresholds;
    }
    envoy.config.cluster.v3.CircuitBreakers.Thresholds {
        carried: priority, max_connections, max_pending_requests, max_requests, max_retries, retry_budget,
            track_remaining;
    }
    envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget {
        carried: budget_percent, min_retry_concurrency;
    }
    envoy.config.cluster.v3.OutlierDetection {
        carried: consecutive_5xx, interval, base_ejection_time, max_ejection_percent, consecutive_gateway_failure,
            split_external_local_origin_errors, consecutive_local_origin_failure, max_ejection_time,
            max_ejection_time_jitter, always_eject_one_host;
        limited: enforcing_consecutive_5xx = "0 or 100",
            enforcing_consecutive_gateway_failure = "0 or 100",
            enforcing_consecutive_local_origin_failure = "0 or 100",
            enforcing_success_rate = "0, or unset",
            enforcing_local_origin_success_rate = "0, or unset",
            enforcing_failure_percentage = "0, or unset",
            enforcing_failure_percentage_local_origin = "0, or unset";
        irrelevant: success_rate_minimum_hosts = "ejection by success rate is not enforced",
            success_rate_request_volume = "ejection by success rate is not enforced",
            success_rate_stdev_factor = "ejection by success rate is not enforced",
            failure_percentage_threshold = "ejection by failure percentage is not enforced",
            failure_percentage_minimum_hosts = "ejection by failure percentage is not enforced",
            failure_percentage_request_volume = "ejection by failure percentage is not enforced",
            successful_active_health_check_uneject_host = "there is no active health checking";
    }
}

pub(super) fn circuit_breakers(value: Option<&ProtoBreakers>) -> Translated<CircuitBreakers> {
    let mut breakers = CircuitBreakers::default();
    let Some(value) = value else { return Ok(breakers) };
    for (i, limits) in value.thresholds.iter().enumerate() {
        let field = format!("thresholds[{i}]");
        let thresholds = thresholds(limits).at(&field)?;
        match enumeration(limits.priority, "priority").at(&field)? {
            RoutingPriority::Default => breakers.default = thresholds,
            RoutingPriority::High => breakers.high = thresholds,
        }
    }
    Ok(breakers)
}

fn thresholds(value: &ProtoLimits) -> Translated<Thresholds> {
    let default = Thresholds::default();
    let retry_budget = match &value.retry_budget {
        None => None,
        Some(budget) if budget.budget_interval.is_some() => {
            return refuse_field("retry_budget.budget_interval", "is not carried");
        }
        Some(budget) => {
            let percent = budget.budget_percent.as_ref().map_or(20.0, |percent| percent.value);
            if !(0.0..=100.0).contains(&percent) {
                return refuse_field("retry_budget.budget_percent.value", "must be between 0 and 100");
            }
            Some((percent, budget.min_retry_concurrency.unwrap_or(3)))
        }
    };
    Ok(Thresholds {
        max_connections: value.max_connections.unwrap_or(default.max_connections),
        max_pending_requests: value.max_pending_requests.unwrap_or(default.max_pending_requests),
        max_requests: value.max_requests.unwrap_or(default.max_requests),
        max_retries: value.max_retries.unwrap_or(default.max_retries),
        retry_budget,
        track_remaining: value.track_remaining,
    })
}

pub(super) fn outlier(value: &ProtoOutlier) -> Translated<OutlierDetection> {
    for (field, enforced) in [
        ("enforcing_success_rate", value.enforcing_success_rate),
        ("enforcing_local_origin_success_rate", value.enforcing_local_origin_success_rate),
        ("enforcing_failure_percentage", value.enforcing_failure_percentage),
        ("enforcing_failure_percentage_local_origin", value.enforcing_failure_percentage_local_origin),
    ] {
        if enforced.is_some_and(|percent| percent != 0) {
            return refuse_field(field, "only 0 is carried: ejection by rate is not");
        }
    }
    let counted = |enforced: Option<u32>, field: &str, default: u32, limit: Option<u32>| match enforced {
        None if default == 0 => Ok(None),
        None | Some(100) => Ok(Some(limit.unwrap_or(5))),
        Some(0) => Ok(None),
        Some(_) => refuse_field(field, "only 0 and 100 are carried"),
    };
    let base = positive_duration_or(value.base_ejection_time.as_ref(), "base_ejection_time", Duration::from_secs(30))?;
    let longest = duration_or(value.max_ejection_time.as_ref(), "max_ejection_time", Duration::from_secs(300))?;
    Ok(OutlierDetection {
        consecutive_5xx: counted(
            value.enforcing_consecutive_5xx,
            "enforcing_consecutive_5xx",
            100,
            value.consecutive_5xx,
        )?
        .filter(|limit| *limit > 0),
        consecutive_gateway: counted(
            value.enforcing_consecutive_gateway_failure,
            "enforcing_consecutive_gateway_failure",
            0,
            value.consecutive_gateway_failure,
        )?
        .filter(|limit| *limit > 0),
        consecutive_local: counted(
            value.enforcing_consecutive_local_origin_failure,
            "enforcing_consecutive_local_origin_failure",
            100,
            value.consecutive_local_origin_failure,
        )?
        .filter(|limit| *limit > 0),
        split_local: value.split_external_local_origin_errors,
        interval: positive_duration_or(value.interval.as_ref(), "interval", Duration::from_secs(10))?,
        base_ejection_time: base,
        max_ejection_time: longest.max(base),
        max_ejection_time_jitter: duration_or(
            value.max_ejection_time_jitter.as_ref(),
            "max_ejection_time_jitter",
            Duration::ZERO,
        )?,
        max_ejection_percent: value.max_ejection_percent.unwrap_or(10).min(100),
        always_eject_one_host: value.always_eject_one_host.unwrap_or(false),
    })
}
