use std::collections::BTreeMap;

use mesh_config::{
    Snapshot,
    model::{self, Object},
};

use super::{Endpoint, Health, Labels, Locality, TlsMode};

/// One running instance: a pod, or a machine described by a WorkloadEntry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Workload {
    /// Name of the pod or entry.
    pub name: String,
    /// Name of what owns it (a pod's Deployment, ...), or its own name.
    pub owner: String,
    /// Namespace.
    pub namespace: String,
    /// IP address or host name; a pod without an address is none yet.
    pub address: String,
    /// Labels.
    pub labels: Labels,
    /// Service account.
    pub service_account: String,
    /// Where it runs.
    pub locality: Locality,
    /// Whether it takes traffic.
    pub health: Health,
    /// Share of the load, 0 is taken as 1.
    pub weight: u32,
    /// Network, empty for the default one.
    pub network: String,
    /// Whether it has a sidecar.
    pub tls_mode: TlsMode,
    /// Named ports.
    pub ports: BTreeMap<String, u16>,
}

impl Workload {
    /// A healthy workload in `namespace` without labels.
    #[must_use]
    pub fn new(name: impl Into<String>, namespace: impl Into<String>, address: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            owner: name.clone(),
            name,
            namespace: namespace.into(),
            address: address.into(),
            labels: Labels::default(),
            service_account: "default".to_owned(),
            locality: Locality::default(),
            health: Health::default(),
            weight: 1,
            network: String::new(),
            tls_mode: TlsMode::default(),
            ports: BTreeMap::new(),
        }
    }

    /// This workload as an endpoint of one service port, reached at `port`.
    #[must_use]
    pub fn endpoint(&self, port: u16, service_port: &str) -> Endpoint {
        Endpoint {
            labels: self.labels.clone(),
            namespace: self.namespace.clone(),
            workload: self.owner.clone(),
            service_account: self.service_account.clone(),
            locality: self.locality.clone(),
            health: self.health,
            weight: self.weight,
            network: self.network.clone(),
            tls_mode: self.tls_mode,
            ..Endpoint::new(self.address.clone(), port, service_port)
        }
    }
}

/// Reads a Pod.
pub(super) fn of_pod(object: &Object, pod: &model::Pod, snapshot: &Snapshot) -> Workload {
    let labels: Labels = object.meta.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let address = pod.status.pod_ip.clone().or_else(|| pod.status.pod_ips.first().map(|ip| ip.ip.clone()));
    let ports = pod.spec.containers.iter().flat_map(|container| &container.ports);
    let ready = matches!(pod.status.phase.as_deref(), None | Some("Running" | ""));
    Workload {
        owner: owner(object.name(), &labels),
        tls_mode: pod_tls_mode(object, &labels, snapshot),
        service_account: pod.spec.service_account_name.clone().unwrap_or_else(|| "default".to_owned()),
        locality: pod.spec.node_name.as_deref().map(|node| node_locality(node, snapshot)).unwrap_or_default(),
        health: if ready { Health::Healthy } else { Health::Unhealthy },
        network: labels.value("topology.istio.io/network").unwrap_or_default().to_owned(),
        ports: ports.filter_map(|port| Some((port.name.clone()?, port.container_port))).collect(),
        labels,
        ..Workload::new(object.name(), object.namespace(), address.unwrap_or_default())
    }
}

/// Reads a WorkloadEntry.
pub(super) fn of_entry(object: &Object, entry: &model::WorkloadEntry) -> Workload {
    Workload {
        labels: object.meta.labels.iter().chain(&entry.labels).map(|(k, v)| (k.as_str(), v.as_str())).collect(),
        ..inline(object.name(), object.namespace(), entry)
    }
}

/// Reads an entry inside a ServiceEntry.
pub(super) fn inline(name: &str, namespace: &str, entry: &model::WorkloadEntry) -> Workload {
    let labels: Labels = entry.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let account = entry.service_account.clone().unwrap_or_default();
    Workload {
        tls_mode: match labels.value(TLS_MODE_LABEL) {
            Some(mode) => tls_mode(mode),
            None if account.is_empty() => TlsMode::Unstated,
            None => TlsMode::Istio,
        },
        locality: entry.locality.as_deref().map(Locality::parse).unwrap_or_default(),
        weight: entry.weight.unwrap_or(1),
        network: entry.network.clone().unwrap_or_default(),
        service_account: account,
        ports: entry.ports.iter().filter_map(|(name, &port)| Some((name.clone(), u16::try_from(port).ok()?))).collect(),
        labels,
        ..Workload::new(name, namespace, entry.address.clone().unwrap_or_default())
    }
}

const TLS_MODE_LABEL: &str = "security.istio.io/tlsMode";

pub(super) fn tls_mode(label: &str) -> TlsMode {
    if label == "istio" { TlsMode::Istio } else { TlsMode::Disabled }
}

fn pod_tls_mode(object: &Object, labels: &Labels, snapshot: &Snapshot) -> TlsMode {
    const INJECT: &str = "sidecar.istio.io/inject";
    if let Some(mode) = labels.value(TLS_MODE_LABEL) {
        return tls_mode(mode);
    }
    if object.meta.annotations.contains_key("sidecar.istio.io/status") {
        return TlsMode::Istio;
    }
    let said = labels.value(INJECT).or_else(|| object.meta.annotations.get(INJECT).map(String::as_str));
    let injected = match said {
        Some(inject) => return if inject == "true" { TlsMode::Istio } else { TlsMode::Disabled },
        None => snapshot.find::<model::Namespace>("", object.namespace()).is_some_and(|namespace| {
            let labels = &namespace.object.meta.labels;
            labels.get("istio-injection").is_some_and(|v| v == "enabled")
                || (labels.contains_key("istio.io/rev") && !labels.contains_key("istio-injection"))
        }),
    };
    if injected { TlsMode::Istio } else { TlsMode::Unstated }
}

/// The Deployment of a pod: the name before the hash of its template, else the pod's own name.
fn owner(pod: &str, labels: &Labels) -> String {
    let hash = labels.value("pod-template-hash").filter(|hash| !hash.is_empty());
    let cut = hash.and_then(|hash| pod.find(&format!("-{hash}")));
    cut.map_or(pod, |end| &pod[..end]).to_owned()
}

fn node_locality(node: &str, snapshot: &Snapshot) -> Locality {
    let Some(node) = snapshot.find::<model::Node>("", node) else { return Locality::default() };
    let label = |key: &str| node.object.meta.labels.get(key).cloned().unwrap_or_default();
    Locality {
        region: label("topology.kubernetes.io/region"),
        zone: label("topology.kubernetes.io/zone"),
        sub_zone: label("topology.istio.io/subzone"),
    }
}
