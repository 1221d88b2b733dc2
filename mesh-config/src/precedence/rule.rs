//! The DestinationRules for a host.

use std::sync::Arc;

use super::{WorkloadRef, oldest_first, specificity};
use crate::{
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host, host_covers, is_visible},
    model::{DestinationRule, Object, labels_match},
    snapshot::{Snapshot, Typed},
};

/// The DestinationRules that hold for calls of `caller` to a host (a full name) of a service in the namespace `owner`, the
/// oldest first: the first one's policy counts, and the subsets of all.
///
/// They are looked for in the caller's namespace, then in the service's, then in the root namespace; the first that has
/// one that is seen decides. In it, the most specific host counts, and rules for selected workloads before those for all.
#[must_use]
pub fn destination_rules<'a>(
    snapshot: &'a Snapshot,
    root: &str,
    caller: WorkloadRef<'_>,
    owner: &str,
    host: &str,
) -> Vec<&'a Arc<Object>> {
    // Rules of the root namespace are for everyone, also where it is the caller's own: they come last.
    let own = (caller.namespace != root).then_some(caller.namespace);
    let places = own.into_iter().chain([owner, root]);
    places.map(|place| rules_in(snapshot, place, caller, host)).find(|rules| !rules.is_empty()).unwrap_or_default()
}

fn rules_in<'a>(snapshot: &'a Snapshot, place: &str, caller: WorkloadRef<'_>, host: &str) -> Vec<&'a Arc<Object>> {
    let applies = |rule: &Typed<'_, DestinationRule>| {
        let selector = rule.spec.workload_selector.as_ref();
        is_visible(&rule.spec.export_to, place, caller.namespace)
            && selector
                .is_none_or(|selector| place == caller.namespace && labels_match(&selector.match_labels, caller.labels))
    };
    let all = snapshot.all_in::<DestinationRule>(place).filter(applies);
    let mut found: Vec<_> = all
        .map(|rule| (full_host(&rule.spec.host, place, DEFAULT_CLUSTER_DOMAIN), rule))
        .filter(|(pattern, _)| host_covers(pattern, host))
        .collect();
    let best = found.iter().map(|(pattern, _)| pattern).min_by_key(|pattern| specificity(pattern)).cloned();
    found.retain(|(pattern, _)| Some(pattern) == best.as_ref());
    if found.iter().any(|(_, rule)| rule.spec.workload_selector.is_some()) {
        found.retain(|(_, rule)| rule.spec.workload_selector.is_some());
    }
    found.sort_by(|(_, one), (_, other)| oldest_first(one.object, other.object));
    found.into_iter().map(|(_, rule)| rule.object).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::precedence::tests::snapshot;

    fn rule(namespace: &str, name: &str, spec: &str) -> String {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}, namespace: \
             {namespace}}}\nspec: {spec}\n"
        )
    }

    fn found(text: &str, caller: &str) -> Vec<String> {
        let labels = BTreeMap::from([("app".to_owned(), "x".to_owned())]);
        let caller = WorkloadRef { namespace: caller, labels: &labels };
        let all = snapshot(text);
        let rules = destination_rules(&all, "istio-system", caller, "b", "reviews.b.svc.cluster.local");
        rules.into_iter().map(|rule| format!("{}/{}", rule.namespace(), rule.name())).collect()
    }

    #[test]
    fn callers_namespace_then_services_then_root() {
        let root = rule("istio-system", "root", "{host: '*.local'}");
        let owner = rule("b", "owner", "{host: reviews}") + &root;
        let caller = rule("a", "caller", "{host: reviews.b.svc.cluster.local}") + &owner;
        assert_eq!(found(&caller, "a"), ["a/caller"]);
        assert_eq!(found(&caller, "c"), ["b/owner"]);
        assert_eq!(found(&root, "c"), ["istio-system/root"]);
        let hidden = rule("b", "owner", "{host: reviews, exportTo: ['.']}") + &root;
        assert_eq!(found(&hidden, "c"), ["istio-system/root"]);
        assert_eq!(found(&hidden, "b"), ["b/owner"]);
    }

    #[test]
    fn in_a_namespace_the_most_specific_and_all_of_them() {
        let text = rule("b", "y", "{host: reviews}")
            + &rule("b", "x", "{host: reviews.b.svc.cluster.local}")
            + &rule("b", "wild", "{host: '*.b.svc.cluster.local'}");
        assert_eq!(found(&text, "c"), ["b/x", "b/y"]);
        let selected = text + &rule("b", "own", "{host: reviews, workloadSelector: {matchLabels: {app: x}}}");
        assert_eq!(found(&selected, "b"), ["b/own"]);
        // It is for workloads of its own namespace.
        assert_eq!(found(&selected, "c"), ["b/x", "b/y"]);
    }
}
