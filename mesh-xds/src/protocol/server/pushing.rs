//! Composing the next push.

use std::{sync::Arc, time::Instant};

use super::{
    Event, ResourceSet, ServerStream,
    gate::Open,
    state::{Held, InFlight, Standing, TypeState},
};
use mesh_xds_api::envoy::config::cluster::v3::{
    Cluster,
    cluster::{ClusterDiscoveryType, DiscoveryType},
};

use crate::{
    Nonce, Resource, ResourceName, TypeUrl, Version,
    protocol::{Push, Variant},
};

/// What a push is made of.
struct Content {
    resources: Vec<Arc<Resource>>,
    removed: Vec<ResourceName>,
}

impl ServerStream {
    /// The next push, if one may be sent now. Call again until it gives none.
    pub fn poll(&mut self, set: &dyn ResourceSet, now: Instant) -> Option<Push> {
        for index in 0..self.types.len() {
            if self.types[index].in_flight.is_some() {
                continue;
            }
            let open = self.gate(index, now);
            if let Some(content) = self.types[index].compose(set, self.variant, open) {
                return Some(self.push(index, content, now));
            }
        }
        None
    }

    fn push(&mut self, index: usize, content: Content, now: Instant) -> Push {
        let nonce = self.nonce();
        let variant = self.variant;
        let state = &mut self.types[index];
        state.mark_sent(&content, nonce.clone(), variant, now);
        let type_url = state.type_url.clone();
        let Content { resources, removed } = content;
        self.events.push_back(Event::Pushed {
            type_url: type_url.clone(),
            nonce: nonce.clone(),
            resources: resources.len(),
            removed: removed.len(),
            bytes: resources.iter().map(|r| r.bytes().len()).sum(),
        });
        match variant {
            Variant::Sotw => {
                for other in &mut self.types {
                    other.warming |= !other.rules.whole_set && other.rules.referred_by.contains(&type_url);
                }
            }
            Variant::Delta if type_url == TypeUrl::CLUSTER => self.owe_endpoints(&resources),
            Variant::Delta => {}
        }
        Push { version: version_of(&resources), type_url, nonce, resources, removed }
    }
}

impl ServerStream {
    /// A changed cluster warms again, and is warm only when its endpoints have been supplied anew, changed or not ("Resource
    /// warming" in the protocol's text). A delta client does not ask for them a second time: it is subscribed already.
    fn owe_endpoints(&mut self, clusters: &[Arc<Resource>]) {
        let Some(endpoints) = self.types.iter_mut().find(|t| t.type_url == TypeUrl::ENDPOINT) else { return };
        for name in clusters.iter().filter_map(|cluster| endpoints_of(cluster)) {
            if let Some((name, held)) = endpoints.held.get_key_value(name.as_str())
                && !matches!(held.standing, Standing::Refused(_))
            {
                endpoints.owed.insert(name.clone());
            }
        }
    }
}

/// The endpoint resource that a cluster waits for, if it is of type EDS.
fn endpoints_of(cluster: &Resource) -> Option<String> {
    let cluster: Cluster = cluster.unpack().ok()?;
    let eds = cluster.eds_cluster_config.filter(|_| {
        matches!(cluster.cluster_discovery_type, Some(ClusterDiscoveryType::Type(kind)) if kind == DiscoveryType::Eds as i32)
    })?;
    Some(if eds.service_name.is_empty() { cluster.name } else { eds.service_name })
}

impl TypeState {
    fn compose(&self, set: &dyn ResourceSet, variant: Variant, open: Open) -> Option<Content> {
        let open = self.widen(open)?;
        let changes = open.changes && !self.changed.is_empty();
        let removals = open.removals && !self.gone.is_empty();
        if !changes && !removals && self.owed.is_empty() && !self.answer_due {
            return None;
        }
        Some(match (variant, self.rules.whole_set) {
            (Variant::Sotw, true) => self.whole_set(set, open),
            (Variant::Sotw, false) => Content { resources: self.wanted_now(set, open).0, removed: Vec::new() },
            (Variant::Delta, _) => self.difference(set, open),
        })
    }

    /// An answer is due: a client that starts with nothing gets all at once; another waits for the gate, unless it asked
    /// for names.
    fn widen(&self, open: Open) -> Option<Open> {
        if !self.answer_due {
            return Some(open);
        }
        let starts = self.counts.pushes == 0 && !self.resumed;
        let must_wait = !starts && !open.changes && !self.changed.is_empty() && self.owed.is_empty();
        (!must_wait).then_some(Open { changes: open.changes || starts, ..open })
    }

