//! What is wrong with the settings of a mesh, its networks, patches of Envoy's configuration, and experimental kinds.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use mesh_config::{Level, load_str};

/// Checks that the first finding of each `spec` is at a path; none where the path is empty.
fn check(version: &str, kind: &str, cases: &[(&str, &str)]) {
    for (spec, path) in cases {
        let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x, namespace: ns}}\nspec: {spec}\n");
        let found = load_str("case.yaml", &text).diagnostics;
        let first = found.first().map(|finding| finding.path.as_str()).unwrap_or_default();
        assert_eq!(first, *path, "{kind} {spec}: {found:?}");
    }
}

#[test]
fn settings_of_a_mesh() {
    let cases = [
        ("{proxyListenPort: 15001, connectTimeout: 10s, trustDomain: cluster.local}", ""),
        ("{root_namespace: istio-system}", ""),
        ("{rootNamespce: x}", "spec.rootNamespce"),
        ("{enableTracing: 'yes'}", "spec.enableTracing"),
        ("{proxyListenPort: 70000}", "spec.proxyListenPort"),
        ("{connectTimeout: 2h}", "spec.connectTimeout"),
        ("{protocolDetectionTimeout: 0s}", ""),
        ("{outboundTrafficPolicy: {mode: ALLOW_SOME}}", "spec.outboundTrafficPolicy.mode"),
        ("{pathNormalization: {normalization: BASE}}", ""),
        ("{defaultConfig: {drainDuration: 1500ms}}", "spec.defaultConfig.drainDuration"),
        ("{defaultConfig: {discoveryAddress: 'istiod:15012', tracing: {zipkin: {address: '$(HOST_IP):9411'}}}}", ""),
        ("{defaultConfig: {discoveryAddress: istiod}}", "spec.defaultConfig.discoveryAddress"),
        ("{defaultConfig: {privateKeyProvider: {qat: {}}}}", "spec.defaultConfig.privateKeyProvider.qat.pollDelay"),
        (
            "{defaultConfig: {tracing: {lightstep: {address: 'a:1'}}}}",
            "spec.defaultConfig.tracing.lightstep.accessToken",
        ),
        (
            "{serviceSettings: [{settings: {clusterLocal: true}, hosts: ['*.a.svc', 'a_b']}]}",
            "spec.serviceSettings[0].hosts[1]",
        ),
        ("{localityLbSetting: {failover: [{from: a, to: a}]}}", "spec.localityLbSetting.failover[0]"),
        ("{extensionProviders: [{name: a, zipkin: {service: ns/a.b, port: 1}}]}", ""),
        ("{extensionProviders: [{name: a}]}", "spec.extensionProviders[0]"),
        (
            "{extensionProviders: [{name: a, prometheus: {}}, {name: a, prometheus: {}}]}",
            "spec.extensionProviders[1].name",
        ),
        (
            "{extensionProviders: [{name: a, prometheus: {}, envoyFileAccessLog: {path: /x}}]}",
            "spec.extensionProviders[0]",
        ),
        (
            "{extensionProviders: [{name: a, envoyExtAuthzHttp: {service: a.b, port: 80, pathPrefix: x}}]}",
            "spec.extensionProviders[0].envoyExtAuthzHttp.pathPrefix",
        ),
        ("{meshMTLS: {ecdhCurves: [P-256]}}", "spec.meshMTLS.ecdhCurves"),
        ("{tlsDefaults: {ecdhCurves: [P-256, P-256]}}", "spec.tlsDefaults.ecdhCurves[1]"),
        ("{ca: {address: 'a.b:15012', tlsSettings: {mode: MUTUAL}}}", "spec.ca.tlsSettings"),
    ];
    check("mesh.istio.io/v1alpha1", "MeshConfig", &cases);

    let map = |data: &str| {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{{data}}}\n"
        );
        load_str("case.yaml", &text).diagnostics
    };
    assert!(map("mesh: 'rootNamespace: a'").is_empty());
    let found = map("mesh: 'rootNamespce: a'");
    assert_eq!((found[0].path.as_str(), found[0].level), ("data.mesh.rootNamespce", Level::Warning));
    let found =
        map("meshNetworks: 'networks: {n: {endpoints: [{fromCidr: x}], gateways: [{address: 1.1.1.1, port: 15443}]}}'");
    assert_eq!(found[0].path, "data.meshNetworks.networks.n.endpoints[0].fromCidr");
}

#[test]
fn networks() {
    let gateway = "gateways: [{registryServiceName: g.istio-system.svc.cluster.local, port: 443}]";
    let cases = [
        (format!("{{networks: {{n: {{endpoints: [{{fromRegistry: a}}], {gateway}}}}}}}"), ""),
        (format!("{{networks: {{n: {{{gateway}}}}}}}"), "spec.networks.n.endpoints"),
        ("{networks: {n: {endpoints: [{fromCidr: 10.0.0.0/8}]}}}".to_owned(), "spec.networks.n.gateways"),
        (format!("{{networks: {{n: {{endpoints: [{{}}], {gateway}}}}}}}"), "spec.networks.n.endpoints[0]"),
    ];
    let cases: Vec<_> = cases.iter().map(|(spec, path)| (spec.as_str(), *path)).collect();
    check("mesh.istio.io/v1alpha1", "MeshNetworks", &cases);
}

