//! What each analyzer finds, and what it leaves alone: small configurations beside the findings that they give.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use mesh_config::{MeshConfig, analyze_all, analyze_all_in, load_str, parse_mesh_config};

/// Findings of some codes, as `CODE Kind namespace/name path`, in order.
fn found(text: &str, mesh: Option<&MeshConfig>, codes: &[&str]) -> Vec<String> {
    let loaded = load_str("case.yaml", text);
    let across = match mesh {
        Some(mesh) => analyze_all_in(loaded.all_objects(), mesh),
        None => analyze_all(loaded.all_objects()),
    };
    let all = loaded.diagnostics.iter().chain(&across).filter(|finding| codes.contains(&finding.code.as_str()));
    let mut all: Vec<_> = all
        .map(|finding| format!("{} {} {}", finding.code, finding.resource, finding.path).trim().to_owned())
        .collect();
    all.sort();
    all
}

/// Checks that a configuration gives these findings of their codes and of `others`, and no more.
fn check(text: &str, others: &[&str], expected: &[&str]) {
    let mut codes: Vec<&str> = expected.iter().map(|row| &row[..7]).chain(others.iter().copied()).collect();
    codes.dedup();
    assert_eq!(found(text, None, &codes), expected, "{text}");
}

/// An object in one line of YAML.
fn object(kind: &str, name: &str, rest: &str) -> String {
    let group = match kind {
        "Pod" | "Service" | "Namespace" | "Secret" | "ConfigMap" => "v1",
        "Deployment" => "apps/v1",
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => "admissionregistration.k8s.io/v1",
        "CustomResourceDefinition" => "apiextensions.k8s.io/v1",
        "Telemetry" => "telemetry.istio.io/v1",
        "EnvoyFilter" => "networking.istio.io/v1alpha3",
        "RequestAuthentication" | "AuthorizationPolicy" => "security.istio.io/v1",
        _ => "networking.istio.io/v1",
    };
    format!("---\napiVersion: {group}\nkind: {kind}\nmetadata: {{name: {name}}}\n{rest}\n")
}

fn labelled(kind: &str, name: &str, metadata: &str, rest: &str) -> String {
    object(kind, name, rest).replace(&format!("{{name: {name}}}"), &format!("{{name: {name}, {metadata}}}"))
}

#[test]
fn annotations() {
    let pod = |annotation: &str| labelled("Pod", "p", &format!("annotations: {{{annotation}}}"), "");
    let path = |name: &str| format!("metadata.annotations[\"{name}\"]");
    for (annotation, expected) in [
        ("sidecar.istio.io/inject2: 'true'", Some(("IST0108", "sidecar.istio.io/inject2"))),
        ("networking.istio.io/exportTo: '*'", Some(("IST0107", "networking.istio.io/exportTo"))),
        ("sidecar.istio.io/inject: 'true'", Some(("IST0135", "sidecar.istio.io/inject"))),
        ("status.sidecar.istio.io/port: x", Some(("IST0125", "status.sidecar.istio.io/port"))),
        ("status.sidecar.istio.io/port: '15020'", None),
        ("traffic.sidecar.istio.io/includeInboundPorts: '*'", None),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges: 10.0.0.0/8", None),
        ("galley.istio.io/analyze-suppress: IST0103", None),
        ("example.com/x: y", None),
    ] {
        let expected: Vec<_> = expected.iter().map(|(code, name)| format!("{code} Pod p {}", path(name))).collect();
        let codes = ["IST0107", "IST0108", "IST0125", "IST0135"];
        assert_eq!(found(&pod(annotation), None, &codes), expected, "{annotation}");
    }
}

