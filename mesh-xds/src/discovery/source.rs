use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Endpoint, Registry, RegistryBuilder, Service, ServiceKey};

/// What a [`DiscoverySource`] reports.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DiscoveryEvent {
    /// The whole set: services not in it are gone.
    Synced(Vec<(Service, Vec<Endpoint>)>),
    /// One service appeared or changed; the endpoints are all of its endpoints.
    Upserted(Box<Service>, Vec<Endpoint>),
    /// One service is gone.
    Removed(ServiceKey),
}

/// Where services and endpoints come from.
///
/// # Contract
/// - The first event is [`DiscoveryEvent::Synced`]; it is reported again whenever the source lost track (a reconnect).
/// - After it, every change is reported at least once. Changes of one service may be merged: only the last state counts.
/// - A source that is out of reach reports nothing; it does not report an empty set.
/// - `None` ends the source: what it reported stays in force, nothing more will come.
/// - [`DiscoverySource::next`] is cancel safe: an event not returned is returned by the next call.
///
/// [`conformance::check`](super::conformance::check) (feature `test-util`) runs these rules against an implementation.
#[async_trait]
pub trait DiscoverySource: Send {
    /// Waits for the next event.
    async fn next(&mut self) -> Option<DiscoveryEvent>;
}

impl Registry {
    /// This registry after `event`. Costs the number of services, not of endpoints.
    #[must_use]
    pub fn apply(&self, event: DiscoveryEvent) -> Self {
        let mut builder = RegistryBuilder::default();
        let mut keep = |gone: Option<&ServiceKey>| {
            for record in self.services().filter(|record| Some(&record.service.key) != gone) {
                builder.add_record(record.clone());
            }
            for workload in self.workloads() {
                builder.add_workload(workload.clone());
            }
        };
        match event {
            DiscoveryEvent::Synced(all) => {
                for (service, endpoints) in all {
                    builder.add(service, endpoints);
                }
            }
            DiscoveryEvent::Upserted(service, endpoints) => {
                keep(Some(&service.key));
                builder.add(*service, endpoints);
            }
            DiscoveryEvent::Removed(key) => keep(Some(&key)),
        }
        builder.build()
    }
}

/// A source fed by hand: for tests, and for programs that know their services themselves.
///
/// Memory is bounded by the services it holds: changes not yet taken are merged per service.
#[derive(Debug)]
pub struct MemorySource {
    shared: Arc<Shared>,
}

/// Feeds a [`MemorySource`]. Clones feed the same one; the source ends when the last is dropped.
#[derive(Debug)]
pub struct MemoryHandle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    services: BTreeMap<ServiceKey, (Service, Vec<Endpoint>)>,
    pending: BTreeSet<ServiceKey>,
    synced: bool,
    handles: usize,
}

impl MemorySource {
    /// An empty source and its handle.
    #[must_use]
    pub fn new() -> (Self, MemoryHandle) {
        let shared = Arc::new(Shared::default());
        shared.state.lock().handles = 1;
        (Self { shared: Arc::clone(&shared) }, MemoryHandle { shared })
    }

    /// The next event, if there is one now; `Err` if there will never be one.
    fn poll(&self) -> Result<Option<DiscoveryEvent>, ()> {
        let mut state = self.shared.state.lock();
        if !state.synced {
            state.synced = true;
            state.pending.clear();
            return Ok(Some(DiscoveryEvent::Synced(state.services.values().cloned().collect())));
        }
        if let Some(key) = state.pending.pop_first() {
            let event = match state.services.get(&key) {
                Some((service, endpoints)) => DiscoveryEvent::Upserted(Box::new(service.clone()), endpoints.clone()),
                None => DiscoveryEvent::Removed(key),
            };
            return Ok(Some(event));
        }
        if state.handles == 0 { Err(()) } else { Ok(None) }
    }
}

#[async_trait]
impl DiscoverySource for MemorySource {
    async fn next(&mut self) -> Option<DiscoveryEvent> {
        loop {
            let shared = Arc::clone(&self.shared);
            let changed = shared.changed.notified();
            match self.poll() {
                Ok(Some(event)) => return Some(event),
                Ok(None) => changed.await,
                Err(()) => return None,
            }
        }
    }
}

impl MemoryHandle {
    /// Adds or replaces a service with all of its endpoints.
    pub fn upsert(&self, service: Service, endpoints: Vec<Endpoint>) {
        self.change(|state| {
            state.pending.insert(service.key.clone());
            state.services.insert(service.key.clone(), (service, endpoints));
        });
    }

    /// Removes a service; unknown ones are no change.
    pub fn remove(&self, key: &ServiceKey) {
        self.change(|state| {
            if state.services.remove(key).is_some() {
                state.pending.insert(key.clone());
            }
        });
    }

    /// Replaces everything; the source reports it as [`DiscoveryEvent::Synced`].
    pub fn replace(&self, all: Vec<(Service, Vec<Endpoint>)>) {
        self.change(|state| {
            state.services = all.into_iter().map(|(service, e)| (service.key.clone(), (service, e))).collect();
            state.synced = false;
        });
    }

    fn change(&self, f: impl FnOnce(&mut State)) {
        f(&mut self.shared.state.lock());
        self.shared.changed.notify_one();
    }
}

impl Clone for MemoryHandle {
    fn clone(&self) -> Self {
        self.shared.state.lock().handles += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for MemoryHandle {
    fn drop(&mut self) {
        self.change(|state| state.handles -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::ServiceKey;

    fn service(host: &str) -> Service {
        Service::new(host, "default")
    }

    fn endpoint(address: &str) -> Endpoint {
        Endpoint::new(address, 80, "http")
    }

    #[tokio::test]
    async fn merges_what_was_not_taken_and_ends_with_the_last_handle() {
        let (mut source, handle) = MemorySource::new();
        handle.upsert(service("a"), vec![]);
        assert_eq!(source.next().await, Some(DiscoveryEvent::Synced(vec![(service("a"), vec![])])));
        handle.upsert(service("b"), vec![]);
        handle.upsert(service("b"), vec![endpoint("10.0.0.1")]);
        handle.clone().remove(&service("a").key);
        drop(handle);
        assert_eq!(source.next().await, Some(DiscoveryEvent::Removed(service("a").key)));
        let upserted = DiscoveryEvent::Upserted(Box::new(service("b")), vec![endpoint("10.0.0.1")]);
        assert_eq!(source.next().await, Some(upserted));
        assert_eq!(source.next().await, None);
    }

    #[test]
    fn apply_folds_events() {
        let hosts = |registry: &Registry| {
            registry.services().map(|r| (r.service.hostname().to_owned(), r.endpoints.len())).collect::<Vec<_>>()
        };
        let registry = Registry::default().apply(DiscoveryEvent::Synced(vec![(service("a"), vec![])]));
        let registry = registry.apply(DiscoveryEvent::Upserted(Box::new(service("b")), vec![endpoint("10.0.0.1")]));
        let registry = registry.apply(DiscoveryEvent::Upserted(Box::new(service("a")), vec![endpoint("10.0.0.2")]));
        assert_eq!(hosts(&registry), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
        let key = ServiceKey { namespace: "default".into(), hostname: "a".into() };
        assert_eq!(hosts(&registry.apply(DiscoveryEvent::Removed(key))), [("b".to_owned(), 1)]);
    }
}
