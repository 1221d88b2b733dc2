//! Services and endpoints that a configuration snapshot declares.

use std::collections::BTreeMap;

use mesh_config::{
    Code, Diagnostic, Snapshot,
    model::{self, ObjectKey, SourceLocation},
};

use super::{Labels, Registry, Workload, kube, service_entry, workload};

/// What reading a snapshot needs to know of the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryOptions {
    /// Domain of Kubernetes host names. Default `cluster.local`.
    pub cluster_domain: String,
    /// Trust domain of service accounts named in annotations. Default `cluster.local`.
    pub trust_domain: String,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self { cluster_domain: "cluster.local".to_owned(), trust_domain: "cluster.local".to_owned() }
    }
}

/// Something in an object that discovery or translation does not carry out; the rest of the object holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Notice {
    /// The object.
    pub object: ObjectKey,
    /// Path of the field, such as `spec.http[0].mirror`; empty for the whole object.
    pub path: String,
    /// What is not done, and what happens instead.
    pub message: String,
}

impl Notice {
    /// A notice about the field at `path` of `object`.
    #[must_use]
    pub fn new(object: &ObjectKey, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { object: object.clone(), path: path.into(), message: message.into() }
    }

    /// The notice as a warning, located in the file that `snapshot` read the object from.
    #[must_use]
    pub fn diagnostic(&self, snapshot: &Snapshot) -> Diagnostic {
        let object = snapshot.object(&self.object);
        let unknown = SourceLocation::default();
        let source = object.map_or(&unknown, |object| &object.source);
        let mut found = Diagnostic::at(Code::NotCarriedOut, source, &[&self.message]);
        found.resource = object.map_or_else(|| self.object.to_string(), |object| object.resource());
        found.key = Some(self.object.clone());
        if let Some(position) = object.map(|object| object.positions.locate(&self.path)).filter(|p| p.is_known()) {
            found.position = position;
        }
        found.path.clone_from(&self.path);
        found
    }
}

/// Everything a snapshot declares, as one registry, and what of it is not carried out.
///
/// Where an endpoint's labels, service account, locality and sidecar are found, the first that applies:
/// 1. the Pod or WorkloadEntry that the EndpointSlice's `targetRef` names;
/// 2. the Pod or WorkloadEntry with the endpoint's address;
/// 3. the EndpointSlice's own labels, and its annotation `alpha.istio.io/kubernetes-serviceaccounts`.
///
/// A Service without any EndpointSlice has the Pods its selector selects as endpoints. WorkloadEntries that a Service's
/// selector selects are endpoints beside the others, as in Istio.
///
/// A workload has a sidecar, and is spoken to in mutual TLS, if in this order
/// - its label `security.istio.io/tlsMode` says `istio` (any other value: it has none);
/// - it is a Pod with annotation `sidecar.istio.io/status` (injected);
/// - it is a Pod whose label or annotation `sidecar.istio.io/inject` says `true` (`false`: it has none);
/// - it is a Pod in a namespace with label `istio-injection: enabled`, or `istio.io/rev`;
/// - it is a WorkloadEntry with a service account.
///
/// Where nothing of this is said, [`Registry::with_sidecars`] may add what a control plane knows.
#[must_use]
pub fn registry_of(snapshot: &Snapshot, options: &RegistryOptions) -> (Registry, Vec<Notice>) {
    let mut notices = Vec::new();
    let mut builder = Registry::builder();
    let workloads = Workloads::read(snapshot);
    for typed in snapshot.all::<model::Service>() {
        let service = kube::service(typed.object, typed.spec, options, &mut notices);
        let endpoints = kube::endpoints(&service, typed.object, snapshot, &workloads, &mut notices);
        builder.add(service, endpoints);
    }
    for typed in snapshot.all::<model::ServiceEntry>() {
        for (service, endpoints) in service_entry::services(typed.object, typed.spec, &workloads, &mut notices) {
            builder.add(service, endpoints);
        }
    }
    for workload in workloads.into_all() {
        builder.add_workload(workload);
    }
    (builder.build(), notices)
}

