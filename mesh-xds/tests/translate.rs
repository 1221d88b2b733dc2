//! Translation by its public API: from YAML to what a proxy is sent.
#![cfg(feature = "translate")]
// Helpers of tests say what must hold by unwrapping, as the tests do.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use mesh_config::{Snapshot, load_str};
use mesh_xds::{
    TypeUrl,
    discovery::{Registry, RegistryOptions, registry_of},
    translate::{MeshContext, MeshOptions, ProxyNode, Translation, Translator},
};
use mesh_xds_api::{envoy::config::core::v3::Node, json};
use serde_json::{Value, json};

const SHOP: &str = include_str!("translate/shop.yaml");
const FRONT: &str = "sidecar~127.0.1.10~front-abc.default~default.svc.cluster.local";
const GATEWAY: &str = "router~127.0.0.1~gw-abc.default~default.svc.cluster.local";

fn load(extra: &str) -> (Snapshot, Registry) {
    let loaded = load_str("test.yaml", &format!("{SHOP}\n---\n{extra}"));
    let errors: Vec<String> = loaded.diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let snapshot = Snapshot::from_objects(loaded.objects);
    let (registry, _) = registry_of(&snapshot, &RegistryOptions::default());
    (snapshot, registry)
}

fn context(extra: &str) -> MeshContext {
    let (snapshot, registry) = load(extra);
    Translator::new(MeshOptions::default()).prepare(&snapshot, &registry)
}

fn node(id: &str, metadata: Value) -> ProxyNode {
    ProxyNode::from_node(&json::from_value::<Node>(&json!({"id": id, "metadata": metadata})).unwrap()).unwrap()
}

/// The front sidecar without interception.
fn front() -> ProxyNode {
    node(FRONT, json!({"INTERCEPTION_MODE": "NONE", "OUTBOUND_BIND": "127.0.2.10", "APP_ADDRESS": "127.0.3.10"}))
}

fn gateway() -> ProxyNode {
    node(GATEWAY, json!({"LABELS": {"istio": "ingressgateway"}}))
}

fn resource(translation: &Translation, kind: &TypeUrl, name: &str) -> Option<Value> {
    let found = translation.resources.iter().find(|r| r.type_url() == kind && r.name().as_str() == name);
    found.map(|resource| json::any_to_value(resource.any()))
}

fn names<'a>(translation: &'a Translation, kind: &TypeUrl) -> Vec<&'a str> {
    translation.resources.iter().filter(|r| r.type_url() == kind).map(|r| r.name().as_str()).collect()
}

/// The virtual host that has this domain.
fn host(table: &Value, domain: &str) -> Value {
    let hosts = table["virtual_hosts"].as_array().unwrap();
    hosts.iter().find(|h| h["domains"].as_array().unwrap().contains(&domain.into())).cloned().unwrap_or_default()
}

#[test]
fn sidecar_without_interception() {
    let made = context("").translate(&front());
    assert_eq!(made.notices, []);
    assert_eq!(
        names(&made, &TypeUrl::CLUSTER),
        [
            "BlackHoleCluster",
            "inbound|8080||",
            "outbound|443||db.example.com",
            "outbound|8080||front.default.svc.cluster.local",
            "outbound|9080|v1|stock.default.svc.cluster.local",
            "outbound|9080|v2|stock.default.svc.cluster.local",
            "outbound|9080||stock.default.svc.cluster.local",
        ]
    );
    assert_eq!(
        names(&made, &TypeUrl::LISTENER),
        ["127.0.1.10_8080", "127.0.2.10_443", "127.0.2.10_8080", "127.0.2.10_9080"]
    );
    assert_eq!(names(&made, &TypeUrl::ROUTE), ["8080", "9080"]);
    let inbound = resource(&made, &TypeUrl::CLUSTER, "inbound|8080||").unwrap();
    let address = &inbound["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"];
    assert_eq!(address["socket_address"], json!({"address": "127.0.3.10", "port_value": 8080}));
}

#[test]
fn sidecar_with_interception() {
    let made = context("").translate(&node(FRONT, json!({})));
    assert_eq!(
        names(&made, &TypeUrl::LISTENER),
        ["0.0.0.0_443", "0.0.0.0_8080", "0.0.0.0_9080", "virtualInbound", "virtualOutbound"]
    );
    let outbound = resource(&made, &TypeUrl::LISTENER, "0.0.0.0_9080").unwrap();
    assert_eq!(outbound["bind_to_port"], false);
    let first = resource(&made, &TypeUrl::LISTENER, "virtualOutbound").unwrap();
    assert_eq!(first["use_original_dst"], true);
    let table = resource(&made, &TypeUrl::ROUTE, "9080").unwrap();
    assert_eq!(host(&table, "*")["routes"][0]["route"]["cluster"], "PassthroughCluster");
}

