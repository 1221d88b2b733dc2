//! What a connection meets: sockets, listener filters, the TCP proxy, transport sockets.

use std::time::Duration;

use super::{refused, resource, translator};
use crate::{
    config::Rejection,
    model::{
        Address, Cluster, Listener, ListenerFilterKind, ListenerPredicate, ProxyProtocolVersion, SocketOption,
        SocketSetting, SocketState, TcpProxy, TerminalFilter, TlvMerge, TlvSelection, UpstreamSocket,
    },
};

const TCP: &str = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

fn listener(fields: &str) -> Result<Listener, Rejection> {
    let yaml = format!(
        "{{name: l, {fields}, filter_chains: [{{filters: [{{name: t, typed_config: {{\"@type\": {TCP}, stat_prefix: s, \
         cluster: c}}}}]}}]}}"
    );
    translator().listener(&resource("envoy.config.listener.v3.Listener", &yaml)).map(|found| found.value)
}

const ADDRESS: &str = "address: {socket_address: {address: 127.0.0.1, port_value: 0}}";

#[test]
fn socket_options() {
    let found = listener(&format!(
        "{ADDRESS}, freebind: true, enable_mptcp: true, tcp_keepalive: {{keepalive_time: 5}}, \
         socket_options: [{{level: 1, name: 9, int_value: 1, state: STATE_PREBIND}}, \
         {{level: 6, name: 13, buf_value: cmVubw==, state: STATE_LISTENING, ip_version: SOCKET_IP_VERSION_IPV6}}, \
         {{level: 1, name: 8, int_value: 1, type: {{datagram: {{}}}}}}], \
         additional_addresses: [{{address: {{socket_address: {{address: '::1', port_value: 0}}}}, \
         socket_options: {{}}}}, {{address: {{pipe: {{path: /tmp/x, mode: 416}}}}}}]"
    ))
    .unwrap();
    let option = |state, ipv4, setting| SocketOption { state, ipv4, setting };
    let free = option(SocketState::PreBind, None, SocketSetting::FreeBind(true));
    let alive = Some((Duration::from_secs(5), Duration::from_secs(75), 9));
    assert_eq!(
        found.socket(0).options,
        [
            free.clone(),
            option(SocketState::PreBind, None, SocketSetting::KeepAlive(true)),
            option(SocketState::Listening, Some(false), SocketSetting::Congestion(b"reno".to_vec())),
        ]
    );
    assert_eq!(found.socket(1).options, [free], "an empty list of its own");
    assert_eq!((found.socket(0).keepalive, found.socket(1).keepalive), (alive, alive));
    assert_eq!((found.socket(2).mode, found.socket(2).options.len()), (0o640, 0));
    assert!(found.mptcp && !found.transparent && matches!(found.addresses[2], Address::Unix(_)));
}

#[test]
fn socket_options_refused() {
    for (fields, error) in [
        ("socket_options: [{level: 1, name: 99, int_value: 1}]", "socket_options[0]: option 99 of level 1 cannot"),
        ("socket_options: [{level: 1, name: 9, int_value: -1}]", "socket_options[0]: option 9 of level 1 cannot"),
        ("socket_options: [{level: 1, name: 9, buf_value: AA==}]", "socket_options[0]: option 9 of level 1 cannot"),
        ("socket_options: [{level: 1, name: 9}]", "socket_options[0].int_value: is required"),
        ("tcp_fast_open_queue_length: 5", "tcp_fast_open_queue_length: is not carried"),
        ("connection_balance_config: {extend_balance: {}}", "connection_balance_config.extend_balance: is not carried"),
    ] {
        let found = refused(listener(&format!("{ADDRESS}, {fields}")));
        assert!(found.starts_with(error), "{fields}: {found}");
    }
    let mode = refused(listener("address: {pipe: {path: /tmp/x, mode: 512}}"));
    assert_eq!(mode, "address.pipe.mode: must be at most 0777");
}

