//! `route.v3.RetryPolicy`.

use std::time::Duration;

use mesh_xds_api::{
    any,
    envoy::{
        config::route::v3::{
            RetryPolicy as ProtoPolicy,
            retry_policy::{RetryHostPredicate, retry_host_predicate::ConfigType},
        },
        extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate,
    },
};

use crate::{
    config::{
        error::{At as _, Translated, refuse_field},
        matcher::header_matchers,
        value::{nonzero_duration, positive_duration_or},
    },
    model::{RetryOn, RetryPolicy},
    supported,
};

supported! {
    /// Retries.
    pub(in crate::config) static RETRIES =
    envoy.config.route.v3.RetryPolicy {
        carried: num_retries, per_try_timeout, per_try_idle_timeout, host_selection_retry_max_attempts,
            retriable_status_codes, retry_back_off, retriable_headers, retriable_request_headers;
        limited: retry_on = "5xx, gateway-error, reset, reset-before-request, connect-failure, retriable-4xx, \
                refused-stream, retriable-status-codes, retriable-headers, envoy-ratelimited, cancelled, \
                deadline-exceeded, internal, resource-exhausted, unavailable",
            retry_host_predicate = "envoy.retry_host_predicates.previous_hosts";
    }
    envoy.config.route.v3.RetryPolicy.RetryBackOff {
        carried: base_interval, max_interval;
    }
    envoy.config.route.v3.RetryPolicy.RetryHostPredicate {
        carried: name, typed_config;
    }
    envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate {}
}

/// Back-off base when nothing is said (Envoy's `upstream.base_retry_backoff_ms`).
const BASE: Duration = Duration::from_millis(25);

pub(super) fn policy(value: &ProtoPolicy) -> Translated<RetryPolicy> {
    let (base_interval, max_interval) = back_off(value)?;
    let mut avoid_previous_hosts = false;
    for (i, predicate) in value.retry_host_predicate.iter().enumerate() {
        previous_hosts(predicate).at(format_args!("retry_host_predicate[{i}]"))?;
        avoid_previous_hosts = true;
    }
    let attempts = match value.host_selection_retry_max_attempts {
        0 => 1,
        attempts => u32::try_from(attempts)
            .or_else(|_| refuse_field("host_selection_retry_max_attempts", "must be a small positive number"))?,
    };
    let mut retriable_statuses = Vec::with_capacity(value.retriable_status_codes.len());
    for (i, status) in value.retriable_status_codes.iter().enumerate() {
        let status = u16::try_from(*status).ok().filter(|status| (100..600).contains(status));
        let Some(status) = status else {
            return refuse_field(format!("retriable_status_codes[{i}]"), "is no HTTP status");
        };
        retriable_statuses.push(status);
    }
    Ok(RetryPolicy {
        on: conditions(&value.retry_on)?,
        num_retries: value.num_retries.unwrap_or(1),
        per_try_timeout: nonzero_duration(value.per_try_timeout.as_ref(), "per_try_timeout")?,
        per_try_idle_timeout: nonzero_duration(value.per_try_idle_timeout.as_ref(), "per_try_idle_timeout")?,
        base_interval,
        max_interval,
        avoid_previous_hosts,
        host_selection_attempts: attempts,
        retriable_statuses,
        retriable_headers: header_matchers(&value.retriable_headers, "retriable_headers")?,
        retriable_requests: header_matchers(&value.retriable_request_headers, "retriable_request_headers")?,
    })
}

fn back_off(value: &ProtoPolicy) -> Translated<(Duration, Duration)> {
    let Some(back_off) = &value.retry_back_off else { return Ok((BASE, BASE * 10)) };
    if back_off.base_interval.is_none() {
        return refuse_field("retry_back_off.base_interval", "is required");
    }
    let base = positive_duration_or(back_off.base_interval.as_ref(), "base_interval", BASE).at("retry_back_off")?;
    let longest =
        positive_duration_or(back_off.max_interval.as_ref(), "max_interval", base * 10).at("retry_back_off")?;
    if longest < base {
        return refuse_field("retry_back_off.max_interval", "must not be below base_interval");
    }
    Ok((base, longest))
}

fn previous_hosts(value: &RetryHostPredicate) -> Translated<()> {
    let known = match &value.config_type {
        Some(ConfigType::TypedConfig(config)) => any::is::<PreviousHostsPredicate>(config),
        None => value.name == "envoy.retry_host_predicates.previous_hosts",
    };
    if known { Ok(()) } else { refuse_field("", format!("{} is not carried", value.name)) }
}

fn conditions(text: &str) -> Translated<RetryOn> {
    let mut on = RetryOn::default();
    for condition in text.split(',').map(str::trim).filter(|condition| !condition.is_empty()) {
        let flag = match condition {
            "5xx" => &mut on.five_xx,
            "gateway-error" => &mut on.gateway_error,
            "reset" => &mut on.reset,
            "reset-before-request" => &mut on.reset_before_request,
            "connect-failure" => &mut on.connect_failure,
            "retriable-4xx" => &mut on.retriable_4xx,
            "refused-stream" => &mut on.refused_stream,
            "retriable-status-codes" => &mut on.retriable_status_codes,
            "retriable-headers" => &mut on.retriable_headers,
            "envoy-ratelimited" => &mut on.envoy_ratelimited,
            "cancelled" => &mut on.grpc_cancelled,
            "deadline-exceeded" => &mut on.grpc_deadline_exceeded,
            "internal" => &mut on.grpc_internal,
            "resource-exhausted" => &mut on.grpc_resource_exhausted,
            "unavailable" => &mut on.grpc_unavailable,
            other => return refuse_field("retry_on", format!("{other} is not carried")),
        };
        *flag = true;
    }
    Ok(on)
}
