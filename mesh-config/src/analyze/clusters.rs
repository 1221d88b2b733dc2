//! Services that are not the same in all clusters of a mesh (IST0170).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    diagnostic::{Code, Diagnostic},
    model::{IntOrString, KubeServicePort, Service, ServiceSpec},
    path::FieldPath,
    snapshot::{Snapshot, Typed},
};

/// A Service of the cluster with this name.
type Found<'a> = (&'a str, Typed<'a, Service>);

/// Compares the Services of several clusters that make up one mesh, each with its name. A finding is about the Service of
/// the first cluster that has it.
///
/// Source: Istio's multi-cluster analyzer, which compares headlessness, type and ports.
#[must_use]
pub fn analyze_clusters(clusters: &[(&str, &Snapshot)]) -> Vec<Diagnostic> {
    let mut services: BTreeMap<(&str, &str), Vec<Found<'_>>> = BTreeMap::new();
    for (cluster, snapshot) in clusters {
        for service in snapshot.all::<Service>() {
            let key = (service.object.namespace(), service.object.name());
            services.entry(key).or_default().push((cluster, service));
        }
    }
    services.into_values().filter_map(|found| compare(&found)).collect()
}

fn compare(found: &[Found<'_>]) -> Option<Diagnostic> {
    let ((name, first), others) = found.split_first()?;
    let mut faults = BTreeSet::new();
    let mut differing = BTreeSet::new();
    for (cluster, other) in others {
        let (one, other) = (&first.spec.spec, &other.spec.spec);
        let differences = [
            (is_headless(one) != is_headless(other), "some are headless"),
            (kind(one) != kind(other), "their types differ"),
            (ports(one) != ports(other), "their ports differ"),
        ];
        for (_, fault) in differences.into_iter().filter(|(differs, _)| *differs) {
            faults.insert(fault);
            differing.insert(*cluster);
        }
    }
    if faults.is_empty() {
        return None;
    }
    differing.insert(name);
    let list = |texts: BTreeSet<&str>| texts.into_iter().collect::<Vec<_>>().join(", ");
    let args: [&dyn std::fmt::Display; 2] = [&list(differing), &list(faults)];
    Some(Diagnostic::on(Code::InconsistentService, first.object, FieldPath::spec(), &args))
}

fn is_headless(service: &ServiceSpec) -> bool {
    service.cluster_ip.as_deref() == Some("None")
}

fn kind(service: &ServiceSpec) -> &str {
    service.service_type.as_deref().unwrap_or("ClusterIP")
}

/// The ports by name, with what the platform puts in where nothing is said.
fn ports(service: &ServiceSpec) -> Vec<(&str, u16, &str, IntOrString, Option<&str>)> {
    let port = |port: &'_ KubeServicePort| {
        let target = port.target_port.clone();
        target.unwrap_or_else(|| IntOrString::Int(i64::from(port.port)))
    };
    let ports = service.ports.iter().map(|one| {
        let protocol = one.protocol.as_deref().unwrap_or("TCP");
        (one.name.as_deref().unwrap_or_default(), one.port, protocol, port(one), one.app_protocol.as_deref())
    });
    let mut ports: Vec<_> = ports.collect();
    ports.sort_by_key(|(name, number, ..)| (*name, *number));
    ports
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn cluster(spec: &str) -> Snapshot {
        let text = format!("{{apiVersion: v1, kind: Service, metadata: {{name: a, namespace: b}}, spec: {spec}}}");
        Snapshot::from_objects(parse("cluster.yaml", &text).objects)
    }

    #[test]
    fn services_are_compared_as_the_platform_completes_them() {
        let one = cluster("{ports: [{name: b, port: 81}, {name: a, port: 80}]}");
        let found = |other: &str| {
            let other = cluster(other);
            let found = analyze_clusters(&[("east", &one), ("west", &other)]);
            found.into_iter().map(|finding| finding.message).collect::<Vec<_>>()
        };
        let same =
            "{type: ClusterIP, ports: [{name: a, port: 80, targetPort: 80, protocol: TCP}, {name: b, port: 81}]}";
        assert!(found(same).is_empty());
        assert_eq!(
            found("{clusterIP: None, type: NodePort, ports: [{name: a, port: 80}]}"),
            [
                "the service is not the same in the clusters east, west: some are headless, their ports differ, their types differ"
            ]
        );
        assert_eq!(found("{ports: [{name: a, port: 80, targetPort: 8080}, {name: b, port: 81}]}").len(), 1);
        assert!(analyze_clusters(&[("east", &one)]).is_empty());
    }
}