#[test]
fn gateways() {
    let gateway = |name: &str, label: &str, port: u32, protocol: &str, tls: &str| {
        let server = format!("{{port: {{number: {port}, name: p, protocol: {protocol}}}, hosts: [a.com]{tls}}}");
        object("Gateway", name, &format!("spec: {{selector: {{istio: {label}}}, servers: [{server}]}}"))
    };
    let codes = ["IST0101", "IST0145", "IST0162", "IST0138", "IST0161"];
    let plain = |name: &str, port| gateway(name, "ingressgateway", port, "HTTP", "");
    check(&plain("g", 80), &codes, &[]);
    check(&plain("g", 8080), &codes, &["IST0162 Gateway g spec.servers[0].port.number"]);
    check(&gateway("g", "other", 80, "HTTP", ""), &codes, &["IST0101 Gateway g spec.selector"]);
    let own = labelled("Pod", "p", "labels: {istio: other}", "")
        + &object("Service", "s", "spec: {selector: {istio: other}, ports: [{port: 80}]}");
    check(&(gateway("g", "other", 80, "HTTP", "") + &own), &codes, &[]);
    let both = plain("a", 80) + &plain("b", 80);
    check(&both, &codes, &["IST0145 Gateway a spec.servers[0]", "IST0145 Gateway b spec.servers[0]"]);
    check(&(plain("a", 80) + &plain("b", 443)), &codes, &[]);
    let tls =
        |name: &str, port| gateway(name, "ingressgateway", port, "HTTPS", ", tls: {mode: SIMPLE, credentialName: c}");
    let credential = "spec.servers[0].tls.credentialName";
    check(&tls("g", 443), &codes, &[&format!("IST0101 Gateway g {credential}")]);
    let secret = |data: &str| labelled("Secret", "c", "namespace: istio-system", &format!("stringData: {{{data}}}"));
    check(&(tls("g", 443) + &secret("tls.crt: x, tls.key: y")), &codes, &[&format!("IST0161 Gateway g {credential}")]);
    // The shortest DER sequences that PEM can carry.
    let pem = "tls.crt: \"-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\", \
               tls.key: \"-----BEGIN EC PRIVATE KEY-----\\nMAA=\\n-----END EC PRIVATE KEY-----\"";
    check(&(tls("g", 443) + &secret(pem)), &codes, &[]);
    check(
        &(tls("a", 443) + &tls("b", 15443) + &secret(pem)),
        &codes,
        &["IST0138 Gateway a spec.servers[0].tls", "IST0138 Gateway b spec.servers[0].tls"],
    );
}

#[test]
fn virtual_services() {
    let bound = |gateway: &str, host: &str| {
        object(
            "VirtualService",
            "v",
            &format!("spec: {{hosts: [{host}], gateways: ['{gateway}'], http: [{{redirect: {{uri: /}}}}]}}"),
        )
    };
    let gateway = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: k}\n\
                   spec: {gatewayClassName: c, listeners: [{name: l, port: 80, protocol: HTTP, hostname: '*.a.com'}]}\n";
    let codes = ["IST0101", "IST0132", "IST0165"];
    check(&(bound("k", "x.a.com") + gateway), &codes, &[]);
    check(&(bound("k", "x.b.com") + gateway), &codes, &["IST0132 VirtualService v spec.hosts"]);
    check(
        &(bound("n/k", "x.a.com") + gateway),
        &codes,
        &["IST0101 VirtualService v spec.gateways[0]", "IST0132 VirtualService v spec.hosts"],
    );
    let made = "gateway~istio-autogenerated-k8s-gateway~k";
    check(&bound(made, "x.a.com"), &codes, &["IST0165 VirtualService v spec.gateways[0]"]);

    let routes = |http: &str| object("VirtualService", "v", &format!("spec: {{hosts: [a.com], http: [{http}]}}"));
    let to = "redirect: {uri: /}";
    let codes = ["IST0130", "IST0131"];
    for (http, expected) in [
        (format!("{{{to}}}, {{{to}}}"), vec!["IST0130 VirtualService v spec.http[1]"]),
        (
            format!("{{{to}}}, {{match: [{{uri: {{prefix: /a}}}}], {to}}}"),
            vec!["IST0130 VirtualService v spec.http[1]"],
        ),
        (
            format!("{{match: [{{uri: {{prefix: /a}}}}], {to}}}, {{match: [{{uri: {{prefix: /a}}}}], {to}}}"),
            vec!["IST0130 VirtualService v spec.http[1]", "IST0131 VirtualService v spec.http[1].match[0]"],
        ),
        (
            format!("{{match: [{{uri: {{prefix: /a}}}}], {to}}}, {{match: [{{uri: {{prefix: /ab}}}}], {to}}}"),
            vec!["IST0131 VirtualService v spec.http[1].match[0]"],
        ),
        (
            format!("{{match: [{{uri: {{prefix: /a}}, port: 1}}], {to}}}, {{match: [{{uri: {{prefix: /ab}}}}], {to}}}"),
            vec![],
        ),
        (format!("{{match: [{{uri: {{prefix: /ab}}}}], {to}}}, {{match: [{{uri: {{prefix: /a}}}}], {to}}}"), vec![]),
    ] {
        check(&routes(&http), &codes, &expected);
    }

    let claims = "{match: [{headers: {'@request.auth.claims.g': {exact: x}}}], redirect: {uri: /}}";
    let by_claim = object("VirtualService", "v", &format!("spec: {{hosts: [a.com], gateways: [g], http: [{claims}]}}"))
        + &object(
            "Gateway",
            "g",
            "spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: p, protocol: HTTP}, hosts: ['*']}]}",
        );
    check(&by_claim, &[], &["IST0149 VirtualService v spec.gateways[0]"]);
    let policy = labelled("RequestAuthentication", "r", "namespace: istio-system", "spec: {jwtRules: [{issuer: i}]}");
    check(&(by_claim + &policy), &["IST0149"], &[]);
}

