//! Routes to subsets that no DestinationRule defines (IST0101).

use std::collections::HashMap;

use super::{
    AnalysisContext, Analyzer, Inputs, Link,
    context::{destinations, not_found},
};
use crate::{
    diagnostic::Diagnostic,
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host, host_covers},
    model::{DestinationRule, Kind, VirtualService},
    suggest,
};

/// Finds destinations of VirtualServices whose subset is not defined.
#[derive(Debug)]
pub(super) struct DestinationSubset;

impl Analyzer for DestinationSubset {
    fn name(&self) -> &'static str {
        "virtualservice.destination-subset"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::VirtualService]).reads([Kind::VirtualService], [Kind::DestinationRule], Link::Destination)
    }

    fn is_blocking(&self) -> bool {
        true
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let mut exact: HashMap<String, Vec<&DestinationRule>> = HashMap::new();
        let mut wildcard: Vec<&DestinationRule> = Vec::new();
        for rule in context.snapshot().all::<DestinationRule>() {
            if rule.spec.host.starts_with('*') {
                wildcard.push(rule.spec);
            } else {
                let host = full_host(&rule.spec.host, rule.object.namespace(), DEFAULT_CLUSTER_DOMAIN);
                exact.entry(host).or_default().push(rule.spec);
            }
        }
        for service in context.snapshot().all::<VirtualService>() {
            destinations(service.spec, |path, destination| {
                let Some(subset) = destination.subset.as_deref().filter(|subset| !subset.is_empty()) else { return };
                let host = full_host(&destination.host, service.object.namespace(), DEFAULT_CLUSTER_DOMAIN);
                let covering = wildcard.iter().filter(|rule| host_covers(&rule.host, &host));
                let rules: Vec<_> = exact.get(&host).into_iter().flatten().chain(covering).collect();
                let known: Vec<&str> =
                    rules.iter().flat_map(|rule| &rule.subsets).map(|subset| subset.name.as_str()).collect();
                if known.contains(&subset) {
                    return;
                }
                let what = "host+subset in destinationrule";
                let named = format!("{}+{subset}", destination.host);
                let help = match (suggest::nearest(subset, known.iter().copied()), known.is_empty()) {
                    (Some(near), _) => format!("did you mean {near:?}?"),
                    (None, true) => "add a DestinationRule for this host that defines the subset".to_owned(),
                    (None, false) => format!("the host's subsets are: {}", known.join(", ")),
                };
                findings.push(not_found(service.object, path.field("subset"), what, &named).with_help(help));
            });
        }
    }
}
