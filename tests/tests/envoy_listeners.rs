//! Listeners beside Envoy's: the same configuration in both, the same first bytes to both, and what they make of them.
#![allow(clippy::unwrap_used, reason = "tests say what must hold by unwrapping")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use mesh_proxy::{Proxy, ProxyHandle, config::Bootstrap, filters, model::Address};
use mesh_tests::envoy::Envoy;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(10);

/// Connections at a time, to each proxy.
const AT_A_TIME: usize = 16;

const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// Our proxy, on a runtime of its own.
struct Ours {
    handle: ProxyHandle,
    _runtime: tokio::runtime::Runtime,
}

impl Ours {
    fn start(bootstrap: &Value) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let bootstrap = Bootstrap::from_text(&bootstrap.to_string(), &filters::builtin()).unwrap();
        let proxy = Proxy::builder(bootstrap).concurrency(1).build().unwrap();
        let handle = proxy.handle();
        runtime.spawn(proxy.run(std::future::pending()));
        let mut ready = handle.ready();
        runtime.block_on(async {
            tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready)).await.unwrap().unwrap();
        });
        Self { handle, _runtime: runtime }
    }

    fn address(&self, listener: &str) -> SocketAddr {
        match self.handle.listeners().into_iter().find(|(name, _)| name == listener) {
            Some((_, Address::Tcp(address))) => address,
            other => panic!("{listener}: {other:?}"),
        }
    }
}

fn envoys(envoy: &Envoy, listener: &str) -> SocketAddr {
    let listeners = envoy.admin("/listeners?format=json");
    let mut found = listeners["listener_statuses"].as_array().unwrap().iter();
    let found = found.find(|status| status["name"] == listener).unwrap_or_else(|| panic!("{listeners}"));
    let address = &found["local_address"]["socket_address"];
    format!("{}:{}", address["address"].as_str().unwrap(), address["port_value"]).parse().unwrap()
}

fn bootstrap(listeners: &[Value], clusters: &[Value]) -> Value {
    json!({
        "node": {"id": "n", "cluster": "c"},
        "admin": {"address": address(SocketAddr::from(([127, 0, 0, 1], 0)))},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
}

fn address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

fn listener(name: &str, filters: &Value, chains: &Value) -> Value {
    let any = address(SocketAddr::from(([127, 0, 0, 1], 0)));
    json!({"name": name, "address": any, "listener_filters": filters, "filter_chains": chains})
}

/// A filter chain that tells the addresses of a connection in a header of its answer.
fn telling() -> Value {
    json!([{"filters": [{"name": "http", "typed_config": {
        "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "s",
        "http_filters": [{"name": "r", "typed_config": {"@type": format!("{TYPES}.filters.http.router.v3.Router")}}],
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [{
            "match": {"prefix": "/"},
            "direct_response": {"status": 200},
            "response_headers_to_add": [{"header": {
                "key": "x-seen", "value": "%DOWNSTREAM_REMOTE_ADDRESS% to %DOWNSTREAM_LOCAL_ADDRESS%"}}],
        }]}]},
    }}]}])
}

