//! `route.v3.RetryPolicy`.

use std::time::Duration;

use mesh_xds_api::{
    any,
    envoy::{
        config::route::v3::{
            RetryPolicy as ProtoPolicy,
            retry_policy::{
                RateLimitedRetryBackOff as ProtoRateLimited, ResetHeader as ProtoResetHeader, ResetHeaderFormat,
                RetryHostPredicate, retry_host_predicate::ConfigType,
            },
        },
        extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate,
    },
};

use crate::{
    config::{
        error::{At as _, Translated, refuse_field},
        matcher::header_matchers,
        value::{enumeration, header_name, nonzero_duration, positive_duration_or},
    },
    model::{RateLimitedBackOff, ResetFormat, ResetHeader, RetryOn, RetryPolicy},
    supported,
};

supported! {
    /// Retries.
    pub(in crate::config) static RETRIES =
    envoy.config.route.v3.RetryPolicy {
        carried: num_retries, per_try_timeout, per_try_idle_timeout, host_selection_retry_max_attempts,
            retriable_status_codes, retry_back_off, rate_limited_retry_back_off, retriable_headers, retriable_request_headers;
        limited: retry_on = "5xx, gateway-error, reset, reset-before-request, connect-failure, retriable-4xx, \
                refused-stream, retriable-status-codes, retriable-headers, envoy-ratelimited, cancelled, \
                deadline-exceeded, internal, resource-exhausted, unavailable",
            retry_host_predicate = "envoy.retry_host_predicates.previous_hosts";
    }
    envoy.config.route.v3.RetryPolicy.RetryBackOff {
        carried: base_interval, max_interval;
    }
    envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff {
        carried: reset_headers, max_interval;
    }
    envoy.config.route.v3.RetryPolicy.ResetHeader {
        carried: name, format;
    }
    envoy.config.route.v3.RetryPolicy.RetryHostPredicate {
        carried: name, typed_config;
    }
    envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate {}
}

/// Back-off base when nothing is said (Envoy's `upstream.base_retry_backoff_ms`).
const BASE: Duration = Duration::from_millis(25);
/// Longest wait that a rate limited response may ask for when nothing is said.
const RATE_LIMITED_MAX: Duration = Duration::from_secs(300);

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
        rate_limited: value
            .rate_limited_retry_back_off
            .as_ref()
            .map(rate_limited)
            .transpose()
            .at("rate_limited_retry_back_off")?,
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

fn rate_limited(value: &ProtoRateLimited) -> Translated<RateLimitedBackOff> {
    if value.reset_headers.is_empty() {
        return refuse_field("reset_headers", "one at least is required");
    }
    let header = |(i, header): (usize, &ProtoResetHeader)| -> Translated<ResetHeader> {
        let field = format!("reset_headers[{i}]");
        let format = match enumeration(header.format, "format").at(&field)? {
            ResetHeaderFormat::Seconds => ResetFormat::Seconds,
            ResetHeaderFormat::UnixTimestamp => ResetFormat::UnixTimestamp,
        };
        Ok(ResetHeader { name: header_name(&header.name).at("name").at(&field)?, format })
    };
    Ok(RateLimitedBackOff {
        headers: value.reset_headers.iter().enumerate().map(header).collect::<Translated<_>>()?,
        max_interval: positive_duration_or(value.max_interval.as_ref(), "max_interval", RATE_LIMITED_MAX)?,
    })
}

fn previous_hosts(value: &RetryHostPredicate) -> Translated<()> {
    let known = match &value.config_type {
        Some(ConfigType::TypedConfig(config)) => any::is::<PreviousHostsPredicate>(config),
        None => value.name == "envoy.retry_host_predicates.previous_hosts",
    };
    if known { Ok(()) } else { refuse_field("", format!("{} is not carried", value.name)) }
}

/// What `retry_on` names. Every condition must be known.
fn conditions(text: &str) -> Translated<RetryOn> {
    let mut on = RetryOn::default();
    for condition in text.split(',').map(str::trim).filter(|condition| !condition.is_empty()) {
        if !on.set(condition) {
            return refuse_field("retry_on", format!("{condition} is not carried"));
        }
    }
    Ok(on)
}
