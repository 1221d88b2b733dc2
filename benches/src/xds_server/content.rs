//! The ways the resources change.

use std::sync::Arc;

use mesh_xds::{
    Resource, TypeUrl, Version,
    protocol::content_version,
    store::{Batch, View},
};

use super::resources::{assignment, cluster, name};

/// Weight of every endpoint at the start.
const FIRST_WEIGHT: u32 = 1;

/// The clusters and their assignments.
pub(crate) struct Content {
    view: Arc<View>,
    clusters: usize,
    endpoints: usize,
    changes: u32,
    /// Of the response with what changed last.
    version: Version,
}

impl Content {
    pub(crate) fn new(clusters: usize, endpoints: usize) -> Self {
        let view = View::new();
        let assignments: Vec<Resource> = (0..clusters).map(|i| assignment(i, endpoints, FIRST_WEIGHT)).collect();
        let version = content_version(assignments.iter());
        view.replace((0..clusters).map(cluster).chain(assignments));
        Self { view, clusters, endpoints, changes: 0, version }
    }

    pub(crate) fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// What a response says that holds just the assignments which changed last.
    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    /// Gives the endpoints of the first `count` assignments another weight.
    pub(crate) fn bump(&mut self, count: usize, weight: Option<u32>) {
        let weight = self.weight(weight);
        let changed = (0..count.min(self.clusters)).map(|i| assignment(i, self.endpoints, weight)).collect();
        self.put(changed, Batch::new());
    }

    /// One cluster more, with its assignment.
    pub(crate) fn add(&mut self, weight: Option<u32>) {
        let weight = self.weight(weight);
        let i = self.clusters;
        self.clusters += 1;
        self.put(vec![assignment(i, self.endpoints, weight)], Batch::new().put(cluster(i)));
    }

    /// One cluster less: the last.
    pub(crate) fn remove(&mut self) {
        if let Some(i) = self.clusters.checked_sub(1) {
            self.clusters = i;
            self.view.update(Batch::new().remove(TypeUrl::CLUSTER, name(i)).remove(TypeUrl::ENDPOINT, name(i)));
        }
    }

    fn put(&mut self, assignments: Vec<Resource>, mut batch: Batch) {
        self.version = content_version(assignments.iter());
        batch.extend(assignments);
        self.view.update(batch);
    }

    fn weight(&mut self, given: Option<u32>) -> u32 {
        self.changes += 1;
        given.unwrap_or(self.changes % 100 + FIRST_WEIGHT)
    }
}