/// What came back: nothing, or the status and the addresses that were seen, the listener's own as `own`.
fn seen(to: SocketAddr, head: &[u8]) -> String {
    let mut socket = TcpStream::connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let client = socket.local_addr().unwrap();
    // The peer may have closed before all is written.
    let _ = socket.write_all(&[head, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"].concat());
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    let status = text.lines().next().unwrap_or("closed").to_owned();
    let addresses = text.lines().find_map(|line| line.strip_prefix("x-seen: ")).unwrap_or_default();
    format!("{status} {addresses}").replace(&client.to_string(), "client").replace(&to.to_string(), "own")
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[0x20 | command, family], &length, body].concat()
}

/// Headers of PROXY protocol, right and wrong. None has a checksum: Envoy does not look at it, we do.
fn headers() -> Vec<Vec<u8>> {
    let four = [192, 0, 2, 1, 192, 0, 2, 2, 3, 232, 0, 80];
    let six: Vec<u8> = (0..32).chain([3, 232, 0, 80]).collect();
    let with = |tail: &[u8]| [&four[..], tail].concat();
    let mut all: Vec<Vec<u8>> = [
        &b""[..],
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n",
        b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 80\r\n",
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
        b"PROXY  TCP4 192.0.2.1 192.0.2.2 1000 80\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1000\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 0 65536\r\n",
        b"PROXY TCP4 192.0.2 192.0.2.2 1000 80\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1000 80\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1000 80\r\n",
        b"PROXY UNIX /a /b\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\n",
        b"proxy TCP4 192.0.2.1 192.0.2.2 1000 80\r\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    all.extend([v2(0, 0, b""), v2(0, 0x11, &four), v2(1, 0, b""), v2(1, 0x31, &[0; 216]), v2(1, 0x21, &six)]);
    all.extend([
        v2(1, 0x12, &four),
        v2(1, 0x10, &four),
        v2(1, 0x41, &four),
        v2(2, 0x11, &four),
        v2(1, 0x11, &four[..5]),
    ]);
    all.extend([v2(1, 0x11, &with(&[2, 0, 1, 65])), v2(1, 0x11, &with(&[2, 0, 9, 65])), v2(1, 0x11, &with(&[2, 0]))]);
    all.push(v2(1, 0x11, &with(&[&[4, 0xea, 0x60][..], &[7; 60_000]].concat())));
    all
}

/// Headers with a byte or two changed.
fn damaged(random: &mut StdRng, headers: &[Vec<u8>]) -> Vec<u8> {
    let mut header = headers[random.random_range(0..headers.len())].clone();
    // A length that grew would wait for bytes that do not come; a TLV may become a checksum.
    let fixed = if header.starts_with(SIGNATURE) { [14, 15, 28].as_slice() } else { &[] };
    for _ in 0..random.random_range(1..3) {
        let near = header.len().min(60);
        if near > 0 {
            let at = random.random_range(0..near);
            if !fixed.contains(&at) {
                header[at] = random.random();
            }
        }
    }
    header
}

#[test]
fn proxy_protocol_is_taken_alike() {
    let filter = |fields: Value| {
        let mut config = fields;
        config["@type"] = format!("{TYPES}.filters.listener.proxy_protocol.v3.ProxyProtocol").into();
        json!([{"name": "envoy.filters.listener.proxy_protocol", "typed_config": config}])
    };
    let names = ["required", "optional", "only_v2", "optional_v2"];
    let filters = [
        json!({}),
        json!({"allow_requests_without_proxy_protocol": true}),
        json!({"disallowed_versions": ["V1"]}),
        json!({"disallowed_versions": ["V1"], "allow_requests_without_proxy_protocol": true}),
    ];
    let listeners: Vec<_> =
        names.iter().zip(filters).map(|(name, fields)| listener(name, &filter(fields), &telling())).collect();
    let config = bootstrap(&listeners, &[]);
    let (envoy, ours) = (Envoy::start("n", &config), Ours::start(&config));
    let mut cases = headers();
    let mut random = StdRng::seed_from_u64(7);
    let plain = cases.clone();
    cases.extend((0..120).map(|_| damaged(&mut random, &plain)));
    for name in names {
        let (theirs, own) = (envoys(&envoy, name), ours.address(name));
        // Where a head never ends both wait: so many at a time.
        std::thread::scope(|scope| {
            for part in cases.chunks(cases.len().div_ceil(AT_A_TIME)) {
                scope.spawn(move || {
                    for case in part {
                        let (theirs, own) = (seen(theirs, case), seen(own, case));
                        assert_eq!(own, theirs, "{name}: {:?}", String::from_utf8_lossy(&case[..case.len().min(80)]));
                    }
                });
            }
        });
    }
}

/// A ClientHello of rustls.
fn hello(name: &str, alpn: &[&str]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    tls.write_tls(&mut bytes).unwrap();
    bytes
}

/// Which chain answered. A listener that closes with bytes unread resets the connection, which may take the answer along:
/// so an empty one is asked for again.
fn answered(to: SocketAddr, bytes: &[u8]) -> String {
    std::iter::repeat_with(|| answer(to, bytes)).take(5).find(|answer| !answer.is_empty()).unwrap_or_default()
}

fn answer(to: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = socket.write_all(bytes);
    let mut answer = Vec::new();
    // A reset may come before what was sent: what was read counts.
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn chains_are_chosen_alike() {
    let chain = |answer: &str, matches: Value| {
        json!({"filter_chain_match": matches, "filters": [{"name": "d", "typed_config": {
            "@type": format!("{TYPES}.filters.network.direct_response.v3.Config"),
            "response": {"inline_string": answer}}}]})
    };
    let chains = json!([
        chain("exact", json!({"server_names": ["a.example.com"]})),
        chain("wild", json!({"server_names": ["*.example.com"]})),
        chain("deeper", json!({"server_names": ["*.b.example.com"]})),
        chain("h2", json!({"transport_protocol": "tls", "application_protocols": ["h2"]})),
        chain("istio", json!({"transport_protocol": "tls", "application_protocols": ["istio", "http/1.1"]})),
        chain("tls", json!({"transport_protocol": "tls"})),
        chain("http10", json!({"transport_protocol": "raw_buffer", "application_protocols": ["http/1.0"]})),
        chain("h2c", json!({"transport_protocol": "raw_buffer", "application_protocols": ["h2c"]})),
        chain("plain", json!({"transport_protocol": "raw_buffer", "source_type": "SAME_IP_OR_LOOPBACK"})),
    ]);
    let inspectors = |fields: Value| {
        let mut tls = fields;
        tls["@type"] = format!("{TYPES}.filters.listener.tls_inspector.v3.TlsInspector").into();
        let http = json!({"@type": format!("{TYPES}.filters.listener.http_inspector.v3.HttpInspector")});
        json!([{"name": "envoy.filters.listener.tls_inspector", "typed_config": tls},
               {"name": "envoy.filters.listener.http_inspector", "typed_config": http}])
    };
    let listeners = [
        listener("usual", &inspectors(json!({})), &chains),
        listener("strict", &inspectors(json!({"close_connection_on_client_hello_parsing_errors": true})), &chains),
        listener("short", &inspectors(json!({"max_client_hello_size": 500})), &chains),
    ];
    let config = bootstrap(&listeners, &[]);
    let (envoy, ours) = (Envoy::start("n", &config), Ours::start(&config));
    let mut cases = vec![
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"hello\r\n".to_vec(),
        vec![0x16, 3, 1, 0, 10, 2, 0, 0, 6, 1, 2, 3, 4, 5, 6],
        vec![0x16, 3, 1, 0, 10, 1, 0, 0, 6, 1, 2, 3, 4, 5, 6],
    ];
    for name in ["a.example.com", "A.EXAMPLE.com", "x.example.com", "x.b.example.com", "example.com", "other.org"] {
        for alpn in [&[][..], &["h2"], &["istio", "h2"], &["http/1.1", "h2"], &["foo"]] {
            cases.push(hello(name, alpn));
        }
    }
    for name in ["usual", "strict", "short"] {
        let (theirs, own) = (envoys(&envoy, name), ours.address(name));
        for (i, case) in cases.iter().enumerate() {
            assert_eq!(answered(own, case), answered(theirs, case), "{name}: case {i}");
        }
    }
}

/// A listener that carries to a host that is told the client.
fn front(http: bool, version: &str, host: SocketAddr) -> Value {
    let filter = if http {
        json!({"@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "s",
            "http_filters": [{"name": "r", "typed_config": {"@type": format!("{TYPES}.filters.http.router.v3.Router")}}],
            "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": "back"}}]}]}})
    } else {
        json!({"@type": format!("{TYPES}.filters.network.tcp_proxy.v3.TcpProxy"), "stat_prefix": "s", "cluster": "back"})
    };
    let cluster = json!({
        "name": "back", "type": "STATIC",
        "load_assignment": {"cluster_name": "back", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(host)}}]}]},
        "transport_socket": {"name": "envoy.transport_sockets.upstream_proxy_protocol", "typed_config": {
            "@type": format!("{TYPES}.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"),
            "config": {"version": version},
            "transport_socket": {"name": "envoy.transport_sockets.raw_buffer", "typed_config": {
                "@type": format!("{TYPES}.transport_sockets.raw_buffer.v3.RawBuffer")}}}},
    });
    let chains = json!([{"filters": [{"name": "f", "typed_config": filter}]}]);
    bootstrap(&[listener("front", &json!([]), &chains)], &[cluster])
}

#[test]
fn each_tells_the_other_the_client() {
    let filters = json!([{"name": "envoy.filters.listener.proxy_protocol", "typed_config": {
        "@type": format!("{TYPES}.filters.listener.proxy_protocol.v3.ProxyProtocol")}}]);
    let back = bootstrap(&[listener("back", &filters, &telling())], &[]);
    let (envoy, ours) = (Envoy::start("n", &back), Ours::start(&back));
    for (version, http) in [("V1", false), ("V2", false), ("V1", true), ("V2", true)] {
        let own = Ours::start(&front(http, version, envoys(&envoy, "back")));
        assert_eq!(seen(own.address("front"), b""), "HTTP/1.1 200 OK client to own", "ours, {version}, HTTP {http}");
        let theirs = Envoy::start("n", &front(http, version, ours.address("back")));
        assert_eq!(
            seen(envoys(&theirs, "front"), b""),
            "HTTP/1.1 200 OK client to own",
            "Envoy, {version}, HTTP {http}"
        );
    }
}
