//! The backend: answers each request with 1 KiB, one for `/1m` with 1 MiB. It runs on a thread of its own.

use std::{convert::Infallible, net::Ipv4Addr};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, sync::oneshot};

use super::case::Case;

const SMALL: &[u8] = &[b'x'; 1024];
static LARGE: &[u8] = &[b'x'; 1 << 20];

/// A running backend; ends when dropped.
pub(crate) struct Backend {
    port: u16,
    _stop: oneshot::Sender<()>,
}

impl Backend {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

pub(crate) async fn start(case: Case) -> anyhow::Result<Backend> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let (stop, stopped) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            tokio::select! {
                () = serve(listener, case) => {}
                _ = stopped => {}
            }
        });
    });
    Ok(Backend { port, _stop: stop })
}

async fn serve(listener: TcpListener, case: Case) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let io = TokioIo::new(stream);
        tokio::spawn(async move {
            // A connection that breaks is the load's to notice.
            match case {
                Case::H2 => {
                    drop(conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service_fn(answer)).await)
                }
                _ => drop(conn::http1::Builder::new().serve_connection(io, service_fn(answer)).await),
            }
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = if request.uri().path() == "/1m" { LARGE } else { SMALL };
    Ok(Response::new(Full::new(Bytes::from_static(body))))
}