fn with_filter(name: &str, fields: &str, more: &str) -> Result<Listener, Rejection> {
    let (package, message) = name.split_once('.').unwrap();
    listener(&format!(
        "{ADDRESS}, listener_filters: [{{name: f, typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.filters.listener.{package}.v3.{message}{fields}}}{more}}}]"
    ))
}

#[test]
fn listener_filters() {
    let fields = ", allow_requests_without_proxy_protocol: true, disallowed_versions: [V1], stat_prefix: p, rules: \
                  [{tlv_type: 234, on_tlv_present: {key: k, value_string_encoding: BASE64}}], pass_through_tlvs: \
                  {match_type: INCLUDE, tlv_type: [5]}";
    let more = ", filter_disabled: {or_match: {rules: [{destination_port_range: {start: 1, end: 9}}, {not_match: \
                {any_match: true}}]}}";
    let found = with_filter("proxy_protocol.ProxyProtocol", fields, more).unwrap();
    let filter = &found.listener_filters[0];
    let ListenerFilterKind::ProxyProtocol(config) = &filter.kind else { panic!("{filter:?}") };
    assert_eq!((config.optional, &config.disallowed[..]), (true, &[ProxyProtocolVersion::V1][..]));
    assert_eq!(config.pass_through, TlvSelection::Kinds(vec![5]));
    let rule = &config.rules[0];
    assert_eq!((rule.kind, rule.key.as_str(), rule.base64), (234, "k", true));
    assert_eq!(rule.namespace, "envoy.filters.listener.proxy_protocol");
    assert!(matches!(filter.disabled, Some(ListenerPredicate::Or(_))));
    assert!(!filter.runs(8) && filter.runs(9));

    let fields = ", close_connection_on_client_hello_parsing_errors: true, max_client_hello_size: 1024";
    let found = with_filter("tls_inspector.TlsInspector", fields, "").unwrap();
    assert!(matches!(&found.listener_filters[0].kind,
        ListenerFilterKind::TlsInspector(i) if i.close_on_error && i.max_client_hello == 1024));
}

#[test]
fn listener_filters_refused() {
    for (name, fields, more, error) in [
        ("proxy_protocol.ProxyProtocol", ", tlv_location: FILTER_STATE", "", "typed_config.tlv_location: only"),
        (
            "proxy_protocol.ProxyProtocol",
            ", rules: [{tlv_type: 256, on_tlv_present: {key: k}}]",
            "",
            "typed_config.rules[0].tlv_type: must be below 256",
        ),
        (
            "proxy_protocol.ProxyProtocol",
            ", rules: [{tlv_type: 2, on_tlv_present: {}}]",
            "",
            "typed_config.rules[0].on_tlv_present.key: is required",
        ),
        (
            "tls_inspector.TlsInspector",
            ", enable_ja3_fingerprinting: true",
            "",
            "typed_config.enable_ja3_fingerprinting: ",
        ),
        (
            "tls_inspector.TlsInspector",
            ", max_client_hello_size: 20000",
            "",
            "typed_config.max_client_hello_size: must",
        ),
        ("original_src.OriginalSrc", "", "", "typed_config: listener filter"),
        (
            "http_inspector.HttpInspector",
            "",
            ", filter_disabled: {and_match: {rules: [{any_match: true}]}}",
            "filter_disabled.and_match.rules: two at least",
        ),
    ] {
        let found = refused(with_filter(name, fields, more));
        let found = found.strip_prefix("listener_filters[0].").unwrap_or(&found);
        assert!(found.starts_with(error), "{name}{fields}{more}: {found}");
    }
}

fn tcp(fields: &str) -> Result<TcpProxy, Rejection> {
    let filters = format!("[{{name: t, typed_config: {{\"@type\": {TCP}, stat_prefix: s, cluster: c, {fields}}}}}]");
    chain(&filters).map(|terminal| match terminal {
        TerminalFilter::Tcp(proxy) => (*proxy).clone(),
        other => panic!("{other:?}"),
    })
}

