//! Clusters: CDS, and the endpoints they get.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use mesh_xds_api::TypeUrl;

use super::{Core, Now, Raw, Told, failure, named, names::Named, needs::Needs, reject};
use crate::{
    admin::TypeDump,
    cluster::ClusterHandle,
    config::{FieldError, Rejection},
    model::{Action, Assignment, ClusterKind, ClusterSpecifier, ConfigSource, RouteTable},
    stats::{Counter, Gauge, Stats},
};

/// All clusters.
pub(super) struct Clusters {
    named: Named<Arc<ClusterHandle>>,
    /// Clusters by the name of their endpoints. One that changed to another name may still be found under the older.
    by_service: HashMap<String, HashSet<Arc<str>>>,
    added: Counter,
    modified: Counter,
    removed: Counter,
    active: Gauge,
    warming: Gauge,
}

impl Clusters {
    pub(super) fn new(stats: &Stats) -> Self {
        Self {
            named: Named::default(),
            by_service: HashMap::new(),
            added: stats.counter("cluster_manager.cluster_added"),
            modified: stats.counter("cluster_manager.cluster_modified"),
            removed: stats.counter("cluster_manager.cluster_removed"),
            active: stats.gauge("cluster_manager.active_clusters"),
            warming: stats.gauge("cluster_manager.warming_clusters"),
        }
    }

    /// Hands endpoints to the clusters that get them under this name.
    pub(super) fn assign(&self, service: &str, source: &ConfigSource, assignment: &Arc<Assignment>) {
        let clusters = self.by_service.get(service).into_iter().flatten();
        for cluster in clusters.map(|name| self.named.versions(name)).flat_map(|(a, b)| a.into_iter().chain(b)) {
            if matches!(&cluster.config().kind,
                ClusterKind::Eds { service_name, source: from } if service_name == service && from == source)
            {
                cluster.set_assignment(assignment);
            }
        }
    }

    /// A cluster that waits only for endpoints which are no longer waited for counts as ready; names have to be
    /// resolved first.
    pub(super) fn promote(&mut self, needs: &mut Needs, now: Instant) -> bool {
        let changed = self.named.promote(needs, now, |cluster| {
            matches!(cluster.config().kind, ClusterKind::Eds { .. }) || *cluster.ready().borrow()
        });
        self.warming.set(self.named.warming_count() as u64);
        if changed {
            self.active.set(self.named.active().count() as u64);
        }
        changed
    }

    pub(super) fn warming_count(&self) -> usize {
        self.named.warming_count()
    }

    pub(super) fn active(&self) -> HashMap<Arc<str>, Arc<ClusterHandle>> {
        self.named.active().map(|(name, cluster)| (name.clone(), cluster.clone())).collect()
    }

    pub(super) fn deadlines<'a>(&'a self, needs: &'a Needs) -> impl Iterator<Item = Instant> + 'a {
        self.named.deadlines(needs)
    }

    pub(super) fn any(&self, name: &str) -> Option<Arc<ClusterHandle>> {
        let (active, warming) = self.named.versions(name);
        active.or(warming).cloned()
    }

    pub(super) fn is_warm(&self, name: &str) -> bool {
        self.named.versions(name).0.is_some()
    }

    pub(super) fn dump(&self) -> TypeDump {
        self.named.dump()
    }

    /// Whether every cluster that a table names is known.
    pub(super) fn all_known(&self, table: &RouteTable) -> Result<(), FieldError> {
        let unknown = |name: &str| self.any(name).is_none();
        for (v, host) in table.virtual_hosts.iter().enumerate() {
            for (r, route) in host.routes.iter().enumerate() {
                let Action::Forward(forward) = &route.action else { continue };
                let missing = match &forward.cluster {
                    ClusterSpecifier::Cluster(name) => Some(name).filter(|name| unknown(name)),
                    ClusterSpecifier::Weighted(all) => {
                        all.clusters.iter().filter_map(|c| c.cluster.fixed()).find(|name| unknown(name))
                    }
                    ClusterSpecifier::Header(_) => None,
                };
                if let Some(name) = missing {
                    let path = format!("virtual_hosts[{v}].routes[{r}].route");
                    return Err(FieldError::new(path, format!("unknown cluster '{name}'")));
                }
            }
        }
        Ok(())
    }
}

impl Core {
    pub(super) fn told_clusters(&mut self, told: Told, now: Now, rejections: &mut Vec<Rejection>) {
        let mut seen = HashSet::new();
        for raw in told.added {
            let name = raw.name.clone();
            let result = if seen.insert(name.clone()) {
                self.put_cluster(raw.clone(), false, now)
            } else {
                Err(reject(&TypeUrl::CLUSTER, &name, FieldError::new("name", "occurs twice in the response")))
            };
            if let Err(rejection) = result {
                if !self.clusters.named.is_static(&name) {
                    self.clusters.named.refuse(&name, failure(&rejection, &raw, now));
                }
                rejections.push(rejection);
            }
        }
        for name in told.removed {
            self.remove_cluster(&name);
        }
    }

    pub(super) fn put_cluster(&mut self, raw: Raw, from_bootstrap: bool, now: Now) -> Result<(), Rejection> {
        if !from_bootstrap && self.clusters.named.is_static(&raw.name) {
            let reason = "a static cluster has this name and cannot be replaced";
            return Err(reject(&TypeUrl::CLUSTER, &raw.name, FieldError::new("name", reason)));
        }
        if self.clusters.named.is_current(&raw) {
            self.clusters.named.confirm(&raw);
            return Ok(());
        }
        let translation = self.translator.cluster(&raw.any)?;
        let config = Arc::new(translation.value);
        named(&TypeUrl::CLUSTER, &raw.name, &config.name)?;
        let handle = match self.clusters.named.versions(&raw.name) {
            (Some(active), _) => ClusterHandle::updated_from(active, config),
            _ => ClusterHandle::new(config, &self.deps),
        };
        if let ClusterKind::Eds { service_name, source } = &handle.config().kind
            && let Some(assignment) = self.needs.assignment(service_name, source)
        {
            handle.set_assignment(&assignment);
        }
        if let ClusterKind::Eds { service_name, .. } = &handle.config().kind {
            let name = handle.config().name.clone();
            self.clusters.by_service.entry(service_name.clone()).or_default().insert(name);
        }
        self.started.push(handle.clone());
        let held = (handle, translation.dependencies);
        if self.clusters.named.put(raw, from_bootstrap, held, &mut self.needs, now) {
            self.clusters.added.inc();
        } else {
            self.clusters.modified.inc();
        }
        Ok(())
    }

    fn remove_cluster(&mut self, name: &str) {
        if self.clusters.named.is_static(name) {
            return;
        }
        if let Some(cluster) = self.clusters.named.remove(name, &mut self.needs) {
            self.clusters.removed.inc();
            self.clusters.active.set(self.clusters.named.active().count() as u64);
            self.clusters.by_service.retain(|_, names| {
                names.remove(name);
                !names.is_empty()
            });
            self.deps.stats.remove_prefix(&format!("cluster.{}.", cluster.config().stat_name));
            self.dirty = true;
        }
    }
}
