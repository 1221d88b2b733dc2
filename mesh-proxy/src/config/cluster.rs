//! `cluster.v3.Cluster`.

mod discovery;
mod limits;
mod policy;
mod protocol;

use std::{net::IpAddr, time::Duration};

use mesh_xds_api::envoy::config::{
    cluster::v3::{
        Cluster as ProtoCluster, UpstreamConnectionOptions,
        cluster::{CommonLbConfig, TransportSocketMatch, common_lb_config::LocalityConfigSpecifier},
    },
    core::v3::{BindConfig, socket_address::PortSpecifier},
};

use super::{
    error::{At as _, Translated, refuse_field},
    source::Context,
    transport_socket,
    value::{self, keepalive, positive_duration_or, required},
};
use crate::{
    model::{Cluster, SocketMatch},
    supported,
};

supported! {
    /// Clusters.
    pub(super) static CLUSTERS =
    envoy.config.cluster.v3.Cluster {
        carried: name, alt_stat_name, type, eds_cluster_config, connect_timeout, per_connection_buffer_limit_bytes,
            lb_policy, load_assignment, max_requests_per_connection, circuit_breakers, common_http_protocol_options,
            http_protocol_options, http2_protocol_options, dns_refresh_rate, dns_lookup_family, outlier_detection,
            ring_hash_lb_config, maglev_lb_config, original_dst_lb_config, least_request_lb_config,
            round_robin_lb_config, common_lb_config, transport_socket, transport_socket_matches, metadata,
            protocol_selection, upstream_connection_options, load_balancing_policy;
        limited: cluster_type = "envoy.extensions.clusters.dns.v3.DnsCluster, \
                envoy.extensions.clusters.original_dst is spelled type: ORIGINAL_DST",
            typed_extension_protocol_options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            upstream_bind_config = "source_address with port 0";
        irrelevant: respect_dns_ttl = "the system's resolver tells no TTL; dns_refresh_rate holds",
            dns_failure_refresh_rate = "a failed resolution keeps the last good addresses and is tried again at \
                dns_refresh_rate",
            cleanup_interval = "hosts of original destinations are let go when unused",
            ignore_health_on_host_removal = "there is no active health checking: removed hosts leave at once",
            track_timeout_budgets = "only adds a histogram",
            track_cluster_stats = "only adds statistics",
            wait_for_warm_on_init = "a cluster is waited for in any case";
    }
    envoy.config.cluster.v3.Cluster.CommonLbConfig {
        carried: healthy_panic_threshold, locality_weighted_lb_config, close_connections_on_host_set_change;
        irrelevant: update_merge_window = "an update of endpoints costs what it changes: there is nothing to merge",
            ignore_new_hosts_until_first_hc = "there is no active health checking",
            zone_aware_lb_config = "needs a local cluster (cluster_manager.local_cluster_name), which is refused";
    }
    envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig {}
    envoy.config.cluster.v3.Cluster.TransportSocketMatch {
        carried: name, match, transport_socket;
    }
    envoy.config.cluster.v3.UpstreamConnectionOptions {
        carried: tcp_keepalive;
    }
    envoy.config.core.v3.BindConfig {
        carried: source_address;
    }
}
pub(super) use self::{
    discovery::DISCOVERY,
    limits::LIMITS,
    policy::POLICIES,
    protocol::{PROTOCOLS as UPSTREAM_PROTOCOLS, concurrent_streams, window_size},
};

pub(super) fn cluster(value: &ProtoCluster, cx: &Context<'_>) -> Translated<Cluster> {
    let name = required(&value.name, "name")?;
    let stat_name = if value.alt_stat_name.is_empty() { name } else { &value.alt_stat_name };
    let kind = discovery::kind(value, cx)?;
    let (lb, weighted_by_policy) = policy::policy(value, &kind)?;
    let common = value.common_lb_config.clone().unwrap_or_default();
    let locality_weighted = weighted_by_policy
        || matches!(common.locality_config_specifier, Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)));
    let (protocol, mut pool) = protocol::protocol(value)?;
    if let Some(options) = &value.upstream_connection_options {
        pool.tcp_keepalive = tcp_keepalive(options);
    }
    Ok(Cluster {
        name: name.into(),
        stat_name: stat_name.into(),
        kind,
        lb,
        locality_weighted,
        connect_timeout: positive_duration_or(
            value.connect_timeout.as_ref(),
            "connect_timeout",
            Duration::from_secs(5),
        )?,
        circuit_breakers: limits::circuit_breakers(value.circuit_breakers.as_ref()).at("circuit_breakers")?,
        outlier: value.outlier_detection.as_ref().map(limits::outlier).transpose().at("outlier_detection")?,
        socket: transport_socket::upstream(value.transport_socket.as_ref(), cx).at("transport_socket")?,
        socket_matches: socket_matches(&value.transport_socket_matches, cx)?,
        protocol,
        pool,
        source_address: value
            .upstream_bind_config
            .as_ref()
            .map(source_address)
            .transpose()
            .at("upstream_bind_config")?,
        buffer_limit: value.per_connection_buffer_limit_bytes.unwrap_or(1 << 20),
        panic_threshold: panic_threshold(&common)?,
        close_connections_on_set_change: common.close_connections_on_host_set_change,
        metadata: value::metadata(value.metadata.as_ref()),
    })
}

fn panic_threshold(common: &CommonLbConfig) -> Translated<f64> {
    let threshold = common.healthy_panic_threshold.as_ref().map_or(50.0, |percent| percent.value);
    if (0.0..=100.0).contains(&threshold) {
        Ok(threshold)
    } else {
        refuse_field("common_lb_config.healthy_panic_threshold.value", "must be between 0 and 100")
    }
}

fn tcp_keepalive(options: &UpstreamConnectionOptions) -> Option<(Duration, Duration, u32)> {
    options.tcp_keepalive.as_ref().map(keepalive)
}

fn source_address(value: &BindConfig) -> Translated<IpAddr> {
    let source = value::present(value.source_address.as_ref(), "source_address")?;
    if !matches!(source.port_specifier, None | Some(PortSpecifier::PortValue(0))) {
        return refuse_field("source_address.port_value", "only 0 is carried");
    }
    let parsed = source.address.parse();
    parsed.or_else(|_| refuse_field("source_address.address", format!("malformed IP address: {}", source.address)))
}

fn socket_matches(values: &[TransportSocketMatch], cx: &Context<'_>) -> Translated<Vec<SocketMatch>> {
    let one = |(i, value): (usize, &TransportSocketMatch)| {
        let field = format!("transport_socket_matches[{i}]");
        Ok(SocketMatch {
            name: required(&value.name, "name").at(&field)?.to_owned(),
            criteria: value.r#match.as_ref().map(value::object).unwrap_or_default(),
            socket: transport_socket::upstream(value.transport_socket.as_ref(), cx)
                .at("transport_socket")
                .at(&field)?,
        })
    };
    values.iter().enumerate().map(one).collect()
}
