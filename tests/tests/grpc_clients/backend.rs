//! Backends: gRPC servers that answer every call with their name.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    task::{AbortHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

/// A method that is never answered.
pub(crate) const NEVER: &str = "/echo.Echo/Never";

/// A running backend. It ends, with its connections, when dropped.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    task: AbortHandle,
}

impl Backend {
    pub(crate) fn start(runtime: &Handle, name: &'static str, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let task = runtime.spawn(accept(listener, name, tls.map(TlsAcceptor::from))).abort_handle();
        Self { address, task }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, name: &'static str, tls: Option<TlsAcceptor>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(connection(stream, name, tls.clone()));
    }
}

async fn connection(stream: TcpStream, name: &'static str, tls: Option<TlsAcceptor>) {
    // What a client does wrong is for its own side to tell.
    let _ = stream.set_nodelay(true);
    match tls {
        None => drop(serve(stream, name).await),
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                drop(serve(stream, name).await);
            }
        }
    }
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin, name: &'static str) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(io).await?;
    let mut unanswered = Vec::new();
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        match request.uri().path() {
            NEVER => unanswered.push((request, respond)),
            _ => answer(respond, name)?,
        }
    }
    Ok(())
}

/// One message, and the status `OK`.
fn answer(mut respond: SendResponse<Bytes>, name: &str) -> Result<(), h2::Error> {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut body = respond.send_response(head, false)?;
    let mut message = vec![0];
    message.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
    message.extend(name.as_bytes());
    body.send_data(message.into(), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    body.send_trailers(trailers)
}
