//! Workloads as analyzers see them: pods, and what stands for pods in files.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use crate::{
    model::{Container, Kind, Namespace, Object, Spec, labels_match},
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

/// The workloads of a configuration, found by its index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workloads<'a> {
    snapshot: &'a Snapshot,
    /// Whether a workload of the default gateway is there; otherwise one is assumed.
    has_ingress: bool,
}

/// The label of that gateway's workloads.
pub(super) const INGRESS_LABEL: (&str, &str) = ("istio", "ingressgateway");

static INGRESS_LABELS: LazyLock<BTreeMap<String, String>> =
    LazyLock::new(|| BTreeMap::from([(INGRESS_LABEL.0.to_owned(), INGRESS_LABEL.1.to_owned())]));

/// What stands for workloads, in the order in which they are told.
const KINDS: [Kind; 4] = [Kind::Pod, Kind::Deployment, Kind::WorkloadEntry, Kind::ServiceEntry];

impl<'a> Workloads<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, has_ingress: bool) -> Self {
        Self { snapshot, has_ingress }
    }

    /// The one that is assumed.
    fn assumed(self) -> Option<Workload<'a>> {
        let assumed =
            Workload { namespace: SYSTEM_NAMESPACE, name: DEFAULT_INGRESS, labels: &INGRESS_LABELS, pod: None };
        (!self.has_ingress).then_some(assumed)
    }

    /// Those that carry all labels of a selector; an empty one selects all.
    pub(super) fn selected<'s>(
        self,
        selector: &'s BTreeMap<String, String>,
    ) -> Box<dyn Iterator<Item = Workload<'a>> + 's>
    where
        'a: 's,
    {
        let objects: Box<dyn Iterator<Item = &'a Arc<Object>> + 's> = match self.snapshot.rarest_label(selector) {
            None => Box::new(KINDS.into_iter().flat_map(move |kind| self.snapshot.of_kind(kind))),
            Some(found) => Box::new(found.iter()),
        };
        let all = objects.flat_map(workloads).chain(self.assumed());
        Box::new(all.filter(move |found| labels_match(selector, found.labels)))
    }

    /// Those of a namespace.
    pub(super) fn in_namespace(self, namespace: &str) -> impl Iterator<Item = Workload<'a>> {
        let objects = KINDS.into_iter().flat_map(move |kind| self.snapshot.in_namespace(kind, namespace));
        let assumed = self.assumed().filter(|assumed| assumed.namespace == namespace);
        objects.flat_map(workloads).chain(assumed)
    }
}

/// Whether a configuration has any workloads.
pub(super) fn has_workloads(snapshot: &Snapshot) -> bool {
    let mut objects = KINDS.into_iter().flat_map(|kind| snapshot.of_kind(kind));
    objects.any(|object| workloads(object).next().is_some())
}

/// The workloads that an object stands for.
fn workloads(object: &Arc<Object>) -> impl Iterator<Item = Workload<'_>> {
    let workload = |labels| Workload { namespace: object.namespace(), name: object.name(), labels, pod: None };
    let (one, many) = match &object.spec {
        Spec::Pod(_) => (Some(Workload { pod: Some(object), ..workload(&object.meta.labels) }), None),
        Spec::Deployment(spec) => (Some(workload(&spec.spec.template.metadata.labels)), None),
        Spec::WorkloadEntry(spec) => (Some(workload(&spec.labels)), None),
        Spec::ServiceEntry(spec) => (None, Some(&spec.endpoints)),
        _ => (None, None),
    };
    one.into_iter().chain(many.into_iter().flatten().map(move |endpoint| workload(&endpoint.labels)))
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
