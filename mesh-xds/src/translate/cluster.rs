//! Clusters (CDS).

use std::time::Duration;

use mesh_config::model::{ConnectionPoolSettings, OutlierDetection as OutlierSettings, SimpleLb};
use mesh_xds_api::envoy::{
    config::{
        cluster::v3::{
            CircuitBreakers, Cluster, OutlierDetection, UpstreamConnectionOptions,
            circuit_breakers::Thresholds,
            cluster::{
                ClusterDiscoveryType, CommonLbConfig, DiscoveryType, DnsLookupFamily, EdsClusterConfig, LbConfig,
                LbPolicy, MaglevLbConfig, RingHashLbConfig,
            },
        },
        core::v3::{self as core, Http1ProtocolOptions, Http2ProtocolOptions, TcpKeepalive},
        endpoint::v3::ClusterLoadAssignment,
    },
    extensions::upstreams::http::v3::{
        HttpProtocolOptions,
        http_protocol_options::{
            ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig, explicit_http_config::ProtocolConfig,
        },
    },
};
use prost_types::Struct;

use super::{destination::Policy, names, proto, upstream_tls::UpstreamTls};
use crate::discovery::{Service, ServicePort};

/// How a cluster finds its endpoints.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Discovery {
    /// From the stream, under the cluster's name.
    Eds,
    /// By resolving the names in these endpoints.
    StrictDns(ClusterLoadAssignment),
    /// By resolving one name.
    LogicalDns(ClusterLoadAssignment),
    /// From the connection.
    OriginalDst,
}

/// All that a cluster of an outbound port depends on.
#[derive(Debug)]
pub(super) struct OutboundKey<'a> {
    pub(super) name: String,
    pub(super) service: &'a Service,
    pub(super) port: &'a ServicePort,
    pub(super) subset: &'a str,
    pub(super) policy: Policy<'a>,
    pub(super) discovery: Discovery,
    pub(super) tls: &'a UpstreamTls,
    /// Path of the DestinationRule, if one holds.
    pub(super) config: Option<String>,
    pub(super) connect_timeout: Duration,
    pub(super) dns_refresh_rate: Duration,
}

/// A cluster of an outbound port.
pub(super) fn outbound(key: &OutboundKey<'_>) -> Cluster {
    let mut cluster = base(&key.name, key.connect_timeout);
    cluster.metadata = metadata(key);
    cluster.transport_socket = key.tls.socket();
    cluster.transport_socket_matches = key.tls.socket_matches();
    balance(&mut cluster, &key.policy);
    if let Some(pool) = key.policy.pool {
        limit(&mut cluster, pool);
    }
    if let Some(settings) = key.policy.outlier {
        cluster.outlier_detection = Some(outlier(settings));
        // With ejection, hosts are not brought back by panic unless asked for.
        let least = f64::from(settings.min_health_percent.unwrap_or(0).clamp(0, 100));
        let common = cluster.common_lb_config.get_or_insert_with(CommonLbConfig::default);
        common.healthy_panic_threshold = Some(proto::percent(least));
    }
    if let Some(options) = http_options(key.port, &key.policy) {
        cluster.typed_extension_protocol_options = proto::typed(HTTP_OPTIONS, &options);
    }
    find(&mut cluster, &key.discovery, key.dns_refresh_rate);
    cluster
}

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The application behind a sidecar, at a fixed address.
pub(super) fn inbound_static(port: u16, application: std::net::IpAddr, http2: bool, timeout: Duration) -> Cluster {
    let name = names::inbound_cluster(port);
    let assignment = super::endpoint::fixed(&name, &application.to_string(), port);
    Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        load_assignment: Some(assignment),
        ..inbound(&name, http2, timeout)
    }
}

/// The application behind a sidecar, at the address the caller wanted, called from an address that is not redirected.
pub(super) fn inbound_original(name: &str, http2: bool, timeout: Duration) -> Cluster {
    let mut cluster = inbound(name, http2, timeout);
    cluster.upstream_bind_config =
        Some(core::BindConfig { source_address: Some(proto::socket_address("127.0.0.6", 0)), ..Default::default() });
    find(&mut cluster, &Discovery::OriginalDst, Duration::ZERO);
    cluster
}

fn inbound(name: &str, http2: bool, timeout: Duration) -> Cluster {
    let mut cluster = base(name, timeout);
    cluster.lb_policy = LbPolicy::RoundRobin.into();
    if http2 {
        cluster.typed_extension_protocol_options = proto::typed(HTTP_OPTIONS, &explicit_http2(None));
    }
    cluster
}

