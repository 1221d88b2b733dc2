//! `filters.network.tcp_proxy.v3.TcpProxy`.

use std::time::Duration;

use mesh_xds_api::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy as ProtoProxy, UpstreamConnectMode, tcp_proxy::ClusterSpecifier,
};

use super::{
    access_log::access_logs,
    error::{At as _, Translated, refuse, refuse_field},
    value::{duration_or, enumeration, nonzero_duration, required},
};
use crate::{model::TcpProxy, supported};

supported! {
    /// TCP proxies.
    pub(super) static TCP_PROXIES =
    envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy {
        carried: stat_prefix, cluster, weighted_clusters, idle_timeout, max_connect_attempts,
            max_downstream_connection_duration, access_log;
        limited: upstream_connect_mode = "IMMEDIATE";
        irrelevant: access_log_flush_interval = "a line is written when the connection ends";
    }
    envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster {
        carried: clusters;
    }
    envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight {
        carried: name, weight;
    }
}

const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

pub(super) fn tcp_proxy(value: &ProtoProxy) -> Translated<TcpProxy> {
    let mode: UpstreamConnectMode = enumeration(value.upstream_connect_mode, "upstream_connect_mode")?;
    if mode != UpstreamConnectMode::Immediate {
        return refuse_field("upstream_connect_mode", "only IMMEDIATE is carried");
    }
    let max_connect_attempts = value.max_connect_attempts.unwrap_or(1);
    if max_connect_attempts == 0 {
        return refuse_field("max_connect_attempts", "must be greater than zero");
    }
    Ok(TcpProxy {
        stat_prefix: required(&value.stat_prefix, "stat_prefix")?.to_owned(),
        clusters: clusters(value.cluster_specifier.as_ref())?,
        idle_timeout: duration_or(value.idle_timeout.as_ref(), "idle_timeout", IDLE_TIMEOUT)?,
        max_connect_attempts,
        max_downstream_duration: nonzero_duration(
            value.max_downstream_connection_duration.as_ref(),
            "max_downstream_connection_duration",
        )?,
        access_log: access_logs(&value.access_log, "access_log")?,
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
