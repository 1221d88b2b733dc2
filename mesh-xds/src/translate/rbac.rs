//! Who may call a workload: AuthorizationPolicy as Envoy's RBAC.
//!
//! Source: Istio's "Authorization Policy" reference. Evaluation order is CUSTOM, DENY, ALLOW; DENY and ALLOW are one
//! filter each. Values become exact, prefix and suffix matchers, never regular expressions made from text.

mod rule;
mod source;
mod target;
mod term;

use std::{collections::BTreeMap, sync::Arc};

use mesh_config::{
    Snapshot,
    model::{AuthorizationAction, AuthorizationPolicy, Condition, Object},
};
use mesh_xds_api::envoy::{
    config::{
        listener::v3::Filter,
        rbac::v3::{Rbac, rbac::Action},
    },
    extensions::filters::{
        http::rbac::v3::Rbac as HttpRbac,
        network::{http_connection_manager::v3::HttpFilter, rbac::v3::Rbac as NetworkRbac},
    },
};

use super::{MeshOptions, proto};
use crate::discovery::Labels;

/// What of a connection is known where a policy is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// Requests.
    Http,
    /// Connections only: conditions on requests cannot be decided.
    Tcp,
}

/// All AuthorizationPolicies, by namespace.
#[derive(Debug, Default)]
pub(super) struct Policies {
    by_namespace: BTreeMap<String, Vec<Arc<Object>>>,
    root_namespace: String,
    trust_domain: String,
}

/// The policies of one workload.
#[derive(Debug, Default)]
pub(super) struct WorkloadPolicies<'a> {
    deny: Vec<&'a Object>,
    allow: Vec<&'a Object>,
    trust_domain: &'a str,
}

/// Annotation of a policy that is to be tried out only.
pub(super) const DRY_RUN: &str = "istio.io/dry-run";

impl Policies {
    pub(super) fn read(snapshot: &Snapshot, options: &MeshOptions) -> Self {
        let mut all = Self {
            root_namespace: options.root_namespace.clone(),
            trust_domain: options.trust_domain.clone(),
            ..Self::default()
        };
        for policy in snapshot.all::<AuthorizationPolicy>() {
            let namespace = policy.object.namespace().to_owned();
            all.by_namespace.entry(namespace).or_default().push(Arc::clone(policy.object));
        }
        all
    }

    /// Those of the root namespace and of the workload's own that select it.
    pub(super) fn workload(&self, namespace: &str, labels: &Labels) -> WorkloadPolicies<'_> {
        let mut found = WorkloadPolicies { trust_domain: &self.trust_domain, ..WorkloadPolicies::default() };
        let root = if namespace == self.root_namespace { None } else { self.by_namespace.get(&self.root_namespace) };
        let own = self.by_namespace.get(namespace);
        for object in root.into_iter().chain(own).flatten() {
            let Some(spec) = object.spec_as::<AuthorizationPolicy>() else { continue };
            if !selects(spec, labels) || object.meta.annotations.get(DRY_RUN).is_some_and(|v| v == "true") {
                continue;
            }
            match spec.action {
                // No external provider is called: what it would be asked about is refused, as Istio does when it has none.
                AuthorizationAction::Deny | AuthorizationAction::Custom => found.deny.push(object),
                AuthorizationAction::Allow => found.allow.push(object),
                // AUDIT has no effect on traffic.
                AuthorizationAction::Audit => {}
            }
        }
        found
    }
}

/// What of a `when` condition cannot be decided, and what happens instead.
pub(super) fn condition_gap(condition: &Condition) -> Option<&'static str> {
    match rule::Attribute::of(condition) {
        rule::Attribute::RequestAuth => Some("tokens are not verified: no request has such an attribute"),
        rule::Attribute::Unknown => Some("an ALLOW rule never matches, a DENY rule does without the condition"),
        _ => None,
    }
}

fn selects(spec: &AuthorizationPolicy, labels: &Labels) -> bool {
    if spec.target_ref.is_some() || !spec.target_refs.is_empty() {
        return false;
    }
    let Some(selector) = &spec.selector else { return true };
    labels.matches(&selector.match_labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect())
}