fn chain(filters: &str) -> Result<TerminalFilter, Rejection> {
    let yaml = format!("{{name: l, {ADDRESS}, filter_chains: [{{filters: {filters}}}]}}");
    let found = translator().listener(&resource("envoy.config.listener.v3.Listener", &yaml))?;
    Ok(found.value.filter_chains[0].terminal.clone())
}

#[test]
fn tcp_proxies() {
    let found = tcp(
        "max_connect_attempts: 3, backoff_options: {base_interval: 0.1s}, hash_policy: [{source_ip: {}}], \
         max_downstream_connection_duration: 10s, max_downstream_connection_duration_jitter_percentage: {value: 25}, \
         upstream_connect_mode: ON_DOWNSTREAM_DATA, max_early_data_bytes: 100, proxy_protocol_tlvs: [{type: 225, value: \
         YWI=}], proxy_protocol_tlv_merge_policy: APPEND_IF_EXISTS_OR_ADD, access_log_options: \
         {access_log_flush_interval: 1s, flush_access_log_on_connected: true, flush_access_log_on_start: true}",
    )
    .unwrap();
    assert_eq!(found.backoff, Some((Duration::from_millis(100), Duration::from_secs(1))));
    assert_eq!((found.hash_source_ip, found.duration_jitter, found.early_data), (true, 0.25, Some(100)));
    assert_eq!((found.tlvs[0].kind, &found.tlvs[0].value[..], found.tlv_merge), (225, &b"ab"[..], TlvMerge::Append));
    let times = found.log_times;
    assert_eq!((times.interval, times.on_connected, times.on_start), (Some(Duration::from_secs(1)), true, true));
    let older = tcp("access_log_flush_interval: 2s, flush_access_log_on_connected: true").unwrap().log_times;
    assert_eq!((older.interval, older.on_connected), (Some(Duration::from_secs(2)), true));
}

#[test]
fn tcp_proxies_refused() {
    for (fields, error) in [
        ("max_connect_attempts: 0", "max_connect_attempts: must be"),
        ("backoff_options: {}", "backoff_options.base_interval: is required"),
        ("backoff_options: {base_interval: 2s, max_interval: 1s}", "backoff_options.max_interval: must not"),
        ("hash_policy: [{filter_state: {key: k}}]", "hash_policy[0].filter_state: is not carried"),
        ("hash_policy: [{}]", "hash_policy[0]: only source_ip"),
        ("upstream_connect_mode: ON_DOWNSTREAM_DATA", "max_early_data_bytes: is required"),
        ("proxy_protocol_tlvs: [{type: 1}]", "proxy_protocol_tlvs[0].value: is required"),
        ("access_log_flush_interval: 0.0001s", "access_log_flush_interval: must be a millisecond"),
        ("access_log_flush_interval: 1s, access_log_options: {}", "access_log_options: and the older"),
        ("tunneling_config: {}", "tunneling_config.hostname: is required"),
        ("tunneling_config: {hostname: '%X%'}", "tunneling_config.hostname: "),
        ("tunneling_config: {hostname: h, use_post: true}", "tunneling_config.use_post: only false"),
        ("tunneling_config: {hostname: h, post_path: /x}", "tunneling_config.post_path: is not carried"),
        ("metadata_match: {}", "metadata_match: is not carried"),
        ("downstream_idle_timeout: 1s", "downstream_idle_timeout: is not carried"),
    ] {
        let found = refused(tcp(fields));
        let found = found.strip_prefix("filter_chains[0].filters[0].typed_config.").unwrap_or(&found);
        assert!(found.starts_with(error), "{fields}: {found}");
    }
}