#[test]
fn destination_rules() {
    let service = object("Service", "s", "spec: {selector: {app: s}, ports: [{name: http, port: 80}]}");
    let rule = |host: &str, rest: &str| object("DestinationRule", "d", &format!("spec: {{host: {host}, {rest}}}"));
    let subset = |labels: &str| rule("s", &format!("subsets: [{{name: v1, labels: {{{labels}}}}}]"));
    let pod = labelled("Pod", "p", "labels: {app: s, version: v1}", "");
    let codes = ["IST0173", "IST0174"];
    check(&(rule("x", "subsets: []") + &service), &codes, &["IST0174 DestinationRule d spec.host"]);
    check(&(subset("version: v1") + &service), &codes, &["IST0173 DestinationRule d spec.subsets[0].name"]);
    check(&(subset("version: v1") + &service + &pod), &codes, &[]);
    check(&(subset("version: v2") + &service + &pod), &codes, &["IST0173 DestinationRule d spec.subsets[0].name"]);
    let template = "spec: {template: {metadata: {labels: {app: s, version: v1}}}}";
    check(&(subset("version: v1") + &service + &object("Deployment", "d", template)), &codes, &[]);

    let tls = |rest: &str| rule("s", &format!("trafficPolicy: {{tls: {{mode: SIMPLE{rest}}}}}"));
    let codes = ["IST0128", "IST0129"];
    check(&tls(""), &codes, &["IST0128 DestinationRule d spec.trafficPolicy.tls"]);
    check(&tls(", caCertificates: /ca.pem"), &codes, &[]);
    let on_port = rule("s", "trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}]}");
    check(&on_port, &codes, &["IST0129 DestinationRule d spec.trafficPolicy.portLevelSettings[0].tls"]);
}

