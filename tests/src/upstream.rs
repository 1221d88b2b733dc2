//! HTTP servers that say who they are.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{ServerConfig, pki_types::CertificateDer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Handle,
};
use tokio_rustls::TlsAcceptor;

/// The header in which a server of TLS tells a digest of the client's certificate (see [`digest`]).
pub const CLIENT_CERTIFICATE: &str = "x-client-certificate";

/// A server whose every answer is its own address. Ends with its runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Upstream {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn start(runtime: &Handle, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, address, tls.clone().map(TlsAcceptor::from)));
            }
        });
        Self { address }
    }
}

/// A short form of a certificate, to compare.
#[must_use]
pub fn digest(certificate: &CertificateDer<'_>) -> String {
    // The last bytes are of the signature.
    certificate.iter().rev().take(16).map(|b| format!("{b:02x}")).collect()
}

async fn answer(stream: TcpStream, address: SocketAddr, tls: Option<TlsAcceptor>) {
    let Some(acceptor) = tls else { return serve(stream, address, None).await };
    let stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => return eprintln!("upstream {address}: {error}"),
    };
    let client = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(digest);
    serve(stream, address, client).await;
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, address: SocketAddr, client: Option<String>) {
    let service = service_fn(|_: Request<Incoming>| {
        let mut response = Response::builder();
        if let Some(client) = &client {
            response = response.header(CLIENT_CERTIFICATE, client);
        }
        let body = Full::new(Bytes::from(address.to_string()));
        let response = response.body(body).expect("a response");
        async move { Ok::<_, Infallible>(response) }
    });
    // The client goes away when it likes.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