#[test]
fn a_service_answers_to_its_names() {
    let made = context("").translate(&front());
    let table = resource(&made, &TypeUrl::ROUTE, "9080").unwrap();
    let domains = ["stock", "stock:9080", "stock.default", "stock.default.svc", "stock.default.svc.cluster.local"];
    for domain in domains {
        assert_eq!(host(&table, domain)["name"], "stock.default.svc.cluster.local:9080", "{domain}");
    }
    assert_eq!(host(&table, "*")["routes"][0]["direct_response"]["status"], 502);
}

#[test]
fn weights_and_subsets() {
    let made = context("").translate(&front());
    let table = resource(&made, &TypeUrl::ROUTE, "9080").unwrap();
    let clusters = &host(&table, "stock")["routes"][0]["route"]["weighted_clusters"]["clusters"];
    assert_eq!(clusters[0]["name"], "outbound|9080|v1|stock.default.svc.cluster.local");
    assert_eq!((&clusters[0]["weight"], &clusters[1]["weight"]), (&90.into(), &10.into()));
    let of = |subset: &str| {
        let name = format!("outbound|9080|{subset}|stock.default.svc.cluster.local");
        let made = resource(&made, &TypeUrl::ENDPOINT, &name).unwrap();
        let endpoints = made["endpoints"].as_array().cloned().unwrap_or_default();
        let endpoints = endpoints.iter().flat_map(|l| l["lb_endpoints"].as_array().unwrap().clone());
        endpoints.map(|e| e["endpoint"]["address"]["socket_address"]["address"].as_str().unwrap().to_owned()).collect()
    };
    let all: Vec<Vec<String>> = vec![of(""), of("v1"), of("v2")];
    assert_eq!(all, [vec!["127.0.1.21", "127.0.1.22"], vec!["127.0.1.21"], vec!["127.0.1.22"]]);
}

#[test]
fn mutual_tls_to_those_with_a_sidecar() {
    let made = context("").translate(&front());
    let name = "outbound|9080||stock.default.svc.cluster.local";
    let cluster = resource(&made, &TypeUrl::CLUSTER, name).unwrap();
    let tls = &cluster["transport_socket_matches"][0]["transport_socket"]["typed_config"];
    assert_eq!(tls["sni"], "outbound_.9080_._.stock.default.svc.cluster.local");
    let context = &tls["common_tls_context"]["combined_validation_context"]["default_validation_context"];
    let accepted = context["match_typed_subject_alt_names"].as_array().unwrap();
    assert_eq!(accepted.len(), 1);
    assert_eq!(accepted[0]["matcher"]["exact"], "spiffe://cluster.local/ns/default/sa/stock");
    let endpoints = resource(&made, &TypeUrl::ENDPOINT, name).unwrap();
    let modes = |index: usize| {
        let endpoint = &endpoints["endpoints"][0]["lb_endpoints"][index];
        endpoint["metadata"]["filter_metadata"]["envoy.transport_socket_match"]["tlsMode"].clone()
    };
    assert_eq!((modes(0), modes(1)), (json!("istio"), Value::Null));
}

#[test]
fn connected_sidecars_are_called_in_mutual_tls() {
    let (snapshot, registry) = load("");
    let registry = registry.with_sidecars(&BTreeSet::from(["127.0.1.22".to_owned()]));
    let made = Translator::default().translate(&snapshot, &registry, &front());
    let endpoints = resource(&made, &TypeUrl::ENDPOINT, "outbound|9080|v2|stock.default.svc.cluster.local").unwrap();
    let metadata = &endpoints["endpoints"][0]["lb_endpoints"][0]["metadata"]["filter_metadata"];
    assert_eq!(metadata["envoy.transport_socket_match"]["tlsMode"], "istio");
}

#[test]
fn modes_of_inbound_ports() {
    let policy = |mode: &str| {
        let made = context(&format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: p}}\nspec: {{mtls: {{mode: {mode}}}}}"
        ))
        .translate(&front());
        let listener = resource(&made, &TypeUrl::LISTENER, "127.0.1.10_8080").unwrap();
        let chains = listener["filter_chains"].as_array().unwrap().clone();
        let kind = |chain: &Value| {
            let transport = chain["filter_chain_match"]["transport_protocol"].as_str().unwrap_or_default().to_owned();
            (transport, chain.get("transport_socket").is_some())
        };
        chains.iter().map(kind).collect::<Vec<_>>()
    };
    assert_eq!(policy("STRICT"), [(String::new(), true)]);
    assert_eq!(policy("DISABLE"), [(String::new(), false)]);
    assert_eq!(policy("PERMISSIVE"), [("tls".to_owned(), true), ("raw_buffer".to_owned(), false)]);
}

