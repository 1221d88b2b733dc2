//! TLS through the proxy: mutual TLS between two of them, identity headers, live access logs.
#![allow(clippy::unwrap_used, reason = "tests say what must hold by unwrapping")]

use std::{net::SocketAddr, path::Path, time::Duration};

use mesh_proxy::{Proxy, ProxyError, ProxyHandle, config::Bootstrap, filters, model::Address};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/client";
const SERVER: &str = "spiffe://cluster.local/ns/default/sa/server";

struct Running {
    handle: ProxyHandle,
    stop: oneshot::Sender<()>,
    done: JoinHandle<Result<(), ProxyError>>,
}

impl Running {
    async fn start(config: &serde_json::Value) -> Self {
        let bootstrap = Bootstrap::from_text(&config.to_string(), &filters::builtin()).unwrap();
        let proxy = Proxy::builder(bootstrap).concurrency(1).shutdown_time(Duration::from_secs(5)).build().unwrap();
        let handle = proxy.handle();
        let (stop, stopped) = oneshot::channel();
        let done = tokio::spawn(proxy.run(async {
            let _ = stopped.await;
        }));
        let mut ready = handle.ready();
        tokio::time::timeout(Duration::from_secs(10), ready.wait_for(|ready| *ready)).await.unwrap().unwrap();
        Self { handle, stop, done }
    }

    fn address(&self) -> SocketAddr {
        match &self.handle.listeners()[..] {
            [(_, Address::Tcp(addr))] => *addr,
            other => panic!("{other:?}"),
        }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.done.await.unwrap().unwrap();
    }
}

/// Writes `NAME.pem` and `NAME.key` for a SPIFFE id, and `ca.pem`.
fn certificates(folder: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    for (name, id) in [("client", CLIENT), ("server", SERVER)] {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &ca).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), leaf.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

fn address(addr: SocketAddr) -> serde_json::Value {
    serde_json::json!({"socket_address": {"address": addr.ip().to_string(), "port_value": addr.port()}})
}

/// A transport socket with the certificate `own` that accepts the identity `peer`.
fn tls(folder: &Path, own: &str, peer: &str, side: &str, alpn: &[&str]) -> serde_json::Value {
    let file = |name: String| serde_json::json!({"filename": folder.join(name)});
    let mut context = serde_json::json!({
        "@type": format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{side}TlsContext"),
        "common_tls_context": {
            "alpn_protocols": alpn,
            "tls_certificates": [
                {"certificate_chain": file(format!("{own}.pem")), "private_key": file(format!("{own}.key"))}
            ],
            "validation_context": {
                "trusted_ca": file("ca.pem".into()),
                "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": peer}}],
            },
        },
    });
    if side == "Downstream" {
        context["require_client_certificate"] = true.into();
    }
    serde_json::json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
}

/// One listener with one filter, one cluster.
fn config(
    filter: serde_json::Value,
    downstream: Option<serde_json::Value>,
    host: SocketAddr,
    upstream: Option<serde_json::Value>,
    http2: bool,
) -> serde_json::Value {
    let mut chain = serde_json::json!({"filters": [{"name": "f", "typed_config": filter}]});
    if let Some(socket) = downstream {
        chain["transport_socket"] = socket;
    }
    let mut cluster = serde_json::json!({
        "name": "svc", "type": "STATIC",
        "load_assignment": {"cluster_name": "svc", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(host)}}]}]},
    });
    if let Some(socket) = upstream {
        cluster["transport_socket"] = socket;
    }
    if http2 {
        cluster["typed_extension_protocol_options"] = serde_json::json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}});
    }
    serde_json::json!({"static_resources": {
        "listeners": [{"name": "l", "address": address(([127, 0, 0, 1], 0).into()), "filter_chains": [chain]}],
        "clusters": [cluster],
    }})
}

fn http(extra: serde_json::Value) -> serde_json::Value {
    let mut manager = serde_json::json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "route_config": {"name": "r",
            "response_headers_to_add": [{"header": {"key": "x-why", "value": "%UPSTREAM_TRANSPORT_FAILURE_REASON%"}}],
            "virtual_hosts": [
            {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "svc"}}]}]},
        "http_filters": [{"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    for (key, value) in extra.as_object().unwrap() {
        manager[key] = value.clone();
    }
    manager
}

