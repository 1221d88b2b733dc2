//! Which DestinationRule holds for a service and a caller, and what it says.

use std::{collections::BTreeMap, sync::Arc};

use mesh_config::{
    Snapshot,
    model::{
        ClientTlsSettings, ConnectionPoolSettings, DestinationRule, LoadBalancerSettings, Object, OutlierDetection,
        Subset, TrafficPolicy,
    },
    precedence::oldest_first,
};

use super::{MeshOptions, names};
use crate::discovery::{ExportTo, Labels, Service};

/// All DestinationRules, found by host.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    exact: BTreeMap<String, Vec<Entry>>,
    wildcards: Vec<Entry>,
    root_namespace: String,
}

#[derive(Debug)]
struct Entry {
    object: Arc<Object>,
    host: String,
    export_to: ExportTo,
    selector: Option<Labels>,
}

/// The rules that hold for one service and caller, as one.
///
/// Of several rules for the same host the oldest with a policy gives the policy; subsets add up.
#[derive(Debug, Clone, Default)]
pub(super) struct Rule<'a> {
    /// The first of the rules.
    pub(super) object: Option<&'a Object>,
    policy: Option<&'a TrafficPolicy>,
    /// Subsets, in declared order.
    pub(super) subsets: Vec<&'a Subset>,
}

/// What a DestinationRule says of one port of a service, or of a subset there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Policy<'a> {
    pub(super) load_balancer: Option<&'a LoadBalancerSettings>,
    pub(super) pool: Option<&'a ConnectionPoolSettings>,
    pub(super) outlier: Option<&'a OutlierDetection>,
    pub(super) tls: Option<&'a ClientTlsSettings>,
}

impl Destinations {
    pub(super) fn read(snapshot: &Snapshot, options: &MeshOptions) -> Self {
        let mut all = Self { root_namespace: options.root_namespace.clone(), ..Self::default() };
        let mut rules: Vec<_> = snapshot.all::<DestinationRule>().collect();
        rules.sort_by(|one, other| oldest_first(one.object, other.object));
        for rule in rules {
            let namespace = rule.object.namespace();
            let entry = Entry {
                object: Arc::clone(rule.object),
                host: names::resolve_host(&rule.spec.host, namespace, &options.cluster_domain),
                export_to: ExportTo::parse(&rule.spec.export_to, namespace),
                selector: rule
                    .spec
                    .workload_selector
                    .as_ref()
                    .map(|selector| selector.match_labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()),
            };
            if entry.host.starts_with('*') {
                all.wildcards.push(entry);
            } else {
                all.exact.entry(entry.host.clone()).or_default().push(entry);
            }
        }
        all
    }

    /// The rule that a caller in `namespace` with `labels` applies to `service`.
    ///
    /// Searched in Istio's order: the caller's namespace, the service's, the root namespace; in each the most specific
    /// host. The rule is [`mesh_config::precedence::destination_rules`], over an index.
    pub(super) fn rule(&self, service: &Service, namespace: &str, labels: &Labels) -> Rule<'_> {
        let of = |home: &str| self.rule_in(home, service.hostname(), namespace, labels);
        let own = if namespace == self.root_namespace { None } else { of(namespace) };
        own.or_else(|| of(service.namespace())).or_else(|| of(&self.root_namespace)).unwrap_or_default()
    }

    fn rule_in(&self, home: &str, host: &str, caller: &str, labels: &Labels) -> Option<Rule<'_>> {
        let applies = |entry: &&Entry| {
            entry.object.namespace() == home
                && entry.export_to.is_visible_in(caller)
                && entry.selector.as_ref().is_none_or(|selector| home == caller && labels.matches(selector))
        };
        let exact: Vec<&Entry> = self.exact.get(host).into_iter().flatten().filter(applies).collect();
        if !exact.is_empty() {
            return merge(&exact);
        }
        let covering = self.wildcards.iter().filter(|entry| names::host_covers(&entry.host, host));
        let mut covering: Vec<&Entry> = covering.filter(applies).collect();
        covering.sort_by_key(|entry| names::specificity(&entry.host));
        let most = covering.first()?.host.clone();
        covering.retain(|entry| entry.host == most);
        merge(&covering)
    }
}

fn merge<'a>(entries: &[&'a Entry]) -> Option<Rule<'a>> {
    // A rule for selected workloads goes before those for all.
    let selected: Vec<&&Entry> = entries.iter().filter(|entry| entry.selector.is_some()).collect();
    let entries = if selected.is_empty() { entries.iter().collect() } else { selected };
    let mut rule = Rule::default();
    for entry in entries {
        let Some(spec) = entry.object.spec_as::<DestinationRule>() else { continue };
        rule.object.get_or_insert(&entry.object);
        rule.policy = rule.policy.or(spec.traffic_policy.as_ref());
        for subset in &spec.subsets {
            if !rule.subsets.iter().any(|known| known.name == subset.name) {
                rule.subsets.push(subset);
            }
        }
    }
    rule.object.is_some().then_some(rule)
}

