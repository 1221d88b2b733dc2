use std::time::Duration;

use super::{refused, resource, translator};
use crate::model::{ClusterKind, ConfigSource, HttpProtocol, LbPolicy};

fn cluster(yaml: &str) -> Result<crate::config::Translation<crate::model::Cluster>, crate::config::Rejection> {
    translator().cluster(&resource("envoy.config.cluster.v3.Cluster", yaml))
}

const ISTIO_EDS: &str = r#"
name: outbound|9080|v1|reviews.default.svc.cluster.local
type: EDS
eds_cluster_config:
  eds_config: {ads: {}, initial_fetch_timeout: 0s, resource_api_version: V3}
  service_name: outbound|9080|v1|reviews.default.svc.cluster.local
connect_timeout: 10s
lb_policy: LEAST_REQUEST
circuit_breakers:
  thresholds:
  - {max_connections: 4294967295, max_pending_requests: 4294967295, max_requests: 4294967295, max_retries: 4294967295, track_remaining: true}
common_lb_config: {locality_weighted_lb_config: {}}
metadata: {filter_metadata: {istio: {config: /x, services: [{host: h, name: n, namespace: default}]}}}
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    use_downstream_protocol_config: {http_protocol_options: {}, http2_protocol_options: {}}
transport_socket_matches:
- name: tlsMode-istio
  match: {tlsMode: istio}
  transport_socket:
    name: envoy.transport_sockets.tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      sni: outbound_.9080_.v1_.reviews.default.svc.cluster.local
      common_tls_context:
        alpn_protocols: [istio-peer-exchange, istio]
        tls_params: {tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3}
        tls_certificate_sds_secret_configs:
        - name: default
          sds_config: &sds
            api_config_source:
              api_type: GRPC
              grpc_services: [{envoy_grpc: {cluster_name: sds-grpc}}]
              set_node_on_first_message_only: true
              transport_api_version: V3
            initial_fetch_timeout: 0s
            resource_api_version: V3
        combined_validation_context:
          default_validation_context:
            match_typed_subject_alt_names: [{san_type: URI, matcher: {exact: "spiffe://cluster.local/ns/default/sa/reviews"}}]
          validation_context_sds_secret_config: {name: ROOTCA, sds_config: *sds}
- name: tlsMode-disabled
  match: {}
  transport_socket: {name: envoy.transport_sockets.raw_buffer, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}
"#;

#[test]
fn istios_cluster() {
    let found = cluster(ISTIO_EDS).unwrap();
    let cluster = found.value;
    assert!(matches!(&cluster.kind, ClusterKind::Eds { source: ConfigSource::Ads, .. }));
    assert_eq!(cluster.lb, LbPolicy::LeastRequest { choices: 2 });
    assert!(cluster.locality_weighted && cluster.circuit_breakers.default.track_remaining);
    assert_eq!(cluster.protocol, HttpProtocol::Downstream);
    assert_eq!(cluster.socket_matches.len(), 2);
    let needs: Vec<_> = found.dependencies.iter().map(|d| (d.type_url.short().unwrap(), d.name.as_str())).collect();
    assert_eq!(
        needs,
        [("EDS", "outbound|9080|v1|reviews.default.svc.cluster.local"), ("SDS", "default"), ("SDS", "ROOTCA")]
    );
    assert!(found.dependencies.iter().all(|d| d.initial_fetch_timeout.is_none()));
}

#[test]
fn defaults_are_envoys() {
    let cluster = cluster("{name: c}").unwrap().value;
    assert_eq!(cluster.connect_timeout, Duration::from_secs(5));
    assert_eq!(cluster.lb, LbPolicy::RoundRobin);
    assert_eq!(cluster.circuit_breakers.default.max_retries, 3);
    assert!((cluster.panic_threshold - 50.0).abs() < f64::EPSILON);
    assert!(cluster.outlier.is_none() && !cluster.locality_weighted);
}

