//! DestinationRules for certain clients of services behind waypoints, which do not know their clients (MESH0110).

use super::{AnalysisContext, Analyzer, Inputs, Link};
use crate::{
    diagnostic::{Code, Diagnostic},
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host, host_covers},
    model::{DestinationRule, Kind, Namespace, Object, Service, ServiceEntry},
    path::FieldPath,
    snapshot::Snapshot,
};

/// Finds DestinationRules with a selector for services that are reached through a waypoint.
#[derive(Debug)]
pub(super) struct WaypointSelector;

/// The label that names the waypoint; `none` means that there is none.
const USE_WAYPOINT: &str = "istio.io/use-waypoint";

impl Analyzer for WaypointSelector {
    fn name(&self) -> &'static str {
        "destinationrule.waypoint-selector"
    }

    fn inputs(&self) -> Inputs {
        let services = [Kind::Service, Kind::ServiceEntry];
        Inputs::each([Kind::DestinationRule]).reads([Kind::DestinationRule], services, Link::Host).reads(
            services,
            [Kind::Namespace],
            Link::Namespace,
        )
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let snapshot = context.snapshot();
        let selecting = || snapshot.all::<DestinationRule>().filter(|rule| rule.spec.workload_selector.is_some());
        if selecting().next().is_none() {
            return;
        }
        let mut hosts: Vec<String> = Vec::new();
        for service in snapshot.all::<Service>().filter(|service| is_behind(snapshot, service.object)) {
            hosts.push(full_host(service.object.name(), service.object.namespace(), DEFAULT_CLUSTER_DOMAIN));
        }
        for entry in snapshot.all::<ServiceEntry>().filter(|entry| is_behind(snapshot, entry.object)) {
            hosts.extend(entry.spec.hosts.iter().cloned());
        }
        for rule in selecting() {
            let host = full_host(&rule.spec.host, rule.object.namespace(), DEFAULT_CLUSTER_DOMAIN);
            if hosts.iter().any(|known| host_covers(&host, known) || host_covers(known, &host)) {
                let root = FieldPath::spec();
                let at = root.field("workloadSelector");
                findings.push(Diagnostic::on(Code::WaypointSelector, rule.object, at, &[&host]));
            }
        }
    }
}

/// Whether a service is reached through a waypoint: its own label decides, else that of its namespace.
fn is_behind(snapshot: &Snapshot, service: &Object) -> bool {
    let own = service.meta.labels.get(USE_WAYPOINT);
    let of_namespace = || snapshot.find::<Namespace>("", service.namespace())?.object.meta.labels.get(USE_WAYPOINT);
    own.or_else(of_namespace).is_some_and(|name| !name.is_empty() && name != "none")
}
