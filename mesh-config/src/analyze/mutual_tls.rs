//! Clients and servers of one path that do not agree on mutual TLS (MESH0112).

use std::collections::BTreeSet;

use super::{
    AnalysisContext, Analyzer, Inputs, Link,
    context::root_namespace,
    inputs::WORKLOADS,
    workload::{Workload, has_proxy, is_injected},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host},
    model::{
        ClientTlsMode, ClientTlsSettings, Deployment, DestinationRule, IntOrString, Kind, KubeServicePort,
        MutualTlsMode, Object, PeerAuthentication, Pod, Service, TrafficPolicy, labels_match,
    },
    path::FieldPath,
    precedence::oldest_first,
    snapshot::{Snapshot, Typed},
};

/// Compares, port by port, the TLS mode of DestinationRules with what the workloads of their host accept.
#[derive(Debug)]
pub(super) struct MutualTlsPath;

impl Analyzer for MutualTlsPath {
    fn name(&self) -> &'static str {
        "destinationrule.mutual-tls"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::DestinationRule])
            .reads([Kind::DestinationRule], [Kind::Service], Link::Host)
            .reads([Kind::Service], WORKLOADS, Link::Selects)
            .reads([Kind::DestinationRule], [Kind::PeerAuthentication, Kind::Namespace], Link::All)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let snapshot = context.snapshot();
        for rule in snapshot.all::<DestinationRule>() {
            let Some(service) = service(snapshot, rule) else { continue };
            let root = FieldPath::spec();
            if let Some(policy) = &rule.spec.traffic_policy {
                let path = root.field("trafficPolicy");
                check(context, rule.object, path, policy, service, &service.spec.spec.selector, findings);
            }
            let subsets = root.field("subsets");
            for (index, subset) in rule.spec.subsets.iter().enumerate() {
                let Some(policy) = &subset.traffic_policy else { continue };
                let mut labels = service.spec.spec.selector.clone();
                labels.extend(subset.labels.clone());
                let path = subsets.index(index);
                check(context, rule.object, path.field("trafficPolicy"), policy, service, &labels, findings);
            }
        }
    }
}

fn service<'a>(snapshot: &'a Snapshot, rule: Typed<'_, DestinationRule>) -> Option<Typed<'a, Service>> {
    let host = full_host(&rule.spec.host, rule.object.namespace(), DEFAULT_CLUSTER_DOMAIN);
    let (name, rest) = host.split_once('.')?;
    let namespace = rest.strip_suffix(&format!(".svc.{DEFAULT_CLUSTER_DOMAIN}"))?;
    snapshot.find::<Service>(namespace, name).filter(|service| !service.spec.spec.selector.is_empty())
}

fn check(
    context: &AnalysisContext<'_>,
    object: &Object,
    path: FieldPath<'_>,
    policy: &TrafficPolicy,
    service: Typed<'_, Service>,
    labels: &std::collections::BTreeMap<String, String>,
    findings: &mut Vec<Diagnostic>,
) {
    let ports = path.field("portLevelSettings");
    let mut reported = BTreeSet::new();
    for port in &service.spec.spec.ports {
        let own = policy.port_level_settings.iter().enumerate();
        let own = own.filter(|(_, own)| own.port.is_some_and(|own| own.number == u32::from(port.port)));
        let own = own.filter_map(|(index, own)| Some((Some(index), own.tls.as_ref()?))).next();
        let Some((index, tls)) = own.or_else(|| Some((None, policy.tls.as_ref()?))) else { continue };
        let members =
            context.workloads().selected(labels).filter(|found| found.namespace == service.object.namespace());
        let fault = members.filter(|found| is_member(context.snapshot(), found)).find_map(|workload| {
            let (mode, by) = accepted(context, &workload, target(port, &workload))?;
            clash(tls, mode).map(|(sent, wanted)| (sent, wanted, workload.name.to_owned(), by))
        });
        let Some((sent, wanted, workload, by)) = fault else { continue };
        if !reported.insert(index) {
            continue;
        }
        let at = index.map(|index| ports.index(index));
        let at = at.as_ref().map_or(path, |at| *at);
        let args: [&dyn std::fmt::Display; 5] = [&sent, &port.port, &workload, &wanted, &by];
        findings.push(Diagnostic::on(Code::MutualTlsMismatch, object, at.field("tls"), &args));
    }
}

