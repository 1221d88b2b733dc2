//! DestinationRules for hosts that do not exist (IST0174), and subsets that no pod belongs to (IST0173).

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{AnalysisContext, Analyzer, Inputs, Link, inputs::WORKLOADS, workload::Workload};
use crate::{
    diagnostic::{Code, Diagnostic},
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host},
    model::{DestinationRule, EndpointSlice, Kind, Node, Object, Pod, Service, ServiceEntry, labels_match},
    path::FieldPath,
    snapshot::{Snapshot, Typed},
};

/// Finds DestinationRules whose hosts or subsets lead nowhere.
///
/// Pods count, and so do deployments and workloads outside the platform. A service without selector, or whose endpoints
/// are listed in slices, is not judged: its endpoints need not be pods.
#[derive(Debug)]
pub(super) struct SubsetPods;

/// Labels that pods take from their node.
const TOPOLOGY: [&str; 3] =
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

/// The label by which a slice names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl Analyzer for SubsetPods {
    fn name(&self) -> &'static str {
        "destinationrule.subset-pods"
    }

    fn inputs(&self) -> Inputs {
        let services = [Kind::Service, Kind::ServiceEntry];
        Inputs::each([Kind::DestinationRule])
            .reads([Kind::DestinationRule], services, Link::Host)
            .reads([Kind::Service], [Kind::EndpointSlice], Link::NamedBy)
            .looks_up(services, WORKLOADS, Link::Selects)
            .looks_up([Kind::Pod], [Kind::Node], Link::Names)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let path = FieldPath::spec();
        let services = Services::new(context.snapshot());
        for rule in context.snapshot().all::<DestinationRule>() {
            let namespace = rule.object.namespace();
            let host = full_host(&rule.spec.host, namespace, DEFAULT_CLUSTER_DOMAIN);
            if !context.is_known_host(&host, namespace) {
                let args: [&dyn std::fmt::Display; 1] = [&rule.spec.host];
                findings.push(Diagnostic::on(Code::UnknownRuleHost, rule.object, path.field("host"), &args));
            } else if let Some(selector) = services.selector(context.snapshot(), &host) {
                subsets(context, rule, selector, findings);
            }
        }
    }
}

/// What is looked up of services, indexed once.
struct Services<'a> {
    /// Namespace and name of services whose endpoints are listed.
    listed: HashSet<(&'a str, &'a str)>,
    entries: HashMap<&'a str, &'a ServiceEntry>,
    nothing: BTreeMap<String, String>,
}

impl<'a> Services<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let slices = snapshot.all::<EndpointSlice>().map(|slice| slice.object);
        let named = |slice: &'a Object| Some((slice.namespace(), slice.meta.labels.get(SERVICE_NAME)?.as_str()));
        let entries = snapshot.all::<ServiceEntry>();
        Self {
            listed: slices.filter_map(|slice| named(slice)).collect(),
            entries: entries
                .flat_map(|entry| entry.spec.hosts.iter().map(move |host| (host.as_str(), entry.spec)))
                .collect(),
            nothing: BTreeMap::new(),
        }
    }

    /// What selects the workloads of a host; `None` when labels do not tell.
    fn selector<'s>(&'s self, snapshot: &'s Snapshot, host: &str) -> Option<&'s BTreeMap<String, String>> {
        let mut parts = host.split('.');
        let (name, namespace) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if full_host(name, namespace, DEFAULT_CLUSTER_DOMAIN) == host
            && let Some(service) = snapshot.find::<Service>(namespace, name)
        {
            let selector = &service.spec.spec.selector;
            let by_hand = selector.is_empty() || self.listed.contains(&(namespace, name));
            return if by_hand { None } else { Some(selector) };
        }
        let entry = self.entries.get(host)?;
        Some(entry.workload_selector.as_ref().map_or(&self.nothing, |selector| &selector.labels))
    }
}

fn subsets(
    context: &AnalysisContext<'_>,
    rule: Typed<'_, DestinationRule>,
    selector: &BTreeMap<String, String>,
    findings: &mut Vec<Diagnostic>,
) {
    let whole = context.whole();
    let root = FieldPath::spec();
    let path = root.field("subsets");
    for (index, subset) in rule.spec.subsets.iter().enumerate() {
        // Labels of the node are looked at one pod at a time.
        let (by_node, wanted): (BTreeMap<_, _>, BTreeMap<_, _>) = selector
            .iter()
            .chain(&subset.labels)
            .map(|(key, value)| (key.clone(), value.clone()))
            .partition(|(key, _)| is_of_node(key));
        // A label of the subset cannot make up for one that the service asks for.
        let mut of_service = context.workloads().selected(&wanted).filter(|found| labels_match(selector, found.labels));
        if !of_service.any(|found| node_fits(whole, &found, &by_node)) {
            let at = path.index(index);
            let finding = Diagnostic::on(Code::SubsetWithoutPods, rule.object, at.field("name"), &[&subset.name]);
            findings.push(finding.with_help("correct the labels, or remove the subset"));
        }
    }
}

fn is_of_node(key: &str) -> bool {
    TOPOLOGY.contains(&key) || key == "kubernetes.io/hostname"
}

/// Whether a workload, or the node that it runs on, carries some labels.
fn node_fits(snapshot: &Snapshot, workload: &Workload<'_>, wanted: &BTreeMap<String, String>) -> bool {
    let node = workload.pod.and_then(|pod| pod.spec_as::<Pod>()).and_then(|pod| pod.spec.node_name.as_deref());
    let of_node = |key: &str| {
        let node = node?;
        if key == "kubernetes.io/hostname" {
            return Some(node.to_owned());
        }
        // An empty label of a node says nothing of its place.
        snapshot.find::<Node>("", node)?.object.meta.labels.get(key).filter(|place| !place.is_empty()).cloned()
    };
    wanted.iter().all(|(key, value)| of_node(key).as_ref() == Some(value) || workload.labels.get(key) == Some(value))
}
