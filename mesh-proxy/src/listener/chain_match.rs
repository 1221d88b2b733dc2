//! Which filter chain takes a connection, in Envoy's order (`listener.v3.FilterChainMatch`).
//!
//! The criteria are levels of a tree. At each level the most specific branch is taken and there is no way back: a
//! connection to port 80 never gets to a chain without a port if another chain names port 80. That is Envoy's rule.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;

use crate::model::{FilterChainMatch, Listener, TransportProtocol};

/// Facts of a connection that chains are chosen by.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionFacts<'a> {
    /// Address the client meant.
    pub(crate) local: SocketAddr,
    /// The client.
    pub(crate) remote: SocketAddr,
    /// The socket's peer.
    pub(crate) direct_remote: SocketAddr,
    /// SNI, lower case.
    pub(crate) server_name: Option<&'a str>,
    /// The TLS inspector saw a ClientHello.
    pub(crate) tls: bool,
    /// ALPN offered, or the protocol sniffed.
    pub(crate) application_protocols: &'a [Vec<u8>],
}

/// Two chains take the same connections.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("filter_chains[{second}]: same match as filter_chains[{first}]")]
pub(crate) struct DuplicateMatch {
    /// Earlier chain.
    pub(crate) first: usize,
    /// Later chain.
    pub(crate) second: usize,
}

/// Compiled matches of a listener's chains.
#[derive(Debug, Default)]
pub(crate) struct ChainMatcher {
    root: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    DestinationPort,
    Destination,
    ServerName,
    Transport,
    ApplicationProtocol,
    DirectSource,
    SourceType,
    Source,
    SourcePort,
}

const LEVELS: [Level; 9] = [
    Level::DestinationPort,
    Level::Destination,
    Level::ServerName,
    Level::Transport,
    Level::ApplicationProtocol,
    Level::DirectSource,
    Level::SourceType,
    Level::Source,
    Level::SourcePort,
];

enum Key {
    Any,
    Number(u16),
    Text(Vec<u8>),
    Net(IpNet),
}

#[derive(Debug, Default)]
struct Node {
    numbers: HashMap<u16, Node>,
    texts: HashMap<Vec<u8>, Node>,
    /// Longest prefix first.
    nets: Vec<(IpNet, Node)>,
    any: Option<Box<Node>>,
    chain: Option<usize>,
}

impl ChainMatcher {
    /// Compiles the chains of `listener`.
    ///
    /// # Errors
    /// Two chains have the same match.
    pub(crate) fn compile(listener: &Listener) -> Result<Self, DuplicateMatch> {
        Self::from_matches(listener.filter_chains.iter().map(|chain| &chain.matches))
    }

    fn from_matches<'a>(matches: impl Iterator<Item = &'a FilterChainMatch>) -> Result<Self, DuplicateMatch> {
        let mut matcher = Self::default();
        for (index, matches) in matches.enumerate() {
            matcher.root.insert(matches, 0, index)?;
        }
        Ok(matcher)
    }

    /// The chain's index, or `None`: the default chain takes the connection.
    pub(crate) fn find(&self, facts: &ConnectionFacts<'_>) -> Option<usize> {
        let mut node = &self.root;
        for level in LEVELS {
            node = node.next(level, facts)?;
        }
        node.chain
    }
}

impl Node {
    fn insert(&mut self, matches: &FilterChainMatch, depth: usize, chain: usize) -> Result<(), DuplicateMatch> {
        let Some(level) = LEVELS.get(depth) else {
            return match self.chain.replace(chain) {
                Some(first) => Err(DuplicateMatch { first, second: chain }),
                None => Ok(()),
            };
        };
        for key in keys(*level, matches) {
            self.child(key).insert(matches, depth + 1, chain)?;
        }
        Ok(())
    }