#[test]
fn a_fault_for_one_user() {
    let made = context(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: front}
spec:
  hosts: [front]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    fault: {delay: {percentage: {value: 100}, fixedDelay: 7s}}
    route: [{destination: {host: front}}]
  - route: [{destination: {host: front}}]
",
    )
    .translate(&front());
    let routes = host(&resource(&made, &TypeUrl::ROUTE, "8080").unwrap(), "front")["routes"].clone();
    let fault = &routes[0]["typed_per_filter_config"]["envoy.filters.http.fault"];
    assert_eq!(fault["delay"]["fixed_delay"], "7s");
    assert!(routes[1].get("typed_per_filter_config").is_none());
    assert_eq!(routes[1]["route"]["retry_policy"]["num_retries"], 2);
}

#[test]
fn a_gateway_serves_what_is_bound_to_it() {
    let made = context("").translate(&gateway());
    assert_eq!(names(&made, &TypeUrl::LISTENER), ["0.0.0.0_8080"]);
    let table = resource(&made, &TypeUrl::ROUTE, "http.8080").unwrap();
    let routes = &host(&table, "*")["routes"];
    assert_eq!(routes[0]["match"]["path"], "/shop");
    assert_eq!(routes[0]["route"]["cluster"], "outbound|8080||front.default.svc.cluster.local");
    // Rules for gateways are no rules for sidecars.
    let sidecar = context("").translate(&front());
    let routes = host(&resource(&sidecar, &TypeUrl::ROUTE, "8080").unwrap(), "front")["routes"].clone();
    assert_eq!(routes[0]["name"], "default");
}

#[test]
fn a_secret_goes_to_the_gateway_and_is_not_shown() {
    let extra = "
apiVersion: v1
kind: Secret
metadata: {name: cred}
stringData: {tls.crt: CERTIFICATE, tls.key: HIDDEN}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: tls}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: a, protocol: HTTPS}, hosts: [a.example.com], tls: {mode: SIMPLE, credentialName: cred}}
  - {port: {number: 443, name: b, protocol: HTTPS}, hosts: [b.example.com], tls: {mode: SIMPLE, credentialName: none}}
";
    let made = context(extra).translate(&gateway());
    assert_eq!(names(&made, &TypeUrl::SECRET), ["kubernetes://cred"]);
    let shown = made.to_yaml();
    // Bytes are shown in base64: SElEREVO is HIDDEN.
    assert!(shown.contains("[redacted]") && !shown.contains("SElEREVO") && !shown.contains("HIDDEN"), "{shown}");
    let listener = resource(&made, &TypeUrl::LISTENER, "0.0.0.0_443").unwrap();
    assert_eq!(listener["filter_chains"].as_array().unwrap().len(), 1);
    assert_eq!(made.notices.len(), 1);
    assert_eq!(made.notices[0].path, "spec.servers[1].tls.credentialName");
    assert_eq!(names(&context(extra).translate(&front()), &TypeUrl::SECRET), [""; 0]);
}

#[test]
fn workload_entries_are_endpoints_of_services() {
    let made = context(
        "
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm}
spec: {address: 127.0.1.30, labels: {app: stock, version: v3}, serviceAccount: stock, ports: {http: 9999}}
",
    )
    .translate(&front());
    let name = "outbound|9080||stock.default.svc.cluster.local";
    let endpoints = resource(&made, &TypeUrl::ENDPOINT, name).unwrap();
    let last = &endpoints["endpoints"][0]["lb_endpoints"][2];
    assert_eq!(last["endpoint"]["address"]["socket_address"], json!({"address": "127.0.1.30", "port_value": 9999}));
    assert_eq!(last["metadata"]["filter_metadata"]["envoy.transport_socket_match"]["tlsMode"], "istio");
}

#[test]
fn what_is_not_carried_out_has_a_place() {
    let extra = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: d}
spec:
  hosts: [other.example.com]
  http:
  - match: [{uri: {prefix: /x}}]
    delegate: {name: e}
";
    let (snapshot, registry) = load(extra);
    let context = Translator::default().prepare(&snapshot, &registry);
    let finding = context.notices()[0].diagnostic(&snapshot);
    assert_eq!((finding.path.as_str(), finding.code.as_str()), ("spec.http[0].delegate", "MESH0301"));
    assert_eq!(finding.resource, "VirtualService d");
    let text = format!("{SHOP}\n---\n{extra}");
    let line = text.lines().position(|line| line.contains("delegate:")).unwrap() + 1;
    assert_eq!(finding.position.line as usize, line, "{finding}");
}

#[test]
fn own_addresses_are_not_called_twice() {
    let own = json!({"INTERCEPTION_MODE": "NONE", "OUTBOUND_BIND": "127.0.1.10", "APP_ADDRESS": "127.0.1.10"});
    let made = context("").translate(&node(FRONT, own));
    assert_eq!(made.notices.len(), 2, "{:?}", made.notices);
    assert_eq!(names(&made, &TypeUrl::LISTENER), ["127.0.1.10_443", "127.0.1.10_9080"]);
}

