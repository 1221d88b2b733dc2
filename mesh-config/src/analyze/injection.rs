//! Namespaces and pods that are or are not part of the mesh (IST0102, IST0103, IST0123, IST0148).

use std::collections::HashSet;

use serde_json::Value;

use super::{
    AnalysisContext, Analyzer, Inputs, Link,
    workload::{DATAPLANE_MODE, INJECT, INJECTION, REVISION, SYSTEM_NAMESPACE, has_proxy, is_system_namespace},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{ConfigMap, Kind, Namespace, Object, Pod},
    path::FieldPath,
    snapshot::Snapshot,
};

/// Checks that namespaces say whether their pods get sidecars, and that they do.
#[derive(Debug)]
pub(super) struct Injection;

impl Analyzer for Injection {
    fn name(&self) -> &'static str {
        "namespace.injection"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::Namespace, Kind::Pod]).reads([Kind::Pod], [Kind::Namespace], Link::Namespace).reads(
            [Kind::Namespace],
            [Kind::ConfigMap],
            Link::Named("istio-sidecar-injector"),
        )
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let snapshot = context.snapshot();
        let mut injected = HashSet::new();
        for namespace in snapshot.all::<Namespace>().filter(|found| !is_exempt(found.object.name())) {
            if self::namespace(snapshot, namespace.object, findings) {
                injected.insert(namespace.object.name());
            }
        }
        for pod in snapshot.all::<Pod>().filter(|pod| injected.contains(pod.object.namespace())) {
            findings.extend(missing_proxy(pod.object, pod.spec));
        }
    }
}

fn is_exempt(name: &str) -> bool {
    name == SYSTEM_NAMESPACE || is_system_namespace(name)
}

/// Checks the labels of a namespace; whether its pods get sidecars.
fn namespace(snapshot: &Snapshot, object: &Object, findings: &mut Vec<Diagnostic>) -> bool {
    let label = |key: &str| object.meta.labels.get(key).map(String::as_str);
    let (injection, revision) = (label(INJECTION), label(REVISION));
    let root = FieldPath::root();
    let path = root.field("metadata");
    let path = path.field("labels");
    let mut given: Vec<String> = injection.iter().map(|value| format!("{INJECTION}={value}")).collect();
    if injection.is_none_or(|value| value == "enabled") {
        let others = [REVISION, DATAPLANE_MODE].into_iter().filter_map(|key| Some(format!("{key}={}", label(key)?)));
        given.extend(others);
    }
    if given.len() > 1 {
        findings.push(Diagnostic::on(Code::NamespaceInjectionLabels, object, path, &[&given.join(", ")]));
    }
    if label(DATAPLANE_MODE) == Some("ambient") {
        return false;
    }
    if injection.unwrap_or_default().is_empty() && revision.is_none() {
        let by_default = is_enabled_by_default(snapshot);
        let code = if by_default { Code::InjectionByDefault } else { Code::NamespaceNotInjected };
        findings.push(Diagnostic::on(code, object, path, &[]));
        return false;
    }
    injection == Some("enabled")
}

/// Whether the installation gives all namespaces sidecars.
fn is_enabled_by_default(snapshot: &Snapshot) -> bool {
    let injector = snapshot.all::<ConfigMap>().find(|found| found.object.name() == "istio-sidecar-injector");
    let values = injector.and_then(|found| found.spec.data.get("values"));
    let values = values.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let flag = values.as_ref().and_then(|values| values.pointer("/sidecarInjectorWebhook/enableNamespacesByDefault"));
    flag.and_then(Value::as_bool).unwrap_or_default()
}

fn missing_proxy(object: &Object, pod: &Pod) -> Option<Diagnostic> {
    let wanted = object.meta.labels.get(INJECT).or_else(|| object.meta.annotations.get(INJECT));
    let refused = wanted.is_some_and(|value| value.eq_ignore_ascii_case("false"));
    if refused || pod.spec.host_network || has_proxy(pod.spec.containers.iter().chain(&pod.spec.init_containers)) {
        return None;
    }
    let name = format!("{}/{}", object.namespace(), object.name());
    Some(Diagnostic::on(Code::PodMissingProxy, object, FieldPath::root(), &[&name]))
}
