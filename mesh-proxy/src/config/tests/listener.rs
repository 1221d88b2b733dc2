use super::{refused, resource, translator};
use crate::{
    config::{Rejection, Translation},
    model::{
        AccessLogFormat, AccessLogSink, Action, ClusterSpecifier, ConfigSource, Listener, ListenerFilterKind,
        PathRewrite, RouteSource, TerminalFilter, TlsInspector, TransportProtocol,
    },
};

fn listener(yaml: &str) -> Result<Translation<Listener>, Rejection> {
    translator().listener(&resource("envoy.config.listener.v3.Listener", yaml))
}

const HCM: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "{name: envoy.filters.http.router, typed_config: {\"@type\": \
                      type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}";

/// A listener with one connection manager that has these fields more.
pub(super) fn with_manager(fields: &str) -> Result<Translation<Listener>, Rejection> {
    listener(&format!(
        "{{name: l, address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}, filter_chains: [{{filters: \
         [{{name: h, typed_config: {{\"@type\": {HCM}, stat_prefix: s, http_filters: [{ROUTER}], {fields}}}}}]}}]}}"
    ))
}

const OUTBOUND: &str = r#"
name: 127.0.2.11_9080
address: {socket_address: {address: 127.0.2.11, port_value: 9080}}
traffic_direction: OUTBOUND
continue_on_listener_filters_timeout: true
listener_filters_timeout: 0s
listener_filters:
- {name: envoy.filters.listener.tls_inspector, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}
- {name: envoy.filters.listener.http_inspector, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector}}
default_filter_chain:
  name: PassthroughFilterChain
  filters:
  - name: envoy.filters.network.tcp_proxy
    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: PassthroughCluster, cluster: PassthroughCluster}
