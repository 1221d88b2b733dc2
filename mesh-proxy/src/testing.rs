//! Configuration values for tests, as short as can be.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::StatusCode;
use indexmap::IndexMap;

use crate::{
    cluster::{ClusterDeps, ClusterHandle},
    model::{
        Action, Address, Assignment, CircuitBreakers, ClientCertForwarding, Cluster, ClusterKind, ClusterSpecifier,
        Codec, Endpoint, EscapedSlashes, FilterChain, FilterChainMatch, Forward, HealthStatus, HostRewrite,
        Http1Options, Http2Limits, HttpConnectionManager, HttpProtocol, LbPolicy, Listener, Locality,
        LocalityEndpoints, Metadata, PathMatch, PathRewrite, PoolOptions, RetryOn, RetryPolicy, Route, RouteMatch,
        RouteSource, RouteTable, ServerHeader, StripPort, TcpLogTimes, TcpProxy, TerminalFilter, TlvMerge, Underscores,
        UpstreamSocket, VirtualHost,
    },
    state::Snapshot,
};

pub(crate) fn manager(routes: RouteTable) -> HttpConnectionManager {
    HttpConnectionManager {
        stat_prefix: "test".into(),
        codec: Codec::Auto,
        routes: RouteSource::Inline(Arc::new(routes)),
        filters: vec![],
        server_name: "envoy".into(),
        server_header: ServerHeader::Overwrite,
        use_remote_address: false,
        xff_trusted_hops: 0,
        skip_xff_append: false,
        via: String::new(),
        generate_request_id: true,
        preserve_external_request_id: false,
        always_set_request_id_in_response: false,
        forward_client_cert: ClientCertForwarding::Sanitize,
        xfcc_subject: false,
        xfcc_uri: false,
        xfcc_dns: false,
        xfcc_cert: false,
        xfcc_chain: false,
        xfcc_issuer: false,
        normalize_path: true,
        merge_slashes: false,
        escaped_slashes: EscapedSlashes::Keep,
        strip_port: StripPort::None,
        strip_trailing_host_dot: false,
        underscores: Underscores::Allow,
        scheme: None,
        append_x_forwarded_port: false,
        map_ipv4: false,
        internal_addresses: None,
        ip_detection: vec![],
        local_replies: None,
        idle_timeout: Duration::from_secs(3600),
        delayed_close: Duration::from_secs(1),
        max_connection_duration: None,
        max_connection_duration_jitter: 0.0,
        max_stream_duration: None,
        stream_idle_timeout: Duration::from_secs(300),
        stream_flush_timeout: None,
        request_timeout: Duration::ZERO,
        request_headers_timeout: Duration::ZERO,
        max_request_headers_bytes: 60 * 1024,
        max_headers_count: 100,
        max_requests_per_connection: None,
        http2_max_concurrent_streams: 1024,
        http2_stream_window: 1 << 20,
        http2_connection_window: 1 << 20,
        http2_limits: Http2Limits::default(),
        http2_keepalive: None,
        http2_allow_connect: false,
        http1: Http1Options::default(),
        proxy_100_continue: false,
        upgrades: vec!["websocket".into()],
        log_new_requests: false,
        router: crate::model::RouterOptions::default(),
        access_log: vec![],
        tracing_enabled: false,
    }
}

pub(crate) fn retry(on: RetryOn, num_retries: u32) -> RetryPolicy {
    RetryPolicy {
        on,
        num_retries,
        base_interval: Duration::from_millis(1),
        max_interval: Duration::from_millis(2),
        ..RetryPolicy::default()
    }
}

pub(crate) fn forward(cluster: &str) -> Forward {
    Forward {
        cluster: ClusterSpecifier::Cluster(cluster.into()),
        cluster_not_found: StatusCode::SERVICE_UNAVAILABLE,
        rewrite: PathRewrite::None,
        host_rewrite: HostRewrite::None,
        append_x_forwarded_host: false,
        timeout: Duration::from_secs(15),
        idle_timeout: None,
        max_stream_duration: None,
        grpc_timeout: None,
        internal_redirect: None,
        retry: None,
        mirrors: vec![],
        hash_policy: vec![],
        high_priority: false,
        upgrades: vec![],
        terminates_connect: false,
        metadata_match: None,
    }
}

