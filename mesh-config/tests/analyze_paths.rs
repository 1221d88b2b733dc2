//! What analyzers find along the paths of requests: rules that nothing reaches, owners of hosts, certificates, mutual TLS.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod cases;

use std::time::{Duration, SystemTime};

use cases::{check, found, labelled, object, pem};
use mesh_config::{Analyzers, Clock, Snapshot, load_str};

#[test]
fn shadowed_routes() {
    let rules = |first: &str, second: &str| {
        let rule = |matches: &str| format!("{{match: [{matches}], redirect: {{uri: /x}}}}");
        object("VirtualService", "v", &format!("spec: {{hosts: [a.com], http: [{}, {}]}}", rule(first), rule(second)))
    };
    for (first, second, is_found) in [
        ("{uri: {prefix: /a}}", "{uri: {exact: /a/b}}", true),
        ("{uri: {prefix: /a}}", "{uri: {prefix: /ab}, method: {exact: GET}}", true),
        ("{uri: {prefix: /}}", "{headers: {x: {exact: y}}}", true),
        ("{headers: {x: {prefix: y}}}", "{headers: {x: {exact: yz}, z: {exact: z}}}", true),
        ("{uri: {prefix: /a}}, {uri: {prefix: /b}}", "{uri: {exact: /a}}, {uri: {exact: /b}}", true),
        ("{uri: {prefix: /a}}", "{uri: {exact: /a}}, {uri: {exact: /b}}", false),
        ("{uri: {prefix: /a}, headers: {x: {exact: y}}}", "{uri: {exact: /a}}", false),
        ("{uri: {exact: /a}}", "{uri: {prefix: /a}}", false),
        ("{uri: {regex: /a.*}}", "{uri: {exact: /ab}}", false),
        ("{uri: {prefix: /a}, port: 80}", "{uri: {exact: /a}}", false),
        ("{uri: {prefix: /a}, gateways: [g]}", "{uri: {exact: /a}}", false),
        ("{uri: {prefix: /a}, sourceLabels: {app: x}}", "{uri: {exact: /a}, sourceLabels: {app: y}}", false),
    ] {
        let expected: &[&str] = if is_found { &["MESH0105 VirtualService v spec.http[1]"] } else { &[] };
        check(&rules(first, second), &["MESH0105"], expected);
    }
}

#[test]
fn tries_beyond_the_timeout() {
    let route = |timeout: &str, attempts: u32, each: &str| {
        let retries = format!("retries: {{attempts: {attempts}, perTryTimeout: {each}}}");
        let route = format!("{{timeout: {timeout}, {retries}, route: [{{destination: {{host: a}}}}]}}");
        object("VirtualService", "v", &format!("spec: {{hosts: [a.com], http: [{route}]}}"))
    };
    let at = "MESH0106 VirtualService v spec.http[0].timeout";
    check(&route("10s", 3, "2s"), &["MESH0106"], &[]);
    check(&route("8s", 3, "2s"), &["MESH0106"], &[]);
    check(&route("7s", 3, "2s"), &["MESH0106"], &[at]);
    check(&route("1s", 1, "2s"), &["MESH0106"], &[at]);
    check(&route("0s", 3, "2s"), &["MESH0106"], &[]);
    check(&route("1s", 0, "2s"), &["MESH0106"], &[]);
}

#[test]
fn policies_for_nothing_and_for_everything() {
    let policy = |spec: &str| object("AuthorizationPolicy", "p", &format!("spec: {spec}"));
    let some = "{from: [{source: {namespaces: [a]}}]}";
    check(&policy("{}"), &["MESH0107"], &["MESH0107 AuthorizationPolicy p spec"]);
    check(&policy("{rules: [{}]}"), &["MESH0107"], &[]);
    check(&policy("{action: DENY, rules: [{}]}"), &["MESH0107"], &["MESH0107 AuthorizationPolicy p spec.rules[0]"]);
    let both = policy(&format!("{{rules: [{some}, {{}}]}}"));
    check(&both, &["MESH0107"], &["MESH0107 AuthorizationPolicy p spec.rules[1]"]);
    check(&policy(&format!("{{action: DENY, rules: [{some}]}}")), &["MESH0107"], &[]);

    let pod = labelled("Pod", "w", "labels: {app: a}", "");
    let peers =
        |app: &str| object("PeerAuthentication", "q", &format!("spec: {{selector: {{matchLabels: {{app: {app}}}}}}}"));
    let peers = |app: &str| peers(app).replace("networking.istio.io", "security.istio.io");
    check(&(peers("a") + &pod), &["MESH0108"], &[]);
    check(&peers("b"), &["MESH0108"], &[]); // no workloads are known at all
    check(&(peers("b") + &pod), &[], &["MESH0108 PeerAuthentication q spec.selector"]);
}

