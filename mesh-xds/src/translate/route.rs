//! Routes (RDS): the HTTP rules of a VirtualService, and the default route of a service.

mod action;
mod condition;
mod cors;
mod fault;
mod headers;
mod retry;

use std::{collections::BTreeSet, time::Duration};

use mesh_config::model::{Destination, HttpMatchRequest, HttpRoute, Object, VirtualService};
use mesh_xds_api::envoy::config::route::v3::{
    DirectResponseAction, RetryPolicy, Route, RouteAction, RouteMatch, VirtualHost,
    route::Action,
    route_action::{ClusterSpecifier, HashPolicy},
    route_match::PathSpecifier,
};

use super::proto;
use crate::discovery::Labels;

/// Where a destination of a rule leads.
#[derive(Debug, Clone, Default)]
pub(super) struct Destined {
    /// Name of the cluster.
    pub(super) cluster: String,
    /// How requests are kept with one endpoint.
    pub(super) hash_policy: Vec<HashPolicy>,
}

/// Resolves destinations of rules.
pub(super) trait Destinations {
    /// Where `destination`, written in an object of `namespace`, leads.
    fn destined(&self, destination: &Destination, namespace: &str) -> Destined;
}

/// All that the routes of one VirtualService depend on.
pub(super) struct RouteKey<'a> {
    pub(super) object: &'a Object,
    pub(super) spec: &'a VirtualService,
    /// What the proxy is: `mesh`, or the gateways it serves, as `namespace/name`.
    pub(super) gateways: &'a BTreeSet<String>,
    /// Port that callers use.
    pub(super) port: u16,
    /// Namespace of the calling workload.
    pub(super) namespace: &'a str,
    /// Labels of the calling workload.
    pub(super) labels: &'a Labels,
    pub(super) destinations: &'a dyn Destinations,
}

/// The routes of one VirtualService, in order. Nothing follows a rule that takes every request.
pub(super) fn routes(key: &RouteKey<'_>) -> Vec<Route> {
    let mut routes = Vec::new();
    for rule in &key.spec.http {
        if rule.matches.is_empty() {
            routes.extend(route(key, rule, None));
        }
        for request in rule.matches.iter().filter(|request| applies(key, request)) {
            routes.extend(route(key, rule, Some(request)));
        }
        if routes.last().is_some_and(takes_all) {
            break;
        }
    }
    routes
}

/// Whether a VirtualService with `gateways` concerns a proxy that plays `roles`; none named is `mesh`.
pub(super) fn concerns(gateways: &[String], namespace: &str, roles: &BTreeSet<String>) -> bool {
    if gateways.is_empty() {
        return roles.contains("mesh");
    }
    gateways.iter().any(|gateway| roles.contains(&qualified(gateway, namespace)))
}

/// A gateway's name as `namespace/name`; `mesh` stays.
fn qualified(gateway: &str, namespace: &str) -> String {
    if gateway == "mesh" || gateway.contains('/') { gateway.to_owned() } else { format!("{namespace}/{gateway}") }
}

/// Whether a condition can hold for this caller at all.
fn applies(key: &RouteKey<'_>, request: &HttpMatchRequest) -> bool {
    let labels = request.source_labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let gateways = &request.gateways;
    (gateways.is_empty() || concerns(gateways, key.object.namespace(), key.gateways))
        && request.port.is_none_or(|port| port == u32::from(key.port))
        && request.source_namespace.as_deref().is_none_or(|ns| ns.is_empty() || ns == key.namespace)
        && key.labels.matches(&labels)
}

fn takes_all(route: &Route) -> bool {
    route.r#match.as_ref().is_some_and(|m| {
        m.headers.is_empty()
            && m.query_parameters.is_empty()
            && matches!(&m.path_specifier, Some(PathSpecifier::Prefix(prefix)) if prefix == "/")
    })
}

