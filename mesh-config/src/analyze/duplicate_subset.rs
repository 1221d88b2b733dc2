//! Subsets that several DestinationRules of a namespace define for the same host (MESH0101).

use std::{collections::HashMap, sync::Arc};

use super::{AnalysisContext, Analyzer, Inputs, Link};
use crate::{
    diagnostic::{Code, Diagnostic},
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host},
    model::{DestinationRule, Kind, Object},
    path::FieldPath,
};

/// Finds subsets that are defined twice. Rules for different workloads (`workloadSelector`) do not meet.
#[derive(Debug)]
pub(super) struct DuplicateSubset;

impl Analyzer for DuplicateSubset {
    fn name(&self) -> &'static str {
        "destinationrule.duplicate-subset"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::DestinationRule]).reads([Kind::DestinationRule], [Kind::DestinationRule], Link::Host)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let mut first: HashMap<(&str, String, &str), &Arc<Object>> = HashMap::new();
        for rule in context.snapshot().all::<DestinationRule>() {
            if rule.spec.workload_selector.is_some() {
                continue;
            }
            let namespace = rule.object.namespace();
            let host = full_host(&rule.spec.host, namespace, DEFAULT_CLUSTER_DOMAIN);
            let subsets = FieldPath::spec();
            let subsets = subsets.field("subsets");
            for (index, subset) in rule.spec.subsets.iter().enumerate() {
                let owner = *first.entry((namespace, host.clone(), &subset.name)).or_insert(rule.object);
                // Twice within one rule is for its validator to say.
                if owner.key() != rule.object.key() {
                    let path = subsets.index(index);
                    let args: [&dyn std::fmt::Display; 3] = [&subset.name, &rule.spec.host, owner.key()];
                    findings.push(Diagnostic::on(Code::DuplicateSubset, rule.object, path.field("name"), &args));
                }
            }
        }
    }
}
