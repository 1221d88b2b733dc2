//! The Envoy bootstrap files that mesh and Envoy get.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    case::Case,
    certs::{NAME, SPIFFE_ID},
};

const TYPE: &str = "type.googleapis.com/envoy.extensions.";

/// Virtual hosts, or clusters, where there are many.
pub(crate) const MANY: usize = 1000;

/// Routes of each of many virtual hosts.
pub(crate) const ROUTES: usize = 10;

/// Ports of a run: `front` is where the load arrives, `inner` the hop between two proxies, `back` the backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) front: u16,
    pub(crate) inner: u16,
    pub(crate) back: u16,
}

/// The proxies of a case: one, or outbound and inbound.
pub(crate) fn of(case: Case, ports: Ports, certs: &Path) -> Vec<Value> {
    let front = |tls| listener(ports.front, filter(case, "svc", case == Case::H2), tls);
    let back = |port| cluster("svc", port, case == Case::H2, None);
    match case {
        _ if case.is_pair() => {
            let h2 = case == Case::MtlsH2;
            let alpn: &[&str] = if h2 { &["h2"] } else { &[] };
            let server = server_tls(certs, alpn, true);
            vec![
                document(
                    vec![listener(ports.front, filter(case, "svc", false), None)],
                    vec![cluster("svc", ports.inner, h2, Some(client_tls(certs, alpn)))],
                ),
                document(
                    vec![listener(ports.inner, filter(case, "svc", h2), Some(server))],
                    vec![cluster("svc", ports.back, false, None)],
                ),
            ]
        }
        Case::Routes => {
            let clusters = (0..ROUTES).map(|k| cluster(&format!("svc{k}"), ports.back, false, None)).collect();
            let hosts = (0..MANY).map(|i| {
                let routes = (0..ROUTES).map(|k| (format!("/r{k}/"), format!("svc{k}")));
                virtual_host(&format!("svc{i}.bench.local"), routes)
            });
            vec![document(vec![listener(ports.front, manager(hosts.collect(), false), None)], clusters)]
        }
        Case::Clusters => {
            let clusters = (0..MANY).map(|i| cluster(&format!("svc{i}"), ports.back, false, None)).collect();
            let hosts = (0..MANY).map(|i| {
                virtual_host(&format!("svc{i}.bench.local"), [("/".to_owned(), format!("svc{i}"))].into_iter())
            });
            vec![document(vec![listener(ports.front, manager(hosts.collect(), false), None)], clusters)]
        }
        _ => {
            let tls = case.is_tls_in_front().then(|| server_tls(certs, &["http/1.1"], false));
            vec![document(vec![front(tls)], vec![back(ports.back)])]
        }
    }
}

fn document(listeners: Vec<Value>, clusters: Vec<Value>) -> Value {
    json!({"static_resources": {"listeners": listeners, "clusters": clusters}})
}

fn listener(port: u16, filter: Value, tls: Option<Value>) -> Value {
    let mut chain = json!({"filters": [filter]});
    if let Some(tls) = tls {
        chain["transport_socket"] = json!({"name": "envoy.transport_sockets.tls", "typed_config": tls});
    }
    json!({"name": format!("l{port}"), "address": address(port), "filter_chains": [chain]})
}

fn filter(case: Case, cluster: &str, http2: bool) -> Value {
    if case.is_bytes() {
        return json!({
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": {"@type": format!("{TYPE}filters.network.tcp_proxy.v3.TcpProxy"), "stat_prefix": "tcp", "cluster": cluster},
        });
    }
    let routes = [("/other/".to_owned(), cluster.to_owned()), ("/".to_owned(), cluster.to_owned())];
    manager(vec![virtual_host("*", routes.into_iter())], http2)
}

fn manager(virtual_hosts: Vec<Value>, http2: bool) -> Value {
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": format!("{TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "front",
            "codec_type": if http2 { "HTTP2" } else { "HTTP1" },
            "route_config": {"name": "r", "virtual_hosts": virtual_hosts},
            "http_filters": [{"name": "envoy.filters.http.router",
                              "typed_config": {"@type": format!("{TYPE}filters.http.router.v3.Router")}}],
        },
    })
}

fn virtual_host(domain: &str, routes: impl Iterator<Item = (String, String)>) -> Value {
    let routes: Vec<Value> =
        routes.map(|(prefix, cluster)| json!({"match": {"prefix": prefix}, "route": {"cluster": cluster}})).collect();
    json!({"name": domain, "domains": [domain], "routes": routes})
}

fn cluster(name: &str, port: u16, http2: bool, tls: Option<Value>) -> Value {
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]},
    });
    if http2 {
        cluster["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": format!("{TYPE}upstreams.http.v3.HttpProtocolOptions"),
            "explicit_http_config": {"http2_protocol_options": {}},
        }});
    }
    if let Some(tls) = tls {
        cluster["transport_socket"] = json!({"name": "envoy.transport_sockets.tls", "typed_config": tls});
    }
    cluster
}

fn client_tls(certs: &Path, alpn: &[&str]) -> Value {
    json!({
        "@type": format!("{TYPE}transport_sockets.tls.v3.UpstreamTlsContext"),
        "sni": NAME,
        "common_tls_context": common_tls(certs, alpn, true),
    })
}

fn server_tls(certs: &Path, alpn: &[&str], mutual: bool) -> Value {
    json!({
        "@type": format!("{TYPE}transport_sockets.tls.v3.DownstreamTlsContext"),
        "require_client_certificate": mutual,
        "common_tls_context": common_tls(certs, alpn, mutual),
    })
}

fn common_tls(certs: &Path, alpn: &[&str], mutual: bool) -> Value {
    let file = |name: &str| json!({"filename": certs.join(name)});
    let mut common = json!({
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [{"certificate_chain": file("leaf.pem"), "private_key": file("leaf.key")}],
        "alpn_protocols": alpn,
    });
    if mutual {
        common["validation_context"] = json!({
            "trusted_ca": file("ca.pem"),
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": SPIFFE_ID}}],
        });
    }
    common
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}