#[test]
fn equal_inputs_give_equal_bytes_and_a_change_touches_what_it_must() {
    let first = context("").translate(&front());
    assert_eq!(first, context("").translate(&front()));
    let later = context(
        "{apiVersion: v1, kind: Pod, metadata: {name: new, labels: {app: other}}, status: {podIP: 127.0.1.99}}",
    );
    assert_eq!(first, later.translate(&front()));
    let shifted = SHOP.replace("weight: 90", "weight: 50").replace("weight: 10", "weight: 50");
    let snapshot = Snapshot::from_objects(load_str("x", &shifted).objects);
    let (registry, _) = registry_of(&snapshot, &RegistryOptions::default());
    let later = Translator::default().translate(&snapshot, &registry, &front());
    let changed: Vec<_> = later.resources.iter().filter(|r| !first.resources.contains(r)).collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].name().as_str(), "9080");
    assert_eq!(changed[0].origin().unwrap().as_str(), "VirtualService default/stock");
}

#[test]
fn the_bootstrap_fetches_nothing_but_secrets() {
    let bootstrap = context("").translate(&front()).static_bootstrap();
    let text = bootstrap.to_string();
    assert!(!text.contains("\"ads\"") && !text.contains("\"rds\"") && !text.contains("\"EDS\""));
    assert_eq!(bootstrap["static_resources"]["listeners"].as_array().unwrap().len(), 4);
}

/// Routes of every kind, and credentials.
const REFERRING: &str = "
apiVersion: v1
kind: Secret
metadata: {name: cred}
stringData: {tls.crt: CERTIFICATE, tls.key: HIDDEN}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: tls}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: a, protocol: HTTPS}, hosts: [a.example.com], tls: {mode: SIMPLE, credentialName: cred}}
  - {port: {number: 444, name: b, protocol: TLS}, hosts: [b.example.com], tls: {mode: PASSTHROUGH}}
  - {port: {number: 445, name: c, protocol: TCP}, hosts: ['*']}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: all}
spec:
  hosts: [a.example.com, b.example.com, front]
  gateways: [tls, mesh]
  http:
  - match: [{uri: {prefix: /mirror}}]
    route: [{destination: {host: front}}]
    mirror: {host: stock, subset: v2}
  - match: [{uri: {prefix: /half}}]
    route: [{destination: {host: front}, weight: 1}, {destination: {host: stock, subset: v1}, weight: 99}]
    mirrors: [{destination: {host: stock}}]
  - route: [{destination: {host: front}}]
  tls:
  - match: [{sniHosts: [b.example.com], port: 444}]
    route: [{destination: {host: stock, subset: v1}, weight: 1}, {destination: {host: front}, weight: 1}]
  tcp:
  - match: [{port: 445}]
    route: [{destination: {host: front}}]
";

/// References to nothing, of all kinds of nodes, as `RDS/a>CDS/b (origin)`; and the types that are referred to.
#[cfg(feature = "server")]
fn dangling(extra: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    use mesh_xds::store::{Dangling, External, dangling};

    let told = |d: Dangling| format!("{}>{} ({})", d.from, d.to, d.origin.unwrap());
    let context = context(extra);
    let made = [front(), node(FRONT, json!({})), gateway()].map(|node| context.translate(&node).resources);
    let found = made.iter().flat_map(|resources| dangling(resources, &External::none())).map(told).collect();
    let references = made.iter().flatten().flat_map(|r| r.references());
    (found, references.filter_map(|r| r.to.type_url.short().map(str::to_owned)).collect())
}

#[cfg(feature = "server")]
#[test]
fn what_a_node_is_sent_refers_to_what_it_is_sent() {
    let (found, kinds) = dangling(REFERRING);
    assert_eq!(found, BTreeSet::new());
    assert_eq!(kinds, BTreeSet::from(["CDS", "EDS", "RDS", "SDS"].map(str::to_owned)));
}

#[cfg(feature = "server")]
#[test]
fn a_destination_that_is_not_there_is_traced_to_its_object() {
    // The route stays, as with Istio: its callers are to hear of it, not those of another route.
    let (found, _) = dangling(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: lost}
spec:
  hosts: [front]
  http:
  - match: [{uri: {prefix: /none}}]
    route: [{destination: {host: nowhere}}]
  - route: [{destination: {host: front}, weight: 1}, {destination: {host: stock, subset: none}, weight: 99}]
",
    );
    let expected =
        ["outbound|8080||nowhere.default.svc.cluster.local", "outbound|9080|none|stock.default.svc.cluster.local"];
    let expected = expected.map(|cluster| format!("RDS/8080>CDS/{cluster} (VirtualService default/lost)"));
    assert_eq!(found, BTreeSet::from(expected));
}
