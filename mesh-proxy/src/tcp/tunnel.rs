//! Tunnels that hosts are asked for (`tunneling_config`): `CONNECT` over HTTP/1.1 or HTTP/2, as the cluster speaks.

use std::{io, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header::HOST, uri::Authority};

use super::TcpChain;
use crate::{
    access_log::LogContext,
    body::Body,
    cluster::Host,
    dial::{ConnectError, UpstreamConnInfo},
    filter::StreamInfo,
    http::edits,
    model::TcpTunnel,
    upstream::{HostTunnel, LocalCluster, SendError, UpstreamBody},
};

/// An open tunnel.
pub(super) struct Tunnel {
    pub(super) io: HostTunnel,
    /// Keeps the place on the connection.
    pub(super) body: UpstreamBody,
    pub(super) info: Arc<UpstreamConnInfo>,
}

/// There is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    /// The name to ask for is none.
    #[error("{0:?} is no host to connect to")]
    Hostname(String),
    /// No connection to the host.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The request failed.
    #[error("the host did not answer: {0}")]
    Send(String),
    /// The host refused.
    #[error("the host answered {0}")]
    Refused(StatusCode),
    /// The host agreed, and ended.
    #[error("the tunnel did not open: {0}")]
    Upgrade(#[from] io::Error),
}

impl From<SendError> for TunnelError {
    fn from(error: SendError) -> Self {
        TunnelError::Send(error.to_string())
    }
}

impl TcpChain {
    /// Asks `host` for a tunnel.
    pub(super) async fn tunnel(
        &self,
        config: &TcpTunnel,
        cluster: &LocalCluster,
        host: &Arc<Host>,
        info: &StreamInfo,
    ) -> Result<Tunnel, TunnelError> {
        let cx = LogContext { info, request: None, response: None, trailers: None };
        let hostname = self.worker.format_header(&config.hostname, &cx);
        let authority = Authority::try_from(hostname.as_str()).map_err(|_| TunnelError::Hostname(hostname.clone()))?;
        let mut headers = HeaderMap::new();
        edits::set(&mut headers, edits::values(&config.headers, &cx, &self.worker));
        let sender = cluster.http_for(&info.connection, host, None, false).await?;
        let conn = sender.info().clone();
        if !sender.is_http2()
            && let Ok(host) = HeaderValue::try_from(&hostname)
        {
            headers.insert(HOST, host);
        }
        let mut request = Request::new(Body::Empty);
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = Uri::from(authority);
        *request.headers_mut() = headers;
        let mut response = sender.send(request).await?;
        if !response.status().is_success() {
            return Err(TunnelError::Refused(response.status()));
        }
        let io = UpstreamBody::tunnel(&mut response).await?;
        Ok(Tunnel { io, body: response.into_body(), info: conn })
    }
}
