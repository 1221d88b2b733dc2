//! Which of several objects counts: Istio's rules for objects that meet, on a snapshot.
//!
//! - Of objects that conflict, the oldest counts ([`oldest_first`]).
//! - Of patterns for a host, the most specific counts ([`specificity`]).
//! - VirtualServices for one host are merged at a gateway, and not for sidecars ([`gateway_routes`], [`sidecar_routes`]).
//! - A route may leave its rules to another VirtualService ([`with_delegates`]).
//! - DestinationRules are looked for in the caller's namespace, the service's, the root one ([`destination_rules`]).
//! - Settings come from the mesh, the namespace, the workload; the nearest counts ([`levels`]).
//!
//! Source: Istio's reference for VirtualService, DestinationRule, PeerAuthentication, Telemetry, Sidecar and ProxyConfig;
//! "Traffic Management Best Practices", "Split large virtual services and destination rules into multiple resources".

mod delegate;
mod level;
mod rule;

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

pub use self::{
    delegate::with_delegates,
    level::{Leveled, Levels, levels, mutual_tls_mode},
    rule::destination_rules,
};
use crate::{
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host, host_covers, is_visible},
    model::{HttpRoute, Object, VirtualService},
    snapshot::{Snapshot, Typed},
};

/// The workload that settings are looked up for, or the caller of a host.
#[derive(Clone, Copy, Debug)]
pub struct WorkloadRef<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
}

/// The order in which objects that conflict count: by the time they were made, then by name, then by namespace.
///
/// As with Istio, an object that does not say when it was made is older than any that does.
#[must_use]
pub fn oldest_first(one: &Object, other: &Object) -> std::cmp::Ordering {
    // Kubernetes writes times in UTC and to the second, so that texts are in the order of times.
    let age = |object: &Object| object.meta.creation_timestamp.clone().unwrap_or_default();
    let place = |object: &'_ Object| (object.key().name.clone(), object.key().namespace.clone());
    age(one).cmp(&age(other)).then_with(|| place(one).cmp(&place(other)))
}

/// The order in which patterns for a host count: exact names, then longer wildcards before shorter ones, `*` last.
#[must_use]
pub fn specificity(pattern: &str) -> impl Ord + use<> {
    (pattern.starts_with('*'), Reverse(pattern.len()))
}

/// Gateways of a VirtualService that names none.
const MESH: &str = "mesh";

fn applies_at(object: &Object, spec: &VirtualService, gateway: &str) -> bool {
    if spec.gateways.is_empty() {
        return gateway == MESH;
    }
    spec.gateways.iter().any(|name| match name.split_once('/') {
        None if name == MESH => gateway == MESH,
        None => gateway.split_once('/') == Some((object.namespace(), name)),
        Some((".", name)) => gateway.split_once('/') == Some((object.namespace(), name)),
        Some(_) => name == gateway,
    })
}

/// VirtualServices that apply at a gateway and are seen from a namespace, with the most specific pattern for a host; the
/// oldest first. All have the same pattern.
fn candidates<'a>(snapshot: &'a Snapshot, gateway: &str, viewer: &str, host: &str) -> Vec<Typed<'a, VirtualService>> {
    let mut found: Vec<(String, Typed<'a, VirtualService>)> = Vec::new();
    for service in snapshot.all::<VirtualService>() {
        let (object, spec) = (service.object, service.spec);
        if !applies_at(object, spec, gateway) || !is_visible(&spec.export_to, object.namespace(), viewer) {
            continue;
        }
        let hosts = spec.hosts.iter().map(|host| full_host(host, object.namespace(), DEFAULT_CLUSTER_DOMAIN));
        let best = hosts.filter(|pattern| host_covers(pattern, host)).min_by_key(|pattern| specificity(pattern));
        found.extend(best.map(|pattern| (pattern.to_ascii_lowercase(), service)));
    }
    let best = found.iter().map(|(pattern, _)| pattern).min_by_key(|pattern| specificity(pattern)).cloned();
    found.retain(|(pattern, _)| Some(pattern) == best.as_ref());
    found.sort_by(|(_, one), (_, other)| oldest_first(one.object, other.object));
    found.into_iter().map(|(_, service)| service).collect()
}

