//! What listener filters learn from the first bytes of a connection, before a filter chain is chosen.
//!
//! The parsers are pure: bytes in, a verdict out. [`run`] feeds them.

mod http;
mod proxy_protocol;
mod tls;

use std::{io, net::SocketAddr, time::Duration};

use super::io::{Rewound, Socket};
use crate::model::Listener;

/// Bytes a listener filter may read ahead, as Envoy's TLS inspector (16 KiB and a record header).
const MOST_AHEAD: usize = 16 * 1024 + 5;

/// What a parser says to the bytes so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<T> {
    /// More bytes are needed.
    More,
    /// Decided.
    Done(T),
}

/// What was learnt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Source and destination told by PROXY protocol.
    pub(crate) proxied: Option<(SocketAddr, SocketAddr)>,
    /// A ClientHello was seen.
    pub(crate) tls: bool,
    /// SNI, lower case.
    pub(crate) server_name: Option<String>,
    /// ALPN offered, or the protocol sniffed.
    pub(crate) protocols: Vec<Vec<u8>>,
}

/// Why a connection is closed before it has a filter chain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectError {
    /// The peer sent nothing useful in time.
    #[error("listener filters timed out")]
    Timeout,
    /// PROXY protocol is required and the header is wrong.
    #[error("proxy protocol: {0}")]
    ProxyProtocol(&'static str),
    /// The socket failed, or the peer closed it.
    #[error("connection closed during inspection")]
    Closed(#[source] Option<io::Error>),
}

/// Runs the listener's filters on `io`. PROXY protocol bytes are removed, all others are left to be read again.
pub(crate) async fn run(listener: &Listener, io: &mut Rewound<Socket>) -> Result<Findings, InspectError> {
    let filters = listener.listener_filters;
    let mut findings = Findings::default();
    if !(filters.proxy_protocol || filters.tls_inspector || filters.http_inspector) {
        return Ok(findings);
    }
    let inspected = inspect(listener, io, &mut findings);
    if listener.listener_filters_timeout == Duration::ZERO {
        inspected.await?;
        return Ok(findings);
    }
    match tokio::time::timeout(listener.listener_filters_timeout, inspected).await {
        Ok(result) => result?,
        Err(_) if listener.continue_on_timeout => {}
        Err(_) => return Err(InspectError::Timeout),
    }
    Ok(findings)
}

async fn inspect(listener: &Listener, io: &mut Rewound<Socket>, findings: &mut Findings) -> Result<(), InspectError> {
    let filters = listener.listener_filters;
    if filters.proxy_protocol {
        let header = until(io, proxy_protocol::parse).await?;
        let header = header.ok_or(InspectError::Closed(None))?.map_err(InspectError::ProxyProtocol)?;
        io.consume(header.length);
        findings.proxied = header.addresses;
    }
    if filters.tls_inspector
        && let Some(Some(hello)) = until(io, tls::parse).await?
    {
        findings.tls = true;
        findings.server_name = hello.server_name;
        findings.protocols = hello.alpn;
    }
    if filters.http_inspector
        && !findings.tls
        && let Some(Some(protocol)) = until(io, http::parse).await?
    {
        findings.protocols = vec![protocol.to_vec()];
    }
    Ok(())
}

/// Reads until `parse` has decided; `None` if the peer ended first (what it sent is left to the filter chain).
async fn until<T>(io: &mut Rewound<Socket>, parse: impl Fn(&[u8]) -> Verdict<T>) -> Result<Option<T>, InspectError> {
    loop {
        if let Verdict::Done(found) = parse(io.head()) {
            return Ok(Some(found));
        }
        match io.read_ahead(MOST_AHEAD).await {
            Ok(0) if io.head().is_empty() => return Err(InspectError::Closed(None)),
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(e) => return Err(InspectError::Closed(Some(e))),
        }
    }
}
