//! A small mesh that changes at random and is consistent at every step: whatever a route names exists.

mod change;
mod render;

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, rngs::StdRng};

pub use self::change::Change;
use crate::certs::{Authority, Pair};

/// The most clusters at a time.
const MAX_CLUSTERS: usize = 9;
/// The most virtual hosts at a time.
const MAX_HOSTS: usize = 6;

/// How a cluster finds its hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By EDS.
    Plain,
    /// By EDS, with TLS whose secrets come by SDS.
    Secure,
    /// They are part of the cluster.
    Static,
}

#[derive(Debug, Clone)]
struct Cluster {
    kind: Kind,
    /// Which upstreams of its kind; never none.
    upstreams: BTreeSet<usize>,
    /// A setting whose change makes the cluster warm anew.
    timeout: u32,
}

/// The state of the mesh: a value, from which all resources are made.
#[derive(Debug, Clone)]
pub struct Shop {
    clusters: BTreeMap<String, Cluster>,
    /// Virtual hosts, and the clusters that each is sent to, by weight.
    hosts: BTreeMap<String, BTreeMap<String, u32>>,
    /// Counts everything that was ever made, to give it a name of its own.
    made: u32,
    routes: String,
    filter: u32,
    runtime: u64,
    server: (String, Pair),
    client: (String, Pair),
    extra: Option<u32>,
    upstreams: usize,
}

impl Shop {
    /// One host, one cluster; `upstreams` of each kind may be used.
    #[must_use]
    pub fn new(authority: &Authority, upstreams: usize) -> Self {
        let cluster = Cluster { kind: Kind::Plain, upstreams: BTreeSet::from([0]), timeout: 1 };
        Self {
            clusters: BTreeMap::from([("c0".into(), cluster)]),
            hosts: BTreeMap::from([("h0.test".into(), BTreeMap::from([("c0".into(), 1)]))]),
            made: 0,
            routes: "routes-0".into(),
            filter: 0,
            runtime: 0,
            server: ("server-0".into(), authority.issue()),
            client: ("client-0".into(), authority.issue()),
            extra: None,
            upstreams,
        }
    }

    /// The virtual hosts.
    #[must_use]
    pub fn hosts(&self) -> BTreeSet<String> {
        self.hosts.keys().cloned().collect()
    }

    /// The names of the clusters.
    #[must_use]
    pub fn clusters(&self) -> Vec<String> {
        self.clusters.keys().cloned().collect()
    }

    /// The name of the route configuration.
    #[must_use]
    pub fn routes(&self) -> &str {
        &self.routes
    }

    /// The names of the listeners.
    #[must_use]
    pub fn listeners(&self) -> Vec<&'static str> {
        let extra = self.extra.map(|_| "extra");
        extra.into_iter().chain(["front", "secure"]).collect()
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.made += 1;
        format!("{prefix}{}", self.made)
    }

    fn routed(&self, cluster: &str) -> bool {
        self.hosts.values().any(|targets| targets.contains_key(cluster))
    }
}

/// One of several.
fn pick<'a, T>(rng: &mut StdRng, from: impl IntoIterator<Item = &'a T>) -> Option<&'a T> {
    let all: Vec<&T> = from.into_iter().collect();
    (!all.is_empty()).then(|| all[rng.random_range(0..all.len())])
}
