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

#[test]
fn workload_group() {
    let probe = |rest: &str| format!("{{template: {{}}, probe: {{{rest}}}}}");
    let cases = [
        ("{template: {}}".to_owned(), ""),
        ("{metadata: {}}".to_owned(), "spec.template"),
        (probe("httpGet: {port: 80}"), ""),
        (probe("httpGet: {port: 0}"), "spec.probe.httpGet.port"),
        (probe("httpGet: {port: 80, scheme: ftp}"), "spec.probe.httpGet.scheme"),
        (probe("httpGet: {port: 80, httpHeaders: [{name: ':a'}]}"), "spec.probe.httpGet.httpHeaders[0].name"),
        (probe("tcpSocket: {port: 80}, exec: {command: [x]}"), "spec.probe"),
        (probe("exec: {command: []}"), "spec.probe.exec.command"),
        (probe("grpc: {}"), ""),
        (probe("periodSeconds: -1, grpc: {}"), "spec.probe.periodSeconds"),
        (probe("periodSeconds: 1"), "spec.probe"),
    ];
    let cases: Vec<_> = cases.iter().map(|(spec, path)| (spec.as_str(), *path)).collect();
    check("networking.istio.io/v1", "WorkloadGroup", &cases);
}

#[test]
fn telemetry_and_proxy_config() {
    let cases = [
        ("{}", ""),
        ("{tracing: [{customTags: {a: {literal: {value: x}}}}]}", ""),
        ("{tracing: [{customTags: {a: {}}}]}", "spec.tracing[0].customTags.a"),
        ("{tracing: [{customTags: {a: {header: {}}}}]}", "spec.tracing[0].customTags.a.header.name"),
        ("{tracing: [{randomSamplingPercentage: 101}]}", "spec.tracing[0].randomSamplingPercentage"),
        (
            "{metrics: [{overrides: [{match: {metric: REQUEST_COUNT, customMetric: a}}]}]}",
            "spec.metrics[0].overrides[0].match",
        ),
        (
            "{metrics: [{overrides: [{tagOverrides: {a: {operation: REMOVE, value: x}}}]}]}",
            "spec.metrics[0].overrides[0].tagOverrides.a.value",
        ),
        ("{metrics: [{reportingInterval: 0s}]}", "spec.metrics[0].reportingInterval"),
        ("{accessLogging: [{filter: {expression: 'response.code >= 400'}}]}", ""),
        (
            "{accessLogging: [{filter: {expression: 'response.code and 400'}}]}",
            "spec.accessLogging[0].filter.expression",
        ),
        ("{accessLogging: [{providers: [{name: ''}]}]}", "spec.accessLogging[0].providers[0].name"),
        ("{accessLogging: [{match: {mode: UNDEFINED}}]}", "spec.accessLogging[0].match.mode"),
    ];
    check("telemetry.istio.io/v1", "Telemetry", &cases);
    let cases = [
        ("{concurrency: 0, environmentVariables: {A: b}, image: {imageType: debug}}", ""),
        ("{concurrency: -1}", "spec.concurrency"),
        ("{selector: {matchLabels: {'': a}}}", "spec.selector.matchLabels"),
    ];
    check("networking.istio.io/v1beta1", "ProxyConfig", &cases);
}

#[test]
fn extensions() {
    let cases = [
        ("{url: oci://a/b}", ""),
        ("{}", "spec.url"),
        ("{url: ftp://a}", "spec.url"),
        ("{url: a, sha256: abc}", "spec.sha256"),
        ("{url: a, imagePullSecret: ''}", "spec.imagePullSecret"),
        ("{url: a, vmConfig: {env: [{name: x, valueFrom: HOST, value: y}]}}", "spec.vmConfig.env[0].value"),
        ("{url: a, vmConfig: {env: [{name: x}, {name: x}]}}", "spec.vmConfig.env[1].name"),
        ("{url: a, match: [{ports: [{number: 0}]}]}", "spec.match[0].ports[0].number"),
        ("{url: a, selector: {matchLabels: {a: b}}, targetRefs: [{kind: Service, name: s}]}", "spec"),
    ];
    check("extensions.istio.io/v1alpha1", "WasmPlugin", &cases);
    let cases = [
        ("{lua: {inlineCode: x}}", ""),
        ("{lua: {inlineCode: ''}}", "spec.lua.inlineCode"),
        ("{wasm: {url: a}, lua: {inlineCode: x}}", "spec"),
        ("{}", "spec"),
    ];
    check("extensions.istio.io/v1alpha1", "TrafficExtension", &cases);
}