#[test]
fn small_network_filters() {
    let filter = |name: &str, fields: &str| {
        format!(
            "{{name: f, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.network.{name}{fields}}}}}"
        )
    };
    let echo = filter("echo.v3.Echo", "");
    let sni = filter("sni_cluster.v3.SniCluster", "");
    let proxy = filter("tcp_proxy.v3.TcpProxy", ", stat_prefix: s, cluster: c");
    assert!(matches!(chain(&format!("[{echo}]")), Ok(TerminalFilter::Echo)));
    let direct = filter("direct_response.v3.Config", ", response: {inline_string: hi}");
    assert!(matches!(chain(&format!("[{direct}]")), Ok(TerminalFilter::DirectResponse(b)) if b == "hi"));
    assert!(matches!(chain(&format!("[{sni}, {proxy}]")), Ok(TerminalFilter::Tcp(proxy)) if proxy.sni_cluster));
    for (filters, error) in [
        (format!("[{sni}]"), "filters[0]: f does not end the chain"),
        (format!("[{sni}, {echo}]"), "filters[0]: sni_cluster chooses"),
        (format!("[{echo}, {proxy}]"), "filters[0]: f ends the chain"),
    ] {
        let found = refused(chain(&filters));
        assert!(found.starts_with(&format!("filter_chains[0].{error}")), "{filters}: {found}");
    }
}

#[test]
fn equal_chains_have_equal_digests() {
    let digest = |cluster: &str, name: &str| {
        let filter = format!("{{name: t, typed_config: {{\"@type\": {TCP}, stat_prefix: s, cluster: {cluster}}}}}");
        let yaml = format!("{{name: {name}, {ADDRESS}, filter_chains: [{{filters: [{filter}]}}]}}");
        let found = translator().listener(&resource("envoy.config.listener.v3.Listener", &yaml)).unwrap().value;
        found.filter_chains[0].digest.unwrap()
    };
    assert_eq!(digest("a", "l"), digest("a", "m"));
    assert_ne!(digest("a", "l"), digest("b", "l"));
}

fn cluster(socket: &str) -> Result<Cluster, Rejection> {
    let yaml = format!(
        "{{name: c, type: STATIC, load_assignment: {{cluster_name: c}}, transport_socket: {{name: s, typed_config: {socket}}}}}"
    );
    translator().cluster(&resource("envoy.config.cluster.v3.Cluster", &yaml)).map(|found| found.value)
}

#[test]
fn proxy_protocol_toward_hosts() {
    let proxied = |config: &str, inner: &str| {
        cluster(&format!(
            "{{\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.\
             ProxyProtocolUpstreamTransport, config: {config}{inner}}}"
        ))
    };
    let inner = |name: &str| {
        format!(
            ", transport_socket: {{name: i, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.{name}}}}}"
        )
    };
    let raw = inner("raw_buffer.v3.RawBuffer");
    let config = "{version: V2, pass_through_tlvs: {match_type: INCLUDE_ALL}, added_tlvs: [{type: 5, value: YWI=}]}";
    let found = proxied(config, &raw).unwrap().socket;
    let header = found.proxy_header().unwrap();
    assert_eq!((header.version, &header.pass_through), (ProxyProtocolVersion::V2, &TlvSelection::All));
    assert_eq!((header.added[0].kind, found.tls().is_none()), (5, true));
    let tls = proxied("{version: V1}", &inner("tls.v3.UpstreamTlsContext")).unwrap().socket;
    assert!(tls.tls().is_some() && matches!(tls, UpstreamSocket::Proxied(..)));
    for (config, inner, error) in [
        ("{}", "", ".transport_socket: is required"),
        ("{added_tlvs: [{type: 5, value: YWI=}]}", raw.as_str(), ".config: TLVs need version V2"),
        (
            "{version: V2, added_tlvs: [{type: 5, value: YWI=, format_string: {text_format: x}}]}",
            &raw,
            ".config.added_tlvs[0].format_string: is not carried",
        ),
        ("{}, allow_unspecified_address: true", &raw, ".allow_unspecified_address: is not carried"),
    ] {
        let found = refused(proxied(config, inner));
        let expected = format!("transport_socket.typed_config{error}");
        assert!(found.starts_with(&expected), "{config}: {found}");
    }
}
