//! A listener in force on one worker: its filter chains, ready to take connections.

use std::{
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
};

use bytes::Bytes;

use super::{
    chain_match::{ChainMatcher, ConnectionFacts},
    inspect::InspectorStats,
};
use crate::{
    access_log::AccessLog,
    drain::Drain,
    http::HttpChain,
    model::{FilterChain, Listener, NetworkFilterEntry, TerminalFilter},
    state::Snapshot,
    stats::{Counter, Gauge, Histogram, Stats},
    tcp::TcpChain,
    tls::{ServerTlsHandle, TlsStats, server_config},
    worker::WorkerContext,
};

/// A listener with its chains compiled.
pub(crate) struct ActiveListener {
    pub(crate) model: Arc<Listener>,
    pub(crate) name: Arc<str>,
    pub(crate) stats: ListenerStats,
    pub(crate) inspectors: InspectorStats,
    pub(crate) open: Arc<AtomicU64>,
    pub(crate) logs: Vec<Arc<AccessLog>>,
    matcher: ChainMatcher,
    chains: Vec<Rc<ActiveChain>>,
    default: Option<Rc<ActiveChain>>,
}

/// A filter chain in force.
pub(crate) struct ActiveChain {
    pub(crate) model: Arc<FilterChain>,
    pub(crate) name: Arc<str>,
    pub(crate) tls: Option<ServerTlsHandle>,
    pub(crate) terminal: Terminal,
    pub(crate) drain: Rc<Drain>,
    buffer_limit: u32,
}

/// What carries the traffic of a chain.
pub(crate) enum Terminal {
    /// HTTP connection manager.
    Http(Rc<HttpChain>),
    /// TCP proxy.
    Tcp(Rc<TcpChain>),
    /// What comes is sent back.
    Echo,
    /// These bytes, then the end.
    DirectResponse(Bytes),
    /// A filter that ends the connection by itself.
    Custom(NetworkFilterEntry),
}

/// `listener.ADDRESS.*`.
pub(crate) struct ListenerStats {
    pub(crate) cx_total: Counter,
    pub(crate) cx_active: Gauge,
    pub(crate) cx_overflow: Counter,
    pub(crate) cx_length: Histogram,
    pub(crate) pre_cx_timeout: Counter,
    pub(crate) pre_cx_active: Gauge,
    pub(crate) no_filter_chain_match: Counter,
    pub(crate) ssl: TlsStats,
    pub(crate) ssl_timeout: Counter,
}

impl ListenerStats {
    fn new(stats: &Stats, listener: &Listener) -> Self {
        let address = match listener.addresses.first() {
            _ if !listener.stat_prefix.is_empty() => listener.stat_prefix.clone(),
            Some(address) => address.to_string().replace(':', "_"),
            None => listener.name.clone(),
        };
        let counter = |name: &str| stats.counter(&format!("listener.{address}.{name}"));
        let gauge = |name: &str| stats.gauge(&format!("listener.{address}.{name}"));
        Self {
            cx_total: counter("downstream_cx_total"),
            cx_active: gauge("downstream_cx_active"),
            cx_overflow: counter("downstream_cx_overflow"),
            cx_length: stats.histogram(&format!("listener.{address}.downstream_cx_length_ms")),
            pre_cx_timeout: counter("downstream_pre_cx_timeout"),
            pre_cx_active: gauge("downstream_pre_cx_active"),
            no_filter_chain_match: counter("no_filter_chain_match"),
            ssl: TlsStats::new(stats, &format!("listener.{address}.ssl.")),
            ssl_timeout: counter("downstream_cx_transport_socket_connect_timeout"),
        }
    }
}

impl ActiveListener {
    /// For `model`. Chains that `old` has as well go on as they are, connections and all.
    pub(crate) fn new(model: Arc<Listener>, worker: &Rc<WorkerContext>, old: Option<&ActiveListener>) -> Rc<Self> {
        let matcher = ChainMatcher::compile(&model).unwrap_or_else(|e| {
            // Refused when the configuration was accepted; if it gets here, the default chain takes everything.
            tracing::error!(listener = model.name, error = %e, "filter chains cannot be matched");
            ChainMatcher::default()
        });
        let chain = |wanted: &Arc<FilterChain>| {
            let kept = old.and_then(|old| {
                old.all_chains().find(|c| c.carries_on_as(wanted) && c.buffer_limit == model.buffer_limit)
            });
            kept.cloned().unwrap_or_else(|| ActiveChain::new(wanted, &model, worker))
        };
        Rc::new(Self {
            name: model.name.as_str().into(),
            stats: ListenerStats::new(&worker.stats, &model),
            inspectors: InspectorStats::new(&worker.stats, &model),
            open: worker.shared.open_connections(&model.name),
            logs: worker.access_logs(&model.access_log),
            matcher,
            chains: model.filter_chains.iter().map(chain).collect(),
            default: model.default_filter_chain.as_ref().map(chain),
            model,
        })
    }

    /// All chains, the default one last.
    pub(crate) fn all_chains(&self) -> impl Iterator<Item = &Rc<ActiveChain>> {
        self.chains.iter().chain(&self.default)
    }

    /// The chain that takes a connection.
    pub(crate) fn chain_for(&self, facts: &ConnectionFacts<'_>) -> Option<&Rc<ActiveChain>> {
        self.matcher.find(facts).and_then(|index| self.chains.get(index)).or(self.default.as_ref())
    }

    /// Hands a new snapshot to the chains.
    pub(crate) fn update(&self, snapshot: &Snapshot) {
        for chain in self.all_chains() {
            if let Terminal::Http(http) = &chain.terminal {
                http.update(snapshot);
            }
        }
    }
}

impl ActiveChain {
    /// Whether `wanted` is this very chain, after an update of its listener.
    fn carries_on_as(&self, wanted: &Arc<FilterChain>) -> bool {
        Arc::ptr_eq(&self.model, wanted) || (wanted.digest.is_some() && self.model.digest == wanted.digest)
    }

    fn new(model: &Arc<FilterChain>, listener: &Listener, worker: &Rc<WorkerContext>) -> Rc<Self> {
        let terminal = match &model.terminal {
            TerminalFilter::Http(http) => Terminal::Http(HttpChain::new(http.clone(), listener.buffer_limit, worker)),
            TerminalFilter::Tcp(tcp) => Terminal::Tcp(TcpChain::new(tcp.clone(), worker)),
            TerminalFilter::Echo => Terminal::Echo,
            TerminalFilter::DirectResponse(bytes) => Terminal::DirectResponse(bytes.clone()),
            TerminalFilter::Custom(entry) => Terminal::Custom(entry.clone()),
        };
        Rc::new(Self {
            name: model.name.as_str().into(),
            tls: model.tls.as_ref().map(|tls| server_config(tls, &worker.secrets)),
            terminal,
            drain: Drain::new(),
            buffer_limit: listener.buffer_limit,
            model: model.clone(),
        })
    }
}