fn tcp() -> serde_json::Value {
    serde_json::json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp", "cluster": "svc"})
}

/// Sends back every byte.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    addr
}

/// Answers a request with its own head.
async fn mirror() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = vec![0; 8192];
                while let Ok(n @ 1..) = socket.read(&mut head).await {
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {n}\r\n\r\n");
                    socket.write_all(answer.as_bytes()).await?;
                    socket.write_all(&head[..n]).await?;
                }
                Ok::<_, std::io::Error>(())
            });
        }
    });
    addr
}

async fn talk(to: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(to).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

const GET: &str = "GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn http_over_mutual_tls_in_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    certificates(at);
    for (http2, alpn, protocol) in [(false, "http/1.1", "HTTP/1.1"), (true, "h2", "HTTP/2")] {
        let log = at.join(format!("{alpn}.log").replace('/', "-"));
        let forwarding = serde_json::json!({
            "forward_client_cert_details": "SANITIZE_SET",
            "set_current_client_cert_details": {"uri": true},
            "access_log": [{"name": "file", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": log,
                "log_format": {"text_format_source": {"inline_string":
                    "%PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %DOWNSTREAM_PEER_URI_SAN% %UPSTREAM_CLUSTER%\n"}}}}],
        });
        let inner = config(
            http(forwarding),
            Some(tls(at, "server", CLIENT, "Downstream", &[alpn])),
            mirror().await,
            None,
            false,
        );
        let inner = Running::start(&inner).await;
        let socket = tls(at, "client", SERVER, "Upstream", &[alpn]);
        let outer = config(http(serde_json::json!({})), None, inner.address(), Some(socket), http2);
        let outer = Running::start(&outer).await;
        let answer = talk(outer.address(), GET).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("x-forwarded-client-cert: By="), "{answer}");
        assert!(answer.contains(&format!("By={SERVER};Hash=")), "{answer}");
        assert!(answer.contains(&format!(";URI={CLIENT}\r\n")), "{answer}");
        outer.stop().await;
        inner.stop().await;
        let line = std::fs::read_to_string(&log).unwrap();
        assert_eq!(line, format!("{protocol} 200 - {CLIENT} svc\n"));
    }
}

#[tokio::test]
async fn the_wrong_identity_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    certificates(at);
    let downstream = tls(at, "server", CLIENT, "Downstream", &["h2"]);
    let inner =
        Running::start(&config(http(serde_json::json!({})), Some(downstream), mirror().await, None, false)).await;
    let socket = tls(at, "client", "spiffe://cluster.local/ns/default/sa/other", "Upstream", &["h2"]);
    let outer = config(http(serde_json::json!({})), None, inner.address(), Some(socket), true);
    let outer = Running::start(&outer).await;
    let answer = talk(outer.address(), GET).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    // The client is not told why; whoever asks for it is.
    assert!(answer.ends_with("reset reason: remote connection failure"), "{answer}");
    assert!(answer.contains("x-why: TLS_error"), "{answer}");
    assert_eq!(outer.handle.stats().value("cluster.svc.ssl.fail_verify_san"), Some(1));
    outer.stop().await;
    inner.stop().await;
}

#[tokio::test]
async fn tcp_over_mutual_tls() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    certificates(at);
    let downstream = tls(at, "server", CLIENT, "Downstream", &[]);
    let inner = Running::start(&config(tcp(), Some(downstream), echo().await, None, false)).await;
    let socket = tls(at, "client", SERVER, "Upstream", &[]);
    let outer = Running::start(&config(tcp(), None, inner.address(), Some(socket), false)).await;
    let mut client = TcpStream::connect(outer.address()).await.unwrap();
    let sent: Vec<u8> = (0..1_000_000_u32).map(|i| i as u8).collect();
    let mut got = Vec::new();
    {
        let (mut read, mut write) = client.split();
        let write = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let ((), n) = tokio::join!(write, async { read.read_to_end(&mut got).await.unwrap() });
        assert_eq!(n, sent.len());
    }
    assert!(got == sent);
    outer.stop().await;
    inner.stop().await;
}