    fn child(&mut self, key: Key) -> &mut Node {
        match key {
            Key::Any => self.any.get_or_insert_default(),
            Key::Number(n) => self.numbers.entry(n).or_default(),
            Key::Text(text) => self.texts.entry(text).or_default(),
            Key::Net(net) => {
                let at = self.nets.iter().position(|(n, _)| *n == net).unwrap_or_else(|| {
                    let at = self.nets.partition_point(|(n, _)| n.prefix_len() >= net.prefix_len());
                    self.nets.insert(at, (net, Node::default()));
                    at
                });
                &mut self.nets[at].1
            }
        }
    }

    fn next(&self, level: Level, facts: &ConnectionFacts<'_>) -> Option<&Node> {
        let found = match level {
            Level::DestinationPort => self.numbers.get(&facts.local.port()),
            Level::SourcePort => self.numbers.get(&facts.remote.port()),
            Level::Destination => self.in_net(facts.local.ip()),
            Level::DirectSource => self.in_net(facts.direct_remote.ip()),
            Level::Source => self.in_net(facts.remote.ip()),
            Level::Transport => self.numbers.get(&u16::from(facts.tls)),
            Level::SourceType => self.numbers.get(&u16::from(is_local(facts))),
            Level::ServerName => facts.server_name.and_then(|name| self.by_name(name)),
            Level::ApplicationProtocol => facts.application_protocols.iter().find_map(|p| self.texts.get(p)),
        };
        found.or(self.any.as_deref())
    }

    fn in_net(&self, ip: IpAddr) -> Option<&Node> {
        let ip = ip.to_canonical();
        self.nets.iter().find(|(net, _)| net.contains(&ip)).map(|(_, node)| node)
    }

    /// Exact name, then wildcards from the longest suffix on (`.example.com` stands for `*.example.com`).
    fn by_name(&self, name: &str) -> Option<&Node> {
        if self.texts.is_empty() {
            return None;
        }
        if let Some(node) = self.texts.get(name.as_bytes()) {
            return Some(node);
        }
        let dots = name.bytes().enumerate().filter(|(i, b)| *b == b'.' && *i > 0);
        dots.map(|(i, _)| &name.as_bytes()[i..]).find_map(|suffix| self.texts.get(suffix))
    }
}

fn keys(level: Level, m: &FilterChainMatch) -> Vec<Key> {
    let numbers = |n: Option<u16>| n.map(Key::Number).into_iter().collect::<Vec<_>>();
    let nets = |nets: &[IpNet]| nets.iter().map(|n| Key::Net(n.trunc())).collect::<Vec<_>>();
    let keys = match level {
        Level::DestinationPort => numbers(m.destination_port),
        Level::Destination => nets(&m.destination),
        Level::ServerName => m
            .server_names
            .iter()
            .map(|name| Key::Text(name.strip_prefix('*').unwrap_or(name).as_bytes().to_vec()))
            .collect(),
        Level::Transport => numbers(m.transport.map(|t| u16::from(t == TransportProtocol::Tls))),
        Level::ApplicationProtocol => {
            m.application_protocols.iter().map(|p| Key::Text(p.as_bytes().to_vec())).collect()
        }
        Level::DirectSource => nets(&m.direct_source),
        Level::SourceType => numbers(m.source_local.map(u16::from)),
        Level::Source => nets(&m.source),
        Level::SourcePort => m.source_ports.iter().map(|p| Key::Number(*p)).collect(),
    };
    if keys.is_empty() { vec![Key::Any] } else { keys }
}

fn is_local(facts: &ConnectionFacts<'_>) -> bool {
    facts.remote.ip().to_canonical().is_loopback() || facts.remote.ip() == facts.local.ip()
}

#[cfg(test)]
mod tests {
    use super::{ChainMatcher, ConnectionFacts, DuplicateMatch};
    use crate::model::{FilterChainMatch, TransportProtocol};