const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";

#[test]
fn gateway_api_gateway() {
    let listener = |rest: &str| format!("{{gatewayClassName: c, listeners: [{{name: l, {rest}}}]}}");
    let tls = "tls: {certificateRefs: [{name: s}]}";
    let cases = [
        (listener("port: 80, protocol: HTTP"), ""),
        (listener("port: 0, protocol: HTTP"), "spec.listeners[0].port"),
        (listener("protocol: HTTP"), "spec.listeners[0].port"),
        (listener("port: 80, protocol: ''"), "spec.listeners[0].protocol"),
        (listener("port: 80, protocol: example.com/x"), ""),
        (listener(&format!("port: 443, protocol: HTTPS, {tls}")), ""),
        (listener(&format!("port: 443, protocol: HTTP, {tls}")), "spec.listeners[0].tls"),
        (listener("port: 443, protocol: HTTPS, tls: {mode: Passthrough}"), "spec.listeners[0].tls.mode"),
        (listener("port: 443, protocol: HTTPS, tls: {}"), "spec.listeners[0].tls"),
        (listener("port: 443, protocol: TLS"), "spec.listeners[0]"),
        (listener("port: 443, protocol: TLS, tls: {mode: Passthrough}"), ""),
        (listener("port: 53, protocol: UDP, hostname: a.com"), "spec.listeners[0].hostname"),
        (listener("port: 80, protocol: HTTP, hostname: 'a.*'"), "spec.listeners[0].hostname"),
        (
            listener("port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Some}}"),
            "spec.listeners[0].allowedRoutes.namespaces.from",
        ),
        (listener("port: 80, protocol: HTTP}, {name: m, port: 80, protocol: HTTP"), "spec.listeners[1]"),
        (listener("port: 80, protocol: HTTP}, {name: l, port: 81, protocol: HTTP"), "spec.listeners[1].name"),
        ("{gatewayClassName: c, listeners: []}".to_owned(), "spec.listeners"),
        (listener("port: 80, protocol: HTTP").replace("gatewayClassName: c, ", ""), "spec.gatewayClassName"),
        (
            listener("port: 80, protocol: HTTP")
                .replace("gatewayClassName: c", "gatewayClassName: c, addresses: [{value: x}]"),
            "spec.addresses[0].value",
        ),
    ];
    let cases: Vec<_> = cases.iter().map(|(spec, path)| (spec.as_str(), *path)).collect();
    check(GATEWAY_API, "Gateway", &cases);
}

#[test]
fn gateway_api_http_route() {
    let rule = |rest: &str| format!("{{rules: [{{{rest}}}]}}");
    let rewrite =
        "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]";
    let cases = [
        ("{}".to_owned(), ""),
        ("{rules: []}".to_owned(), "spec.rules"),
        ("{hostnames: [1.a_b]}".to_owned(), "spec.hostnames[0]"),
        ("{parentRefs: [{name: g}, {name: g}]}".to_owned(), "spec.parentRefs[1]"),
        ("{parentRefs: [{name: g, sectionName: a}, {name: g, port: 80}]}".to_owned(), "spec.parentRefs[1]"),
        ("{parentRefs: [{name: g, sectionName: a}, {name: g, sectionName: b}]}".to_owned(), ""),
        (rule("backendRefs: [{name: s, port: 80}]"), ""),
        (rule("backendRefs: [{name: s}]"), "spec.rules[0].backendRefs[0]"),
        (rule("backendRefs: [{name: s, kind: Other, group: a.com}]"), ""),
        (rule("backendRefs: [{name: s, port: 80, weight: 1000001}]"), "spec.rules[0].backendRefs[0].weight"),
        (rule("matches: [{path: {value: a}}]"), "spec.rules[0].matches[0].path.value"),
        (rule("matches: [{path: {type: RegularExpression, value: 'a//#'}}]"), ""),
        (rule("matches: [{method: get}]"), "spec.rules[0].matches[0].method"),
        (rule("matches: [{headers: [{name: a, value: ' x'}]}]"), "spec.rules[0].matches[0].headers[0].value"),
        (rule("filters: [{type: CORS}]"), "spec.rules[0].filters[0]"),
        (rule("filters: [{cors: {}}]"), "spec.rules[0].filters[0].type"),
        (
            rule("filters: [{type: RequestRedirect, requestRedirect: {statusCode: 300}}]"),
            "spec.rules[0].filters[0].requestRedirect.statusCode",
        ),
        (
            rule(
                "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: s, port: 1}, percent: 1, fraction: {numerator: 1}}}]",
            ),
            "spec.rules[0].filters[0].requestMirror",
        ),
        (rule(rewrite), ""),
        (rule(&format!("matches: [{{path: {{type: Exact, value: /a}}}}], {rewrite}")), "spec.rules[0].matches"),
        (rule("timeouts: {request: 1s, backendRequest: 2s}"), "spec.rules[0].timeouts.backendRequest"),
        (rule("timeouts: {request: 1.5s}"), "spec.rules[0].timeouts.request"),
        (rule("retry: {codes: [500, 200]}"), "spec.rules[0].retry.codes[1]"),
        (rule("sessionPersistence: {type: Header}"), "spec.rules[0].sessionPersistence"),
        (rule("name: a}, {name: a"), "spec.rules[1].name"),
    ];
    let cases: Vec<_> = cases.iter().map(|(spec, path)| (spec.as_str(), *path)).collect();
    check(GATEWAY_API, "HTTPRoute", &cases);
}