impl WorkloadPolicies<'_> {
    /// Filters for requests, in the order they run.
    pub(super) fn http_filters(&self) -> Vec<HttpFilter> {
        let filter = |rules| {
            proto::http_filter("envoy.filters.http.rbac", &HttpRbac { rules: Some(rules), ..Default::default() })
        };
        self.rules(Layer::Http).map(filter).collect()
    }

    /// Filters for connections, in the order they run.
    pub(super) fn network_filters(&self, stat_prefix: &str) -> Vec<Filter> {
        let filter = |rules| {
            let config =
                NetworkRbac { rules: Some(rules), stat_prefix: format!("{stat_prefix}."), ..Default::default() };
            proto::network_filter("envoy.filters.network.rbac", &config)
        };
        self.rules(Layer::Tcp).map(filter).collect()
    }

    fn rules(&self, layer: Layer) -> impl Iterator<Item = Rbac> {
        let deny = self.collect(&self.deny, Action::Deny, layer);
        // A DENY filter without policies refuses nothing; an ALLOW filter without policies refuses everything.
        let deny = (!deny.policies.is_empty()).then_some(deny);
        let allow = (!self.allow.is_empty()).then(|| self.collect(&self.allow, Action::Allow, layer));
        deny.into_iter().chain(allow)
    }

    fn collect(&self, objects: &[&Object], action: Action, layer: Layer) -> Rbac {
        let mut policies = BTreeMap::new();
        for object in objects {
            let Some(spec) = object.spec_as::<AuthorizationPolicy>() else { continue };
            for (index, rule) in spec.rules.iter().enumerate() {
                let key = rule::RuleKey {
                    rule,
                    is_deny: action == Action::Deny,
                    layer,
                    trust_domain: self.trust_domain,
                    namespace: object.namespace(),
                };
                if let Some(policy) = rule::policy(&key) {
                    let name = format!("ns[{}]-policy[{}]-rule[{index}]", object.namespace(), object.name());
                    policies.insert(name, policy);
                }
            }
        }
        Rbac { action: action.into(), policies, ..Default::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_config::model::{LabelSelector, ObjectMeta, Operation, Rule, RuleFrom, RuleTo, Source};
    use mesh_xds_api::json;

    fn policy(namespace: &str, spec: AuthorizationPolicy) -> Arc<Object> {
        let meta = ObjectMeta { name: "p".into(), namespace: Some(namespace.into()), ..ObjectMeta::default() };
        Arc::new(Object::new(meta, spec))
    }

    fn rules(objects: Vec<Arc<Object>>, layer: Layer) -> Vec<serde_json::Value> {
        let policies = Policies::read(&objects.into_iter().collect(), &MeshOptions::default());
        let labels = [("app", "ratings")].into_iter().collect();
        policies.workload("a", &labels).rules(layer).map(|rbac| json::to_value(&rbac)).collect()
    }

    fn rule(source: Source, operation: Operation) -> Rule {
        Rule {
            from: vec![RuleFrom { source: Some(source) }],
            to: vec![RuleTo { operation: Some(operation) }],
            when: vec![],
        }
    }

    #[test]
    fn allow_nothing_refuses_everything_and_deny_comes_first() {
        assert!(rules(vec![], Layer::Http).is_empty());
        let nothing = policy("a", AuthorizationPolicy::default());
        let all = AuthorizationPolicy {
            action: AuthorizationAction::Deny,
            rules: vec![Rule::default()],
            ..AuthorizationPolicy::default()
        };
        let made = rules(vec![nothing, policy("istio-system", all)], Layer::Http);
        assert_eq!(made[0]["action"], "DENY");
        assert_eq!(made[0]["policies"]["ns[istio-system]-policy[p]-rule[0]"]["permissions"][0]["any"], true);
        assert_eq!(made[1].get("policies").and_then(|p| p.as_object()).map_or(0, serde_json::Map::len), 0);
    }

    #[test]
    fn selects_by_labels_and_namespace() {
        let select = |value: &str| AuthorizationPolicy {
            selector: Some(LabelSelector { match_labels: [("app".to_owned(), value.to_owned())].into() }),
            ..AuthorizationPolicy::default()
        };
        assert_eq!(rules(vec![policy("a", select("ratings"))], Layer::Http).len(), 1);
        assert_eq!(rules(vec![policy("a", select("reviews"))], Layer::Http).len(), 0);
        assert_eq!(rules(vec![policy("b", select("ratings"))], Layer::Http).len(), 0);
    }

    #[test]
    fn principal_and_method() {
        let source =
            Source { principals: vec!["cluster.local/ns/default/sa/bookinfo-reviews".into()], ..Source::default() };
        let operation = Operation { methods: vec!["GET".into()], ..Operation::default() };
        let spec = AuthorizationPolicy { rules: vec![rule(source, operation)], ..AuthorizationPolicy::default() };
        let made = rules(vec![policy("a", spec)], Layer::Http);
        let made = &made[0]["policies"]["ns[a]-policy[p]-rule[0]"];
        let name = &made["principals"][0]["authenticated"]["principal_name"]["exact"];
        assert_eq!(name, "spiffe://cluster.local/ns/default/sa/bookinfo-reviews");
        assert_eq!(made["permissions"][0]["header"]["name"], ":method");
        assert_eq!(made["permissions"][0]["header"]["string_match"]["exact"], "GET");
    }

    #[test]
    fn requests_are_unknown_to_connections() {
        let source = Source { namespaces: vec!["x".into()], ..Source::default() };
        let operation = Operation { methods: vec!["GET".into()], ports: vec!["9080".into()], ..Operation::default() };
        let of = |action| AuthorizationPolicy {
            action,
            rules: vec![rule(source.clone(), operation.clone())],
            ..AuthorizationPolicy::default()
        };
        let allow = rules(vec![policy("a", of(AuthorizationAction::Allow))], Layer::Tcp);
        assert!(allow[0].get("policies").is_none_or(|p| p.as_object().unwrap().is_empty()), "{allow:?}");
        let deny = rules(vec![policy("a", of(AuthorizationAction::Deny))], Layer::Tcp);
        let made = &deny[0]["policies"]["ns[a]-policy[p]-rule[0]"];
        assert_eq!(made["permissions"][0]["destination_port"], 9080);
        let name = &made["principals"][0]["authenticated"]["principal_name"]["prefix"];
        assert_eq!(name, "spiffe://cluster.local/ns/x/");
    }
}
