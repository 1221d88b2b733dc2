//! What listener filters learn from the first bytes of a connection, before a filter chain is chosen.
//!
//! The parsers are pure: bytes in, a verdict out. [`run`] feeds them, in the order of the configuration.

mod http;
mod proxied;
mod stats;
mod tls;

use std::{io, net::SocketAddr, time::Duration};

pub(crate) use stats::InspectorStats;

use self::tls::Seen;
use super::io::Rewound;
use crate::{
    model::{Listener, ListenerFilter, ListenerFilterKind, Tlv},
    proxy_protocol,
    rt::Socket,
};

/// Bytes the HTTP inspector may read ahead.
const MOST_AHEAD: usize = 16 * 1024;

/// Room for the headers of the records that a ClientHello is spread over.
const RECORD_HEADERS: usize = 1024;

/// What a parser says to the bytes so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<T> {
    /// More bytes are needed.
    More,
    /// Decided.
    Done(T),
}

/// What was learnt.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Findings {
    /// Source and destination told by PROXY protocol.
    pub(crate) proxied: Option<(SocketAddr, SocketAddr)>,
    /// TLVs to be passed on.
    pub(crate) tlvs: Vec<Tlv>,
    /// Metadata made of TLVs, by namespace.
    pub(crate) metadata: serde_json::Map<String, serde_json::Value>,
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
    /// PROXY protocol is required, or the header is wrong.
    #[error("proxy protocol: {0}")]
    ProxyProtocol(&'static str),
    /// The ClientHello is longer than allowed.
    #[error("the ClientHello is too long")]
    HelloTooLong,
    /// Something else than a ClientHello came, and that is not allowed.
    #[error("no ClientHello")]
    NoHello,
    /// The socket failed, or the peer closed it.
    #[error("connection closed during inspection")]
    Closed(#[source] Option<io::Error>),
}

/// Runs the listener's filters on `io`, for a connection to `port`. PROXY protocol bytes are removed, all others are left
/// to be read again.
pub(crate) async fn run(
    listener: &Listener,
    stats: &InspectorStats,
    port: u16,
    io: &mut Rewound<Socket>,
) -> Result<Findings, InspectError> {
    let mut findings = Findings::default();
    if listener.listener_filters.is_empty() {
        return Ok(findings);
    }
    let inspected = inspect(&listener.listener_filters, stats, port, io, &mut findings);
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

async fn inspect(
    filters: &[ListenerFilter],
    stats: &InspectorStats,
    port: u16,
    io: &mut Rewound<Socket>,
    findings: &mut Findings,
) -> Result<(), InspectError> {
    for filter in filters {
        // The port the client meant, as far as it is known by now.
        let port = findings.proxied.map_or(port, |(_, local)| local.port());
        if !filter.runs(port) {
            continue;
        }
        match &filter.kind {
            ListenerFilterKind::OriginalDst => {}
            ListenerFilterKind::ProxyProtocol(config) => {
                let parse = |bytes: &[u8]| match proxy_protocol::parse(bytes) {
                    proxy_protocol::Parsed::More => Verdict::More,
                    decided => Verdict::Done(decided),
                };
                let found = until(io, proxy_protocol::LONGEST, parse).await?.ok_or(InspectError::Closed(None))?;
                let length = proxied::take(config, stats, found, findings)?;
                io.consume(length);
            }
            ListenerFilterKind::TlsInspector(config) => {
                let longest = config.max_client_hello as usize;
                let seen = until(io, longest + RECORD_HEADERS, |bytes| tls::parse(bytes, longest)).await?;
                match seen.unwrap_or(Seen::Other) {
                    Seen::Hello(hello) => {
                        stats.hello(&hello);
                        findings.tls = true;
                        findings.server_name = hello.server_name;
                        findings.protocols = hello.alpn;
                    }
                    Seen::TooLong => {
                        stats.tls_too_large.inc();
                        return Err(InspectError::HelloTooLong);
                    }
                    Seen::Other if config.close_on_error => return Err(InspectError::NoHello),
                    Seen::Other => stats.tls_not_found.inc(),
                }
            }
            ListenerFilterKind::HttpInspector => {
                if !findings.tls
                    && let Some(Some(protocol)) = until(io, MOST_AHEAD, http::parse).await?
                {
                    findings.protocols = vec![protocol.to_vec()];
                }
            }
        }
    }
    Ok(())
}

/// Reads until `parse` has decided; `None` if the peer ended first (what it sent is left to the filter chain).
async fn until<T>(
    io: &mut Rewound<Socket>,
    most: usize,
    parse: impl Fn(&[u8]) -> Verdict<T>,
) -> Result<Option<T>, InspectError> {
    loop {
        if let Verdict::Done(found) = parse(io.head()) {
            return Ok(Some(found));
        }
        match io.read_ahead(most).await {
            Ok(0) if io.head().is_empty() => return Err(InspectError::Closed(None)),
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(e) => return Err(InspectError::Closed(Some(e))),
        }
    }
}
