//! `filters.network.tcp_proxy.v3.TcpProxy`.

use std::time::Duration;

use mesh_xds_api::envoy::{
    config::core::v3::{BackoffStrategy, TlvEntry},
    extensions::filters::network::tcp_proxy::v3::{
        ProxyProtocolTlvMergePolicy, TcpProxy as ProtoProxy, UpstreamConnectMode,
        tcp_proxy::{ClusterSpecifier, TunnelingConfig},
    },
    r#type::v3::{HashPolicy, hash_policy::PolicySpecifier},
};

use super::{
    access_log::access_logs,
    error::{At as _, Translated, refuse, refuse_field},
    listener::tlv_kind,
    route::added_headers,
    value::{duration_or, enumeration, nonzero_duration, optional_duration, positive_duration_or, present, required},
};
use crate::{
    access_log::{Formatter, Missing},
    model::{TcpLogTimes, TcpProxy, TcpTunnel, Tlv, TlvMerge},
    supported,
};

supported! {
    /// TCP proxies.
    pub(super) static TCP_PROXIES =
    envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy {
        carried: stat_prefix, cluster, weighted_clusters, idle_timeout, max_connect_attempts, backoff_options,
            hash_policy, max_downstream_connection_duration, max_downstream_connection_duration_jitter_percentage,
            access_log, access_log_flush_interval, flush_access_log_on_connected, access_log_options, proxy_protocol_tlvs,
            proxy_protocol_tlv_merge_policy, upstream_connect_mode, tunneling_config;
        irrelevant: max_early_data_bytes = "needed for ON_DOWNSTREAM_DATA; bytes beyond it, and in other modes all, wait in \
            the socket until the host is connected";
    }
    envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster {
        carried: clusters;
    }
    envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight {
        carried: name, weight;
    }
    envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TcpAccessLogOptions {
        carried: access_log_flush_interval, flush_access_log_on_connected, flush_access_log_on_start;
    }
    envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig {
        carried: hostname, headers_to_add;
        limited: use_post = "false: the tunnel is asked for with CONNECT";
    }
    envoy.config.core.v3.BackoffStrategy {
        carried: base_interval, max_interval;
    }
    envoy.config.core.v3.TlvEntry {
        carried: type, value;
    }
    envoy.type.v3.HashPolicy {
        carried: source_ip;
    }
    envoy.type.v3.HashPolicy.SourceIp {}
}

const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

pub(super) fn tcp_proxy(value: &ProtoProxy) -> Translated<TcpProxy> {
    let max_connect_attempts = value.max_connect_attempts.unwrap_or(1);
    if max_connect_attempts == 0 {
        return refuse_field("max_connect_attempts", "must be greater than zero");
    }
    Ok(TcpProxy {
        stat_prefix: required(&value.stat_prefix, "stat_prefix")?.to_owned(),
        clusters: clusters(value.cluster_specifier.as_ref())?,
        // A filter before this one says so.
        sni_cluster: false,
        idle_timeout: duration_or(value.idle_timeout.as_ref(), "idle_timeout", IDLE_TIMEOUT)?,
        max_connect_attempts,
        backoff: value.backoff_options.as_ref().map(backoff).transpose().at("backoff_options")?,
        max_downstream_duration: nonzero_duration(
            value.max_downstream_connection_duration.as_ref(),
            "max_downstream_connection_duration",
        )?,
        duration_jitter: jitter(value)?,
        hash_source_ip: hashes_source_ip(&value.hash_policy)?,
        early_data: early_data(value)?,
        tlvs: tlv_entries(&value.proxy_protocol_tlvs, "proxy_protocol_tlvs")?,
        tlv_merge: match enumeration(value.proxy_protocol_tlv_merge_policy, "proxy_protocol_tlv_merge_policy")? {
            ProxyProtocolTlvMergePolicy::AddIfAbsent => TlvMerge::AddIfAbsent,
            ProxyProtocolTlvMergePolicy::OverwriteByTypeIfExistsOrAdd => TlvMerge::Overwrite,
            ProxyProtocolTlvMergePolicy::AppendIfExistsOrAdd => TlvMerge::Append,
        },
        tunnel: value.tunneling_config.as_ref().map(tunnel).transpose().at("tunneling_config")?,
        access_log: access_logs(&value.access_log, "access_log")?,
        log_times: log_times(value)?,
    })
}

