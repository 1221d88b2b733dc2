use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{AccessLogConfig, Address, CidrRange, ListenerFilter, Metadata, ServerTls, SocketSettings};
use crate::filter::NetworkFilter;

/// `listener.v3.Listener`.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Unique name.
    pub name: String,
    /// Bound addresses: `address` first, then `additional_addresses`.
    pub addresses: Vec<Address>,
    /// Settings of their sockets, in the same order; an address without an entry has none.
    pub sockets: Vec<SocketSettings>,
    /// Connections arrive by `TPROXY`: a socket's own address is what the client meant (`transparent`). The option
    /// itself is among the `sockets`' options.
    pub transparent: bool,
    /// Multipath TCP is offered.
    pub mptcp: bool,
    /// A socket is opened. `false`: connections arrive from another listener by original destination.
    pub bind_to_port: bool,
    /// Connections are handed to the listener that matches their original destination (`use_original_dst`).
    pub use_original_dst: bool,
    /// What runs on a new connection before a filter chain is chosen, in order.
    pub listener_filters: Vec<ListenerFilter>,
    /// How long listener filters may wait for bytes. Default 15 s; zero = for ever.
    pub listener_filters_timeout: Duration,
    /// On that time-out the connection goes on instead of being closed.
    pub continue_on_timeout: bool,
    /// Chains, in configuration order.
    pub filter_chains: Vec<Arc<FilterChain>>,
    /// Used when none matches.
    pub default_filter_chain: Option<Arc<FilterChain>>,
    /// Soft limit on bytes buffered for a connection. Default 1 MiB.
    pub buffer_limit: u32,
    /// `listen(2)` backlog. Default: the system's maximum.
    pub backlog: Option<u32>,
    /// `SO_REUSEPORT` with one socket for each worker. Default true.
    pub reuse_port: bool,
    /// Traffic direction told by the control plane, for names of statistics and draining.
    pub inbound: Option<bool>,
    /// Prefix of the listener's statistics; empty = the address.
    pub stat_prefix: String,
    /// Filter metadata.
    pub metadata: Metadata,
    /// Logs of connections, besides those of the HTTP connection manager.
    pub access_log: Vec<AccessLogConfig>,
    /// Most connections open at a time; `None` = unlimited.
    pub max_connections: Option<u64>,
}

impl Listener {
    /// Settings of the socket of address number `index`.
    #[must_use]
    pub fn socket(&self, index: usize) -> &SocketSettings {
        self.sockets.get(index).unwrap_or_else(|| SocketSettings::none())
    }
}

/// `listener.v3.FilterChain`.
#[derive(Clone, Debug)]
pub struct FilterChain {
    /// Name; may be empty.
    pub name: String,
    /// Which connections it takes.
    pub matches: FilterChainMatch,
    /// TLS; `None` = plaintext.
    pub tls: Option<Arc<ServerTls>>,
    /// How long the transport socket may take to connect (`transport_socket_connect_timeout`). Zero = no limit.
    pub tls_timeout: Duration,
    /// Filters before the terminal one.
    pub filters: Vec<NetworkFilterEntry>,
    /// What carries the traffic.
    pub terminal: TerminalFilter,
    /// Tells chains apart over updates of their listener: one with an equal digest goes on, connections and all. `None`:
    /// only the very same value is the same chain.
    pub digest: Option<[u8; 32]>,
}

/// The last network filter of a chain.
#[derive(Clone, Debug)]
pub enum TerminalFilter {
    /// `envoy.filters.network.http_connection_manager`.
    Http(Arc<super::HttpConnectionManager>),
    /// `envoy.filters.network.tcp_proxy`.
    Tcp(Arc<super::TcpProxy>),
    /// `envoy.filters.network.echo`.
    Echo,
    /// `envoy.filters.network.direct_response`: these bytes, then the end.
    DirectResponse(Bytes),
    /// A filter that answers a connection itself, such as echo or direct response: it never says `Continue`.
    Custom(NetworkFilterEntry),
}

/// A network filter that does not end the chain, with its configuration applied.
#[derive(Clone)]
pub struct NetworkFilterEntry {
    /// Name from the configuration.
    pub name: String,
    /// The filter.
    pub filter: Arc<dyn NetworkFilter>,
}

impl std::fmt::Debug for NetworkFilterEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NetworkFilterEntry({})", self.name)
    }
}

/// `listener.v3.FilterChainMatch`. Empty lists and `None` match everything.
///
/// Envoy's order of narrowing: destination port, destination IP, server name, transport protocol, application protocols,
/// directly connected source IP, source type, source IP, source port.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterChainMatch {
    /// Original destination port.
    pub destination_port: Option<u16>,
    /// Original destination address.
    pub destination: Vec<CidrRange>,
    /// SNI: exact names or `*.suffix`, lower case.
    pub server_names: Vec<String>,
    /// Detected transport.
    pub transport: Option<TransportProtocol>,
    /// ALPN or sniffed protocol, such as `h2`, `http/1.1`, `istio`.
    pub application_protocols: Vec<String>,
    /// Address of the socket's peer, before PROXY protocol.
    pub direct_source: Vec<CidrRange>,
    /// `SAME_IP_OR_LOOPBACK` (`Some(true)`) or `EXTERNAL` (`Some(false)`).
    pub source_local: Option<bool>,
    /// Source address.
    pub source: Vec<CidrRange>,
    /// Source ports.
    pub source_ports: Vec<u16>,
}

/// Transport found by inspection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportProtocol {
    /// `raw_buffer`.
    RawBuffer,
    /// `tls`.
    Tls,
}