#[test]
fn owners_of_hosts() {
    let dated = |kind: &str, name: &str, day: u32, rest: &str| {
        labelled(kind, name, &format!("namespace: n, creationTimestamp: '2026-01-{day:02}T00:00:00Z'"), rest)
    };
    let rule =
        |name: &str, day, spec: &str| dated("DestinationRule", name, day, &format!("spec: {{host: a.com, {spec}}}"));
    let retries = "trafficPolicy: {connectionPool: {http: {maxRetries: 1}}}";
    let pool = "trafficPolicy: {loadBalancer: {simple: RANDOM}}";
    check(
        &(rule("young", 2, retries) + &rule("old", 1, pool)),
        &[],
        &["MESH0109 DestinationRule n/young spec.trafficPolicy"],
    );
    let entry = |name: &str, day, resolution: &str| {
        let ports = "ports: [{number: 80, name: http, protocol: HTTP}]";
        dated("ServiceEntry", name, day, &format!("spec: {{hosts: [a.com], {ports}, resolution: {resolution}}}"))
    };
    check(&(entry("a", 2, "DNS") + &entry("b", 1, "NONE")), &[], &["MESH0109 ServiceEntry n/a spec.hosts[0]"]);
    check(&(entry("a", 2, "DNS") + &entry("b", 1, "DNS")), &["MESH0109"], &[]);
}

#[test]
fn protocols_of_one_gateway_port() {
    let gateway = |name: &str, day: u32, port: u32, protocol: &str| {
        let tls = if protocol == "HTTPS" { ", tls: {mode: SIMPLE, credentialName: c}" } else { "" };
        let server = format!("{{port: {{number: {port}, name: p, protocol: {protocol}}}, hosts: [{name}.com]{tls}}}");
        let spec = format!("spec: {{selector: {{istio: x}}, servers: [{server}]}}");
        labelled("Gateway", name, &format!("creationTimestamp: '2026-01-{day:02}T00:00:00Z'"), &spec)
    };
    let codes = ["MESH0104"];
    check(
        &(gateway("a", 2, 80, "HTTP") + &gateway("b", 1, 80, "HTTPS")),
        &codes,
        &["MESH0104 Gateway a spec.servers[0].port.protocol"],
    );
    check(&(gateway("a", 1, 80, "HTTP") + &gateway("b", 2, 80, "GRPC")), &codes, &[]);
    check(&(gateway("a", 1, 80, "HTTP") + &gateway("b", 2, 443, "HTTPS")), &codes, &[]);
}

#[test]
fn certificates_in_time() {
    let server =
        "{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, credentialName: c}}";
    let gateway =
        object("Gateway", "g", &format!("spec: {{selector: {{istio: ingressgateway}}, servers: [{server}]}}"));
    let (certificate, key) = pem("20300101000000Z");
    let secret = labelled(
        "Secret",
        "c",
        "namespace: istio-system",
        &format!("stringData: {{tls.crt: \"{certificate}\", tls.key: \"{key}\"}}"),
    );
    let loaded = load_str("case.yaml", &(gateway + &secret));
    let snapshot = Snapshot::from_objects(loaded.all_objects().cloned());
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000);
    let day = Duration::from_secs(86_400);
    for (now, expected) in [
        (end - day * 40, None),
        (end - day * 5, Some("MESH0103")),
        (end + day, Some("IST0161")),
        (SystemTime::UNIX_EPOCH - day, Some("IST0161")),
    ] {
        let findings = Analyzers::standard_with(Clock::fixed(now)).analyze(&snapshot);
        let codes: Vec<_> = findings.diagnostics.iter().map(|one| one.code.as_str()).collect();
        assert_eq!(codes, expected.into_iter().collect::<Vec<_>>(), "{findings:?}");
    }
}

