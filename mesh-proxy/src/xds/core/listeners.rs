//! Listeners: LDS.

use std::{collections::HashSet, sync::Arc, time::Instant};

use indexmap::IndexMap;
use mesh_xds_api::TypeUrl;

use super::{Core, Now, Raw, Told, failure, named, names::Named, needs::Needs, reject};
use crate::{
    admin::TypeDump,
    config::{FieldError, Rejection},
    model::{Address, Listener, RouteSource, TerminalFilter},
    stats::{Counter, Gauge, Stats},
};

/// All listeners.
pub(super) struct Listeners {
    named: Named<Arc<Listener>>,
    added: Counter,
    modified: Counter,
    removed: Counter,
    active: Gauge,
    warming: Gauge,
}

impl Listeners {
    pub(super) fn new(stats: &Stats) -> Self {
        Self {
            named: Named::default(),
            added: stats.counter("listener_manager.listener_added"),
            modified: stats.counter("listener_manager.listener_modified"),
            removed: stats.counter("listener_manager.listener_removed"),
            active: stats.gauge("listener_manager.total_listeners_active"),
            warming: stats.gauge("listener_manager.total_listeners_warming"),
        }
    }

    pub(super) fn promote(&mut self, needs: &mut Needs, now: Instant) -> bool {
        let changed = self.named.promote(needs, now, |_| true);
        self.warming.set(self.named.warming_count() as u64);
        if changed {
            self.active.set(self.named.active().count() as u64);
        }
        changed
    }

    pub(super) fn warming_count(&self) -> usize {
        self.named.warming_count()
    }

    pub(super) fn active(&self) -> IndexMap<Arc<str>, Arc<Listener>> {
        self.named.active().map(|(name, listener)| (name.clone(), listener.clone())).collect()
    }

    pub(super) fn deadlines<'a>(&'a self, needs: &'a Needs) -> impl Iterator<Item = Instant> + 'a {
        self.named.deadlines(needs)
    }

    pub(super) fn dump(&self) -> TypeDump {
        self.named.dump()
    }

    /// Two listeners cannot have the same socket.
    fn address_is_free(&self, listener: &Listener) -> Result<(), FieldError> {
        if !listener.bind_to_port {
            return Ok(());
        }
        let others = self.named.all().filter(|(name, other)| ***name != *listener.name && other.bind_to_port);
        for (name, other) in others {
            let taken = |address: &&Address| other.addresses.contains(address) && !is_ephemeral(address);
            if let Some(address) = listener.addresses.iter().find(taken) {
                let reason = format!("has duplicate address '{address}' as existing listener {name}");
                return Err(FieldError::new("address", reason));
            }
        }
        Ok(())
    }
}

/// Port 0: the system chooses, so there is no conflict.
fn is_ephemeral(address: &Address) -> bool {
    matches!(address, Address::Tcp(address) if address.port() == 0)
}

impl Core {
    pub(super) fn told_listeners(&mut self, told: Told, now: Now, rejections: &mut Vec<Rejection>) {
        // Removals first: an address may pass from a removed listener to a new one.
        for name in told.removed {
            if !self.listeners.named.is_static(&name) && self.listeners.named.remove(&name, &mut self.needs).is_some() {
                self.listeners.removed.inc();
                self.listeners.active.set(self.listeners.named.active().count() as u64);
                self.dirty = true;
            }
        }
        let mut seen = HashSet::new();
        for raw in told.added {
            let name = raw.name.clone();
            let result = if seen.insert(name.clone()) {
                self.put_listener(raw.clone(), false, now)
            } else {
                Err(reject(&TypeUrl::LISTENER, &name, FieldError::new("name", "occurs twice in the response")))
            };
            if let Err(rejection) = result {
                if !self.listeners.named.is_static(&name) {
                    self.listeners.named.refuse(&name, failure(&rejection, &raw, now));
                }
                rejections.push(rejection);
            }
        }
    }

    pub(super) fn put_listener(&mut self, raw: Raw, from_bootstrap: bool, now: Now) -> Result<(), Rejection> {
        let refuse = |error| reject(&TypeUrl::LISTENER, &raw.name, error);
        if !from_bootstrap && self.listeners.named.is_static(&raw.name) {
            return Err(refuse(FieldError::new("name", "a static listener has this name and cannot be replaced")));
        }
        if self.listeners.named.is_current(&raw) {
            self.listeners.named.confirm(&raw);
            return Ok(());
        }
        let translation = self.translator.listener(&raw.any)?;
        let listener = Arc::new(translation.value);
        named(&TypeUrl::LISTENER, &raw.name, &listener.name)?;
        self.listeners.address_is_free(&listener).map_err(refuse)?;
        self.inline_clusters_known(&listener).map_err(refuse)?;
        let held = (listener, translation.dependencies);
        if self.listeners.named.put(raw, from_bootstrap, held, &mut self.needs, now) {
            self.listeners.added.inc();
        } else {
            self.listeners.modified.inc();
        }
        Ok(())
    }

    /// Route tables given in place name clusters that exist, unless they say that this does not matter.
    fn inline_clusters_known(&self, listener: &Listener) -> Result<(), FieldError> {
        let chains = listener.filter_chains.iter().enumerate().map(|(i, chain)| (format!("filter_chains[{i}]"), chain));
        let default = listener.default_filter_chain.iter().map(|chain| ("default_filter_chain".to_owned(), chain));
        for (path, chain) in chains.chain(default) {
            let TerminalFilter::Http(manager) = &chain.terminal else { continue };
            if let RouteSource::Inline(table) = &manager.routes
                && table.validate_clusters
            {
                let at = format!("{path}.filters[{}].typed_config.route_config", chain.filters.len());
                self.clusters.all_known(table).map_err(|error| error.within(at))?;
            }
        }
        Ok(())
    }
}
