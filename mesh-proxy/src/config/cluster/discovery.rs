//! How a cluster finds its endpoints.

use std::{sync::Arc, time::Duration};

use ::http::HeaderName;
use mesh_xds_api::{
    TypeUrl, any,
    envoy::{
        config::cluster::v3::{
            Cluster as ProtoCluster,
            cluster::{ClusterDiscoveryType, CustomClusterType, DiscoveryType, DnsLookupFamily, LbConfig},
        },
        extensions::clusters::{common::dns::v3::DnsLookupFamily as ExtensionFamily, dns::v3::DnsCluster},
    },
};

use crate::{
    config::{
        endpoint,
        error::{At as _, Translated, refuse_field},
        source::Context,
        value::{enumeration, header_name, positive_duration_or, present, unpack},
    },
    model::{Assignment, ClusterKind, DnsFamily},
    supported,
};

supported! {
    /// Discovery of endpoints.
    pub(in crate::config) static DISCOVERY =
    envoy.config.cluster.v3.Cluster.EdsClusterConfig {
        carried: eds_config, service_name;
    }
    envoy.config.cluster.v3.Cluster.OriginalDstLbConfig {
        carried: use_http_header, http_header_name;
    }
    envoy.config.cluster.v3.Cluster.CustomClusterType {
        carried: typed_config;
        irrelevant: name = "a label; the type of typed_config says what it is";
    }
    envoy.extensions.clusters.dns.v3.DnsCluster {
        carried: dns_refresh_rate, dns_lookup_family, all_addresses_in_single_endpoint;
        irrelevant: respect_dns_ttl = "the system's resolver tells no TTL; dns_refresh_rate holds",
            dns_failure_refresh_rate = "a failed resolution keeps the last good addresses and is tried again at \
                dns_refresh_rate";
    }
}

/// Re-resolution when nothing is said.
const DNS_REFRESH: Duration = Duration::from_secs(5);

pub(super) fn kind(value: &ProtoCluster, cx: &Context<'_>) -> Translated<ClusterKind> {
    let discovery = match &value.cluster_discovery_type {
        Some(ClusterDiscoveryType::ClusterType(custom)) => return custom_type(value, custom).at("cluster_type"),
        Some(ClusterDiscoveryType::Type(discovery)) => enumeration(*discovery, "type")?,
        None => DiscoveryType::Static,
    };
    if discovery != DiscoveryType::Eds && value.eds_cluster_config.is_some() {
        return refuse_field("eds_cluster_config", "is for clusters of type EDS");
    }
    match discovery {
        DiscoveryType::Static => Ok(ClusterKind::Static(endpoints(value, false)?)),
        DiscoveryType::StrictDns => {
            let (refresh, family) = dns(value)?;
            Ok(ClusterKind::StrictDns { endpoints: endpoints(value, true)?, refresh, family })
        }
        DiscoveryType::LogicalDns => {
            let (refresh, family) = dns(value)?;
            Ok(ClusterKind::LogicalDns { endpoints: one_endpoint(value)?, refresh, family })
        }
        DiscoveryType::Eds => eds(value, cx),
        DiscoveryType::OriginalDst => Ok(ClusterKind::OriginalDst { header: original_dst_header(value)? }),
    }
}

fn endpoints(value: &ProtoCluster, names: bool) -> Translated<Arc<Assignment>> {
    let Some(assignment) = &value.load_assignment else {
        return Ok(Arc::new(Assignment { name: value.name.clone(), ..Assignment::default() }));
    };
    endpoint::assignment(assignment, names).at("load_assignment").map(Arc::new)
}

fn one_endpoint(value: &ProtoCluster) -> Translated<Arc<Assignment>> {
    let endpoints = endpoints(value, true)?;
    endpoint::exactly_one(&endpoints).at("load_assignment")?;
    Ok(endpoints)
}

fn dns(value: &ProtoCluster) -> Translated<(Duration, DnsFamily)> {
    let refresh = positive_duration_or(value.dns_refresh_rate.as_ref(), "dns_refresh_rate", DNS_REFRESH)?;
    let family = match enumeration(value.dns_lookup_family, "dns_lookup_family")? {
        DnsLookupFamily::Auto => DnsFamily::Auto,
        DnsLookupFamily::V4Only => DnsFamily::V4Only,
        DnsLookupFamily::V6Only => DnsFamily::V6Only,
        DnsLookupFamily::V4Preferred => DnsFamily::V4Preferred,
        DnsLookupFamily::All => DnsFamily::All,
    };
    Ok((refresh, family))
}

fn custom_type(value: &ProtoCluster, custom: &CustomClusterType) -> Translated<ClusterKind> {
    let config = present(custom.typed_config.as_ref(), "typed_config")?;
    if !any::is::<DnsCluster>(config) {
        return refuse_field("typed_config", format!("cluster type {} is not carried", config.type_url));
    }
    let dns: DnsCluster = unpack(config).at("typed_config")?;
    let refresh =
        positive_duration_or(dns.dns_refresh_rate.as_ref(), "dns_refresh_rate", DNS_REFRESH).at("typed_config")?;
    let family = match enumeration(dns.dns_lookup_family, "typed_config.dns_lookup_family")? {
        ExtensionFamily::Unspecified | ExtensionFamily::Auto => DnsFamily::Auto,
        ExtensionFamily::V4Only => DnsFamily::V4Only,
        ExtensionFamily::V6Only => DnsFamily::V6Only,
        ExtensionFamily::V4Preferred => DnsFamily::V4Preferred,
        ExtensionFamily::All => DnsFamily::All,
    };
    if dns.all_addresses_in_single_endpoint {
        Ok(ClusterKind::LogicalDns { endpoints: one_endpoint(value)?, refresh, family })
    } else {
        Ok(ClusterKind::StrictDns { endpoints: endpoints(value, true)?, refresh, family })
    }
}

fn eds(value: &ProtoCluster, cx: &Context<'_>) -> Translated<ClusterKind> {
    if value.load_assignment.is_some() {
        return refuse_field("load_assignment", "a cluster of type EDS gets its endpoints from eds_cluster_config");
    }
    let config = present(value.eds_cluster_config.as_ref(), "eds_cluster_config")?;
    let source = present(config.eds_config.as_ref(), "eds_cluster_config.eds_config")?;
    let service_name = if config.service_name.is_empty() { &value.name } else { &config.service_name };
    let source = cx.needs(TypeUrl::ENDPOINT, service_name, source).at("eds_cluster_config.eds_config")?;
    Ok(ClusterKind::Eds { service_name: service_name.clone(), source })
}

fn original_dst_header(value: &ProtoCluster) -> Translated<Option<HeaderName>> {
    if value.load_assignment.is_some() {
        return refuse_field("load_assignment", "a cluster of type ORIGINAL_DST has no endpoints of its own");
    }
    let Some(LbConfig::OriginalDstLbConfig(config)) = &value.lb_config else { return Ok(None) };
    if !config.use_http_header {
        return Ok(None);
    }
    let name = match config.http_header_name.as_str() {
        "" => "x-envoy-original-dst-host",
        name => name,
    };
    header_name(name).at("original_dst_lb_config.http_header_name").map(Some)
}