#[test]
fn mutual_tls_along_a_path() {
    let namespace = labelled("Namespace", "default", "labels: {istio-injection: enabled}", "");
    let pod = labelled("Pod", "w", "labels: {app: a, v: '1'}", "spec: {containers: [{name: c}]}");
    let service =
        object("Service", "s", "spec: {selector: {app: a}, ports: [{port: 80, targetPort: 8080}, {port: 81}]}");
    let base = namespace.clone() + &pod + &service;
    let rule = |policy: &str| object("DestinationRule", "d", &format!("spec: {{host: s, {policy}}}"));
    let plain = rule("trafficPolicy: {tls: {mode: DISABLE}}");
    let peers = |name: &str, spec: &str| {
        object("PeerAuthentication", name, &format!("spec: {spec}")).replace("networking.istio.io", "security.istio.io")
    };
    let strict = "mtls: {mode: STRICT}";
    let own = |rest: &str| format!("{{selector: {{matchLabels: {{app: a}}}}, {rest}}}");
    let codes = ["MESH0112"];
    let at = "MESH0112 DestinationRule d spec.trafficPolicy.tls";
    check(&(base.clone() + &plain), &codes, &[]);
    check(&(base.clone() + &plain + &peers("p", &format!("{{{strict}}}"))), &codes, &[at]);
    // The workload's own policy goes before that of the namespace, and that of the port before either.
    let lenient = peers("q", &own("mtls: {mode: PERMISSIVE}"));
    check(&(base.clone() + &plain + &peers("p", &format!("{{{strict}}}")) + &lenient), &codes, &[]);
    let ports = "portLevelMtls: {8080: {mode: DISABLE}, 81: {mode: DISABLE}}";
    check(&(base.clone() + &plain + &peers("p", &own(&format!("{strict}, {ports}")))), &codes, &[]);
    let mutual = rule("trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}");
    check(&(base.clone() + &mutual + &peers("p", &own(&format!("{strict}, {ports}")))), &codes, &[at]);
    let by_port = rule("trafficPolicy: {portLevelSettings: [{port: {number: 81}, tls: {mode: DISABLE}}]}");
    check(
        &(base.clone() + &by_port + &peers("p", &format!("{{{strict}}}"))),
        &codes,
        &["MESH0112 DestinationRule d spec.trafficPolicy.portLevelSettings[0].tls"],
    );
    let subset = rule("subsets: [{name: v1, labels: {v: '1'}, trafficPolicy: {tls: {mode: DISABLE}}}]");
    check(
        &(base + &subset + &peers("p", &format!("{{{strict}}}"))),
        &codes,
        &["MESH0112 DestinationRule d spec.subsets[0].trafficPolicy.tls"],
    );
    // Without a sidecar nobody asks for mutual TLS.
    check(&(pod + &service + &plain + &peers("p", &format!("{{{strict}}}"))), &codes, &[]);
}

#[test]
fn waypoints() {
    let behind = labelled("Service", "s", "labels: {istio.io/use-waypoint: w}", "spec: {ports: [{port: 80}]}");
    let rule = object("DestinationRule", "d", "spec: {host: s, workloadSelector: {matchLabels: {app: a}}}");
    check(&(behind.clone() + &rule), &[], &["MESH0110 DestinationRule d spec.workloadSelector"]);
    check(&(behind.replace("waypoint: w", "waypoint: none") + &rule), &["MESH0110"], &[]);

    let filter = |context: &str| {
        let patch = "patch: {operation: INSERT_BEFORE, value: {name: f}}";
        let matching = format!("match: {{context: {context}, listener: {{}}}}");
        object("EnvoyFilter", "f", &format!("spec: {{configPatches: [{{applyTo: HTTP_FILTER, {matching}, {patch}}}]}}"))
    };
    let target = "{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}";
    let policy = object("AuthorizationPolicy", "p", &format!("spec: {{targetRefs: [{target}], rules: [{{}}]}}"));
    check(&filter("GATEWAY"), &["MESH0111"], &[]);
    check(&(filter("GATEWAY") + &policy), &[], &["MESH0111 EnvoyFilter f spec.configPatches[0]"]);
    check(&(filter("SIDECAR_INBOUND") + &policy), &["MESH0111"], &[]);
}

#[test]
fn networks() {
    let networks = "---\napiVersion: mesh.istio.io/v1alpha1\nkind: MeshNetworks\nmetadata: {name: meshnetworks}\n\
                    spec: {networks: {n: {endpoints: [{fromRegistry: Kubernetes}, {fromRegistry: far}]}}}\n";
    let remote = labelled("Secret", "r", "labels: {istio/multiCluster: 'true'}", "stringData: {far: x}");
    assert_eq!(found(networks, None, &["IST0126"]).len(), 1);
    assert!(found(&(networks.to_owned() + &remote), None, &["IST0126"]).is_empty());
}
