//! AuthorizationPolicies that match nothing (IST0127), or name namespaces that do not exist (IST0101).

use std::collections::HashSet;

use super::{
    AnalysisContext, Analyzer, Inputs, Link,
    context::not_found,
    workload::{has_proxy, is_ambient_pod, is_injected, print_selector},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{AuthorizationPolicy, Deployment, Kind, Object, ObjectKey, Pod, labels_match},
    path::FieldPath,
    snapshot::Snapshot,
};

/// Finds policies for workloads or callers that are not there.
#[derive(Debug)]
pub(super) struct PolicyWorkload;

impl Analyzer for PolicyWorkload {
    fn name(&self) -> &'static str {
        "authorizationpolicy.workload"
    }

    fn inputs(&self) -> Inputs {
        let policies = [Kind::AuthorizationPolicy];
        let members = [Kind::Pod, Kind::Deployment];
        Inputs::each(policies)
            .reads(policies, members, Link::Selects)
            .reads(policies, members, Link::Namespace)
            .reads(members, [Kind::Namespace], Link::Namespace)
            .reads(policies, [Kind::Namespace], Link::Names)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let members = members(context.snapshot());
        for policy in context.snapshot().all::<AuthorizationPolicy>() {
            findings.extend(unmatched(context, &members, policy.object, policy.spec));
            namespaces(context.snapshot(), policy.object, policy.spec, findings);
        }
    }
}

/// Pods and deployments that are part of the mesh, with a sidecar or without.
fn members(snapshot: &Snapshot) -> HashSet<&ObjectKey> {
    let mut members = HashSet::new();
    for pod in snapshot.all::<Pod>() {
        let meta = &pod.object.meta;
        let containers = pod.spec.spec.containers.iter().chain(&pod.spec.spec.init_containers);
        let inside = has_proxy(containers)
            || is_ambient_pod(pod.object)
            || is_injected(snapshot, pod.object.namespace(), &meta.labels, &meta.annotations);
        if inside {
            members.insert(pod.object.key());
        }
    }
    members
}

fn unmatched(
    context: &AnalysisContext<'_>,
    members: &HashSet<&ObjectKey>,
    object: &Object,
    spec: &AuthorizationPolicy,
) -> Option<Diagnostic> {
    let everywhere = object.namespace() == context.mesh().root_namespace;
    let bound = spec.target_ref.is_some() || !spec.target_refs.is_empty();
    if bound || (everywhere && spec.selector.is_none()) {
        return None;
    }
    let selector = spec.selector.as_ref().map(|selector| &selector.match_labels);
    let fits = |labels| selector.is_none_or(|selector| labels_match(selector, labels));
    let snapshot = context.snapshot();
    let pods = snapshot.of_kind(Kind::Pod).filter(|pod| members.contains(pod.key()));
    let pods = pods.map(|pod| (pod.namespace(), &pod.meta.labels));
    let deployments = snapshot.all::<Deployment>().filter(|found| {
        let meta = &found.spec.spec.template.metadata;
        is_injected(snapshot, found.object.namespace(), &meta.labels, &meta.annotations)
    });
    let templates = deployments.map(|found| (found.object.namespace(), &found.spec.spec.template.metadata.labels));
    let mut there = pods.chain(templates).filter(|(namespace, _)| everywhere || *namespace == object.namespace());
    if there.any(|(_, labels)| fits(labels)) {
        return None;
    }
    let path = FieldPath::spec();
    let reason = match selector {
        Some(selector) => format!("the selector is {}", print_selector(selector)),
        None => "the namespace has none in the mesh".to_owned(),
    };
    Some(Diagnostic::on(Code::NoMatchingWorkloads, object, path.field("selector"), &[&reason]))
}

fn namespaces(snapshot: &Snapshot, object: &Object, spec: &AuthorizationPolicy, findings: &mut Vec<Diagnostic>) {
    let exists = |pattern: &str| snapshot.of_kind(Kind::Namespace).any(|found| covers(pattern, found.name()));
    let root = FieldPath::spec();
    let rules = root.field("rules");
    for (index, rule) in spec.rules.iter().enumerate() {
        let path = rules.index(index);
        let from = path.field("from");
        for (index, entry) in rule.from.iter().enumerate() {
            let path = from.index(index);
            let path = path.field("source");
            let Some(source) = &entry.source else { continue };
            for (field, list) in [("namespaces", &source.namespaces), ("notNamespaces", &source.not_namespaces)] {
                let path = path.field(field);
                for (index, pattern) in list.iter().enumerate().filter(|(_, pattern)| !exists(pattern)) {
                    findings.push(not_found(object, path.index(index), "namespace", pattern));
                }
            }
        }
    }
}

/// Whether a pattern (a name, `PREFIX*` or `*SUFFIX`) covers the name of a namespace.
fn covers(pattern: &str, name: &str) -> bool {
    if let Some(suffix) = pattern.strip_prefix('*') {
        name.ends_with(suffix)
    } else if let Some(prefix) = pattern.strip_suffix('*') {
        name.starts_with(prefix)
    } else {
        pattern.eq_ignore_ascii_case(name)
    }
}