#[test]
fn service_entries() {
    let entry = |name: &str, protocol: &str, rest: &str| {
        object(
            "ServiceEntry",
            name,
            &format!(
                "spec: {{hosts: [a.com], ports: [{{number: 80, name: p, protocol: {protocol}}}], resolution: DNS{rest}}}"
            ),
        )
    };
    let codes = ["IST0134", "IST0177"];
    check(&entry("e", "HTTP", ""), &codes, &[]);
    check(&entry("e", "tcp", ""), &codes, &["IST0134 ServiceEntry e spec.ports[0]"]);
    check(&entry("e", "TCP", ", addresses: [10.0.0.1]"), &codes, &[]);
    let both = entry("a", "HTTP", "") + &entry("b", "HTTPS", "");
    check(&both, &codes, &["IST0177 ServiceEntry a spec.ports", "IST0177 ServiceEntry b spec.ports"]);
    let apart = entry("a", "HTTP", ", exportTo: [x]") + &entry("b", "HTTPS", ", exportTo: [y]");
    check(&apart, &codes, &[]);

    let mesh = |text: &str| parse_mesh_config("mesh.yaml", text).unwrap();
    let both =
        mesh("defaultConfig: {proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true', ISTIO_META_DNS_AUTO_ALLOCATE: 'true'}}");
    assert!(found(&entry("e", "TCP", ""), Some(&both), &codes).is_empty());
    let capture = mesh("defaultConfig: {proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}}");
    let given = entry("e", "TCP", "") + "status: {addresses: [{host: a.com, value: 240.0.0.1}]}\n";
    assert!(found(&given, Some(&capture), &codes).is_empty());
    assert_eq!(found(&given, None, &codes).len(), 1);
}

#[test]
fn injection() {
    let namespace = |labels: &str| labelled("Namespace", "n", &format!("labels: {{{labels}}}"), "");
    let pod = |rest: &str| labelled("Pod", "p", "namespace: n", &format!("spec: {{{rest}}}"));
    let codes = ["IST0102", "IST0103", "IST0123", "IST0148"];
    check(&namespace(""), &codes, &["IST0102 Namespace n metadata.labels"]);
    check(&namespace("istio-injection: disabled"), &codes, &[]);
    let enabled = namespace("istio-injection: enabled");
    check(&(enabled.clone() + &pod("")), &codes, &["IST0103 Pod n/p"]);
    check(&(enabled.clone() + &pod("hostNetwork: true")), &codes, &[]);
    check(&(enabled.clone() + &pod("initContainers: [{name: istio-proxy, image: i}]")), &codes, &[]);
    check(&namespace("istio-injection: enabled, istio.io/rev: r"), &codes, &["IST0123 Namespace n metadata.labels"]);
    let by_default = "data: {values: '{\"sidecarInjectorWebhook\": {\"enableNamespacesByDefault\": true}}'}";
    let injector = labelled("ConfigMap", "istio-sidecar-injector", "namespace: istio-system", by_default);
    check(&(namespace("") + &injector), &codes, &["IST0148 Namespace n metadata.labels"]);
    let installed = "data: {values: '{\"global\": {\"hub\": \"h\", \"tag\": \"2\", \"proxy\": {\"image\": \"p\"}}}'}";
    let injector = labelled("ConfigMap", "istio-sidecar-injector", "namespace: istio-system", installed);
    for (image, expected) in [("h/p:2", vec![]), ("h/p:1", vec!["IST0158 Namespace n"])] {
        let text =
            enabled.clone() + &injector + &pod(&format!("containers: [{{name: istio-proxy, image: '{image}'}}]"));
        check(&text, &["IST0158"], &expected);
    }
}