fn route(key: &RouteKey<'_>, rule: &HttpRoute, request: Option<&HttpMatchRequest>) -> Option<Route> {
    let mut route = Route {
        name: route_name(rule, request),
        r#match: Some(request.map_or_else(everything, condition::route_match)),
        metadata: Some(super::config_metadata(key.object)),
        action: Some(action::action(key, rule, request.and_then(|request| request.uri.as_ref()))?),
        ..Default::default()
    };
    if let Some(headers) = &rule.headers {
        let edits = headers::edits(headers);
        route.request_headers_to_add = edits.request_add;
        route.request_headers_to_remove = edits.request_remove;
        route.response_headers_to_add = edits.response_add;
        route.response_headers_to_remove = edits.response_remove;
        if let (Some(host), Some(Action::Route(action))) = (edits.host, &mut route.action) {
            action.host_rewrite_specifier.get_or_insert(action::host_literal(host));
        }
    }
    if let Some(fault) = rule.fault.as_ref().and_then(fault::fault) {
        route.typed_per_filter_config.append(&mut proto::typed(fault::FILTER, &fault));
    }
    if let Some(policy) = &rule.cors_policy {
        route.typed_per_filter_config.append(&mut proto::typed(cors::FILTER, &cors::config(policy)));
    }
    Some(route)
}

fn route_name(rule: &HttpRoute, request: Option<&HttpMatchRequest>) -> String {
    let names = [rule.name.as_deref(), request.and_then(|request| request.name.as_deref())];
    names.into_iter().flatten().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(".")
}

fn everything() -> RouteMatch {
    RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..Default::default() }
}

/// The route of a service without rules: everything to its cluster, retried as Istio does.
pub(super) fn default_route(destined: Destined) -> Route {
    let mut route = forward_all("default", destined.cluster, retry::policy(None));
    if let Some(Action::Route(action)) = &mut route.action {
        action.hash_policy = destined.hash_policy;
    }
    route
}

/// The route to the application: everything to `cluster`; retried only where the application saw nothing of the request.
pub(super) fn inbound_route(cluster: String) -> Route {
    forward_all("default", cluster, Some(retry::before_request()))
}

/// Everything to `cluster`, once.
pub(super) fn forward_once(name: &str, cluster: &str) -> Route {
    forward_all(name, cluster.to_owned(), None)
}