fn clusters(value: Option<&ClusterSpecifier>) -> Translated<Vec<(String, u32)>> {
    match value {
        Some(ClusterSpecifier::Cluster(name)) => Ok(vec![(required(name, "cluster")?.to_owned(), 1)]),
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            let mut found = Vec::with_capacity(weighted.clusters.len());
            for (i, cluster) in weighted.clusters.iter().enumerate() {
                let field = format!("weighted_clusters.clusters[{i}]");
                if cluster.weight == 0 {
                    return refuse_field(format!("{field}.weight"), "must be greater than zero");
                }
                found.push((required(&cluster.name, "name").at(field)?.to_owned(), cluster.weight));
            }
            if found.is_empty() {
                return refuse_field("weighted_clusters.clusters", "one at least is required");
            }
            Ok(found)
        }
        None => refuse("one of cluster, weighted_clusters is required"),
    }
}

/// Base and longest pause; the longest is ten times the base when nothing is said.
fn backoff(value: &BackoffStrategy) -> Translated<(Duration, Duration)> {
    present(value.base_interval.as_ref(), "base_interval")?;
    let base = positive_duration_or(value.base_interval.as_ref(), "base_interval", Duration::ZERO)?;
    let longest = positive_duration_or(value.max_interval.as_ref(), "max_interval", base.saturating_mul(10))?;
    if longest < base {
        return refuse_field("max_interval", "must not be below base_interval");
    }
    Ok((base, longest))
}

fn jitter(value: &ProtoProxy) -> Translated<f64> {
    let field = "max_downstream_connection_duration_jitter_percentage";
    let percent = value.max_downstream_connection_duration_jitter_percentage.map_or(0.0, |percent| percent.value);
    if (0.0..=100.0).contains(&percent) { Ok(percent / 100.0) } else { refuse_field(field, "must be 0 to 100") }
}

fn hashes_source_ip(policies: &[HashPolicy]) -> Translated<bool> {
    match policies {
        [] => Ok(false),
        [HashPolicy { policy_specifier: Some(PolicySpecifier::SourceIp(_)) }] => Ok(true),
        [_] => refuse_field("hash_policy[0]", "only source_ip is carried"),
        _ => refuse_field("hash_policy", "one at most is allowed"),
    }
}

fn early_data(value: &ProtoProxy) -> Translated<Option<u32>> {
    match enumeration(value.upstream_connect_mode, "upstream_connect_mode")? {
        // TLS with the client is always done before a host is connected to.
        UpstreamConnectMode::Immediate | UpstreamConnectMode::OnDownstreamTlsHandshake => Ok(None),
        UpstreamConnectMode::OnDownstreamData => {
            Ok(Some(*present(value.max_early_data_bytes.as_ref(), "max_early_data_bytes")?))
        }
    }
}

fn tunnel(value: &TunnelingConfig) -> Translated<TcpTunnel> {
    if value.use_post {
        return refuse_field("use_post", "only false is carried");
    }
    let hostname = required(&value.hostname, "hostname")?.to_owned();
    Formatter::compile(&hostname, Missing::Empty).or_else(|error| refuse_field("hostname", error.to_string()))?;
    Ok(TcpTunnel { hostname, headers: added_headers(&value.headers_to_add, "headers_to_add")? })
}

/// TLVs with fixed values.
pub(super) fn tlv_entries(values: &[TlvEntry], field: &str) -> Translated<Vec<Tlv>> {
    let one = |(i, entry): (usize, &TlvEntry)| {
        let field = format!("{field}[{i}]");
        let kind = tlv_kind(entry.r#type).at("type").at(&field)?;
        if entry.value.is_empty() {
            return refuse_field(format!("{field}.value"), "is required");
        }
        if entry.value.len() > usize::from(u16::MAX) {
            return refuse_field(format!("{field}.value"), "is longer than 65535 bytes");
        }
        Ok(Tlv { kind, value: entry.value.clone() })
    };
    values.iter().enumerate().map(one).collect()
}

/// The options, and the older fields that say the same.
fn log_times(value: &ProtoProxy) -> Translated<TcpLogTimes> {
    let older = TcpLogTimes {
        interval: flush_interval(value.access_log_flush_interval.as_ref())?,
        on_connected: value.flush_access_log_on_connected,
        on_start: false,
    };
    let Some(options) = &value.access_log_options else { return Ok(older) };
    if older != TcpLogTimes::default() {
        let reason = "and the older access_log_flush_interval or flush_access_log_on_connected exclude each other";
        return refuse_field("access_log_options", reason);
    }
    Ok(TcpLogTimes {
        interval: flush_interval(options.access_log_flush_interval.as_ref()).at("access_log_options")?,
        on_connected: options.flush_access_log_on_connected,
        on_start: options.flush_access_log_on_start,
    })
}

fn flush_interval(value: Option<&prost_types::Duration>) -> Translated<Option<Duration>> {
    let field = "access_log_flush_interval";
    match optional_duration(value, field)? {
        Some(interval) if interval < Duration::from_millis(1) => refuse_field(field, "must be a millisecond at least"),
        interval => Ok(interval),
    }
}