/// Where connections to unknown destinations go on to.
pub(super) fn passthrough(timeout: Duration) -> Cluster {
    let mut cluster = base(names::PASSTHROUGH_CLUSTER, timeout);
    cluster.typed_extension_protocol_options = proto::typed(HTTP_OPTIONS, &downstream_protocol());
    find(&mut cluster, &Discovery::OriginalDst, Duration::ZERO);
    cluster
}

/// Where connections end that must go nowhere.
pub(super) fn black_hole(timeout: Duration) -> Cluster {
    Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        ..base(names::BLACK_HOLE_CLUSTER, timeout)
    }
}

fn base(name: &str, timeout: Duration) -> Cluster {
    let thresholds = Thresholds {
        max_connections: Some(u32::MAX),
        max_pending_requests: Some(u32::MAX),
        max_requests: Some(u32::MAX),
        max_retries: Some(u32::MAX),
        track_remaining: true,
        ..Default::default()
    };
    Cluster {
        name: name.to_owned(),
        connect_timeout: Some(proto::duration(timeout)),
        circuit_breakers: Some(CircuitBreakers { thresholds: vec![thresholds], ..Default::default() }),
        ..Default::default()
    }
}

/// Which service a cluster stands for, as Istio's metrics read it.
fn services(service: &Service) -> Struct {
    let service = proto::value(proto::object([
        ("name", proto::text(&service.name)),
        ("namespace", proto::text(service.namespace())),
        ("host", proto::text(service.hostname())),
    ]));
    proto::object([("services", proto::list(vec![service]))])
}

/// [`services`], for the cluster of the application behind a port of `service`.
pub(super) fn inbound_metadata(service: &Service) -> Option<core::Metadata> {
    proto::metadata([("istio", services(service))])
}

fn metadata(key: &OutboundKey<'_>) -> Option<core::Metadata> {
    let mut istio = services(key.service);
    if !key.subset.is_empty() {
        istio.fields.insert("subset".to_owned(), proto::text(key.subset));
    }
    if let Some(config) = &key.config {
        istio.fields.insert("config".to_owned(), proto::text(config));
    }
    proto::metadata([("istio", istio)])
}

// The successor of the DNS fields is a cluster extension that fewer data planes know; Envoy supports both.
#[allow(deprecated)]
fn find(cluster: &mut Cluster, discovery: &Discovery, refresh: Duration) {
    let kind = match discovery {
        Discovery::Eds => {
            cluster.eds_cluster_config =
                Some(EdsClusterConfig { eds_config: Some(proto::ads()), service_name: cluster.name.clone() });
            DiscoveryType::Eds
        }
        Discovery::StrictDns(assignment) | Discovery::LogicalDns(assignment) => {
            cluster.load_assignment = Some(assignment.clone());
            cluster.dns_lookup_family = DnsLookupFamily::V4Preferred.into();
            cluster.dns_refresh_rate = Some(proto::duration(refresh));
            cluster.respect_dns_ttl = true;
            if matches!(discovery, Discovery::StrictDns(_)) {
                DiscoveryType::StrictDns
            } else {
                DiscoveryType::LogicalDns
            }
        }
        Discovery::OriginalDst => {
            cluster.lb_policy = LbPolicy::ClusterProvided.into();
            cluster.lb_config = None;
            DiscoveryType::OriginalDst
        }
    };
    cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(kind.into()));
}

fn balance(cluster: &mut Cluster, policy: &Policy<'_>) {
    let settings = policy.load_balancer;
    if let Some(hash) = settings.and_then(|settings| settings.consistent_hash.as_ref()) {
        if let Some(maglev) = hash.maglev {
            cluster.lb_policy = LbPolicy::Maglev.into();
            cluster.lb_config = Some(LbConfig::MaglevLbConfig(MaglevLbConfig { table_size: maglev.table_size }));
            return;
        }
        let least = hash.ring_hash.and_then(|ring| ring.minimum_ring_size).or(hash.minimum_ring_size);
        cluster.lb_policy = LbPolicy::RingHash.into();
        let ring = RingHashLbConfig { minimum_ring_size: Some(least.unwrap_or(1024)), ..Default::default() };
        cluster.lb_config = Some(LbConfig::RingHashLbConfig(ring));
        return;
    }
    let policy = match settings.and_then(|settings| settings.simple).unwrap_or_default() {
        SimpleLb::RoundRobin => LbPolicy::RoundRobin,
        SimpleLb::Random => LbPolicy::Random,
        // Passthrough is the kind of the cluster, set by its discovery.
        SimpleLb::Unspecified | SimpleLb::LeastConn | SimpleLb::LeastRequest | SimpleLb::Passthrough => {
            LbPolicy::LeastRequest
        }
    };
    cluster.lb_policy = policy.into();
}

