use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{Plane, echo, forwarding, http_server};
use crate::{model::HttpProtocol, testing};

pub(super) async fn client(plane: &Plane) -> http2::SendRequest<Full<Bytes>> {
    let io = TokioIo::new(plane.connect("l").await);
    let (send, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    send
}

#[tokio::test]
async fn http2_to_both_versions() {
    for (protocol, line) in [
        (HttpProtocol::Http2, "POST http://a.com/x HTTP/2.0\n"),
        (HttpProtocol::Http1, "POST /x HTTP/1.1\n"),
        (HttpProtocol::Downstream, "POST http://a.com/x HTTP/2.0\n"),
    ] {
        let upstream = http_server(echo).await;
        let cluster = testing::cluster("c", &[upstream], protocol);
        let plane = Plane::start(vec![forwarding(|_| {})], vec![cluster]).await;
        let mut send = client(&plane).await;
        let request = Request::post("http://a.com/x").body(Full::from("hello")).unwrap();
        let response = send.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.version(), Version::HTTP_2);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = std::str::from_utf8(&body).unwrap();
        assert!(body.starts_with(line), "{body}");
        assert!(body.ends_with("\nhello"), "{body}");
        assert_eq!(body.contains("host: a.com\n"), protocol == HttpProtocol::Http1, "{body}");
        plane.until("http.test.downstream_rq_http2_total", 1).await;
    }
}

/// A body of one chunk and trailers.
struct WithTrailers(Option<Bytes>, Option<http::HeaderMap>);

impl http_body::Body for WithTrailers {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let data = self.0.take().map(http_body::Frame::data);
        let frame = data.or_else(|| self.1.take().map(http_body::Frame::trailers));
        std::task::Poll::Ready(frame.map(Ok))
    }
}

#[tokio::test]
async fn trailers_pass() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(|_| async {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", "5".parse().unwrap());
            let body = WithTrailers(Some("x".into()), Some(trailers));
            let response = http::Response::builder().header("content-type", "application/grpc").body(body).unwrap();
            Ok::<_, std::convert::Infallible>(response)
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(TokioIo::new(socket), service).await;
    });
    let cluster = testing::cluster("c", &[upstream], HttpProtocol::Http2);
    let plane = Plane::start(vec![forwarding(|_| {})], vec![cluster]).await;
    let mut send = client(&plane).await;
    let request = Request::post("http://a.com/s/m").header("te", "trailers").body(Full::default()).unwrap();
    let body = send.send_request(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "5");
    assert_eq!(body.to_bytes(), "x");
    plane.until("http.test.downstream_rq_completed", 1).await;
}

#[tokio::test]
async fn many_streams_at_a_time() {
    let upstream = http_server(echo).await;
    let cluster = testing::cluster("c", &[upstream], HttpProtocol::Http2);
    let plane = Plane::start(vec![forwarding(|_| {})], vec![cluster]).await;
    let send = client(&plane).await;
    let requests = (0..50).map(|i| {
        let mut send = send.clone();
        async move {
            let request = Request::get(format!("http://a.com/{i}")).body(Full::default()).unwrap();
            let response = send.send_request(request).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(body.starts_with(format!("GET http://a.com/{i} HTTP/2.0\n").as_bytes()));
        }
    });
    futures::future::join_all(requests).await;
    plane.until("http.test.downstream_rq_2xx", 50).await;
    assert_eq!(plane.stat("cluster.c.upstream_cx_total"), 1);
}