#[test]
fn workload_selectors() {
    let pod = |name: &str, app: &str| labelled("Pod", name, &format!("labels: {{app: {app}}}"), "");
    let sidecar = |name: &str, selector: &str| {
        object("Sidecar", name, &format!("spec: {{egress: [{{hosts: ['./*']}}]{selector}}}"))
    };
    let of = ", workloadSelector: {labels: {app: a}}";
    let codes = ["IST0101", "IST0110", "IST0111", "IST0167"];
    check(&sidecar("s", ""), &codes, &[]);
    check(&sidecar("s", of), &codes, &["IST0101 Sidecar s spec.workloadSelector"]);
    check(&(sidecar("s", of) + &pod("p", "a")), &codes, &[]);
    let both = sidecar("a", of) + &sidecar("b", of) + &pod("p", "a");
    check(&both, &codes, &["IST0110 Sidecar a spec.workloadSelector", "IST0110 Sidecar b spec.workloadSelector"]);
    check(&(sidecar("a", "") + &sidecar("b", "")), &codes, &["IST0111 Sidecar a", "IST0111 Sidecar b"]);

    let telemetry = |name: &str, rest: &str| object("Telemetry", name, &format!("spec: {{{rest}}}"));
    let codes = ["IST0101", "IST0157", "IST0159", "IST0160"];
    let of = "selector: {matchLabels: {app: a}}";
    check(&telemetry("t", of), &codes, &["IST0101 Telemetry t spec.selector"]);
    let both = telemetry("a", of) + &telemetry("b", of) + &pod("p", "a");
    check(&both, &codes, &["IST0159 Telemetry a spec.selector", "IST0159 Telemetry b spec.selector"]);
    check(&(telemetry("a", "") + &telemetry("b", "")), &codes, &["IST0160 Telemetry a", "IST0160 Telemetry b"]);
    let logging = telemetry("t", "accessLogging: [{disabled: false}]");
    check(&logging, &codes, &["IST0157 Telemetry t spec.accessLogging[0]"]);
    let mesh = parse_mesh_config("mesh.yaml", "defaultProviders: {accessLogging: [envoy]}").unwrap();
    assert!(found(&logging, Some(&mesh), &codes).is_empty());

    let policy = |rest: &str| object("AuthorizationPolicy", "a", &format!("spec: {{{rest}}}"));
    let codes = ["IST0101", "IST0127"];
    let member = "spec: {containers: [{name: istio-proxy, image: i}]}";
    check(&policy(""), &codes, &["IST0127 AuthorizationPolicy a spec.selector"]);
    check(&(policy("") + &object("Pod", "p", member)), &codes, &[]);
    let from = policy("rules: [{from: [{source: {namespaces: [x, 'n*']}}]}]") + &object("Pod", "p", member);
    check(
        &(from + &object("Namespace", "n1", "")),
        &codes,
        &["IST0101 AuthorizationPolicy a spec.rules[0].from[0].source.namespaces[0]"],
    );
}

#[test]
fn services_and_deployments() {
    let service =
        |name: &str, port: &str| object("Service", name, &format!("spec: {{selector: {{app: a}}, ports: [{port}]}}"));
    check(&service("s", "{port: 80}"), &["IST0150"], &["IST0118 Service s spec.ports[0]"]);
    check(&service("s", "{port: 80, name: http-x}"), &["IST0118", "IST0150"], &[]);
    let external =
        object("Service", "s", "spec: {type: ExternalName, externalName: a.com, ports: [{name: tcp, port: 1}]}");
    check(&external, &["IST0118"], &["IST0150 Service s spec.ports[0]"]);

    let namespace = labelled("Namespace", "default", "labels: {istio-injection: enabled}", "");
    let deployment = object("Deployment", "d", "spec: {template: {metadata: {labels: {app: a}}}}");
    let base = namespace + &deployment;
    let codes = ["IST0116", "IST0137"];
    let two = |a: &str, b: &str| base.clone() + &service("x", a) + &service("y", b);
    check(&two("{port: 80}", "{port: 80}"), &codes, &[]);
    check(&two("{port: 80}", "{port: 80, protocol: UDP}"), &codes, &["IST0116 Deployment d"]);
    check(&two("{port: 80, targetPort: 8}", "{port: 81, targetPort: 8}"), &codes, &["IST0137 Deployment d"]);

    let user = "spec: {containers: [{name: c, securityContext: {runAsUser: 1337}}]}";
    check(&object("Pod", "p", user), &[], &["IST0144 Pod p spec.containers[0].securityContext"]);
    check(&object("Pod", "p", &user.replace("name: c", "name: istio-proxy")), &["IST0144"], &[]);
    let auto = "{containers: [{name: istio-proxy, image: auto}]}";
    check(&object("Pod", "p", &format!("spec: {auto}")), &[], &["IST0147 Pod p"]);
    let waiting = object("Deployment", "d", &format!("spec: {{template: {{spec: {auto}}}}}"));
    check(&waiting, &[], &["IST0146 Deployment d"]);
    let webhook = object(
        "MutatingWebhookConfiguration",
        "w",
        "webhooks: [{name: a.istio.io, clientConfig: {url: 'https://a.com'}}]",
    );
    check(&(waiting + &webhook), &["IST0146"], &[]);

    let istiod = |env: &str| {
        labelled(
            "Deployment",
            "i",
            "labels: {app: istiod}",
            &format!("spec: {{template: {{spec: {{containers: [{{name: c, env: [{env}]}}]}}}}}}"),
        ) + &object("RequestAuthentication", "r", "spec: {}")
    };
    check(&istiod(""), &[], &["IST0175 Deployment i"]);
    check(&istiod("{name: BLOCKED_CIDRS_IN_JWKS_URIS, value: 10.0.0.0/8}"), &["IST0175"], &[]);
}

