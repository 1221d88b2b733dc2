//! The life of routes that are chosen by scope (SRDS), and of virtual hosts that are asked for on demand (VHDS), with real
//! Envoy.

use mesh_tests::{
    envoy::Envoy,
    fetch::{Reply, Target},
    lab::{FRONT, Lab, runtime},
    xds::{
        Transport,
        resources::{endpoints, listener, resource, routes, virtual_host},
    },
};
use mesh_xds::{Resource, TypeUrl, protocol::Variant, store::Batch};
use serde_json::{Value, json};

/// An Envoy with the clusters `a` and `b`, and a listener.
fn start(
    variant: Variant,
    routing: impl FnOnce(&Lab) -> ((&'static str, Value), Vec<Value>),
    more: Vec<Resource>,
) -> (Lab, Envoy, Target) {
    let lab = Lab::new(Transport::ads(variant));
    let (routing, filters) = routing(&lab);
    lab.view.replace(more.into_iter().chain([
        lab.make.cluster("a"),
        endpoints("a", &[lab.plain[0].address]),
        lab.make.cluster("b"),
        endpoints("b", &[lab.plain[1].address]),
        listener(lab.make.http_listener(FRONT, routing, filters)),
        runtime(1),
    ]));
    let envoy = lab.envoy("scoped");
    lab.xds.settle("scoped");
    let front = lab.target(&envoy, "front", false);
    (lab, envoy, front)
}

fn scope(name: &str, key: &str, routes: &str) -> Resource {
    let key = json!({ "fragments": [{ "string_key": key }] });
    let message = json!({ "name": name, "route_configuration_name": routes, "key": key });
    resource("envoy.config.route.v3.ScopedRouteConfiguration", message)
}

fn scoped(lab: &Lab) -> ((&'static str, Value), Vec<Value>) {
    let key = json!({ "fragments": [{ "header_value_extractor": { "name": "x-scope", "index": 0 } }] });
    let source = &lab.make.source;
    let scopes = json!({
        "name": "scopes",
        "scope_key_builder": key,
        "rds_config_source": source,
        "scoped_rds": { "scoped_rds_config_source": source },
    });
    (("scoped_routes", scopes), vec![])
}

#[test]
fn the_life_of_scoped_routes() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let first = vec![scope("one", "1", "r1"), routes("r1", vec![virtual_host("*", &[("a", 1)])])];
        let (lab, envoy, front) = start(variant, scoped, first);
        let answers = |key: &str, wanted: Option<usize>| {
            let wanted = wanted.map(|upstream| lab.plain[upstream].address.to_string());
            let is = |reply: &Reply| wanted.as_ref().map_or(reply.status == 404, |body| reply.body == *body);
            mesh_tests::wait::until(&format!("scope {key} has {wanted:?}"), mesh_tests::xds::PATIENCE, || {
                is(&lab.ask(&front, "any", &[("x-scope", key)])).then_some(())
            });
        };
        answers("1", Some(0));
        answers("2", None);
        lab.put(&envoy, [scope("two", "2", "r2"), routes("r2", vec![virtual_host("*", &[("b", 1)])])]);
        answers("2", Some(1));
        let moved = Batch::new().put(scope("one", "1", "r2")).put(routes("r2", vec![virtual_host("*", &[("a", 1)])]));
        lab.step(&envoy, moved.remove(TypeUrl::ROUTE, "r1"));
        answers("2", Some(0));
        lab.step(&envoy, Batch::new().remove(TypeUrl::SCOPED_ROUTE, "two"));
        answers("2", None);
        answers("1", Some(0));
        assert_eq!(lab.xds.nacks(), []);
        assert_eq!(lab.xds.server().metrics().holds_expired, 0);
    }
}

fn on_demand(name: &str, cluster: &str) -> Resource {
    let mut host = virtual_host(name, &[(cluster, 1)]);
    host["name"] = format!("r/{name}").into();
    resource("envoy.config.route.v3.VirtualHost", host)
}

/// VHDS is delta only.
#[test]
fn the_life_of_virtual_hosts_on_demand() {
    let filter = json!({ "name": "on-demand", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.on_demand.v3.OnDemand",
    } });
    let by_host = |lab: &Lab| (lab.make.rds("r"), vec![filter]);
    let source = Transport::ads(Variant::Delta).source();
    let asks = json!({ "name": "r", "vhds": { "config_source": source } });
    let asks = resource("envoy.config.route.v3.RouteConfiguration", asks);
    // Envoy begins with an empty request, and serves nobody before it has a first virtual host.
    let (lab, envoy, front) = start(Variant::Delta, by_host, vec![asks, on_demand("a.test", "a")]);
    let wanted = |upstream: usize| lab.plain[upstream].address.to_string();
    lab.ask_until("it is there", &front, "a.test", |reply| reply.body == wanted(0));
    lab.put(&envoy, [on_demand("a.test", "b")]);
    lab.ask_until("it has changed", &front, "a.test", |reply| reply.body == wanted(1));
    lab.put(&envoy, [on_demand("b.test", "b")]);
    lab.ask_until("another has come", &front, "b.test", |reply| reply.body == wanted(1));
    lab.step(&envoy, Batch::new().remove(TypeUrl::VIRTUAL_HOST, "r/b.test"));
    let dump = envoy.admin("/config_dump?resource=dynamic_route_configs").to_string();
    assert!(dump.contains("a.test") && !dump.contains("b.test"), "{dump}");
    assert_eq!(lab.ask(&front, "a.test", &[]).status, 200);
    assert_eq!(lab.xds.nacks(), []);
}