/// All workloads of a snapshot, found by name and by address.
#[derive(Debug, Default)]
pub(super) struct Workloads {
    pods: Vec<Workload>,
    entries: Vec<Workload>,
    pod_named: BTreeMap<(String, String), usize>,
    entry_named: BTreeMap<(String, String), usize>,
    by_address: BTreeMap<String, (bool, usize)>,
}

impl Workloads {
    fn read(snapshot: &Snapshot) -> Self {
        let mut all = Self::default();
        let referred = referred_addresses(snapshot);
        for typed in snapshot.all::<model::Pod>() {
            let mut pod = workload::of_pod(typed.object, typed.spec, snapshot);
            let name = (pod.namespace.clone(), pod.name.clone());
            if pod.address.is_empty() {
                pod.address = referred.get(&name).cloned().unwrap_or_default();
            }
            let own = Some(pod.address.clone()).filter(|address| !address.is_empty());
            for address in own.into_iter().chain(addresses(typed.spec)) {
                all.by_address.entry(address).or_insert((true, all.pods.len()));
            }
            all.pod_named.insert(name, all.pods.len());
            all.pods.push(pod);
        }
        for typed in snapshot.all::<model::WorkloadEntry>() {
            let entry = workload::of_entry(typed.object, typed.spec);
            all.entry_named.insert((entry.namespace.clone(), entry.name.clone()), all.entries.len());
            all.by_address.entry(entry.address.clone()).or_insert((false, all.entries.len()));
            all.entries.push(entry);
        }
        all
    }

    pub(super) fn pod(&self, namespace: &str, name: &str) -> Option<&Workload> {
        self.pods.get(*self.pod_named.get(&(namespace.to_owned(), name.to_owned()))?)
    }

    pub(super) fn entry(&self, namespace: &str, name: &str) -> Option<&Workload> {
        self.entries.get(*self.entry_named.get(&(namespace.to_owned(), name.to_owned()))?)
    }

    pub(super) fn at(&self, address: &str) -> Option<&Workload> {
        match self.by_address.get(address)? {
            (true, index) => self.pods.get(*index),
            (false, index) => self.entries.get(*index),
        }
    }

    /// Pods of a namespace with these labels that have an address.
    pub(super) fn selected_pods<'a>(
        &'a self,
        namespace: &'a str,
        selector: &'a Labels,
    ) -> impl Iterator<Item = &'a Workload> {
        selected(&self.pods, namespace, selector)
    }

    /// WorkloadEntries of a namespace with these labels that have an address.
    pub(super) fn selected_entries<'a>(
        &'a self,
        namespace: &'a str,
        selector: &'a Labels,
    ) -> impl Iterator<Item = &'a Workload> {
        selected(&self.entries, namespace, selector)
    }

    fn into_all(self) -> impl Iterator<Item = Workload> {
        self.pods.into_iter().chain(self.entries)
    }
}

fn selected<'a>(list: &'a [Workload], namespace: &'a str, selector: &'a Labels) -> impl Iterator<Item = &'a Workload> {
    let list = list.iter().filter(move |w| w.namespace == namespace && !w.address.is_empty());
    list.filter(move |w| w.labels.matches(selector))
}

/// Addresses of pods by namespace and name, as EndpointSlices tell them: a pod in a file may lack its status.
fn referred_addresses(snapshot: &Snapshot) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    for slice in snapshot.all::<model::EndpointSlice>() {
        for endpoint in &slice.spec.endpoints {
            let Some(reference) = &endpoint.target_ref else { continue };
            let (Some(name), Some(address)) = (&reference.name, endpoint.addresses.first()) else { continue };
            if matches!(reference.kind.as_deref(), None | Some("Pod")) {
                let namespace = reference.namespace.as_deref().unwrap_or(slice.object.namespace());
                found.insert((namespace.to_owned(), name.clone()), address.clone());
            }
        }
    }
    found
}

fn addresses(pod: &model::Pod) -> impl Iterator<Item = String> {
    let many = pod.status.pod_ips.iter().map(|ip| ip.ip.clone());
    pod.status.pod_ip.clone().into_iter().chain(many).filter(|address| !address.is_empty())
}