/// A limit of Istio's: absent or 0 is none.
fn at_most(value: Option<i32>) -> Option<u32> {
    value.and_then(|value| u32::try_from(value).ok()).filter(|&value| value > 0)
}

fn limit(cluster: &mut Cluster, pool: &ConnectionPoolSettings) {
    let breakers = cluster.circuit_breakers.get_or_insert_with(CircuitBreakers::default);
    for thresholds in &mut breakers.thresholds {
        if let Some(tcp) = &pool.tcp {
            thresholds.max_connections = at_most(tcp.max_connections).or(thresholds.max_connections);
        }
        if let Some(http) = &pool.http {
            let pending = at_most(http.http1_max_pending_requests);
            thresholds.max_pending_requests = pending.or(thresholds.max_pending_requests);
            thresholds.max_requests = at_most(http.http2_max_requests).or(thresholds.max_requests);
            thresholds.max_retries = at_most(http.max_retries).or(thresholds.max_retries);
        }
    }
    let Some(tcp) = &pool.tcp else { return };
    if let Some(timeout) = tcp.connect_timeout {
        cluster.connect_timeout = Some(proto::duration(timeout.as_std()));
    }
    if let Some(keepalive) = &tcp.tcp_keepalive {
        let seconds = |d: mesh_config::model::Duration| u32::try_from(d.as_std().as_secs()).unwrap_or(u32::MAX);
        cluster.upstream_connection_options = Some(UpstreamConnectionOptions {
            tcp_keepalive: Some(TcpKeepalive {
                keepalive_probes: (keepalive.probes > 0).then_some(keepalive.probes),
                keepalive_time: keepalive.time.map(seconds),
                keepalive_interval: keepalive.interval.map(seconds),
            }),
            ..Default::default()
        });
    }
}

fn outlier(settings: &OutlierSettings) -> OutlierDetection {
    let enforced = |count: Option<u32>| count.map(|count| if count > 0 { 100 } else { 0 });
    let split = settings.split_external_local_origin_errors.unwrap_or(false);
    let percent = settings.max_ejection_percent.and_then(|p| u32::try_from(p).ok()).filter(|&p| p > 0);
    OutlierDetection {
        consecutive_5xx: settings.consecutive_5xx_errors.filter(|&count| count > 0),
        enforcing_consecutive_5xx: enforced(settings.consecutive_5xx_errors),
        consecutive_gateway_failure: settings.consecutive_gateway_errors.filter(|&count| count > 0),
        enforcing_consecutive_gateway_failure: enforced(settings.consecutive_gateway_errors),
        // Statistical ejection is not part of Istio's model.
        enforcing_success_rate: Some(0),
        split_external_local_origin_errors: split,
        consecutive_local_origin_failure: settings.consecutive_local_origin_failures.filter(|_| split),
        enforcing_consecutive_local_origin_failure: split.then_some(100),
        enforcing_local_origin_success_rate: split.then_some(0),
        interval: settings.interval.map(|d| proto::duration(d.as_std())),
        base_ejection_time: settings.base_ejection_time.map(|d| proto::duration(d.as_std())),
        max_ejection_percent: percent.map(|p| p.min(100)),
        ..Default::default()
    }
}

fn explicit_http2(streams: Option<u32>) -> HttpProtocolOptions {
    let http2 = Http2ProtocolOptions { max_concurrent_streams: streams, ..Default::default() };
    HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(http2)),
        })),
        ..Default::default()
    }
}