filter_chains:
- filter_chain_match: {transport_protocol: raw_buffer, application_protocols: [http/1.1, h2c]}
  filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: outbound_0.0.0.0_9080
      rds: {route_config_name: "9080", config_source: {ads: {}, initial_fetch_timeout: 0s, resource_api_version: V3}}
      http_filters:
      - {name: envoy.filters.http.router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
      tracing: {client_sampling: {value: 100}, random_sampling: {value: 1}, overall_sampling: {value: 100}, custom_tags: [{tag: t, metadata: {kind: {request: {}}}}]}
      access_log:
      - name: envoy.access_loggers.file
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
          path: /dev/stdout
          log_format:
            text_format_source: {inline_string: "%REQ(:METHOD)%\n"}
            formatters: [{name: envoy.formatter.req_without_query, typed_config: {"@type": type.googleapis.com/envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery}}]
      use_remote_address: false
      upgrade_configs: [{upgrade_type: websocket}]
      stream_idle_timeout: 0s
      normalize_path: true
      request_id_extension: {typed_config: {"@type": type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig, use_request_id_for_trace_sampling: true}}
      path_with_escaped_slashes_action: KEEP_UNCHANGED
"#;

#[test]
fn istios_outbound_listener() {
    let found = listener(OUTBOUND).unwrap();
    let listener = found.value;
    assert_eq!(listener.inbound, Some(false));
    let kinds: Vec<_> = listener.listener_filters.iter().map(|filter| &filter.kind).collect();
    assert_eq!(kinds, [&ListenerFilterKind::TlsInspector(TlsInspector::default()), &ListenerFilterKind::HttpInspector]);
    assert!(matches!(listener.default_filter_chain.unwrap().terminal, TerminalFilter::Tcp(_)));
    let chain = &listener.filter_chains[0];
    assert_eq!(chain.matches.transport, Some(TransportProtocol::RawBuffer));
    let TerminalFilter::Http(manager) = &chain.terminal else { panic!("an HTTP connection manager") };
    assert!(matches!(&manager.routes, RouteSource::Rds { name, source: ConfigSource::Ads } if name == "9080"));
    assert_eq!(manager.access_log[0].sink, AccessLogSink::Stdout);
    assert!(matches!(&manager.access_log[0].format, AccessLogFormat::Text(text) if text == "%REQ(:METHOD)%\n"));
    assert_eq!(manager.upgrades, ["websocket"]);
    assert_eq!(found.dependencies.len(), 1);
}

#[test]
fn listeners_refused() {
    let base = "name: l, address: {socket_address: {address: 127.0.0.1, port_value: 0}}";
    let tcp = "{filters: [{name: t, typed_config: {\"@type\": \
               type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: s, cluster: c}}]}";
    for (yaml, error) in [
        (base.to_owned(), "filter_chains: one at least is required"),
        (format!("{base}, filter_chains: [{{}}]"), "filter_chains[0].filters: one at least is required"),
        (format!("name: l, filter_chains: [{tcp}]"), "address: is required"),
        (format!("{base}, filter_chains: [{tcp}, {tcp}]"), "filter_chains[1].filter_chain_match: has the same"),
        (format!("{base}, filter_chains: [{tcp}], api_listener: {{}}"), "api_listener: is not carried"),
        (format!("{base}, filter_chains: [{tcp}], tcp_fast_open_queue_length: 5"), "tcp_fast_open_queue_length: "),
        (
            format!(
                "{base}, filter_chains: [{{filters: [{{name: x, typed_config: {{\"@type\": \
                     type.googleapis.com/envoy.extensions.filters.network.ext_authz.v3.ExtAuthz}}}}]}}]"
            ),
            "filter_chains[0].filters[0].typed_config: no filter of type",
        ),
        (
            format!(
                "{base}, listener_filters: [{{name: x, typed_config: {{\"@type\": \
                     type.googleapis.com/envoy.extensions.filters.listener.original_src.v3.OriginalSrc}}}}], \
                     filter_chains: [{tcp}]"
            ),
            "listener_filters[0].typed_config: listener filter",
        ),
    ] {
        let found = refused(listener(&format!("{{{yaml}}}")));
        assert!(found.starts_with(error), "{yaml}: {found}");
    }
}

#[test]
fn managers_refused() {
    let at = "filter_chains[0].filters[0].typed_config";
    for (fields, error) in [
        ("", ": one of rds, route_config is required"),
        ("route_config: {}, codec_type: HTTP3", ".codec_type: HTTP3 is not carried"),
        ("route_config: {}, tracing: {provider: {name: x}}", ".tracing.provider: is not carried"),
        ("route_config: {}, proxy_status_config: {}", ".proxy_status_config: is not carried"),
        (
            "route_config: {}, http2_protocol_options: {initial_stream_window_size: 1}",
            ".http2_protocol_options.initial_stream_window_size: ",
        ),
        ("route_config: {}, access_log: [{name: x}]", ".access_log[0].typed_config: is required"),
    ] {
        let found = refused(with_manager(fields));
        let found = found.strip_prefix(at).unwrap_or(&found);
        assert!(found.starts_with(error), "{fields}: {found}");
    }
}

#[test]
fn unknown_http_filter_is_refused_unless_optional() {
    let filter = |optional| {
        format!(
            "{{name: l, address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}, filter_chains: [{{filters: \
             [{{name: h, typed_config: {{\"@type\": {HCM}, stat_prefix: s, route_config: {{}}, http_filters: [{{name: lua, \
             is_optional: {optional}, typed_config: {{\"@type\": \
             type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}}}}, {ROUTER}]}}}}]}}]}}"
        )
    };
    assert!(listener(&filter(true)).is_ok());
    let at = "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config: no filter of type";
    assert!(refused(listener(&filter(false))).starts_with(at));
}

fn routes(yaml: &str) -> Result<crate::model::RouteTable, Rejection> {
    translator().routes(&resource("envoy.config.route.v3.RouteConfiguration", yaml))
}

const ROUTES: &str = r#"
name: "9080"
validate_clusters: false
ignore_port_in_host_matching: true
max_direct_response_body_size_bytes: 1048576
virtual_hosts:
- name: reviews.default.svc.cluster.local:9080
  domains: [Reviews.default.svc.cluster.local, reviews, 10.0.0.1]
  include_request_attempt_count: true
  routes:
  - name: default
    match: {prefix: /, case_sensitive: true, headers: [{name: end-user, string_match: {exact: jason}}]}
    decorator: {operation: x}
    metadata: {filter_metadata: {istio: {config: /apis/x}}}
    route:
      weighted_clusters:
        total_weight: 100
        clusters: [{name: a, weight: 90}, {name: b, weight: 10, request_headers_to_add: [{header: {key: x-a, value: "%REQ(b)%"}}]}]
      timeout: 0s
      max_grpc_timeout: 0s
      max_stream_duration: {max_stream_duration: 0s, grpc_timeout_header_max: 0s}
      prefix_rewrite: /v1
      retry_policy:
        retry_on: connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes
        num_retries: 2
        retry_host_predicate: [{name: envoy.retry_host_predicates.previous_hosts, typed_config: {"@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}]
        host_selection_retry_max_attempts: "5"
        retriable_status_codes: [503]
- name: allow_any
  domains: ["*"]
  routes: [{name: allow_any, match: {prefix: /}, route: {cluster: PassthroughCluster, timeout: 0s, max_grpc_timeout: 0s}}]
- name: block_all
  domains: [blocked]
  routes: [{match: {path: /x}, direct_response: {status: 502, body: {inline_string: "none"}}}, {match: {prefix: /}, redirect: {https_redirect: true, response_code: FOUND}}]
"#;

#[test]
fn istios_routes() {
    let table = routes(ROUTES).unwrap();
    let host = &table.virtual_hosts[0];
    assert_eq!(host.domains[0], "reviews.default.svc.cluster.local");
    let Action::Forward(forward) = &host.routes[0].action else { panic!("forwards") };
    assert!(
        matches!(&forward.cluster, ClusterSpecifier::Weighted(w) if w.clusters.len() == 2 && !w.clusters[1].edits.is_empty())
    );
    assert!(forward.timeout.is_zero() && matches!(&forward.rewrite, PathRewrite::Prefix(p) if p == "/v1"));
    let retry = forward.retry.as_ref().unwrap();
    assert!(retry.on.grpc_unavailable && retry.avoid_previous_hosts && retry.host_selection_attempts == 5);
    assert!(matches!(table.virtual_hosts[2].routes[1].action, Action::Redirect(_)));
}

#[test]
fn routes_refused() {
    let route = |route: &str| {
        let yaml = format!("{{virtual_hosts: [{{name: v, domains: ['*'], routes: [{route}]}}]}}");
        let found = refused(routes(&yaml));
        found.strip_prefix("virtual_hosts[0].routes[0].").map(str::to_owned).unwrap_or(found)
    };
    for (yaml, error) in [
        ("{route: {cluster: c}}", "match: is required"),
        ("{match: {}, route: {cluster: c}}", "match: one of prefix"),
        ("{match: {prefix: /}}", "virtual_hosts[0].routes[0]: one of route"),
        ("{match: {prefix: /}, route: {}}", "route: one of cluster"),
        (
            "{match: {prefix: /, dynamic_metadata: [{filter: f}]}, route: {cluster: c}}",
            "match.dynamic_metadata[0]: is not",
        ),
        (
            "{match: {prefix: /, filter_state: [{key: k}]}, route: {cluster: c}}",
            "match.filter_state[0]: is not carried",
        ),
        ("{match: {prefix: /}, route: {cluster: c, hedge_policy: {}}}", "route.hedge_policy: is not carried"),
        ("{match: {prefix: /}, route: {cluster: c, early_data_policy: {name: e}}}", "route.early_data_policy: is not"),
        (
            "{match: {prefix: /}, route: {cluster: c, retry_policy: {rate_limited_retry_back_off: {}}}}",
            "route.retry_policy.rate_limited_retry_back_off.reset_headers: one at least",
        ),
        (
            "{match: {prefix: /}, route: {cluster: c, internal_redirect_policy: {redirect_response_codes: [200]}}}",
            "route.internal_redirect_policy.redirect_response_codes[0]: must be one of",
        ),
        (
            "{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: a, cluster_header: b, weight: 1}]}}}",
            "route.weighted_clusters.clusters[0]: only one of name, cluster_header",
        ),
        (
            "{match: {path_match_policy: {name: t, typed_config: {'@type': type.googleapis.com/envoy.extensions.path.\
             match.uri_template.v3.UriTemplateMatchConfig, path_template: '/{a'}}}, route: {cluster: c}}",
            "match.path_match_policy.typed_config.path_template: \"{a\" is no segment",
        ),
        ("{match: {prefix: /}, route: {cluster: c, rate_limits: [{}]}}", "route.rate_limits[0]: is not carried"),
        (
            "{match: {prefix: /}, route: {cluster: c, retry_policy: {retry_on: foo}}}",
            "route.retry_policy.retry_on: foo",
        ),
        (
            "{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: a, weight: 0}]}}}",
            "route.weighted_clusters.clusters: the sum",
        ),
        (
            "{match: {prefix: /}, route: {weighted_clusters: {total_weight: 5, clusters: [{name: a, weight: 1}]}}}",
            "route.weighted_clusters.total_weight: the weights add up to 1",
        ),
        ("{match: {safe_regex: {regex: a}}, route: {cluster: c, prefix_rewrite: /}}", "route.prefix_rewrite: needs"),
        ("{match: {safe_regex: {regex: '['}}, route: {cluster: c}}", "match.safe_regex.regex: invalid expression"),
        ("{match: {prefix: /}, direct_response: {status: 99}}", "direct_response.status: 99 is no status"),
        (
            "{match: {prefix: /}, route: {cluster: c}, request_headers_to_add: [{header: {key: ':path', value: x}}]}",
            "request_headers_to_add[0].header.key: :path: :-prefixed or host headers may not be modified",
        ),
        (
            "{match: {prefix: /}, route: {cluster: c}, typed_per_filter_config: {f: {'@type': \
             type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute}}}",
            "typed_per_filter_config[\"f\"]: no filter of type",
        ),
    ] {
        let found = route(yaml);
        assert!(found.starts_with(error), "{yaml}: {found}");
    }
    let twice = "{virtual_hosts: [{name: a, domains: [x.a, x.b]}, {name: b, domains: [X.B]}]}";
    assert!(refused(routes(twice)).starts_with("virtual_hosts[1].domains[0]: only unique values for domains"));
    let same = "{virtual_hosts: [{name: a, domains: [x.a]}, {name: a, domains: [x.b]}]}";
    assert!(refused(routes(same)).starts_with("virtual_hosts[1].name: "));
}
