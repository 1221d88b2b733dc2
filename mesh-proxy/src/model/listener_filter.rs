use std::{ops::Range, sync::Arc};

pub use crate::proxy_protocol::{ProxyProtocolVersion, Tlv};

/// A listener filter and where it does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerFilter {
    /// What it does.
    pub kind: ListenerFilterKind,
    /// Connections for which it is left out (`filter_disabled`).
    pub disabled: Option<ListenerPredicate>,
}

/// What a listener filter does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerFilterKind {
    /// `envoy.filters.listener.proxy_protocol`.
    ProxyProtocol(Arc<ProxyProtocol>),
    /// `envoy.filters.listener.original_dst`. It runs before the others, wherever it stands.
    OriginalDst,
    /// `envoy.filters.listener.tls_inspector`.
    TlsInspector(TlsInspector),
    /// `envoy.filters.listener.http_inspector`.
    HttpInspector,
}

impl From<ListenerFilterKind> for ListenerFilter {
    /// It runs for all connections.
    fn from(kind: ListenerFilterKind) -> Self {
        Self { kind, disabled: None }
    }
}

impl ListenerFilter {
    /// Whether it runs for a connection to this port.
    #[must_use]
    pub fn runs(&self, port: u16) -> bool {
        !self.disabled.as_ref().is_some_and(|predicate| predicate.matches(port))
    }
}

/// `listener.v3.ListenerFilterChainMatchPredicate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerPredicate {
    /// One of these holds.
    Or(Vec<ListenerPredicate>),
    /// All of these hold.
    And(Vec<ListenerPredicate>),
    /// This does not hold.
    Not(Box<ListenerPredicate>),
    /// Always.
    Any,
    /// The port the client meant is in this range.
    DestinationPort(Range<i32>),
}

impl ListenerPredicate {
    /// Whether it holds for a connection to this port.
    #[must_use]
    pub fn matches(&self, port: u16) -> bool {
        match self {
            ListenerPredicate::Or(rules) => rules.iter().any(|rule| rule.matches(port)),
            ListenerPredicate::And(rules) => rules.iter().all(|rule| rule.matches(port)),
            ListenerPredicate::Not(rule) => !rule.matches(port),
            ListenerPredicate::Any => true,
            ListenerPredicate::DestinationPort(range) => range.contains(&i32::from(port)),
        }
    }
}

/// `filters.listener.tls_inspector.v3.TlsInspector`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsInspector {
    /// Longest ClientHello read, bytes. Default 16 KiB.
    pub max_client_hello: u32,
    /// A connection that begins as TLS and sends no readable ClientHello is closed; otherwise it goes on as plaintext.
    pub close_on_error: bool,
}

impl Default for TlsInspector {
    fn default() -> Self {
        Self { max_client_hello: 16 * 1024, close_on_error: false }
    }
}

/// `filters.listener.proxy_protocol.v3.ProxyProtocol`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// A connection without a header goes on with its own addresses.
    pub optional: bool,
    /// Versions that count as no header.
    pub disallowed: Vec<ProxyProtocolVersion>,
    /// TLVs that become metadata of the connection.
    pub rules: Vec<TlvRule>,
    /// TLVs kept for headers toward upstreams.
    pub pass_through: TlvSelection,
    /// Prefix of statistics, after `proxy_proto.`; may be empty.
    pub stat_prefix: String,
}

/// A TLV that becomes metadata (`ProxyProtocol.Rule`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlvRule {
    /// Type of the TLV.
    pub kind: u8,
    /// Namespace of the metadata.
    pub namespace: String,
    /// Key in it.
    pub key: String,
    /// The value is written as Base64; otherwise as text, with `!` for bytes that are not UTF-8.
    pub base64: bool,
}

/// Which TLVs are passed on (`core.v3.ProxyProtocolPassThroughTLVs`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TlvSelection {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// Those of these types.
    Kinds(Vec<u8>),
}

impl TlvSelection {
    /// Whether TLVs of this type are among them.
    #[must_use]
    pub fn includes(&self, kind: u8) -> bool {
        match self {
            TlvSelection::None => false,
            TlvSelection::All => true,
            TlvSelection::Kinds(kinds) => kinds.contains(&kind),
        }
    }
}