#[test]
fn patches() {
    let entry = |rest: &str| format!("{{configPatches: [{{{rest}}}]}}");
    let patch = "patch: {operation: MERGE, value: {name: x}}";
    let filter = |name: &str, inner: &str| {
        let chain = format!("filterChain: {{filter: {{name: {name}, {inner}}}}}");
        entry(&format!("applyTo: HTTP_FILTER, match: {{listener: {{{chain}}}}}, {patch}"))
    };
    let manager = "envoy.filters.network.http_connection_manager";
    let at = "spec.configPatches[0]";
    let inner = format!("{at}.match.listener.filterChain.filter");
    let waypoint = |apply_to: &str, rest: &str| {
        entry(&format!("applyTo: {apply_to}, match: {{context: WAYPOINT, waypoint: {{{rest}}}}}, {patch}"))
    };
    let cases = [
        (entry(&format!("applyTo: CLUSTER, {patch}")), String::new()),
        (entry("applyTo: CLUSTER, patch: {value: {}}"), format!("{at}.patch")),
        (entry("applyTo: CLUSTER, patch: {operation: REPLACE}"), format!("{at}.patch")),
        (entry("applyTo: CLUSTER, patch: {operation: REMOVE}"), String::new()),
        (
            entry(
                "applyTo: CLUSTER, patch: {operation: ADD, value: {a: {'@type': type.googleapis.com/envoy.api.v2.X}}}",
            ),
            format!("{at}.patch.value.a[\"@type\"]"),
        ),
        (entry(&format!("applyTo: CLUSTER, match: {{listener: {{}}}}, {patch}")), format!("{at}.match.listener")),
        (
            entry(&format!("applyTo: CLUSTER, match: {{proxy: {{proxyVersion: '1.('}}}}, {patch}")),
            format!("{at}.match.proxy.proxyVersion"),
        ),
        (filter(manager, "subFilter: {name: envoy.filters.http.router}"), String::new()),
        (filter("x", "subFilter: {name: y}"), format!("{inner}.subFilter")),
        (filter(manager, "subFilter: {}"), format!("{inner}.subFilter")),
        (filter("''", ""), inner.clone()),
        (filter("envoy.tcp_proxy", ""), format!("{inner}.name")),
        (waypoint("CLUSTER", ""), String::new()),
        (waypoint("LISTENER", ""), format!("{at}.match.context")),
        (waypoint("CLUSTER", "route: {name: x}"), format!("{at}.match.waypoint.route")),
        (waypoint("HTTP_ROUTE", "route: {name: x}"), String::new()),
        (
            waypoint("HTTP_FILTER", "filter: {name: x, subFilter: {name: y}}"),
            format!("{at}.match.waypoint.filter.name"),
        ),
    ];
    let cases: Vec<_> = cases.iter().map(|(spec, path)| (spec.as_str(), path.as_str())).collect();
    check("networking.istio.io/v1alpha3", "EnvoyFilter", &cases);
}

#[test]
fn experimental_kinds() {
    let outside = "type: ExternalHostname, port: {number: 443}, externalHostname: {hostname: a.com}";
    let cases = [
        (format!("{{{outside}}}"), ""),
        ("{type: EndpointSelector, port: {number: 443}}".to_owned(), "spec"),
        (
            "{type: EndpointSelector, port: {number: 443}, endpointSelector: {}}".to_owned(),
            "spec.endpointSelector.matchLabels",
        ),
        (format!("{{{outside}, protocol: HTTP2}}"), "spec"),
        (format!("{{{outside}, protocol: H2C, tls: {{mode: ServerOnly}}}}"), "spec.tls"),
        (format!("{{{outside}, tls: {{mode: ClientAndServer}}}}"), "spec.tls"),
        (format!("{{{}}}", outside.replace("a.com", "a.svc.cluster.local")), "spec.externalHostname.hostname"),
    ];
    let cases: Vec<_> = cases.iter().map(|(spec, path)| (spec.as_str(), *path)).collect();
    check("gateway.networking.x-k8s.io/v1alpha1", "XBackend", &cases);

    let policy = |rest: &str| format!("{{targetRefs: [{{group: '', kind: Service, name: s}}], {rest}}}");
    let cases = [
        (policy("retryConstraint: {budget: {percent: 20, interval: 10s}, minRetryRate: {count: 3, interval: 1s}}"), ""),
        (policy("retryConstraint: {budget: {percent: 101}}"), "spec.retryConstraint.budget.percent"),
        (policy("retryConstraint: {budget: {interval: 2h}}"), "spec.retryConstraint.budget.interval"),
        (policy("retryConstraint: {minRetryRate: {interval: 0s}}"), "spec.retryConstraint.minRetryRate.interval"),
        ("{targetRefs: []}".to_owned(), "spec.targetRefs"),
    ];
    let cases: Vec<_> = cases.iter().map(|(spec, path)| (spec.as_str(), *path)).collect();
    check("gateway.networking.x-k8s.io/v1alpha1", "XBackendTrafficPolicy", &cases);
    let cases = [("{controllerName: a.com/x}", ""), ("{controllerName: x}", "spec.controllerName")];
    check("gateway.networking.x-k8s.io/v1alpha1", "XMesh", &cases);
}