fn downstream_protocol() -> HttpProtocolOptions {
    HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(
            UseDownstreamHttpConfig {
                http_protocol_options: Some(Http1ProtocolOptions::default()),
                http2_protocol_options: Some(Http2ProtocolOptions::default()),
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}

/// Options of the HTTP connections; `None` where Envoy's default, HTTP/1.1 without limits, is meant.
fn http_options(port: &ServicePort, policy: &Policy<'_>) -> Option<HttpProtocolOptions> {
    let http = policy.pool.and_then(|pool| pool.http.as_ref());
    let tcp = policy.pool.and_then(|pool| pool.tcp.as_ref());
    let streams = at_most(http.and_then(|http| http.max_concurrent_streams));
    let is_http2 = port.protocol.is_http2() || (port.protocol.is_http() && policy.upgrades_to_http2());
    let common = core::HttpProtocolOptions {
        idle_timeout: http.and_then(|http| http.idle_timeout).map(|d| proto::duration(d.as_std())),
        max_connection_duration: tcp.and_then(|tcp| tcp.max_connection_duration).map(|d| proto::duration(d.as_std())),
        max_requests_per_connection: at_most(http.and_then(|http| http.max_requests_per_connection)),
        ..Default::default()
    };
    let has_common = common != core::HttpProtocolOptions::default();
    let mut options = if http.and_then(|http| http.use_client_protocol).unwrap_or(false) {
        downstream_protocol()
    } else if is_http2 {
        explicit_http2(streams)
    } else if has_common {
        HttpProtocolOptions {
            upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                protocol_config: Some(ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default())),
            })),
            ..Default::default()
        }
    } else {
        return None;
    };
    options.common_http_protocol_options = has_common.then_some(common);
    Some(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Protocol;
    use mesh_config::model::{HttpSettings, LoadBalancerSettings, TcpSettings};
    use mesh_xds_api::json;

    fn cluster(policy: Policy<'_>, protocol: Protocol, discovery: Discovery) -> serde_json::Value {
        let service = Service::new("reviews.default.svc.cluster.local", "default");
        let port = ServicePort::new("http", 9080, protocol);
        json::to_value(&outbound(&OutboundKey {
            name: names::outbound_cluster(9080, "v1", service.hostname()),
            service: &service,
            port: &port,
            subset: "v1",
            policy,
            discovery,
            tls: &UpstreamTls::Plain,
            config: None,
            connect_timeout: Duration::from_secs(10),
            dns_refresh_rate: Duration::from_secs(60),
        }))
    }

    #[test]
    fn defaults_as_istio() {
        let cluster = cluster(Policy::default(), Protocol::Http, Discovery::Eds);
        assert_eq!(cluster["name"], "outbound|9080|v1|reviews.default.svc.cluster.local");
        assert_eq!(cluster["type"], "EDS");
        assert_eq!(cluster["lb_policy"], "LEAST_REQUEST");
        assert_eq!(cluster["eds_cluster_config"]["service_name"], cluster["name"]);
        assert_eq!(cluster["circuit_breakers"]["thresholds"][0]["max_retries"], u32::MAX);
        assert!(cluster.get("typed_extension_protocol_options").is_none());
        assert_eq!(cluster["metadata"]["filter_metadata"]["istio"]["subset"], "v1");
    }

    #[test]
    fn pool_and_outlier() {
        let pool = ConnectionPoolSettings {
            tcp: Some(TcpSettings { max_connections: Some(7), ..TcpSettings::default() }),
            http: Some(HttpSettings {
                http1_max_pending_requests: Some(1),
                max_requests_per_connection: Some(3),
                ..HttpSettings::default()
            }),
        };
        let outlier = OutlierSettings {
            consecutive_5xx_errors: Some(0),
            consecutive_gateway_errors: Some(2),
            max_ejection_percent: Some(100),
            ..OutlierSettings::default()
        };
        let random = LoadBalancerSettings { simple: Some(SimpleLb::Random), ..LoadBalancerSettings::default() };
        let policy =
            Policy { pool: Some(&pool), outlier: Some(&outlier), load_balancer: Some(&random), ..Policy::default() };
        let cluster = cluster(policy, Protocol::Http, Discovery::Eds);
        assert_eq!(cluster["lb_policy"], "RANDOM");
        assert_eq!(cluster["circuit_breakers"]["thresholds"][0]["max_connections"], 7);
        assert_eq!(cluster["circuit_breakers"]["thresholds"][0]["max_pending_requests"], 1);
        assert_eq!(cluster["outlier_detection"]["enforcing_consecutive_5xx"], 0);
        assert_eq!(cluster["outlier_detection"]["enforcing_consecutive_gateway_failure"], 100);
        let options = &cluster["typed_extension_protocol_options"][HTTP_OPTIONS];
        assert_eq!(options["common_http_protocol_options"]["max_requests_per_connection"], 3);
    }

    #[test]
    fn grpc_is_http2() {
        let cluster = cluster(Policy::default(), Protocol::Grpc, Discovery::Eds);
        let options = &cluster["typed_extension_protocol_options"][HTTP_OPTIONS];
        assert!(options["explicit_http_config"].get("http2_protocol_options").is_some(), "{options}");
    }
}
