//! The resources, and the ways they change.

use std::sync::Arc;

use super::resources::{assignment, cluster, name};
use mesh_xds::{
    TypeUrl,
    store::{Batch, View},
};

/// Weight of every endpoint at the start.
const FIRST_WEIGHT: u32 = 1;

/// The clusters and their assignments.
pub(crate) struct Content {
    view: Arc<View>,
    clusters: usize,
    endpoints: usize,
    changes: u64,
}

impl Content {
    pub(crate) fn new(clusters: usize, endpoints: usize) -> Self {
        let view = View::new();
        view.replace((0..clusters).map(cluster).chain((0..clusters).map(|i| assignment(i, endpoints, FIRST_WEIGHT))));
        Self { view, clusters, endpoints, changes: 0 }
    }

    pub(crate) fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Gives the endpoints of the first `count` assignments another weight.
    pub(crate) fn bump(&mut self, count: usize, weight: Option<u32>) -> u64 {
        let weight = self.next_weight(weight);
        let count = count.min(self.clusters);
        self.view.update((0..count).map(|i| assignment(i, self.endpoints, weight)).collect());
        self.changes
    }

    /// One cluster more, with its assignment.
    pub(crate) fn add(&mut self, weight: Option<u32>) -> u64 {
        let weight = self.next_weight(weight);
        let i = self.clusters;
        self.clusters += 1;
        self.view.update(Batch::new().put(cluster(i)).put(assignment(i, self.endpoints, weight)));
        self.changes
    }

    /// One cluster less: the last.
    pub(crate) fn remove(&mut self) -> u64 {
        self.changes += 1;
        if let Some(i) = self.clusters.checked_sub(1) {
            self.clusters = i;
            self.view.update(Batch::new().remove(TypeUrl::CLUSTER, name(i)).remove(TypeUrl::ENDPOINT, name(i)));
        }
        self.changes
    }

    fn next_weight(&mut self, given: Option<u32>) -> u32 {
        self.changes += 1;
        given.unwrap_or((self.changes % 100) as u32 + FIRST_WEIGHT)
    }
}