    /// What is owed or changed: the resources that exist, and the names that do not.
    fn wanted_now(&self, set: &dyn ResourceSet, open: Open) -> (Vec<Arc<Resource>>, Vec<ResourceName>) {
        let changed = self.changed.iter().filter(|n| open.changes && !self.owed.contains(*n));
        let (mut resources, mut absent) = (Vec::new(), Vec::new());
        for name in self.owed.iter().chain(changed) {
            match set.get(&self.type_url, name.as_str()) {
                Some(resource) => resources.push(resource.clone()),
                None => absent.push(name.clone()),
            }
        }
        (resources, absent)
    }

    fn difference(&self, set: &dyn ResourceSet, open: Open) -> Content {
        let (resources, mut removed) = self.wanted_now(set, open);
        let absent = |n: &&ResourceName| set.get(&self.type_url, n.as_str()).is_none();
        if open.removals {
            removed.extend(self.gone.iter().filter(absent).cloned());
            removed.extend(self.refused_removals.iter().filter(absent).cloned());
        }
        removed.sort();
        removed.dedup();
        Content { resources, removed }
    }

    /// Everything subscribed. Changes that must wait appear as they were, removals that must wait stay.
    fn whole_set(&self, set: &dyn ResourceSet, open: Open) -> Content {
        let mut resources = Vec::new();
        let mut add = |resource: &Arc<Resource>| {
            let name = resource.name();
            if !open.changes && self.changed.contains(name) && !self.owed.contains(name) {
                resources.extend(self.held.get(name).and_then(|h| h.resource.clone()));
            } else {
                resources.push(resource.clone());
            }
        };
        if self.interest.wildcard {
            set.for_each(&self.type_url, &mut add);
        } else {
            let mut names: Vec<&ResourceName> = self.interest.names.iter().collect();
            names.sort();
            names.into_iter().filter_map(|n| set.get(&self.type_url, n.as_str())).for_each(add);
        }
        if !open.removals {
            resources.extend(self.gone.iter().filter_map(|n| self.held.get(n)?.resource.clone()));
        }
        Content { resources, removed: Vec::new() }
    }

    /// Takes over that `content` is on its way.
    fn mark_sent(&mut self, content: &Content, nonce: Nonce, variant: Variant, now: Instant) {
        let keep_resource = variant == Variant::Sotw && self.rules.whole_set;
        let mut sent = Vec::with_capacity(content.resources.len());
        for resource in &content.resources {
            let (name, version) = (resource.name(), resource.version());
            let same = self.held.get(name).is_some_and(|h| h.version == *version);
            if !same {
                let held = Held {
                    version: version.clone(),
                    resource: keep_resource.then(|| resource.clone()),
                    standing: Standing::Sent,
                };
                self.held.insert(name.clone(), held);
                // A version told before and repeated in a whole set leaves the newer one, which must wait, still to come.
                self.changed.shift_remove(name);
            }
            self.refused_removals.remove(name);
            sent.push((name.clone(), version.clone()));
        }
        if keep_resource {
            // What is in the set is held; what is not, is deleted.
            let present: std::collections::HashSet<&ResourceName> = sent.iter().map(|(n, _)| n).collect();
            self.held.retain(|name, _| present.contains(name));
            self.gone.retain(|name| present.contains(name));
        }
        for name in &content.removed {
            self.held.remove(name);
            self.gone.remove(name);
            self.refused_removals.remove(name);
        }
        self.owed.clear();
        self.answer_due = false;
        self.resumed = false;
        self.held_back_since = None;
        self.counts.pushes += 1;
        self.last_nonce = Some(nonce.clone());
        let removed = content.removed.clone();
        self.in_flight = Some(InFlight { nonce, sent_at: now, resources: sent, removed });
    }
}

/// A version for the response as a whole: equal content, equal version.
fn version_of(resources: &[Arc<Resource>]) -> Version {
    let one = |r: &Arc<Resource>| {
        let text = format!("{}\0{}", r.name(), r.version());
        xxhash_rust::xxh3::xxh3_64(text.as_bytes())
    };
    Version::from_hash(resources.iter().map(one).fold(resources.len() as u64, u64::wrapping_add))
}