#[test]
fn policies() {
    let policy = |yaml: &str| cluster(&format!("{{name: c, {yaml}}}")).map(|c| (c.value.lb, c.value.locality_weighted));
    let url = "type.googleapis.com/envoy.extensions.load_balancing_policies";
    let wrr = format!(
        "load_balancing_policy: {{policies: [{{typed_extension_config: {{name: x, typed_config: {{\
         \"@type\": {url}.wrr_locality.v3.WrrLocality, endpoint_picking_policy: {{policies: [{{typed_extension_config: \
         {{name: inner, typed_config: {{\"@type\": {url}.least_request.v3.LeastRequest, choice_count: 3}}}}}}]}}}}}}}}]}}"
    );
    assert_eq!(policy(&wrr).unwrap(), (LbPolicy::LeastRequest { choices: 3 }, true));
    assert_eq!(policy("lb_policy: MAGLEV").unwrap().0, LbPolicy::Maglev { table_size: 65_537 });
    assert_eq!(policy("type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED").unwrap().0, LbPolicy::ClusterProvided);
    for (yaml, error) in [
        ("lb_policy: CLUSTER_PROVIDED", "lb_policy: "),
        ("type: ORIGINAL_DST, lb_policy: RANDOM", "lb_policy: "),
        ("lb_policy: LOAD_BALANCING_POLICY_CONFIG", "load_balancing_policy: is required"),
        ("lb_policy: MAGLEV, maglev_lb_config: {table_size: 65536}", "maglev_lb_config.table_size: "),
        (
            "lb_policy: LEAST_REQUEST, least_request_lb_config: {choice_count: 1}",
            "least_request_lb_config.choice_count: ",
        ),
        (
            "lb_policy: LEAST_REQUEST, least_request_lb_config: {slow_start_config: {}}",
            "least_request_lb_config.slow_start",
        ),
    ] {
        let found = refused(policy(yaml));
        assert!(found.starts_with(error), "{yaml}: {found}");
    }
}

#[test]
fn refusals() {
    for (yaml, error) in [
        ("type: EDS", "eds_cluster_config: is required"),
        ("eds_cluster_config: {eds_config: {ads: {}}}", "eds_cluster_config: is for clusters of type EDS"),
        (
            "type: EDS, eds_cluster_config: {eds_config: {self: {}}}",
            "eds_cluster_config.eds_config.self: is not carried",
        ),
        (
            "load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: \
             {address: foo.test, port_value: 1}}}}]}]}",
            "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: malformed IP address",
        ),
        ("type: LOGICAL_DNS, load_assignment: {cluster_name: c}", "load_assignment: LOGICAL_DNS clusters must have"),
        ("lb_subset_config: {subset_selectors: [{keys: [a]}]}", "lb_subset_config: is not carried"),
        ("common_lb_config: {consistent_hashing_lb_config: {}}", "common_lb_config.consistent_hashing_lb_config: "),
        ("connect_timeout: 0s", "connect_timeout: must be greater than zero"),
        ("connect_timeout: -1s", "connect_timeout: must not be negative"),
        ("outlier_detection: {enforcing_success_rate: 100}", "outlier_detection.enforcing_success_rate: only 0"),
        ("outlier_detection: {enforcing_consecutive_5xx: 50}", "outlier_detection.enforcing_consecutive_5xx: only 0"),
        ("transport_socket: {name: x}", "transport_socket.typed_config: is required"),
        (
            "transport_socket: {name: x, typed_config: {\"@type\": \
             type.googleapis.com/envoy.config.core.v3.Address}}",
            "transport_socket.typed_config: transport socket type.googleapis.com/envoy.config.core.v3.Address is not carried",
        ),
        (
            "typed_extension_protocol_options: {x: {\"@type\": \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions}}",
            "typed_extension_protocol_options[\"x\"].explicit_http_config: a protocol is required",
        ),
    ] {
        let found = refused(cluster(&format!("{{name: c, {yaml}}}")));
        assert!(found.starts_with(error), "{yaml}: {found}");
    }
}

#[test]
fn endpoints() {
    let yaml = "
cluster_name: c
endpoints:
- locality: {region: r, zone: z}
  load_balancing_weight: 3
  lb_endpoints:
  - endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 80}}}
    metadata: {filter_metadata: {istio: {workload: a;b}, envoy.transport_socket_match: {tlsMode: istio}}}
    load_balancing_weight: 2
  - endpoint: {address: {pipe: {path: /x}}, hostname: h}
    health_status: DRAINING
policy: {overprovisioning_factor: 200}
";
    let url = "envoy.config.endpoint.v3.ClusterLoadAssignment";
    let found = translator().assignment(&resource(url, yaml)).unwrap();
    assert_eq!(found.overprovisioning_factor, Some(200));
    assert_eq!(found.localities[0].weight, Some(3));
    assert_eq!(found.localities[0].endpoints[0].metadata["envoy.transport_socket_match"]["tlsMode"], "istio");
    let found = |yaml: &str| refused(translator().assignment(&resource(url, yaml)));
    assert_eq!(found("{}"), "cluster_name: is required");
    assert_eq!(
        found("{cluster_name: c, policy: {drop_overloads: [{category: x}]}}"),
        "policy.drop_overloads[0]: is not carried"
    );
}
