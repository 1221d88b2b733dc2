//! What a case has in hand: the server's content, and streams to it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use mesh_xds_api::envoy::config::core::v3::Node;
use parking_lot::Mutex;

use super::{
    Fixture, FixtureError, Removal, Target,
    stream::{Service, Stream},
};
use crate::{
    Resource, TypeUrl,
    protocol::Variant,
    testing::conformance::{
        case::{Finding, Outcome},
        content,
    },
};

/// One case's bench.
pub(in crate::testing::conformance) struct Bench {
    target: Target,
    fixture: Arc<dyn Fixture>,
    /// What the case has put, to be taken away again.
    content: Mutex<BTreeSet<Removal>>,
    probes: AtomicU32,
}

impl Bench {
    pub(super) fn new(target: &Target, fixture: Arc<dyn Fixture>) -> Self {
        Self { target: target.clone(), fixture, content: Mutex::default(), probes: AtomicU32::new(0) }
    }

    /// An aggregated stream.
    pub(super) async fn open(&self, variant: Variant) -> Outcome<Stream> {
        self.open_service(variant, Service::Aggregated).await
    }

    /// A stream of any service.
    pub(super) async fn open_service(&self, variant: Variant, service: Service) -> Outcome<Stream> {
        Stream::open(&self.target, variant, service).await
    }

    /// An aggregated stream of another node.
    pub(super) async fn open_as(&self, variant: Variant, node: Node) -> Outcome<Stream> {
        Stream::open(&self.target.clone().node(node), variant, Service::Aggregated).await
    }

    /// The target's node.
    pub(super) fn node(&self) -> &Node {
        &self.target.node
    }

    /// Adds or replaces resources.
    pub(super) async fn put(&self, resources: &[&Resource]) -> Outcome {
        self.update(resources, &[]).await
    }

    /// Removes resources.
    pub(super) async fn remove(&self, names: &[(&TypeUrl, &str)]) -> Outcome {
        self.update(&[], names).await
    }

    /// Does both at once.
    pub(super) async fn update(&self, put: &[&Resource], remove: &[(&TypeUrl, &str)]) -> Outcome {
        let put: Vec<Resource> = put.iter().map(|r| (*r).clone()).collect();
        let remove: Vec<Removal> =
            remove.iter().map(|(t, n)| Removal { type_url: (*t).clone(), name: (*n).into() }).collect();
        {
            let mut content = self.content.lock();
            remove.iter().for_each(|key| {
                content.remove(key);
            });
            content.extend(put.iter().map(Resource::key));
        }
        self.fixture.update(&put, &remove).await.map_err(finding)
    }

    /// Adds or replaces a resource with a time to live.
    pub(super) async fn put_with_ttl(&self, resource: &Resource, ttl: Duration) -> Outcome {
        self.content.lock().insert(resource.key());
        self.fixture.put_with_ttl(resource, ttl).await.map_err(finding)
    }

    /// Waits until the server has taken the stream's requests so far: asks for routes that nobody else uses, and hears
    /// them.
    pub(super) async fn settle(&self, stream: &mut Stream) -> Outcome {
        let number = self.probes.fetch_add(1, Ordering::Relaxed);
        let name = format!("probe-{number}");
        let probe = content::routes(&name, "none");
        self.put(&[&probe]).await?;
        stream.subscribe(&TypeUrl::ROUTE, &[&name]).await;
        stream.hear(&TypeUrl::ROUTE, &[&probe], &[]).await?;
        Ok(())
    }

    /// Takes away what the case has put.
    pub(super) async fn clear(&self) -> Result<(), FixtureError> {
        let left: Vec<Removal> = std::mem::take(&mut *self.content.lock()).into_iter().collect();
        if left.is_empty() { Ok(()) } else { self.fixture.update(&[], &left).await }
    }
}

fn finding(error: FixtureError) -> Finding {
    Finding::NotApplicable(error.to_string())
}