fn forward_all(name: &str, cluster: String, retry_policy: Option<RetryPolicy>) -> Route {
    Route {
        name: name.to_owned(),
        r#match: Some(everything()),
        action: Some(Action::Route(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
            timeout: Some(proto::duration(Duration::ZERO)),
            retry_policy,
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// Everything is answered with `status`.
pub(super) fn answer_all(name: &str, status: u32) -> Route {
    Route {
        name: name.to_owned(),
        r#match: Some(everything()),
        action: Some(Action::DirectResponse(DirectResponseAction { status, ..Default::default() })),
        ..Default::default()
    }
}

/// Whether any route of `host` carries configuration of the CORS filter.
pub(super) fn uses_cors(host: &VirtualHost) -> bool {
    host.routes.iter().any(|route| route.typed_per_filter_config.contains_key(cors::FILTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_config::model::{HttpRouteDestination, ObjectMeta, StringMatch};
    use mesh_xds_api::json;

    struct ByHost;

    impl Destinations for ByHost {
        fn destined(&self, destination: &Destination, namespace: &str) -> Destined {
            let subset = destination.subset.clone().unwrap_or_default();
            Destined { cluster: format!("{namespace}/{}/{subset}", destination.host), hash_policy: Vec::new() }
        }
    }

    fn to(host: &str, weight: Option<i32>) -> HttpRouteDestination {
        let destination = Some(Destination { host: host.into(), ..Destination::default() });
        HttpRouteDestination { destination, weight, headers: None }
    }

    fn made(http: Vec<HttpRoute>, gateways: &[&str]) -> Vec<serde_json::Value> {
        let meta = ObjectMeta { name: "x".into(), namespace: Some("a".into()), ..ObjectMeta::default() };
        let spec = VirtualService { hosts: vec!["h".into()], http, ..VirtualService::default() };
        let object = Object::new(meta, spec.clone());
        let labels: Labels = [("app", "caller")].into_iter().collect();
        let gateways = gateways.iter().map(|&g| g.to_owned()).collect();
        let key = RouteKey {
            object: &object,
            spec: &spec,
            gateways: &gateways,
            port: 9080,
            namespace: "a",
            labels: &labels,
            destinations: &ByHost,
        };
        routes(&key).iter().map(json::to_value).collect()
    }

    fn matching(f: impl Fn(&mut HttpMatchRequest)) -> HttpRoute {
        let mut request = HttpMatchRequest::default();
        f(&mut request);
        HttpRoute { matches: vec![request], route: vec![to("v1", None)], ..HttpRoute::default() }
    }

    #[test]
    fn nothing_follows_a_rule_for_everything() {
        let all = || HttpRoute { route: vec![to("v1", None)], ..HttpRoute::default() };
        let jason = matching(|m| {
            m.headers.insert("end-user".into(), StringMatch::Exact("jason".into()));
        });
        let routes = made(vec![jason, all(), all()], &["mesh"]);
        assert_eq!(routes.len(), 2);
        assert_eq!(routes[0]["match"]["headers"][0]["string_match"]["exact"], "jason");
        assert_eq!(routes[1]["match"]["prefix"], "/");
        assert_eq!(routes[1]["route"]["cluster"], "a/v1/");
        assert_eq!(routes[1]["route"]["timeout"], "0s");
        assert_eq!(
            routes[1]["metadata"]["filter_metadata"]["istio"]["config"],
            "/apis/networking.istio.io/v1/namespaces/a/virtual-service/x"
        );
    }

    #[test]
    fn conditions_on_the_caller_are_decided_here() {
        type Case = (&'static str, fn(&mut HttpMatchRequest), usize);
        let cases: [Case; 8] = [
            ("own label", |m| drop(m.source_labels.insert("app".into(), "caller".into())), 1),
            ("other label", |m| drop(m.source_labels.insert("app".into(), "other".into())), 0),
            ("own namespace", |m| m.source_namespace = Some("a".into()), 1),
            ("other namespace", |m| m.source_namespace = Some("b".into()), 0),
            ("own port", |m| m.port = Some(9080), 1),
            ("other port", |m| m.port = Some(80), 0),
            ("mesh", |m| m.gateways = vec!["mesh".into()], 1),
            ("a gateway", |m| m.gateways = vec!["gw".into()], 0),
        ];
        for (name, f, count) in cases {
            assert_eq!(made(vec![matching(f)], &["mesh"]).len(), count, "{name}");
        }
        assert_eq!(made(vec![matching(|m| m.gateways = vec!["gw".into()])], &["a/gw"]).len(), 1);
    }

    #[test]
    fn weights() {
        let rule = HttpRoute {
            route: vec![to("v1", Some(90)), to("v2", Some(10)), to("v3", Some(0))],
            ..HttpRoute::default()
        };
        let routes = made(vec![rule], &["mesh"]);
        let clusters = routes[0]["route"]["weighted_clusters"]["clusters"].as_array().unwrap().clone();
        let weights: Vec<_> =
            clusters.iter().map(|c| (c["name"].as_str().unwrap(), c["weight"].as_u64().unwrap())).collect();
        assert_eq!(weights, [("a/v1/", 90), ("a/v2/", 10)]);
    }

    #[test]
    fn concerns_roles() {
        let roles = |roles: &[&str]| roles.iter().map(|&r| r.to_owned()).collect::<BTreeSet<_>>();
        assert!(concerns(&[], "a", &roles(&["mesh"])));
        assert!(!concerns(&[], "a", &roles(&["a/gw"])));
        assert!(concerns(&["gw".into()], "a", &roles(&["a/gw"])));
        assert!(!concerns(&["gw".into()], "b", &roles(&["a/gw"])));
        assert!(concerns(&["a/gw".into(), "mesh".into()], "b", &roles(&["mesh"])));
    }
}
