//! Settings of the connection manager: what each becomes, and what is refused.

use std::time::Duration;

use super::{listener::with_manager, refused, resource, translator};
use crate::model::{
    EscapedSlashes, HeaderCase, Http2Limits, HttpConnectionManager, IpDetection, StripPort, TerminalFilter, Underscores,
};

fn manager(fields: &str) -> HttpConnectionManager {
    let listener = with_manager(&format!("route_config: {{}}, {fields}")).unwrap_or_else(|e| panic!("{fields}: {e}"));
    match &listener.value.filter_chains[0].terminal {
        TerminalFilter::Http(manager) => (**manager).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn protocol_options() {
    let m = manager(
        "http_protocol_options: {accept_http_10: true, default_host_for_http_10: d, allow_chunked_length: true, \
         enable_trailers: true, allow_custom_methods: true, ignore_http_11_upgrade: [{prefix: TLS/}], \
         header_key_format: {proper_case_words: {}}}",
    );
    let h1 = &m.http1;
    assert!(h1.accept_http_10 && h1.allow_chunked_length && h1.trailers && h1.allow_custom_methods);
    assert_eq!((h1.default_host_for_http_10.as_str(), h1.header_case), ("d", HeaderCase::ProperWords));
    assert!(h1.ignored_upgrades[0].matches("TLS/1.2"));
    let m = manager(
        "http2_protocol_options: {allow_connect: true, stream_reset_burst: 5, stream_reset_rate: 1, \
         max_consecutive_inbound_frames_with_empty_payload: 2, max_inbound_priority_frames_per_stream: 3, \
         max_inbound_window_update_frames_per_data_frame_sent: 4, connection_keepalive: {interval: 30s, timeout: 5s}}",
    );
    let limits = Http2Limits {
        empty_frames: 2,
        priority_per_stream: 3,
        window_updates_per_data: 4,
        reset_burst: 5,
        reset_rate: 1,
    };
    assert_eq!((m.http2_limits, m.http2_allow_connect), (limits, true));
    let keepalive = m.http2_keepalive.unwrap();
    assert_eq!((keepalive.interval, keepalive.timeout), (Duration::from_secs(30), Duration::from_secs(5)));
    assert_eq!(keepalive.jittered(0), Duration::from_secs(30));
    assert!(keepalive.jittered(u64::MAX) > Duration::from_secs(34), "15 % is the default");
    let m = manager("http2_protocol_options: {connection_keepalive: {timeout: 5s}}");
    assert_eq!((m.http2_limits, m.http2_keepalive), (Http2Limits::default(), None));
    let m = manager(
        "http_protocol_options: {header_key_format: {stateful_formatter: {name: p, typed_config: {\"@type\": \
         type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig}}}}",
    );
    assert_eq!(m.http1.header_case, HeaderCase::Preserve);
}

#[test]
fn clients_hosts_and_paths() {
    let m = manager(
        "strip_matching_host_port: true, strip_trailing_host_dot: true, append_x_forwarded_port: true, \
         path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT, represent_ipv4_remote_address_as_ipv4_mapped_ipv6: true, \
         internal_address_config: {unix_sockets: true, cidr_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}]}, \
         common_http_protocol_options: {headers_with_underscores_action: DROP_HEADER, max_connection_duration: 1s, \
         max_connection_duration_jitter: {value: 50}}, stream_flush_timeout: 7s, delayed_close_timeout: 2s, \
         access_log_options: {flush_access_log_on_new_request: true}, proxy_100_continue: true",
    );
    assert_eq!((m.strip_port, m.escaped_slashes), (StripPort::Matching, EscapedSlashes::UnescapeAndRedirect));
    assert_eq!((m.underscores, m.max_connection_duration_jitter), (Underscores::Drop, 50.0));
    assert!(m.strip_trailing_host_dot && m.append_x_forwarded_port && m.map_ipv4);
    assert!(m.log_new_requests && m.proxy_100_continue && m.internal_addresses.unwrap().unix_sockets);
    assert_eq!((m.stream_flush_timeout, m.delayed_close), (Some(Duration::from_secs(7)), Duration::from_secs(2)));
    let m = manager(
        "original_ip_detection_extensions: [{name: x, typed_config: {\"@type\": \
         type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig, xff_num_trusted_hops: 2}}, \
         {name: y, typed_config: {\"@type\": \
         type.googleapis.com/envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig, \
         header_name: X-Real, reject_with_status: {code: BadRequest}}}]",
    );
    assert!(matches!(&m.ip_detection[0], IpDetection::Xff { trusted_hops: 2, skip_append: true, .. }));
    assert!(matches!(&m.ip_detection[1], IpDetection::Header { name, reject: Some(status), trusted: false }
        if name == "x-real" && *status == 400));
}

#[test]
fn local_replies() {
    let m = manager(
        "local_reply_config: {mappers: [{filter: {status_code_filter: {comparison: {op: EQ, value: {default_value: 503, \
         runtime_key: k}}}}, status_code: 418, body: {inline_string: tea}, headers_to_add: [{header: {key: a, value: b}}], \
         body_format_override: {text_format: \"%LOCAL_REPLY_BODY%\", content_type: text/html}}], \
         body_format: {json_format: {code: \"%RESPONSE_CODE%\"}}}",
    );
    let replies = m.local_replies.unwrap();
    assert_eq!(replies.mappers[0].status.unwrap(), 418);
    assert!(replies.format.is_some() && replies.mappers[0].format.is_some() && replies.mappers[0].headers.len() == 1);
}

#[test]
fn refused_by_name() {
    for (fields, error) in [
        ("local_reply_config: {mappers: [{}]}", ".local_reply_config.mappers[0].filter: is required"),
        (
            "local_reply_config: {body_format: {text_format: \"%NOPE%\"}}",
            ".local_reply_config.body_format: the command operator %NOPE% is not carried",
        ),
        ("scoped_routes: {}", ".scoped_routes: is not carried"),
        ("upgrade_configs: [{upgrade_type: x, filters: [{name: y}]}]", ".upgrade_configs[0].filters"),
        ("strip_matching_host_port: true, strip_any_host_port: true", ".strip_any_host_port: only one"),
        ("http2_protocol_options: {max_header_field_size_kb: 1}", ".http2_protocol_options.max_header_field_size_kb: "),
        (
            "http2_protocol_options: {connection_keepalive: {}}",
            ".http2_protocol_options.connection_keepalive.timeout: ",
        ),
        ("access_log_options: {access_log_flush_interval: 1s}", ".access_log_options.access_log_flush_interval: "),
        ("access_log_flush_interval: 1s", ".access_log_flush_interval: is not carried"),
        (
            "use_remote_address: true, original_ip_detection_extensions: [{name: x, typed_config: {\"@type\": \
             type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig}}]",
            ".original_ip_detection_extensions: cannot be used",
        ),
        ("original_ip_detection_extensions: [{name: x}]", ".original_ip_detection_extensions[0].typed_config: "),
        ("http_protocol_options: {header_key_format: {}}", ".http_protocol_options.header_key_format: one of"),
        (
            "scheme_header_transformation: {match_upstream: true}",
            ".scheme_header_transformation.match_upstream: is not carried",
        ),
        (
            "scheme_header_transformation: {scheme_to_overwrite: ftp}",
            ".scheme_header_transformation.scheme_to_overwrite",
        ),
    ] {
        let routes = if fields.starts_with("scoped") { "" } else { "route_config: {}, " };
        let found = refused(with_manager(&format!("{routes}{fields}")));
        let found = found.strip_prefix("filter_chains[0].filters[0].typed_config").unwrap_or(&found);
        assert!(found.starts_with(error), "{fields}: {found}");
    }
}

#[test]
fn upstream_options() {
    let cluster = |options: &str| {
        let yaml = format!(
            "{{name: c, typed_extension_protocol_options: {{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: \
             {{\"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, {options}}}}}}}"
        );
        translator().cluster(&resource("envoy.config.cluster.v3.Cluster", &yaml)).unwrap().value.pool
    };
    let pool = cluster(
        "common_http_protocol_options: {max_response_headers_kb: 8}, explicit_http_config: {http_protocol_options: \
         {header_key_format: {proper_case_words: {}}, send_fully_qualified_url: true, enable_trailers: true}}",
    );
    assert_eq!((pool.max_response_headers_bytes, pool.http1_header_case), (Some(8192), HeaderCase::ProperWords));
    assert!(pool.http1_fully_qualified && pool.http1_trailers);
    let pool = cluster(
        "explicit_http_config: {http2_protocol_options: {connection_keepalive: {interval: 3s, timeout: 1s, \
         interval_jitter: {value: 0}}}}",
    );
    let keepalive = pool.http2_keepalive.unwrap();
    assert_eq!((keepalive.interval, keepalive.jittered(9)), (Duration::from_secs(3), Duration::from_secs(3)));
}
