//! One random change.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, rngs::StdRng};

use super::{Cluster, Kind, MAX_CLUSTERS, MAX_HOSTS, Shop, pick};
use crate::certs::Authority;

/// What may happen to a [`Shop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A cluster with its endpoints comes; nothing is sent to it yet.
    AddCluster,
    /// A host is sent to other clusters that exist.
    MoveHost,
    /// A host is sent to a cluster that comes with the same update, and the clusters it leaves go with it if nobody else
    /// uses them.
    ReplaceCluster,
    /// A cluster nobody uses goes.
    RemoveCluster,
    /// A setting of a cluster changes, so that it warms anew.
    ChangeCluster,
    /// Upstreams come and go; at least one is there always.
    ChangeEndpoints,
    /// The route configuration gets another name. It is [`Change::is_alone`].
    RenameRoutes,
    /// A virtual host comes.
    AddHost,
    /// A virtual host goes.
    RemoveHost,
    /// The discovered filter changes, its kind perhaps too.
    SwapFilter,
    /// A certificate is rotated under its name.
    Rotate,
    /// A secret gets another name.
    RenameSecret,
    /// Runtime changes.
    Runtime,
    /// A listener comes, changes or goes.
    Listener,
}

impl Change {
    /// Everything, the more often the more there is to go wrong.
    const ALL: [Self; 20] = [
        Self::AddCluster,
        Self::MoveHost,
        Self::MoveHost,
        Self::MoveHost,
        Self::ReplaceCluster,
        Self::ReplaceCluster,
        Self::ReplaceCluster,
        Self::ReplaceCluster,
        Self::RemoveCluster,
        Self::RemoveCluster,
        Self::ChangeCluster,
        Self::ChangeEndpoints,
        Self::RenameRoutes,
        Self::AddHost,
        Self::RemoveHost,
        Self::SwapFilter,
        Self::Rotate,
        Self::RenameSecret,
        Self::Runtime,
        Self::Listener,
    ];

    /// Whether what was before must be in force before it comes, and connections must have left the old listener before
    /// something else comes. A listener that drains goes on with the routes that it had, under a name of which no server
    /// hears any more: nobody may take away the clusters that they name.
    #[must_use]
    pub fn is_alone(self) -> bool {
        self == Self::RenameRoutes
    }
}

impl Shop {
    /// One change, or a few that come with one update. Gives the new state, and what was done.
    #[must_use]
    pub fn changed(&self, rng: &mut StdRng, authority: &Authority) -> (Self, Vec<Change>) {
        let count = if rng.random_range(0..3) == 0 { rng.random_range(2..=4) } else { 1 };
        let (mut shop, mut made) = (self.clone(), Vec::new());
        while made.len() < count {
            let change = Change::ALL[rng.random_range(0..Change::ALL.len())];
            if change.is_alone() && !made.is_empty() {
                continue;
            }
            if shop.apply(change, rng, authority).is_some() {
                made.push(change);
            }
            if change.is_alone() {
                break;
            }
        }
        (shop, made)
    }

    /// `None` if there is nothing that could change so.
    fn apply(&mut self, change: Change, rng: &mut StdRng, authority: &Authority) -> Option<()> {
        match change {
            Change::AddCluster => {
                self.add_cluster(rng)?;
            }
            Change::MoveHost => {
                let targets = self.some_targets(rng);
                *self.some_host(rng)? = targets;
            }
            Change::ReplaceCluster => self.replace_cluster(rng)?,
            Change::RemoveCluster => {
                let unused: Vec<String> = self.clusters.keys().filter(|c| !self.routed(c)).cloned().collect();
                self.clusters.remove(pick(rng, &unused)?);
            }
            Change::ChangeCluster => self.some_cluster(rng)?.timeout += 1,
            Change::ChangeEndpoints => self.some_cluster(rng)?.upstreams = some_upstreams(rng, self.upstreams),
            Change::RenameRoutes => self.routes = self.fresh("routes-"),
            Change::AddHost => self.add_host(rng)?,
            Change::RemoveHost => {
                // One host lives as long as the test, for the traffic.
                let host = pick(rng, self.hosts.keys().skip(1))?.clone();
                self.hosts.remove(&host);
            }
            Change::SwapFilter => self.filter += 1,
            Change::Rotate if rng.random() => self.server.1 = authority.issue(),
            Change::Rotate => self.client.1 = authority.issue(),
            Change::RenameSecret if rng.random() => self.server = (self.fresh("server-"), authority.issue()),
            Change::RenameSecret => self.client = (self.fresh("client-"), authority.issue()),
            Change::Runtime => self.runtime += 1,
            Change::Listener => self.extra = (self.extra.is_none() || rng.random()).then(|| rng.random()),
        }
        Some(())
    }

    fn add_cluster(&mut self, rng: &mut StdRng) -> Option<String> {
        if self.clusters.len() >= MAX_CLUSTERS {
            return None;
        }
        let kind = [Kind::Plain, Kind::Plain, Kind::Secure, Kind::Static][rng.random_range(0..4)];
        let cluster = Cluster { kind, upstreams: some_upstreams(rng, self.upstreams), timeout: 1 };
        let name = self.fresh("c");
        self.clusters.insert(name.clone(), cluster);
        Some(name)
    }

    fn replace_cluster(&mut self, rng: &mut StdRng) -> Option<()> {
        let name = self.add_cluster(rng)?;
        let targets = self.some_host(rng)?;
        let left = std::mem::replace(targets, BTreeMap::from([(name, 1)]));
        for cluster in left.keys() {
            if !self.routed(cluster) {
                self.clusters.remove(cluster);
            }
        }
        Some(())
    }

    fn add_host(&mut self, rng: &mut StdRng) -> Option<()> {
        if self.hosts.len() >= MAX_HOSTS {
            return None;
        }
        let (name, targets) = (self.fresh("h"), self.some_targets(rng));
        self.hosts.insert(format!("{name}.test"), targets);
        Some(())
    }

    fn some_host(&mut self, rng: &mut StdRng) -> Option<&mut BTreeMap<String, u32>> {
        let name = pick(rng, self.hosts.keys())?.clone();
        self.hosts.get_mut(&name)
    }

    fn some_cluster(&mut self, rng: &mut StdRng) -> Option<&mut Cluster> {
        let name = pick(rng, self.clusters.keys())?.clone();
        self.clusters.get_mut(&name)
    }

    fn some_targets(&self, rng: &mut StdRng) -> BTreeMap<String, u32> {
        let count = rng.random_range(1..=3);
        (0..count).filter_map(|_| Some((pick(rng, self.clusters.keys())?.clone(), rng.random_range(1..10)))).collect()
    }
}

fn some_upstreams(rng: &mut StdRng, all: usize) -> BTreeSet<usize> {
    let always = rng.random_range(0..all);
    (0..all).filter(|upstream| *upstream == always || rng.random()).collect()
}
