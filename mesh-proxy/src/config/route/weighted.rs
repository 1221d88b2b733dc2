//! Several clusters by weight.

use mesh_xds_api::envoy::config::route::v3::{
    WeightedCluster as ProtoWeighted,
    weighted_cluster::{ClusterWeight, RandomValueSpecifier, cluster_weight::HostRewriteSpecifier},
};

use super::{edits, filter_configs};
use crate::{
    config::{
        error::{At as _, Translated, refuse, refuse_field},
        source::Context,
        value::{header_name, header_value},
    },
    model::{ClusterName, WeightedCluster, WeightedClusters},
    supported,
};

supported! {
    /// Several clusters by weight.
    pub(in crate::config) static WEIGHTS =
    envoy.config.route.v3.WeightedCluster {
        carried: clusters, header_name, use_hash_policy;
        limited: total_weight = "the sum of the weights";
        irrelevant: runtime_key_prefix = "there is no runtime that could set it: the weights hold";
    }
    envoy.config.route.v3.WeightedCluster.ClusterWeight {
        carried: name, cluster_header, weight, request_headers_to_add, request_headers_to_remove,
            response_headers_to_add, response_headers_to_remove, typed_per_filter_config, host_rewrite_literal;
    }
}

pub(super) fn clusters(value: &ProtoWeighted, cx: &Context<'_>) -> Translated<WeightedClusters> {
    let mut clusters = Vec::with_capacity(value.clusters.len());
    for (i, cluster) in value.clusters.iter().enumerate() {
        clusters.push(weighted(cluster, cx).at(format_args!("clusters[{i}]"))?);
    }
    let total: u64 = clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
    if total == 0 {
        return refuse_field("clusters", "the sum of the weights must be greater than zero");
    }
    if total > u64::from(u32::MAX) {
        return refuse_field("clusters", "the sum of the weights is too large");
    }
    if value.total_weight.is_some_and(|expected| u64::from(expected) != total) {
        return refuse_field("total_weight", format!("the weights add up to {total}"));
    }
    let header = match &value.random_value_specifier {
        Some(RandomValueSpecifier::HeaderName(name)) => Some(header_name(name).at("header_name")?),
        _ => None,
    };
    let by_hash = matches!(value.random_value_specifier, Some(RandomValueSpecifier::UseHashPolicy(true)));
    Ok(WeightedClusters { clusters, header, by_hash })
}

fn weighted(value: &ClusterWeight, cx: &Context<'_>) -> Translated<WeightedCluster> {
    let Some(weight) = value.weight else { return refuse_field("weight", "is required") };
    let host_rewrite = match &value.host_rewrite_specifier {
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => {
            header_value(host).at("host_rewrite_literal")?;
            Some(host.clone())
        }
        None => None,
    };
    Ok(WeightedCluster {
        cluster: cluster_name(&value.name, "name", &value.cluster_header)?,
        weight,
        edits: edits::edits(value)?,
        filter_config: filter_configs(&value.typed_per_filter_config, cx)?,
        host_rewrite,
    })
}

/// A cluster, given as a name (in the field `field`) or as the header that names it.
pub(super) fn cluster_name(name: &str, field: &str, header: &str) -> Translated<ClusterName> {
    match (name, header) {
        ("", "") => refuse(format!("one of {field}, cluster_header is required")),
        (name, "") => Ok(ClusterName::Fixed(name.into())),
        ("", header) => header_name(header).at("cluster_header").map(ClusterName::Header),
        _ => refuse(format!("only one of {field}, cluster_header may be set")),
    }
}