pub(crate) fn route(prefix: &str, action: Action) -> Arc<Route> {
    let matches = RouteMatch { path: PathMatch::Prefix(prefix.into()), ..RouteMatch::default() };
    Arc::new(Route { matches, action, ..Route::default() })
}

pub(crate) fn table(routes: Vec<Arc<Route>>) -> RouteTable {
    let all = VirtualHost { name: "all".into(), domains: vec!["*".into()], routes, ..VirtualHost::default() };
    RouteTable { name: "r".into(), virtual_hosts: vec![Arc::new(all)], ..RouteTable::default() }
}

pub(crate) fn tcp(cluster: &str) -> TcpProxy {
    TcpProxy {
        stat_prefix: "tcp".into(),
        clusters: vec![(cluster.into(), 1)],
        sni_cluster: false,
        idle_timeout: Duration::from_secs(3600),
        max_connect_attempts: 1,
        backoff: None,
        max_downstream_duration: None,
        duration_jitter: 0.0,
        hash_source_ip: false,
        early_data: None,
        tlvs: vec![],
        tlv_merge: TlvMerge::AddIfAbsent,
        tunnel: None,
        access_log: vec![],
        log_times: TcpLogTimes::default(),
    }
}

pub(crate) fn chain(terminal: TerminalFilter) -> FilterChain {
    FilterChain {
        name: String::new(),
        matches: FilterChainMatch::default(),
        tls: None,
        tls_timeout: Duration::from_secs(5),
        filters: vec![],
        terminal,
        digest: None,
    }
}

/// A listener on 127.0.0.1, port chosen by the kernel.
pub(crate) fn listener(name: &str, chains: Vec<FilterChain>) -> Listener {
    Listener {
        name: name.into(),
        addresses: vec![Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))],
        sockets: vec![],
        transparent: false,
        mptcp: false,
        bind_to_port: true,
        use_original_dst: false,
        listener_filters: vec![],
        listener_filters_timeout: Duration::from_secs(15),
        continue_on_timeout: false,
        filter_chains: chains.into_iter().map(Arc::new).collect(),
        default_filter_chain: None,
        buffer_limit: 1 << 20,
        backlog: None,
        reuse_port: true,
        inbound: None,
        stat_prefix: String::new(),
        metadata: Metadata::default(),
        access_log: vec![],
        max_connections: None,
    }
}

pub(crate) fn cluster(name: &str, hosts: &[SocketAddr], protocol: HttpProtocol) -> Cluster {
    let endpoint = |addr: &SocketAddr| Endpoint {
        address: Address::Tcp(*addr),
        hostname: String::new(),
        weight: 1,
        health: HealthStatus::Healthy,
        metadata: Metadata::default(),
    };
    let localities = vec![LocalityEndpoints {
        locality: Locality::default(),
        priority: 0,
        weight: None,
        endpoints: hosts.iter().map(endpoint).collect(),
    }];
    let assignment = Assignment { name: name.into(), localities, ..Assignment::default() };
    Cluster {
        name: name.into(),
        stat_name: name.into(),
        kind: ClusterKind::Static(Arc::new(assignment)),
        lb: LbPolicy::RoundRobin,
        connect_timeout: Duration::from_secs(5),
        circuit_breakers: CircuitBreakers::default(),
        outlier: None,
        socket: UpstreamSocket::Plain,
        socket_matches: vec![],
        protocol,
        pool: PoolOptions::default(),
        buffer_limit: 1 << 20,
        panic_threshold: 50.0,
        close_connections_on_set_change: false,
        locality_weighted: false,
        source_address: None,
        metadata: Metadata::default(),
    }
}

pub(crate) fn snapshot(
    version: u64,
    listeners: Vec<Listener>,
    clusters: Vec<Cluster>,
    deps: &ClusterDeps,
) -> Arc<Snapshot> {
    let listeners: IndexMap<Arc<str>, Arc<Listener>> =
        listeners.into_iter().map(|l| (l.name.as_str().into(), Arc::new(l))).collect();
    let clusters = clusters.into_iter().map(|c| (c.name.clone(), ClusterHandle::new(Arc::new(c), deps))).collect();
    Arc::new(Snapshot { listeners: Arc::new(listeners), routes: Arc::default(), clusters: Arc::new(clusters), version })
}
