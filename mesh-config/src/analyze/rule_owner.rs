//! Objects that define the same host, of which only the oldest counts in part (MESH0109).

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use super::{AnalysisContext, Analyzer, Inputs, Link};
use crate::{
    diagnostic::{Code, Diagnostic},
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host},
    model::{DestinationRule, Kind, Object, ServiceEntry},
    path::FieldPath,
};

/// Finds DestinationRules and ServiceEntries of one namespace for one host whose settings contradict each other.
///
/// Istio merges them: subsets and endpoints add up, but the policy of a host, its resolution and its location are those of
/// the oldest object; without times of creation, of the first by name.
#[derive(Debug)]
pub(super) struct RuleOwner;

/// The order in which objects that conflict take precedence: by age, then by namespace and name.
pub(super) fn by_age(one: &Object, other: &Object) -> Ordering {
    // Objects without a time are those of files, which are as old as can be.
    let time = |object: &Object| object.meta.creation_timestamp.clone().unwrap_or_default();
    let name = |object: &Object| (object.namespace().to_owned(), object.name().to_owned());
    time(one).cmp(&time(other)).then_with(|| name(one).cmp(&name(other)))
}

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

/// What a rule defines for a host: its trafficPolicy, or a subset. Rules of one host are joined, oldest first; what an
/// older rule defines is kept.
fn rules(context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
    let mut rules: Vec<_> = context.snapshot().all::<DestinationRule>().collect();
    // Rules for certain clients are others than those for all.
    rules.retain(|rule| rule.spec.workload_selector.is_none());
    rules.sort_by(|one, other| by_age(one.object, other.object));
    let mut owners: HashMap<(&str, String, Option<&str>), &Arc<Object>> = HashMap::new();
    let root = FieldPath::spec();
    for rule in rules {
        let namespace = rule.object.namespace();
        let host = full_host(&rule.spec.host, namespace, DEFAULT_CLUSTER_DOMAIN);
        let mut own = |part| {
            let owner = *owners.entry((namespace, host.clone(), part)).or_insert(rule.object);
            let exported =
                owner.spec_as::<DestinationRule>().is_some_and(|first| first.export_to == rule.spec.export_to);
            (owner.key() != rule.object.key() && exported).then_some(owner)
        };
        let mut report = |path: FieldPath<'_>, owner: &Object, what: &str| {
            let args: [&dyn std::fmt::Display; 3] = [&host, owner.key(), &what];
            findings.push(Diagnostic::on(Code::HostOwnedByAnother, rule.object, path, &args));
        };
        if let Some(owner) = rule.spec.traffic_policy.as_ref().and_then(|_| own(None)) {
            report(root.field("trafficPolicy"), owner, "trafficPolicy");
        }
        let subsets = root.field("subsets");
        for (index, subset) in rule.spec.subsets.iter().enumerate() {
            if let Some(owner) = own(Some(subset.name.as_str())) {
                report(subsets.index(index), owner, &format!("subset {:?}", subset.name));
            }
        }
    }
}

fn entries(context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
    let mut entries: Vec<_> = context.snapshot().all::<ServiceEntry>().collect();
    entries.sort_by(|one, other| by_age(one.object, other.object));
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
