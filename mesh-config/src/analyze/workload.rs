//! Workloads as analyzers see them: pods, and what stands for pods in files.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

use crate::{
    model::{Container, Deployment, Namespace, Object, Pod, ServiceEntry, WorkloadEntry, labels_match},
    snapshot::Snapshot,
};

/// The container that makes a pod a part of the mesh.
pub(super) const PROXY_CONTAINER: &str = "istio-proxy";
/// The label of namespaces that have sidecars put into their pods.
pub(super) const INJECTION: &str = "istio-injection";
/// The label that names the control plane's revision.
pub(super) const REVISION: &str = "istio.io/rev";
/// The label that says how traffic is captured.
pub(super) const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";
/// The label or annotation that puts a sidecar into a pod, or does not.
pub(super) const INJECT: &str = "sidecar.istio.io/inject";
/// The namespace of the control plane.
pub(super) const SYSTEM_NAMESPACE: &str = "istio-system";
/// The gateway that Istio's samples use, which is seldom in the files that are checked.
pub(super) const DEFAULT_INGRESS: &str = "istio-ingressgateway";

/// A workload that labels can select.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workload<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) labels: &'a BTreeMap<String, String>,
    /// Whether it is a pod, rather than the template of pods, a workload outside, or one that is assumed.
    pub(super) pod: Option<&'a Arc<Object>>,
}

/// Workloads with an index by label.
#[derive(Debug, Default)]
pub(super) struct Workloads<'a> {
    all: Vec<Workload<'a>>,
    by_label: HashMap<(&'a str, &'a str), Vec<usize>>,
    by_namespace: HashMap<&'a str, Vec<usize>>,
}

/// The label of that gateway's workloads.
pub(super) const INGRESS_LABEL: (&str, &str) = ("istio", "ingressgateway");

static INGRESS_LABELS: LazyLock<BTreeMap<String, String>> =
    LazyLock::new(|| BTreeMap::from([(INGRESS_LABEL.0.to_owned(), INGRESS_LABEL.1.to_owned())]));

impl<'a> Workloads<'a> {
    /// Those of a configuration, or a part of it; without a workload of the default gateway in the whole, one is assumed.
    pub(super) fn new(snapshot: &'a Snapshot, has_ingress: bool) -> Self {
        let mut all = Vec::new();
        for pod in snapshot.all::<Pod>() {
            let object = pod.object;
            let labels = &object.meta.labels;
            all.push(Workload { namespace: object.namespace(), name: object.name(), labels, pod: Some(object) });
        }
        for deployment in snapshot.all::<Deployment>() {
            let (object, labels) = (deployment.object, &deployment.spec.spec.template.metadata.labels);
            all.push(Workload { namespace: object.namespace(), name: object.name(), labels, pod: None });
        }
        for entry in snapshot.all::<WorkloadEntry>() {
            let (object, labels) = (entry.object, &entry.spec.labels);
            all.push(Workload { namespace: object.namespace(), name: object.name(), labels, pod: None });
        }
        for service in snapshot.all::<ServiceEntry>() {
            let object = service.object;
            all.extend(service.spec.endpoints.iter().map(|endpoint| Workload {
                namespace: object.namespace(),
                name: object.name(),
                labels: &endpoint.labels,
                pod: None,
            }));
        }
        if !has_ingress {
            let (namespace, name) = (SYSTEM_NAMESPACE, DEFAULT_INGRESS);
            all.push(Workload { namespace, name, labels: &INGRESS_LABELS, pod: None });
        }
        let mut workloads = Self { all, ..Self::default() };
        for (index, workload) in workloads.all.iter().enumerate() {
            workloads.by_namespace.entry(workload.namespace).or_default().push(index);
            for (key, value) in workload.labels {
                workloads.by_label.entry((key, value)).or_default().push(index);
            }
        }
        workloads
    }

    /// Those that carry all labels of a selector; an empty one selects all.
    pub(super) fn selected<'s>(
        &'s self,
        selector: &'s BTreeMap<String, String>,
    ) -> Box<dyn Iterator<Item = Workload<'a>> + 's> {
        let rarest = selector
            .iter()
            .map(|(key, value)| self.by_label.get(&(key.as_str(), value.as_str())).map_or(&[][..], Vec::as_slice))
            .min_by_key(|found| found.len());
        match rarest {
            None => Box::new(self.all.iter().copied()),
            Some(found) => Box::new(
                found.iter().map(|index| self.all[*index]).filter(|found| labels_match(selector, found.labels)),
            ),
        }
    }

    /// Those of a namespace.
    pub(super) fn in_namespace<'s>(&'s self, namespace: &str) -> impl Iterator<Item = Workload<'a>> + 's {
        self.by_namespace.get(namespace).into_iter().flatten().map(|index| self.all[*index])
    }
}

/// A selector as Kubernetes prints it.
pub(super) fn print_selector(selector: &BTreeMap<String, String>) -> String {
    selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// Whether a container is the mesh's proxy.
pub(super) fn has_proxy<'c>(containers: impl IntoIterator<Item = &'c Container>) -> bool {
    let mut containers = containers.into_iter();
    containers.any(|container| container.name == PROXY_CONTAINER && container.image.is_some())
}

/// Whether pods with these labels and annotations get a sidecar in a namespace; one that has it, has it.
pub(super) fn is_injected(
    snapshot: &Snapshot,
    namespace: &str,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> bool {
    match labels.get(INJECT).or_else(|| annotations.get(INJECT)) {
        Some(value) => value == "true",
        None => snapshot
            .find::<Namespace>("", namespace)
            .is_some_and(|found| found.object.meta.labels.get(INJECTION).is_some_and(|value| value == "enabled")),
    }
}

/// Whether a pod's traffic is captured by the node rather than by a sidecar.
pub(super) fn is_ambient_pod(object: &Object) -> bool {
    object.meta.annotations.get("ambient.istio.io/redirection").is_some_and(|value| value == "enabled")
}

/// Whether the pods of a namespace are captured by the node; a sidecar's label takes precedence.
pub(super) fn is_ambient_namespace(object: &Object) -> bool {
    let label = |key: &str| object.meta.labels.get(key).map(String::as_str);
    label(INJECTION) != Some("enabled")
        && label(REVISION).unwrap_or_default().is_empty()
        && label(DATAPLANE_MODE) == Some("ambient")
}

/// Whether a namespace is the platform's own.
pub(super) fn is_system_namespace(namespace: &str) -> bool {
    matches!(namespace, "kube-system" | "kube-public" | "kube-node-lease" | "local-path-storage")
}

/// Whether an object is a part of the control plane.
pub(super) fn is_control_plane(object: &Object) -> bool {
    object.meta.labels.contains_key("istio") || object.meta.labels.get("release").is_some_and(|value| value == "istio")
}
