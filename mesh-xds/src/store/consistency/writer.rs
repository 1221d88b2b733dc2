use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

use super::{
    Dangling, External, Inconsistent,
    after::{After, same},
    graph::Graph,
};
use crate::{
    Resource,
    protocol::server::Ledger,
    store::{Batch, Changed, View, batch::Step, view::Proposed},
};

/// A way into a view that keeps it consistent: an update after which a reference would lead to nothing is refused as a whole,
/// with the list, and nothing changes.
///
/// Single resources that do not pass the view's own check ([`ResourceCheck`](crate::store::ResourceCheck)) are set aside first, as ever: what refers to
/// one of them, and to nothing older of its name, dangles.
///
/// What is put together may refer to each other, in any order, and what goes together may have referred to each other.
/// Whether clients hear of it in an order that never breaks anything is the server's part, not the batch's.
///
/// An update costs what it changes, with its references; only if something is missed, those who refer to it as well. For this
/// it remembers who refers to what. Others may write to the view itself, past this gate: it takes note of what they did, and
/// refuses every update after which what they broke is still broken.
///
/// ```
/// use mesh_xds::{Resource, TypeUrl, store::{Batch, ConsistentWriter, External, View}};
/// use mesh_xds_api::envoy::config::{cluster::v3::{Cluster, cluster::EdsClusterConfig}, core::v3 as core};
/// use mesh_xds_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
///
/// let ads = core::config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {});
/// let ads = core::ConfigSource { config_source_specifier: Some(ads), ..Default::default() };
/// let eds = EdsClusterConfig { eds_config: Some(ads), ..Default::default() };
/// let cluster = Cluster { name: "a".into(), eds_cluster_config: Some(eds), ..Default::default() };
/// let endpoints = ClusterLoadAssignment { cluster_name: "a".into(), ..Default::default() };
///
/// let writer = ConsistentWriter::new(View::new(), External::none());
/// let refused = writer.update(Batch::new().put(Resource::pack("a", &cluster))).unwrap_err();
/// assert_eq!(refused.dangling[0].to_string(), "CDS/a: name: there is no EDS/a");
/// let both = Batch::new().put(Resource::pack("a", &cluster)).put(Resource::pack("a", &endpoints));
/// assert_eq!(writer.update(both).unwrap().put.len(), 2);
/// assert!(writer.update(Batch::new().remove(TypeUrl::ENDPOINT, "a")).is_err());
/// ```
#[derive(Debug)]
pub struct ConsistentWriter {
    view: Arc<View>,
    external: External,
    graph: Mutex<Graph>,
    /// Up to where the graph has followed: the view remembers removals from there on.
    followed: Arc<AtomicU64>,
}

impl ConsistentWriter {
    /// A gate before `view`. What is there already is taken note of, consistent or not.
    #[must_use]
    pub fn new(view: Arc<View>, external: External) -> Self {
        let followed = Arc::new(AtomicU64::new(0));
        view.remember_for(&followed);
        let writer = Self { view, external, graph: Mutex::default(), followed };
        writer.view.read(|ledger| writer.follow(&mut writer.graph.lock(), ledger));
        writer
    }

    /// The view.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// As [`View::update`].
    ///
    /// # Errors
    /// [`Inconsistent`]: nothing has changed.
    pub fn update(&self, batch: Batch) -> Result<Changed, Inconsistent> {
        self.prepare(batch.steps.iter().filter_map(|step| match step {
            Step::Put(resource) => Some(resource),
            Step::Remove(_) => None,
        }));
        let mut graph = self.graph.lock();
        self.view.update_if(batch, |proposed| self.check(&mut graph, proposed))
    }

    /// As [`View::replace`].
    ///
    /// # Errors
    /// [`Inconsistent`]: nothing has changed.
    pub fn replace(&self, resources: impl IntoIterator<Item = Resource>) -> Result<Changed, Inconsistent> {
        let resources: Vec<Resource> = resources.into_iter().collect();
        self.prepare(resources.iter());
        let mut graph = self.graph.lock();
        self.view.replace_if(resources, |proposed| self.check(&mut graph, proposed))
    }

    /// What dangles now: nothing, unless others write to the view as well.
    #[must_use]
    pub fn dangling(&self) -> Vec<Dangling> {
        let mut graph = self.graph.lock();
        self.view.read(|ledger| {
            self.follow(&mut graph, ledger);
            graph.dangling(&After::new(ledger, &[], &self.external))
        })
    }

    /// Finds the references of new content before anybody waits for the view's lock.
    fn prepare<'r>(&self, resources: impl Iterator<Item = &'r Resource>) {
        let new = |ledger: &Ledger| resources.filter(|r| !same(ledger, &r.key(), Some(r))).collect::<Vec<_>>();
        for resource in self.view.read(new) {
            let _ = resource.references();
        }
    }

    fn check(&self, graph: &mut Graph, proposed: Proposed<'_>) -> Result<(), Inconsistent> {
        let Proposed { ledger, steps, refused } = proposed;
        self.follow(graph, ledger);
        let dangling = graph.dangling(&After::new(ledger, steps, &self.external));
        if dangling.is_empty() { Ok(()) } else { Err(Inconsistent { dangling, refused: refused.to_vec() }) }
    }

    fn follow(&self, graph: &mut Graph, ledger: &Ledger) {
        let at = graph.follow(ledger, &self.external);
        self.followed.store(at.0, Ordering::Relaxed);
    }
}
