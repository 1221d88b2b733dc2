use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use rustls_pki_types::CertificateDer;

use super::ResponseFlags;
use crate::model::{Metadata, Route, Tlv};

/// Facts of a downstream connection, fixed once its filter chain is chosen.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Unique in this process.
    pub id: u64,
    /// Peer of the socket.
    pub direct_remote: SocketAddr,
    /// Client: the socket's peer, or what PROXY protocol says.
    pub remote: SocketAddr,
    /// Address the client meant: the socket's own, or the original destination.
    pub local: SocketAddr,
    /// `local` is not the socket's own: it is the original destination, or what PROXY protocol says.
    pub local_restored: bool,
    /// TLS facts, if the connection is TLS.
    pub tls: Option<Arc<TlsInfo>>,
    /// Name of the listener.
    pub listener: Arc<str>,
    /// Name of the filter chain.
    pub filter_chain: Arc<str>,
    /// Filter metadata of the listener.
    pub listener_metadata: Metadata,
    /// SNI seen by the TLS inspector or by TLS itself.
    pub sni: Option<Arc<str>>,
    /// Traffic direction of the listener, if told.
    pub inbound: Option<bool>,
    /// Metadata that listener filters set, by namespace: what a rule of PROXY protocol made of a TLV. It is the
    /// connection's, not that of the requests on it.
    pub dynamic_metadata: Option<Arc<serde_json::Map<String, serde_json::Value>>>,
    /// TLVs of a PROXY protocol header that are passed on to upstreams.
    pub tlvs: Arc<[Tlv]>,
    /// When it was accepted.
    pub started: Instant,
}

impl ConnectionInfo {
    /// Where the client meant to go, if that is not the listener itself. A proxy that forwarded to its own address would
    /// call itself for ever.
    #[must_use]
    pub fn original_destination(&self) -> Option<SocketAddr> {
        self.local_restored.then_some(self.local)
    }
}

/// Facts of a TLS connection.
#[derive(Clone, Debug, Default)]
pub struct TlsInfo {
    /// The peer's chain, leaf first; empty if it presented none.
    pub peer_chain: Vec<CertificateDer<'static>>,
    /// The chain was verified.
    pub peer_verified: bool,
    /// URI SANs of the peer's leaf (a SPIFFE id is one).
    pub peer_uris: Vec<String>,
    /// DNS SANs of the peer's leaf.
    pub peer_dns: Vec<String>,
    /// Subject of the peer's leaf, RFC 2253.
    pub peer_subject: String,
    /// Issuer of the peer's leaf, RFC 2253.
    pub peer_issuer: String,
    /// SHA-256 of the peer's leaf, lower case hex.
    pub peer_fingerprint: String,
    /// URI SANs of the own leaf.
    pub local_uris: Vec<String>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// Cipher suite, OpenSSL's name.
    pub cipher: String,
    /// Negotiated ALPN protocol.
    pub alpn: Option<Vec<u8>>,
}

/// Facts of one request, or of one connection that the TCP proxy carries; filled in as it goes.
#[derive(Clone, Debug)]
pub struct StreamInfo {
    /// The connection it arrived on.
    pub connection: Arc<ConnectionInfo>,
    /// Client address after trusted XFF hops; the connection's otherwise.
    pub client: SocketAddr,
    /// Why it ended as it did.
    pub flags: ResponseFlags,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: Option<Cow<'static, str>>,
    /// Body of the answer, if the proxy itself made it: `%LOCAL_REPLY_BODY%`.
    pub local_reply_body: Option<bytes::Bytes>,
    /// Response status.
    pub status: Option<u16>,
    /// gRPC status of the response, if it is gRPC.
    pub grpc_status: Option<u16>,
    /// Protocol: `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`; `None` for TCP.
    pub protocol: Option<&'static str>,
    /// Request bytes received (body).
    pub bytes_received: u64,
    /// Response bytes sent (body).
    pub bytes_sent: u64,
    /// Route, once known.
    pub route: Option<Arc<Route>>,
    /// Name of the virtual host.
    pub virtual_host: Option<Arc<str>>,
    /// Cluster, once known.
    pub cluster: Option<Arc<str>>,
    /// Filter metadata of the cluster.
    pub cluster_metadata: Option<Metadata>,
    /// Address of the last host tried.
    pub upstream_host: Option<Arc<str>>,
    /// Filter metadata of that host.
    pub upstream_metadata: Option<Metadata>,
    /// URI SANs of the upstream's certificate; empty = no TLS.
    pub upstream_tls: Option<Arc<TlsInfo>>,
    /// Own address of the upstream connection.
    pub upstream_local: Option<SocketAddr>,
    /// Why the upstream failed, in words.
    pub upstream_failure: Option<Cow<'static, str>>,
    /// Attempts made.
    pub attempts: u32,
    /// When things happened.
    pub timings: Timings,
    /// Metadata set by filters, by namespace.
    pub dynamic_metadata: Option<Box<serde_json::Map<String, serde_json::Value>>>,
}

/// When things happened. Instants are of this process; the wall clock is for logs.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// First byte of the request, wall clock.
    pub start_time: SystemTime,
    /// First byte of the request.
    pub start: Instant,
    /// Last byte of the request.
    pub request_end: Option<Instant>,
    /// First byte sent upstream.
    pub upstream_start: Option<Instant>,
    /// First byte of the response received.
    pub response_start: Option<Instant>,
    /// Last byte of the response sent.
    pub end: Option<Instant>,
}

impl Timings {
    /// Begins now.
    #[must_use]
    pub fn begin(start: Instant, start_time: SystemTime) -> Self {
        Self { start_time, start, request_end: None, upstream_start: None, response_start: None, end: None }
    }

    /// From start to end; `None` while it goes on.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.end.map(|end| end.saturating_duration_since(self.start))
    }
}

impl StreamInfo {
    /// Facts of a stream that begins on `connection`.
    #[must_use]
    pub fn new(connection: Arc<ConnectionInfo>, start: Instant, start_time: SystemTime) -> Self {
        Self {
            client: connection.remote,
            connection,
            flags: ResponseFlags::NONE,
            details: None,
            local_reply_body: None,
            status: None,
            grpc_status: None,
            protocol: None,
            bytes_received: 0,
            bytes_sent: 0,
            route: None,
            virtual_host: None,
            cluster: None,
            cluster_metadata: None,
            upstream_host: None,
            upstream_metadata: None,
            upstream_tls: None,
            upstream_local: None,
            upstream_failure: None,
            attempts: 0,
            timings: Timings::begin(start, start_time),
            dynamic_metadata: None,
        }
    }
}