impl<'a> Rule<'a> {
    /// The policy for `port`, of `subset` if one is given.
    ///
    /// A subset's policy replaces the rule's section by section. Settings of a port replace all sections: what they leave
    /// out is default. Source: comment of `TrafficPolicy.port_level_settings` and Istio's `MergeTrafficPolicy`.
    pub(super) fn policy(&self, port: u16, subset: Option<&'a Subset>) -> Policy<'a> {
        let mut policy = Policy::default();
        policy.apply(self.policy, port);
        policy.apply(subset.and_then(|subset| subset.traffic_policy.as_ref()), port);
        policy
    }

    /// The subset of this name.
    pub(super) fn subset(&self, name: &str) -> Option<&'a Subset> {
        self.subsets.iter().find(|subset| subset.name == name).copied()
    }
}

impl<'a> Policy<'a> {
    fn apply(&mut self, over: Option<&'a TrafficPolicy>, port: u16) {
        let Some(over) = over else { return };
        self.load_balancer = over.load_balancer.as_ref().or(self.load_balancer);
        self.pool = over.connection_pool.as_ref().or(self.pool);
        self.outlier = over.outlier_detection.as_ref().or(self.outlier);
        self.tls = over.tls.as_ref().or(self.tls);
        let port = over.port_level_settings.iter().find(|p| p.port.is_some_and(|p| p.number == u32::from(port)));
        if let Some(port) = port {
            *self = Self {
                load_balancer: port.load_balancer.as_ref(),
                pool: port.connection_pool.as_ref(),
                outlier: port.outlier_detection.as_ref(),
                tls: port.tls.as_ref(),
            };
        }
    }

    /// Whether HTTP/1.1 is to be carried in HTTP/2.
    pub(super) fn upgrades_to_http2(&self) -> bool {
        let http = self.pool.and_then(|pool| pool.http.as_ref());
        http.and_then(|http| http.h2_upgrade_policy) == Some(mesh_config::model::H2UpgradePolicy::Upgrade)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_config::model::{ClientTlsMode, ObjectMeta, PortSelector, PortTrafficPolicy};

    fn rule(namespace: &str, name: &str, host: &str, subsets: &[&str]) -> Arc<Object> {
        let meta = ObjectMeta { name: name.into(), namespace: Some(namespace.into()), ..ObjectMeta::default() };
        let subsets = subsets.iter().map(|&name| Subset { name: name.into(), ..Subset::default() }).collect();
        Arc::new(Object::new(meta, DestinationRule { host: host.into(), subsets, ..DestinationRule::default() }))
    }

    fn found(rules: Vec<Arc<Object>>, caller: &str) -> Vec<String> {
        let all = Destinations::read(&rules.into_iter().collect(), &MeshOptions::default());
        let service = Service::new("reviews.b.svc.cluster.local", "b");
        let rule = all.rule(&service, caller, &Labels::default());
        rule.subsets.iter().map(|subset| subset.name.clone()).collect()
    }

    #[test]
    fn callers_namespace_then_services_then_root() {
        let rules = || {
            vec![
                rule("b", "x", "reviews", &["service"]),
                rule("a", "x", "reviews.b.svc.cluster.local", &["caller"]),
                rule("istio-system", "x", "*.svc.cluster.local", &["root"]),
            ]
        };
        assert_eq!(found(rules(), "a"), ["caller"]);
        assert_eq!(found(rules(), "c"), ["service"]);
        assert_eq!(found(rules()[1..].to_vec(), "c"), ["root"]);
    }

    #[test]
    fn rules_for_one_host_add_up_and_exact_beats_wildcard() {
        let rules = vec![
            rule("b", "x", "reviews", &["v1"]),
            rule("b", "y", "reviews", &["v1", "v2"]),
            rule("b", "z", "*.b.svc.cluster.local", &["v3"]),
        ];
        assert_eq!(found(rules, "b"), ["v1", "v2"]);
    }

    #[test]
    fn port_settings_replace_everything() {
        let tls = |mode| Some(ClientTlsSettings { mode, ..ClientTlsSettings::default() });
        let pool = Some(ConnectionPoolSettings::default());
        let policy = TrafficPolicy {
            tls: tls(ClientTlsMode::IstioMutual),
            connection_pool: pool,
            port_level_settings: vec![PortTrafficPolicy {
                port: Some(PortSelector { number: 443 }),
                tls: tls(ClientTlsMode::Simple),
                ..PortTrafficPolicy::default()
            }],
            ..TrafficPolicy::default()
        };
        let rule = Rule { policy: Some(&policy), ..Rule::default() };
        let plain = rule.policy(80, None);
        assert_eq!(plain.tls.map(|t| t.mode), Some(ClientTlsMode::IstioMutual));
        assert!(plain.pool.is_some());
        let port = rule.policy(443, None);
        assert_eq!(port.tls.map(|t| t.mode), Some(ClientTlsMode::Simple));
        assert!(port.pool.is_none());
    }
}