#[test]
fn webhooks_and_definitions() {
    let webhook = |name: &str, client: &str, label: &str| {
        object(
            "MutatingWebhookConfiguration",
            name,
            &format!(
                "webhooks: [{{name: a.istio.io, clientConfig: {{{client}}}, namespaceSelector: {{matchLabels: {{istio-injection: {label}}}}}}}]"
            ),
        )
    };
    let url = "url: 'https://a.com/inject'";
    let codes = ["IST0139", "IST0163", "IST0164"];
    check(&webhook("w", url, "enabled"), &codes, &[]);
    check(
        &(webhook("w", url, "enabled") + &webhook("x", url, "enabled")),
        &codes,
        &["IST0139 MutatingWebhookConfiguration w webhooks[0]", "IST0139 MutatingWebhookConfiguration x webhooks[0]"],
    );
    check(&(webhook("w", url, "enabled") + &webhook("x", url, "disabled")), &codes, &[]);
    let missing = webhook("w", "service: {namespace: n, name: s}", "enabled");
    check(&missing, &codes, &["IST0139 MutatingWebhookConfiguration w webhooks[0]"]);
    let injector = "istio-sidecar-injector";
    let at = format!("MutatingWebhookConfiguration {injector} webhooks[0].clientConfig.url");
    check(&webhook(injector, "", "enabled"), &codes, &[&format!("IST0163 {at}")]);
    check(&webhook(injector, "url: 'https://10.0.0.1/x'", "enabled"), &codes, &[&format!("IST0164 {at}")]);

    let definition = |version: &str| {
        let name = "tlsroutes.gateway.networking.k8s.io";
        labelled(
            "CustomResourceDefinition",
            name,
            &format!("annotations: {{gateway.networking.k8s.io/bundle-version: {version}}}"),
            "",
        )
    };
    assert_eq!(found(&definition("v1.4.9"), None, &["IST0176"]).len(), 1);
    check(&definition("v1.5.0-rc.1"), &["IST0176"], &[]);
    let negative = labelled("Service", "s", "labels: {}", "status: {conditions: [{type: T, status: 'False'}]}");
    check(&negative, &[], &["IST0171 Service s status.conditions[0]"]);
}

#[test]
fn envoy_filters() {
    let filter = |apply_to: &str, operation: &str, rest: &str| {
        let value = "value: {name: f}";
        object(
            "EnvoyFilter",
            "f",
            &format!(
                "spec: {{{rest}configPatches: [{{applyTo: {apply_to}, patch: {{operation: {operation}, {value}}}}}]}}"
            ),
        )
    };
    let codes = ["IST0151", "IST0152", "IST0153", "IST0154", "IST0155"];
    for (apply_to, operation, rest, code) in [
        ("HTTP_FILTER", "INSERT_BEFORE", "", Some("IST0151")),
        ("HTTP_FILTER", "INSERT_BEFORE", "priority: 10, ", None),
        ("HTTP_FILTER", "INSERT_FIRST", "", None),
        ("CLUSTER", "REPLACE", "", Some("IST0152")),
        ("HTTP_ROUTE", "ADD", "", Some("IST0153")),
        ("ROUTE_CONFIGURATION", "REMOVE", "", Some("IST0154")),
    ] {
        let expected: Vec<_> = code.iter().map(|code| format!("{code} EnvoyFilter f spec.configPatches[0]")).collect();
        assert_eq!(found(&filter(apply_to, operation, rest), None, &codes), expected, "{apply_to} {operation}");
    }
}