/// What is sent and what is accepted, when the two do not meet.
fn clash(tls: &ClientTlsSettings, mode: MutualTlsMode) -> Option<(&'static str, &'static str)> {
    match (tls.mode, mode) {
        (ClientTlsMode::Disable, MutualTlsMode::Strict) => Some(("plain text", "mutual TLS only")),
        (ClientTlsMode::Simple, MutualTlsMode::Strict) => Some(("TLS without a mesh certificate", "mutual TLS only")),
        (ClientTlsMode::IstioMutual, MutualTlsMode::Disable) => Some(("mutual TLS", "plain text only")),
        _ => None,
    }
}

/// Whether a workload has a sidecar, so that a PeerAuthentication matters to it.
fn is_member(snapshot: &Snapshot, workload: &Workload<'_>) -> bool {
    if let Some(pod) = workload.pod {
        let containers = pod.spec_as::<Pod>().map(|pod| pod.spec.containers.iter().chain(&pod.spec.init_containers));
        return containers.is_some_and(has_proxy)
            || is_injected(snapshot, pod.namespace(), &pod.meta.labels, &pod.meta.annotations);
    }
    snapshot.find::<Deployment>(workload.namespace, workload.name).is_some_and(|found| {
        let meta = &found.spec.spec.template.metadata;
        is_injected(snapshot, workload.namespace, &meta.labels, &meta.annotations)
    })
}

/// The workload's port behind a service's port.
fn target(port: &KubeServicePort, workload: &Workload<'_>) -> u32 {
    match &port.target_port {
        None => u32::from(port.port),
        Some(IntOrString::Int(0)) => u32::from(port.port),
        Some(IntOrString::Int(number)) => u32::try_from(*number).unwrap_or_default(),
        Some(IntOrString::Text(name)) => {
            let pod = workload.pod.and_then(|pod| pod.spec_as::<Pod>());
            let mut ports = pod.into_iter().flat_map(|pod| &pod.spec.containers).flat_map(|one| &one.ports);
            let named = ports.find(|port| port.name.as_ref() == Some(name));
            named.map_or_else(|| u32::from(port.port), |port| u32::from(port.container_port))
        }
    }
}

/// What a workload accepts on a port, and the policy that says so: its own, else that of its namespace, else the mesh's.
fn accepted(context: &AnalysisContext<'_>, workload: &Workload<'_>, port: u32) -> Option<(MutualTlsMode, String)> {
    let root = root_namespace(context);
    let mut policies: Vec<_> = context.snapshot().all::<PeerAuthentication>().collect();
    policies.sort_by(|one, other| oldest_first(one.object, other.object));
    let labels = |policy: &PeerAuthentication| {
        policy.selector.as_ref().map(|selector| selector.match_labels.clone()).filter(|labels| !labels.is_empty())
    };
    let in_namespace = |object: &Object| object.namespace() == workload.namespace;
    let own = policies.iter().find(|policy| {
        in_namespace(policy.object) && labels(policy.spec).is_some_and(|labels| labels_match(&labels, workload.labels))
    });
    let of_namespace = policies.iter().find(|policy| in_namespace(policy.object) && labels(policy.spec).is_none());
    let of_mesh = policies.iter().find(|policy| policy.object.namespace() == root && labels(policy.spec).is_none());
    let of_port = own.and_then(|policy| Some((policy.spec.port_level_mtls.get(&port)?.mode, *policy)));
    let rest = [own, of_namespace, of_mesh].into_iter().flatten();
    let modes = rest.filter_map(|policy| Some((policy.spec.mtls?.mode, *policy)));
    let (mode, policy) = of_port.into_iter().chain(modes).find(|(mode, _)| *mode != MutualTlsMode::Unset)?;
    Some((mode, policy.object.key().to_string()))
}