    fn facts(local: &str, remote: &str) -> ConnectionFacts<'static> {
        ConnectionFacts {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            direct_remote: remote.parse().unwrap(),
            server_name: None,
            tls: false,
            application_protocols: &[],
        }
    }

    fn matcher(matches: &[FilterChainMatch]) -> ChainMatcher {
        ChainMatcher::from_matches(matches.iter()).unwrap()
    }

    #[test]
    fn a_port_once_named_is_not_left_again() {
        let m = matcher(&[
            FilterChainMatch { destination_port: Some(80), server_names: vec!["a".into()], ..Default::default() },
            FilterChainMatch::default(),
        ]);
        assert_eq!(m.find(&facts("10.0.0.1:81", "10.0.0.2:1")), Some(1));
        assert_eq!(m.find(&facts("10.0.0.1:80", "10.0.0.2:1")), None);
    }

    #[test]
    fn longest_prefix_then_names_from_exact_to_wildcard() {
        let net = |s: &str| vec![s.parse().unwrap()];
        let m = matcher(&[
            FilterChainMatch { destination: net("10.0.0.0/8"), ..Default::default() },
            FilterChainMatch { destination: net("10.1.0.0/16"), ..Default::default() },
            FilterChainMatch { server_names: vec!["*.example.com".into()], ..Default::default() },
            FilterChainMatch { server_names: vec!["*.a.example.com".into()], ..Default::default() },
            FilterChainMatch { server_names: vec!["x.a.example.com".into()], ..Default::default() },
        ]);
        assert_eq!(m.find(&facts("10.2.0.1:80", "1.1.1.1:1")), Some(0));
        assert_eq!(m.find(&facts("10.1.0.1:80", "1.1.1.1:1")), Some(1));
        let named = |name| ConnectionFacts { server_name: Some(name), ..facts("192.0.2.1:443", "1.1.1.1:1") };
        assert_eq!(m.find(&named("x.a.example.com")), Some(4));
        assert_eq!(m.find(&named("y.a.example.com")), Some(3));
        assert_eq!(m.find(&named("y.b.example.com")), Some(2));
        assert_eq!(m.find(&named("example.com")), None);
    }

    #[test]
    fn transport_and_alpn_as_istio_uses_them() {
        let istio = ["istio-peer-exchange", "istio"].map(String::from).to_vec();
        let m = matcher(&[
            FilterChainMatch {
                transport: Some(TransportProtocol::Tls),
                application_protocols: istio,
                ..Default::default()
            },
            FilterChainMatch { transport: Some(TransportProtocol::Tls), ..Default::default() },
            FilterChainMatch { transport: Some(TransportProtocol::RawBuffer), ..Default::default() },
        ]);
        let plain = facts("10.0.0.1:80", "10.0.0.2:1");
        assert_eq!(m.find(&plain), Some(2));
        let alpn = [b"istio".to_vec(), b"h2".to_vec()];
        let tls = ConnectionFacts { tls: true, application_protocols: &alpn, ..plain.clone() };
        assert_eq!(m.find(&tls), Some(0));
        assert_eq!(m.find(&ConnectionFacts { tls: true, ..plain }), Some(1));
    }

    #[test]
    fn source_type_and_port() {
        let m = matcher(&[
            FilterChainMatch { source_local: Some(true), ..Default::default() },
            FilterChainMatch { source_ports: vec![7], ..Default::default() },
        ]);
        assert_eq!(m.find(&facts("10.0.0.1:80", "10.0.0.1:1")), Some(0));
        assert_eq!(m.find(&facts("10.0.0.1:80", "127.0.0.1:1")), Some(0));
        assert_eq!(m.find(&facts("10.0.0.1:80", "10.0.0.2:7")), Some(1));
        assert_eq!(m.find(&facts("10.0.0.1:80", "10.0.0.2:8")), None);
    }

    #[test]
    fn equal_matches_are_refused() {
        let twice = [FilterChainMatch::default(), FilterChainMatch::default()];
        assert_eq!(ChainMatcher::from_matches(twice.iter()).unwrap_err(), DuplicateMatch { first: 0, second: 1 });
    }
}
