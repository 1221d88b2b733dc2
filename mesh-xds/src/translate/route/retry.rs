//! Retries. Source: Istio's `HTTPRetry` and its default policy.

use mesh_config::model::HttpRetry;
use mesh_xds_api::{
    any,
    envoy::{
        config::route::v3::{
            RetryPolicy,
            retry_policy::{RetryBackOff, RetryHostPredicate, retry_host_predicate::ConfigType},
        },
        extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate,
    },
};

use crate::translate::proto;

const DEFAULT_ON: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
const DEFAULT_STATUS: u32 = 503;
const DEFAULT_ATTEMPTS: u32 = 2;

/// The policy of a rule, or the default one; `None` if retries are turned off.
pub(super) fn policy(retries: Option<&HttpRetry>) -> Option<RetryPolicy> {
    let Some(retries) = retries else { return Some(with(DEFAULT_ATTEMPTS, None, true)) };
    let attempts = u32::try_from(retries.attempts).ok().filter(|&attempts| attempts > 0)?;
    let on = retries.retry_on.as_deref().filter(|on| !on.trim().is_empty());
    let mut policy = with(attempts, on, retries.retry_ignore_previous_hosts.unwrap_or(true));
    policy.per_try_timeout = retries.per_try_timeout.map(|d| proto::duration(d.as_std()));
    policy.retry_back_off = retries
        .backoff
        .map(|shortest| RetryBackOff { base_interval: Some(proto::duration(shortest.as_std())), max_interval: None });
    Some(policy)
}

/// Retries of what never reached the upstream.
pub(super) fn before_request() -> RetryPolicy {
    RetryPolicy {
        retry_on: "reset-before-request".to_owned(),
        num_retries: Some(DEFAULT_ATTEMPTS),
        ..Default::default()
    }
}

fn with(attempts: u32, on: Option<&str>, other_hosts: bool) -> RetryPolicy {
    let (retry_on, retriable_status_codes) = match on {
        None => (DEFAULT_ON.to_owned(), vec![DEFAULT_STATUS]),
        Some(on) => conditions(on),
    };
    let predicate = RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(ConfigType::TypedConfig(any::pack(&PreviousHostsPredicate {}))),
    };
    RetryPolicy {
        retry_on,
        num_retries: Some(attempts),
        retriable_status_codes,
        retry_host_predicate: if other_hosts { vec![predicate] } else { Vec::new() },
        host_selection_retry_max_attempts: if other_hosts { 5 } else { 0 },
        ..Default::default()
    }
}

/// Splits Istio's list, in which status codes stand among Envoy's conditions.
fn conditions(on: &str) -> (String, Vec<u32>) {
    const BY_STATUS: &str = "retriable-status-codes";
    let mut names: Vec<&str> = Vec::new();
    let mut statuses = Vec::new();
    for part in on.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.parse() {
            Ok(status) => statuses.push(status),
            Err(_) => names.push(part),
        }
    }
    if !statuses.is_empty() && !names.contains(&BY_STATUS) {
        names.push(BY_STATUS);
    }
    (names.join(","), statuses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_config::model::Duration;

    #[test]
    fn default_policy() {
        let policy = policy(None).unwrap();
        assert_eq!(policy.num_retries, Some(2));
        assert_eq!(policy.retry_on, DEFAULT_ON);
        assert_eq!(policy.retriable_status_codes, [503]);
        assert_eq!(policy.retry_host_predicate.len(), 1);
    }

    #[test]
    fn zero_attempts_turn_retries_off() {
        assert_eq!(policy(Some(&HttpRetry::default())), None);
    }

    #[test]
    fn own_policy() {
        let retries = HttpRetry {
            attempts: 3,
            per_try_timeout: Some(Duration::from_secs(2)),
            retry_on: Some("gateway-error, 429,5xx".into()),
            retry_ignore_previous_hosts: Some(false),
            ..HttpRetry::default()
        };
        let policy = policy(Some(&retries)).unwrap();
        assert_eq!(policy.retry_on, "gateway-error,5xx,retriable-status-codes");
        assert_eq!(policy.retriable_status_codes, [429]);
        assert_eq!(policy.per_try_timeout.unwrap().seconds, 2);
        assert!(policy.retry_host_predicate.is_empty());
    }
}
