//! The rules of each kind: what is refused, and at which field.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use mesh_config::load_str;

/// Checks specs of a kind: each case is a spec and the field of its first error; the empty text when it is accepted.
fn check(api_version: &str, kind: &str, cases: &[(&str, &str)]) {
    for (spec, path) in cases {
        let text =
            format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x, namespace: ns}}\nspec: {spec}\n");
        let loaded = load_str("case.yaml", &text);
        let error = loaded.diagnostics.iter().find(|finding| finding.is_error());
        assert_eq!(error.map_or("", |finding| &finding.path), *path, "{kind} {spec}: {:?}", loaded.diagnostics);
        assert_eq!(loaded.objects.len(), usize::from(path.is_empty()), "{spec}");
    }
}

#[test]
fn virtual_service() {
    let route = |rest: &str| format!("{{hosts: [a.com], http: [{{route: [{{destination: {{host: b}}}}], {rest}}}]}}");
    let cases = [
        (route("timeout: 5s"), ""),
        (route("timeout: 0s"), "spec.http[0].timeout"),
        (route("retries: {attempts: 2, retryOn: '5xx,503,reset'}"), ""),
        (route("retries: {attempts: 2, retryOn: '5xxx'}"), "spec.http[0].retries.retryOn"),
        (route("retries: {attempts: 0, perTryTimeout: 1s}"), "spec.http[0].retries"),
        (route("fault: {abort: {httpStatus: 100}}"), "spec.http[0].fault.abort.httpStatus"),
        (route("fault: {delay: {percentage: {value: 10}}}"), "spec.http[0].fault.delay"),
        (route("fault: {}"), "spec.http[0].fault"),
        (route("rewrite: {}"), "spec.http[0].rewrite"),
        (route("redirect: {uri: /}"), "spec.http[0].redirect"),
        (route("match: [{uri: {regex: '('}}]"), "spec.http[0].match[0].uri.regex"),
        (route("match: [{headers: {'a b': {exact: x}}}]"), "spec.http[0].match[0].headers[\"a b\"]"),
        (route("match: [{port: 70000}]"), "spec.http[0].match[0].port"),
        (route("headers: {request: {set: {x: '50%'}}}"), "spec.http[0].headers.request.set.x"),
        (route("mirror: {host: c}, mirrors: [{destination: {host: d}}]"), "spec.http[0].mirrors"),
        (route("corsPolicy: {allowMethods: [GETT]}"), "spec.http[0].corsPolicy.allowMethods[0]"),
        ("{hosts: ['*'], http: [{redirect: {uri: /}}]}".to_owned(), "spec.hosts[0]"),
        ("{hosts: ['*'], gateways: [gw], http: [{redirect: {uri: /}}]}".to_owned(), ""),
        ("{hosts: [a, a], http: [{redirect: {uri: /}}]}".to_owned(), "spec.hosts[1]"),
        ("{hosts: [a], gateways: [A/b/c], http: [{redirect: {uri: /}}]}".to_owned(), "spec.gateways[0]"),
        ("{hosts: [a], http: [{directResponse: {status: 700}}]}".to_owned(), "spec.http[0].directResponse.status"),
        ("{hosts: [a], tcp: [{}]}".to_owned(), "spec.tcp[0].route"),
        ("{hosts: [a], exportTo: ['*', b], http: [{redirect: {uri: /}}]}".to_owned(), "spec.exportTo[0]"),
        ("{hosts: [a]}".to_owned(), "spec"),
    ];
    let cases: Vec<_> = cases.iter().map(|(spec, path)| (spec.as_str(), *path)).collect();
    check("networking.istio.io/v1", "VirtualService", &cases);
}

#[test]
fn destination_rule() {
    let cases = [
        ("{host: a, subsets: [{name: v1, labels: {version: v1}}]}", ""),
        ("{}", "spec.host"),
        ("{host: a, subsets: [{name: v1}, {name: v1}]}", "spec.subsets[1].name"),
        ("{host: a, subsets: [{name: v_1}]}", "spec.subsets[0].name"),
        ("{host: a, trafficPolicy: {}}", "spec.trafficPolicy"),
        ("{host: a, trafficPolicy: {tls: {mode: MUTUAL, clientCertificate: c}}}", "spec.trafficPolicy.tls"),
        ("{host: a, trafficPolicy: {tls: {mode: MUTAL}}}", "spec.trafficPolicy.tls.mode"),
        (
            "{host: a, trafficPolicy: {outlierDetection: {maxEjectionPercent: 101}}}",
            "spec.trafficPolicy.outlierDetection.maxEjectionPercent",
        ),
        (
            "{host: a, trafficPolicy: {connectionPool: {tcp: {maxConnections: -1}}}}",
            "spec.trafficPolicy.connectionPool.tcp.maxConnections",
        ),
        (
            "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {}}}}",
            "spec.trafficPolicy.loadBalancer.consistentHash",
        ),
        (
            "{host: a, trafficPolicy: {loadBalancer: {simple: RANDOM, consistentHash: {useSourceIp: true}}}}",
            "spec.trafficPolicy.loadBalancer.consistentHash",
        ),
    ];
    check("networking.istio.io/v1beta1", "DestinationRule", &cases);
}

