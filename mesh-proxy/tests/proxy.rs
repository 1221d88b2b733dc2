//! A proxy from bootstrap text to traffic, over real sockets and through the public API only.
#![allow(clippy::unwrap_used, reason = "tests say what must hold by unwrapping")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mesh_proxy::{
    Proxy, ProxyError, ProxyHandle,
    config::Bootstrap,
    filter::{FilterRegistry, Flow, HttpFilter, HttpStream, LocalReply},
    filters,
    model::Address,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

struct Running {
    handle: ProxyHandle,
    stop: oneshot::Sender<()>,
    done: JoinHandle<Result<(), ProxyError>>,
}

impl Running {
    async fn start(yaml: &str, filters: FilterRegistry) -> Self {
        let bootstrap = Bootstrap::from_text(yaml, &filters).unwrap();
        let proxy = Proxy::builder(bootstrap)
            .concurrency(2)
            .filters(filters)
            .shutdown_time(Duration::from_secs(5))
            .build()
            .unwrap();
        let handle = proxy.handle();
        let (stop, stopped) = oneshot::channel();
        let done = tokio::spawn(proxy.run(async {
            let _ = stopped.await;
        }));
        let mut ready = handle.ready();
        tokio::time::timeout(Duration::from_secs(10), ready.wait_for(|ready| *ready)).await.unwrap().unwrap();
        Self { handle, stop, done }
    }

    fn address(&self, name: &str) -> SocketAddr {
        match self.handle.listeners().into_iter().find(|(n, _)| n == name) {
            Some((_, Address::Tcp(addr))) => addr,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn admin(&self) -> SocketAddr {
        match self.handle.admin_address() {
            Some(Address::Tcp(addr)) => *addr,
            other => panic!("{other:?}"),
        }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.done.await.unwrap().unwrap();
    }
}

async fn get(to: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Answers every connection with one fixed response.
async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                while matches!(socket.read(&mut head).await, Ok(1..)) {
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
                    if socket.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

fn bootstrap(upstream: SocketAddr, filters: &str) -> String {
    let port = upstream.port();
    format!(
        r#"
node: {{id: test, cluster: test}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: front
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          route_config:
            name: r
            virtual_hosts:
            - name: all
              domains: ["*"]
              response_headers_to_add: [{{header: {{key: x-cluster, value: "%UPSTREAM_CLUSTER%"}}}}]
              routes:
              - {{match: {{prefix: /}}, route: {{cluster: svc}}}}
          http_filters:
{filters}
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: svc
    type: STATIC
    load_assignment:
      cluster_name: svc
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]
"#
    )
}

#[tokio::test]
async fn from_text_to_traffic_and_admin() {
    let proxy = Running::start(&bootstrap(upstream().await, ""), filters::builtin()).await;
    let answer = get(proxy.address("front"), "/x").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhi"), "{answer}");
    assert!(answer.contains("x-cluster: svc\r\n"), "{answer}");
    assert!(get(proxy.admin(), "/ready").await.ends_with("LIVE\n"));
    let port = proxy.address("front").port();
    assert!(get(proxy.admin(), "/listeners").await.contains(&format!("front::127.0.0.1:{port}")));
    let stats = get(proxy.admin(), "/stats").await;
    assert!(stats.contains("http.front.downstream_rq_2xx: 1\n"), "{stats}");
    assert!(get(proxy.admin(), "/config_dump").await.contains("\"cluster\": \"svc\""));
    proxy.stop().await;
}

#[tokio::test]
async fn a_fault_from_the_configuration() {
    let fault = r#"          - name: fault
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
              abort: {http_status: 418, percentage: {numerator: 100}}
"#;
    let proxy = Running::start(&bootstrap(upstream().await, fault), filters::builtin()).await;
    let answer = get(proxy.address("front"), "/").await;
    assert!(answer.starts_with("HTTP/1.1 418") && answer.ends_with("fault filter abort"), "{answer}");
    proxy.stop().await;
}

#[tokio::test]
async fn a_port_in_use_ends_it_with_advice() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let yaml = bootstrap(upstream().await, "").replacen(
        "  - name: front\n    address: {socket_address: {address: 127.0.0.1, port_value: 0}}",
        &format!("  - name: front\n    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}"),
        1,
    );
    let bootstrap = Bootstrap::from_text(&yaml, &filters::builtin()).unwrap();
    let proxy = Proxy::builder(bootstrap).concurrency(1).build().unwrap();
    let error = proxy.run(std::future::pending()).await.unwrap_err().to_string();
    assert!(error.contains(&format!("127.0.0.1:{port} is in use; stop the other program")), "{error}");
}

#[tokio::test]
async fn quitquitquit_ends_it() {
    let proxy = Running::start(&bootstrap(upstream().await, ""), filters::builtin()).await;
    let mut socket = TcpStream::connect(proxy.admin()).await.unwrap();
    let request = "POST /quitquitquit HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), proxy.done).await.unwrap().unwrap().unwrap();
}

/// A user's filter that waits, changes both ways and remembers.
struct Tagging;

impl HttpFilter for Tagging {
    fn on_request(&self, stream: &mut HttpStream<'_>) -> Flow {
        *stream.state_or_default::<u32>() += 1;
        if stream.request.uri.path() == "/deny" {
            let reply = LocalReply::new(http::StatusCode::FORBIDDEN, "denied_by_test", "no");
            return Flow::Respond(Box::new(reply));
        }
        Flow::Wait(Box::pin(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            mesh_proxy::filter::Outcome::Continue
        }))
    }

    fn on_response(&self, stream: &mut HttpStream<'_>) -> Flow {
        let calls = *stream.state_or_default::<u32>();
        if let Some(response) = &mut stream.response {
            response.headers.insert("x-calls", http::HeaderValue::from(calls));
        }
        Flow::Continue
    }
}

struct TaggingFactory;

impl mesh_proxy::filter::HttpFilterFactory for TaggingFactory {
    fn type_urls(&self) -> &[&'static str] {
        &["type.googleapis.com/google.protobuf.Empty"]
    }

    fn filter(
        &self,
        _: &mesh_xds_api::any::Any,
        _: &mesh_proxy::filter::FilterContext<'_>,
    ) -> Result<Arc<dyn HttpFilter>, mesh_proxy::filter::FactoryError> {
        Ok(Arc::new(Tagging))
    }
}

#[tokio::test]
async fn a_filter_of_the_users_own() {
    let own = r#"          - name: tagging
            typed_config: {"@type": type.googleapis.com/google.protobuf.Empty, value: {}}
"#;
    let registry = filters::builtin().with_http(TaggingFactory);
    let proxy = Running::start(&bootstrap(upstream().await, own), registry).await;
    let answer = get(proxy.address("front"), "/").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("x-calls: 1\r\n"), "{answer}");
    let answer = get(proxy.address("front"), "/deny").await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("x-calls: 1\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nno"), "{answer}");
    proxy.stop().await;
}
