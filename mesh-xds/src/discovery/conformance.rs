//! The contract of [`DiscoverySource`] as a runnable suite.

use std::future::Future;

use super::{DiscoveryEvent, DiscoverySource, Endpoint, Registry, Service};

/// Something that can make a source's backend hold exactly these services.
pub trait Backend {
    /// The source under test.
    type Source: DiscoverySource;

    /// A new source over a backend that holds nothing.
    fn source(&mut self) -> impl Future<Output = Self::Source> + Send;

    /// Adds or replaces one service in the backend.
    fn upsert(&mut self, service: Service, endpoints: Vec<Endpoint>) -> impl Future<Output = ()> + Send;

    /// Removes one service from the backend.
    fn remove(&mut self, service: &Service) -> impl Future<Output = ()> + Send;
}

/// Runs the rules of [`DiscoverySource`] against `backend`.
///
/// # Panics
/// If a rule is broken; the message names it.
pub async fn check<B: Backend>(mut backend: B) {
    let mut source = backend.source().await;
    let first = source.next().await.expect("a source starts with an event");
    assert!(matches!(first, DiscoveryEvent::Synced(_)), "the first event is the whole set, got {first:?}");
    let mut registry = Registry::default().apply(first);

    let a = Service::new("a.default.svc.cluster.local", "default");
    let b = Service::new("b.default.svc.cluster.local", "default");
    backend.upsert(a.clone(), vec![Endpoint::new("10.0.0.1", 80, "http")]).await;
    backend.upsert(b.clone(), vec![]).await;
    settle(&mut source, &mut registry, &[(&a, 1), (&b, 0)]).await;

    backend.upsert(b.clone(), vec![Endpoint::new("10.0.0.2", 80, "http")]).await;
    backend.remove(&a).await;
    settle(&mut source, &mut registry, &[(&b, 1)]).await;

    backend.remove(&b).await;
    settle(&mut source, &mut registry, &[]).await;
}

/// Takes events until the registry is as wanted.
async fn settle(source: &mut impl DiscoverySource, registry: &mut Registry, want: &[(&Service, usize)]) {
    let reached = |registry: &Registry| {
        let have = registry.services().map(|r| (r.service.key.clone(), r.endpoints.len()));
        have.eq(want.iter().map(|(service, n)| (service.key.clone(), *n)))
    };
    while !reached(registry) {
        let event = source.next().await.expect("every change is reported before the source ends");
        *registry = registry.apply(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::{MemoryHandle, MemorySource};

    struct Memory(Option<MemoryHandle>);

    impl Backend for Memory {
        type Source = MemorySource;

        async fn source(&mut self) -> MemorySource {
            let (source, handle) = MemorySource::new();
            self.0 = Some(handle);
            source
        }

        async fn upsert(&mut self, service: Service, endpoints: Vec<Endpoint>) {
            self.0.as_ref().expect("source was called first").upsert(service, endpoints);
        }

        async fn remove(&mut self, service: &Service) {
            self.0.as_ref().expect("source was called first").remove(&service.key);
        }
    }

    #[tokio::test]
    async fn memory_source_keeps_the_contract() {
        check(Memory(None)).await;
    }
}
