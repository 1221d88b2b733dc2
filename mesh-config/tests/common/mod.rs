//! Objects of all kinds that analyzers look at, made by chance.
#![allow(dead_code)] // each test uses a part

use std::sync::Arc;

use mesh_config::{Kind, Object, parse};
use proptest::prelude::*;

/// Choices of a generated object.
#[derive(Clone, Debug)]
pub(crate) struct Picks {
    pub(crate) template: usize,
    pub(crate) namespace: usize,
    pub(crate) name: usize,
    pub(crate) rest: [usize; 6],
}

pub(crate) fn picks() -> impl Strategy<Value = Picks> {
    let index = any::<usize>;
    (index(), index(), index(), [index(), index(), index(), index(), index(), index()])
        .prop_map(|(template, namespace, name, rest)| Picks { template, namespace, name, rest })
}

const NAMESPACES: [&str; 3] = ["default", "other", "istio-system"];
const NAMES: [&str; 4] = ["s0", "s1", "istio", "istio-sidecar-injector"];
const HOSTS: [&str; 9] = [
    "s0",
    "s1",
    "s0.default.svc.cluster.local",
    "s1.other.svc.cluster.local",
    "a.example.com",
    "A.example.com",
    "'*.example.com'",
    "'*'",
    "istio-ingressgateway.istio-system.svc.cluster.local",
];
const LABELS: [&str; 8] = [
    "{}",
    "{app: s0}",
    "{app: s1}",
    "{app: s0, version: v1}",
    "{app: s1, version: v2}",
    "{version: v1}",
    "{istio: ingressgateway}",
    "{gateway.networking.k8s.io/gateway-name: s0, app: s0}",
];
const MARKS: [&str; 6] = [
    "{}",
    "{istio-injection: enabled}",
    "{istio-injection: disabled}",
    "{istio.io/rev: canary}",
    "{istio.io/dataplane-mode: ambient}",
    "{istio-injection: enabled, istio.io/rev: x}",
];
const GATEWAYS: [&str; 6] = ["[]", "[mesh]", "[s0]", "[other/s1]", "[./s0, mesh]", "[istio-system/s0]"];
const EXPORTS: [&str; 4] = ["[]", "['*']", "['.']", "[other]"];