#[test]
fn service_and_workload_entry() {
    let cases = [
        ("{hosts: [a.com], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS}", ""),
        ("{hosts: ['*.a.com'], ports: [{number: 443, name: tls}], resolution: DNS}", "spec.hosts[0]"),
        ("{hosts: [a.com], ports: [{number: 0, name: tls}]}", "spec.ports[0].number"),
        ("{hosts: [a.com], ports: [{number: 1, name: a, protocol: HTPS}]}", "spec.ports[0].protocol"),
        ("{hosts: [a.com], ports: [{number: 1, name: a}, {number: 2, name: a}]}", "spec.ports[1].name"),
        ("{hosts: [a.com], resolution: STATIC, endpoints: [{address: b.com}]}", "spec.endpoints[0].address"),
        ("{hosts: [a.com], addresses: [x]}", "spec.addresses[0]"),
    ];
    check("networking.istio.io/v1", "ServiceEntry", &cases);
    let cases = [
        ("{address: 10.0.0.1, labels: {app: a}}", ""),
        ("{address: 'unix://run/a'}", "spec.address"),
        ("{address: 'a b'}", "spec.address"),
    ];
    check("networking.istio.io/v1", "WorkloadEntry", &cases);
}

#[test]
fn gateway_and_sidecar() {
    let cases = [
        ("{servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}", ""),
        ("{servers: []}", "spec.servers"),
        ("{servers: [{port: {number: 443, name: s, protocol: HTTPS}, hosts: ['*']}]}", "spec.servers[0]"),
        (
            "{servers: [{port: {number: 443, name: s, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: c}}]}",
            "",
        ),
        ("{servers: [{port: {number: 80, name: http, protocol: HTP}, hosts: ['*']}]}", "spec.servers[0].port.protocol"),
    ];
    check("networking.istio.io/v1", "Gateway", &cases);
    let cases = [
        ("{egress: [{hosts: ['./*', 'istio-system/*']}]}", ""),
        ("{egress: [{hosts: ['*']}]}", "spec.egress[0].hosts[0]"),
        (
            "{ingress: [{defaultEndpoint: '10.0.0.1:80', port: {number: 1, name: a, protocol: TCP}}]}",
            "spec.ingress[0].defaultEndpoint",
        ),
    ];
    check("networking.istio.io/v1", "Sidecar", &cases);
}

#[test]
fn security() {
    let cases = [
        ("{mtls: {mode: STRICT}}", ""),
        ("{portLevelMtls: {8080: {mode: DISABLE}}}", "spec.portLevelMtls"),
        ("{selector: {matchLabels: {a: b}}, portLevelMtls: {8080: {mode: DISABLE}}}", ""),
        ("{selector: {matchLabels: {a: b}}, portLevelMtls: {x: {mode: DISABLE}}}", "spec.portLevelMtls.x"),
        ("{selector: {matchLabels: {a: '*'}}}", "spec.selector.matchLabels.a"),
    ];
    check("security.istio.io/v1", "PeerAuthentication", &cases);
    let cases = [
        ("{action: DENY, rules: [{from: [{source: {namespaces: [a]}}]}]}", ""),
        ("{rules: [{}]}", ""),
        ("{action: DENY}", "spec"),
        ("{action: CUSTOM, rules: [{}]}", "spec"),
        ("{rules: [{from: []}]}", "spec.rules[0].from"),
        ("{rules: [{from: [{}]}]}", "spec.rules[0].from[0]"),
        ("{rules: [{from: [{source: {ipBlocks: [x]}}]}]}", "spec.rules[0].from[0].source.ipBlocks[0]"),
        ("{rules: [{to: [{operation: {ports: ['0']}}]}]}", "spec.rules[0].to[0].operation.ports[0]"),
        ("{rules: [{to: [{operation: {paths: ['/a/{**}/{*}']}}]}]}", "spec.rules[0].to[0].operation.paths[0]"),
        ("{rules: [{when: [{key: source.ipp, values: [x]}]}]}", "spec.rules[0].when[0].key"),
        ("{rules: [{when: [{key: 'request.headers[x]'}]}]}", "spec.rules[0].when[0]"),
    ];
    check("security.istio.io/v1beta1", "AuthorizationPolicy", &cases);
    let cases = [
        ("{jwtRules: [{issuer: a, jwksUri: 'https://a.com/keys'}]}", ""),
        ("{jwtRules: [{issuer: a, jwks_uri: 'https://a.com/keys'}]}", ""),
        ("{jwtRules: [{issuer: a, jwksUri: 'ftp://a.com/keys'}]}", "spec.jwtRules[0].jwksUri"),
        ("{targetRefs: [{kind: Pod, name: a}]}", "spec.targetRefs[0].kind"),
    ];
    check("security.istio.io/v1", "RequestAuthentication", &cases);
}