/// The VirtualService that a sidecar in the namespace `viewer` applies to a host (a full name): of the most specific ones
/// the oldest, for sidecars do not merge. Routes that it leaves to others are not resolved, see [`with_delegates`].
#[must_use]
pub fn sidecar_routes<'a>(snapshot: &'a Snapshot, viewer: &str, host: &str) -> Option<&'a Arc<Object>> {
    candidates(snapshot, MESH, viewer, host).first().map(|service| service.object)
}

/// The HTTP routes that a gateway (`namespace/name`) applies to a host: those of all VirtualServices with the most
/// specific pattern, the oldest first, each with its delegates put in. Rules without conditions come last, since after
/// them nothing is reached; of several only the oldest one's counts.
#[must_use]
pub fn gateway_routes(snapshot: &Snapshot, gateway: &str, host: &str) -> Vec<(Arc<Object>, HttpRoute)> {
    let viewer = gateway.split_once('/').map_or("", |(namespace, _)| namespace);
    let found = candidates(snapshot, gateway, viewer, host);
    let routes = found.iter().flat_map(|service| {
        let routes = with_delegates(snapshot, service.object).http;
        routes.into_iter().map(|route| (Arc::clone(service.object), route))
    });
    let (mut routes, mut last): (Vec<_>, Vec<_>) = routes.partition(|(_, route)| !route.matches.is_empty());
    last.truncate(1);
    routes.append(&mut last);
    routes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    pub(super) fn snapshot(text: &str) -> Snapshot {
        let parsed = parse("rules.yaml", text);
        assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
        Snapshot::from_objects(parsed.objects)
    }

    /// A VirtualService of namespace `a` made at a second, with one rule for each path; `""` is a rule without condition.
    fn service(name: &str, second: u32, hosts: &str, gateways: &str, paths: &[&str]) -> String {
        let rules = paths.iter().map(|path| match *path {
            "" => format!("{{name: {name}-rest, redirect: {{uri: /}}}}"),
            path => {
                format!("{{name: {name}-{}, match: [{{uri: {{prefix: {path}}}}}], redirect: {{uri: /}}}}", &path[1..])
            }
        });
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: a, \
             creationTimestamp: '2024-01-01T00:00:{second:02}Z'}}\nspec: {{hosts: [{hosts}], gateways: [{gateways}], http: \
             [{}]}}\n",
            rules.collect::<Vec<_>>().join(", ")
        )
    }

    fn names(routes: &[(Arc<Object>, HttpRoute)]) -> Vec<&str> {
        routes.iter().map(|(_, route)| route.name.as_deref().unwrap_or_default()).collect()
    }

    #[test]
    fn gateways_merge_and_sidecars_do_not() {
        let both = "mesh, in/gw";
        let text = service("new", 30, "h.example.com", both, &["/n", ""])
            + &service("old", 10, "h.example.com", both, &["/o", ""])
            + &service("wild", 1, "'*.example.com'", both, &["/w"]);
        let all = snapshot(&text);
        assert_eq!(sidecar_routes(&all, "a", "h.example.com").unwrap().name(), "old");
        assert_eq!(sidecar_routes(&all, "a", "x.example.com").unwrap().name(), "wild");
        assert!(sidecar_routes(&all, "a", "example.org").is_none());
        assert_eq!(names(&gateway_routes(&all, "in/gw", "h.example.com")), ["old-o", "new-n", "old-rest"]);
        assert!(gateway_routes(&all, "in/other", "h.example.com").is_empty());
    }

    #[test]
    fn equal_ages_are_decided_by_name_then_namespace() {
        let text =
            service("b", 1, "h.example.com", "mesh", &["/b"]) + &service("a", 1, "h.example.com", "mesh", &["/a"]);
        assert_eq!(sidecar_routes(&snapshot(&text), "a", "h.example.com").unwrap().name(), "a");
        let hidden = text.replace("hosts:", "exportTo: [other], hosts:");
        assert!(sidecar_routes(&snapshot(&hidden), "a", "h.example.com").is_none());
        assert!(sidecar_routes(&snapshot(&hidden), "other", "h.example.com").is_some());
    }

    #[test]
    fn the_longer_wildcard_is_more_specific() {
        let mut patterns = ["*", "*.com", "*.example.com", "a.example.com"];
        patterns.sort_by_key(|pattern| specificity(pattern));
        assert_eq!(patterns, ["a.example.com", "*.example.com", "*.com", "*"]);
    }
}