/// Templates of all kinds that analyzers look at. `@h @H` are hosts, `@l @L` labels, `@m` marks of namespaces, `@g`
/// gateways, `@e` exports, `@p` a port, `@v` a subset.
pub(crate) const TEMPLATES: [(Kind, &str); 32] = [
    (Kind::Namespace, "apiVersion: v1\nkind: Namespace\nmetadata: {name: @ns, labels: @m}\n"),
    (Kind::Node, "apiVersion: v1\nkind: Node\nmetadata: {name: @n, labels: {topology.kubernetes.io/zone: @v}}\n"),
    (
        Kind::ConfigMap,
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: @n, namespace: @ns}\ndata: {values: '{\"global\": {\"hub\": \"h\", \"tag\": \"@v\", \"proxy\": {\"image\": \"p\"}}, \"sidecarInjectorWebhook\": {\"enableNamespacesByDefault\": true}}', mesh: '{rootNamespace: other, extensionProviders: [{name: @v, lightstep: {}}]}'}\n",
    ),
    (Kind::Secret, "apiVersion: v1\nkind: Secret\nmetadata: {name: @n, namespace: @ns}\nstringData: {tls.crt: @v}\n"),
    (
        Kind::Pod,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: @n, namespace: @ns, labels: @l}\nspec: {nodeName: s0, containers: [{name: istio-proxy, image: 'h/p:@v', securityContext: {runAsUser: 1337}}]}\n",
    ),
    (
        Kind::Pod,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: @n, namespace: @ns, labels: @l, annotations: {ambient.istio.io/redirection: enabled}}\nspec: {nodeName: s1, containers: [{name: app, image: auto}]}\n",
    ),
    (
        Kind::Service,
        "apiVersion: v1\nkind: Service\nmetadata: {name: @n, namespace: @ns, annotations: {networking.istio.io/exportTo: '*'}}\nspec: {ports: [{name: http, port: @p}, {name: x, port: 81, targetPort: @p}], selector: @l}\n",
    ),
    (
        Kind::EndpointSlice,
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: @n, namespace: @ns, labels: {kubernetes.io/service-name: s0}}\naddressType: IPv4\nendpoints: []\n",
    ),
    (
        Kind::Deployment,
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: @n, namespace: @ns, labels: {app: istiod}}\nspec: {selector: {}, template: {metadata: {labels: @l}, spec: {containers: [{name: istio-proxy, image: auto}]}}}\n",
    ),
    (
        Kind::MutatingWebhookConfiguration,
        "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {name: @n}\nwebhooks: [{name: x.istio.io, clientConfig: {service: {name: s0, namespace: @ns}}, namespaceSelector: {matchLabels: @m}}]\n",
    ),
    (
        Kind::WorkloadEntry,
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: @n, namespace: @ns}\nspec: {address: 1.2.3.4, labels: @l}\n",
    ),
    (
        Kind::ServiceEntry,
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: @n, namespace: @ns}\nspec: {hosts: [@h, @H], exportTo: @e, ports: [{name: a, number: @p, protocol: HTTP}], resolution: STATIC, workloadSelector: {labels: @l}}\n",
    ),
    (
        Kind::ServiceEntry,
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: @n, namespace: @ns}\nspec: {hosts: [@h], exportTo: @e, ports: [{name: a, number: @p, protocol: TCP}], resolution: STATIC, endpoints: [{address: 1.2.3.4, labels: @l}]}\n",
    ),
    (
        Kind::Gateway,
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: @n, namespace: @ns}\nspec: {selector: @l, servers: [{port: {number: @p, name: p, protocol: HTTPS}, hosts: [@h], tls: {mode: SIMPLE, credentialName: s0}}, {port: {number: 81, name: q, protocol: HTTP}, hosts: [other/a.example.com]}]}\n",
    ),
    (
        Kind::DestinationRule,
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: @n, namespace: @ns}\nspec: {host: @h, subsets: [{name: v1, labels: @l}, {name: @v, labels: {topology.kubernetes.io/zone: v1}}], trafficPolicy: {tls: {mode: SIMPLE}}}\n",
    ),
    (
        Kind::VirtualService,
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: @n, namespace: @ns}\nspec: {hosts: [@h, @H], gateways: @g, exportTo: @e, http: [{match: [{headers: {'@request.auth.claims.x': {exact: a}}}], route: [{destination: {host: @H, subset: @v}, weight: 50}, {destination: {host: s0, port: {number: @p}}, weight: 60}], mirror: {host: @h}}]}\n",
    ),
    (
        Kind::VirtualService,
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: @n, namespace: @ns}\nspec: {hosts: [@h], gateways: @g, exportTo: @e, http: [{route: [{destination: {host: @h}}]}], tcp: [{route: [{destination: {host: @H, subset: v1}}]}]}\n",
    ),
    (
        Kind::Sidecar,
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: @n, namespace: @ns}\nspec: {workloadSelector: {labels: @l}, egress: [{hosts: ['*/*']}]}\n",
    ),
    (
        Kind::Sidecar,
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: @n, namespace: @ns}\nspec: {egress: [{hosts: ['*/*']}]}\n",
    ),
    (
        Kind::EnvoyFilter,
        "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: @n, namespace: @ns}\nspec: {configPatches: [{applyTo: HTTP_FILTER, match: {proxy: {proxyVersion: '1'}}, patch: {operation: INSERT_BEFORE, value: {name: @v}}}]}\n",
    ),
    (
        Kind::RequestAuthentication,
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: @n, namespace: @ns}\nspec: {selector: {matchLabels: @l}}\n",
    ),
    (
        Kind::AuthorizationPolicy,
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: @n, namespace: @ns}\nspec: {selector: {matchLabels: @l}, rules: [{from: [{source: {namespaces: [other, 'd*']}}]}]}\n",
    ),
    (
        Kind::AuthorizationPolicy,
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: @n, namespace: @ns}\nspec: {}\n",
    ),
    (
        Kind::Telemetry,
        "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: @n, namespace: @ns}\nspec: {selector: {matchLabels: @l}, accessLogging: [{}], tracing: [{providers: [{name: @v}]}]}\n",
    ),
    (
        Kind::Telemetry,
        "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: @n, namespace: @ns}\nspec: {accessLogging: [{}]}\n",
    ),
    (
        Kind::PeerAuthentication,
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: @n, namespace: @ns}\nspec: {selector: {matchLabels: @l}, mtls: {mode: STRICT}}\n",
    ),
    (
        Kind::EnvoyFilter,
        "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: @n, namespace: @ns}\nspec: {workloadSelector: {labels: @l}, configPatches: [{applyTo: CLUSTER, patch: {operation: MERGE, value: {name: @v}}}]}\n",
    ),
    (
        Kind::DestinationRule,
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: @n, namespace: @ns}\nspec: {host: @h, workloadSelector: {matchLabels: @l}, trafficPolicy: {tls: {mode: DISABLE}}}\n",
    ),
    (
        Kind::Ingress,
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: @n, namespace: @ns}\nspec: {ingressClassName: s0, rules: [{host: @h, http: {paths: [{path: /, backend: {service: {name: s1, port: {number: @p}}}}]}}]}\n",
    ),
    (
        Kind::IngressClass,
        "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: @n}\nspec: {controller: istio.io/ingress-controller}\n",
    ),
    (
        Kind::IstioOperator,
        "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: @n, namespace: @ns}\nspec: {meshConfig: {rootNamespace: other, ingressControllerMode: DEFAULT}}\n",
    ),
    (
        Kind::KubeGateway,
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: @n, namespace: @ns}\nspec: {gatewayClassName: x, listeners: [{name: a, port: @p, protocol: HTTP, hostname: @h}]}\n",
    ),
];

/// A generated object.
///
/// # Panics
///
/// When a template is no object.
pub(crate) fn object(picks: &Picks) -> Arc<Object> {
    let (kind, text) = text(picks);
    let parsed = parse("generated.yaml", &text);
    let found = parsed.objects.into_iter().chain(parsed.faulty).next();
    let found = found.unwrap_or_else(|| panic!("{text}\n{:?}", parsed.diagnostics));
    assert_eq!(found.kind(), kind);
    found
}

fn pick<T: Copy>(from: &[T], index: usize) -> T {
    from[index % from.len()]
}

/// The text of a generated object, and its kind.
pub(crate) fn text(picks: &Picks) -> (Kind, String) {
    let [host, other, labels, marks, last, more] = picks.rest;
    let (kind, template) = pick(&TEMPLATES, picks.template);
    let text = template
        .replace("@request", "%request")
        .replace("@ns", pick(&NAMESPACES, picks.namespace))
        .replace("@n", pick(&NAMES, picks.name))
        .replace("@h", pick(&HOSTS, host))
        .replace("@H", pick(&HOSTS, other))
        .replace("@l", pick(&LABELS, labels))
        .replace("@m", pick(&MARKS, marks))
        .replace("@g", pick(&GATEWAYS, marks))
        .replace("@e", pick(&EXPORTS, last))
        .replace("@p", pick(&["80", "81", "443"], more))
        .replace("@v", pick(&["v1", "v2"], last))
        .replace("%request", "@request");
    (kind, text)
}
