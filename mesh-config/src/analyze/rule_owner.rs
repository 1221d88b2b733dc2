//! Objects that define the same host, of which only the oldest counts in part (MESH0109).

use std::{collections::HashMap, sync::Arc};

use super::{AnalysisContext, Analyzer, Inputs, Link};
use crate::{
    diagnostic::{Code, Diagnostic},
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host},
    model::{DestinationRule, Kind, Object, ServiceEntry},
    path::FieldPath,
    precedence::oldest_first,
};

/// Finds DestinationRules and ServiceEntries of one namespace for one host whose settings contradict each other.
///
/// Istio merges them: subsets and endpoints add up, but the policy of a host, its resolution and its location are those of
/// the oldest object; without times of creation, of the first by name.
#[derive(Debug)]
pub(super) struct RuleOwner;

impl Analyzer for RuleOwner {
    fn name(&self) -> &'static str {
        "host.owner"
    }

    fn inputs(&self) -> Inputs {
        let kinds = [Kind::DestinationRule, Kind::ServiceEntry];
        Inputs::each(kinds).reads([kinds[0]], [kinds[0]], Link::Host).reads([kinds[1]], [kinds[1]], Link::Host)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        rules(context, findings);
        entries(context, findings);
    }
}

/// Rules of one host are joined, oldest first: the first trafficPolicy is kept. Subsets have a finding of their own.
fn rules(context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
    let mut rules: Vec<_> = context.snapshot().all::<DestinationRule>().collect();
    // Rules for certain clients are others than those for all.
    rules.retain(|rule| rule.spec.workload_selector.is_none() && rule.spec.traffic_policy.is_some());
    rules.sort_by(|one, other| oldest_first(one.object, other.object));
    let mut owners: HashMap<(&str, String), (&Arc<Object>, &DestinationRule)> = HashMap::new();
    let root = FieldPath::spec();
    for rule in rules {
        let namespace = rule.object.namespace();
        let host = full_host(&rule.spec.host, namespace, DEFAULT_CLUSTER_DOMAIN);
        let (owner, first) = *owners.entry((namespace, host.clone())).or_insert((rule.object, rule.spec));
        if owner.key() != rule.object.key() && first.export_to == rule.spec.export_to {
            let args: [&dyn std::fmt::Display; 3] = [&host, owner.key(), &"trafficPolicy"];
            findings.push(Diagnostic::on(Code::HostOwnedByAnother, rule.object, root.field("trafficPolicy"), &args));
        }
    }
}

fn entries(context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
    let mut entries: Vec<_> = context.snapshot().all::<ServiceEntry>().collect();
    entries.sort_by(|one, other| oldest_first(one.object, other.object));
    let mut owners: HashMap<(&str, &str), (&Arc<Object>, &ServiceEntry)> = HashMap::new();
    for entry in entries {
        for (index, host) in entry.spec.hosts.iter().enumerate() {
            let place = (entry.object.namespace(), host.as_str());
            let (owner, first) = *owners.entry(place).or_insert((entry.object, entry.spec));
            let differing = [
                ("resolution", first.resolution != entry.spec.resolution),
                ("location", first.location != entry.spec.location),
            ];
            let fields: Vec<&str> = differing.iter().filter(|(_, differs)| *differs).map(|(field, _)| *field).collect();
            if owner.key() != entry.object.key() && !fields.is_empty() {
                let root = FieldPath::spec();
                let hosts = root.field("hosts");
                let args: [&dyn std::fmt::Display; 3] = [host, owner.key(), &fields.join(" and ")];
                findings.push(Diagnostic::on(Code::HostOwnedByAnother, entry.object, hosts.index(index), &args));
            }
        }
    }
}