#[test]
fn gateway_api_other_kinds() {
    let method = |rest: &str| format!("{{rules: [{{matches: [{{method: {{{rest}}}}}]}}]}}");
    let cases = [
        (method("service: a.B"), ""),
        (method(""), "spec.rules[0].matches[0].method"),
        (method("service: 'a/b'"), "spec.rules[0].matches[0].method.service"),
        (method("type: RegularExpression, service: '.*'"), ""),
    ];
    let cases: Vec<_> = cases.iter().map(|(spec, path)| (spec.as_str(), *path)).collect();
    check(GATEWAY_API, "GRPCRoute", &cases);
    let rules = "rules: [{backendRefs: [{name: s, port: 1}]}]";
    check(
        GATEWAY_API,
        "TLSRoute",
        &[
            (&format!("{{hostnames: [a.com], {rules}}}"), ""),
            (&format!("{{{rules}}}"), "spec.hostnames"),
            (&format!("{{hostnames: [10.0.0.1], {rules}}}"), "spec.hostnames[0]"),
        ],
    );
    check(GATEWAY_API, "TCPRoute", &[(&format!("{{{rules}}}"), ""), ("{rules: []}", "spec.rules")]);
    check(GATEWAY_API, "UDPRoute", &[("{rules: [{backendRefs: []}]}", "spec.rules[0].backendRefs")]);
    check(
        GATEWAY_API,
        "GatewayClass",
        &[("{controllerName: a.com/b}", ""), ("{controllerName: b}", "spec.controllerName")],
    );
    check(
        GATEWAY_API,
        "ListenerSet",
        &[
            ("{parentRef: {name: g}, listeners: [{name: l, protocol: HTTP}]}", ""),
            ("{listeners: [{name: l, protocol: HTTP}]}", "spec.parentRef"),
        ],
    );
    let from = "from: [{group: g.io, kind: HTTPRoute, namespace: n}]";
    check(
        GATEWAY_API,
        "ReferenceGrant",
        &[
            (&format!("{{{from}, to: [{{group: '', kind: Service}}]}}"), ""),
            (&format!("{{{from}, to: [{{kind: Service}}]}}"), "spec.to[0].group"),
            (&format!("{{{from}}}"), "spec.to"),
        ],
    );
    let target = "targetRefs: [{group: '', kind: Service, name: s}]";
    check(
        GATEWAY_API,
        "BackendTLSPolicy",
        &[
            (&format!("{{{target}, validation: {{hostname: a.com, wellKnownCACertificates: System}}}}"), ""),
            (&format!("{{{target}, validation: {{hostname: a.com}}}}"), "spec.validation"),
            (&format!("{{{target}, validation: {{wellKnownCACertificates: System}}}}"), "spec.validation.hostname"),
            ("{validation: {hostname: a.com, wellKnownCACertificates: System}}", "spec.targetRefs"),
        ],
    );
}
