//! By what an object is found: the hosts, labels, selectors and names in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host},
    model::{
        Destination, Kind, LabelSelector, Object, PolicyTargetReference, Spec, VirtualService,
        gateway_api::{ParentReference, SecretObjectReference},
    },
};

/// A side from which an object can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Facet {
    /// A host that it defines for the mesh, in lower case; short names in full and as written.
    Host,
    /// A host that it defines at gateways only.
    GatewayHost,
    /// A host that it sends requests to.
    Destination,
    /// A label of its workloads, `key=value`.
    Label,
    /// The first label that its selector asks for; empty when the selector asks for none.
    Selector,
    /// An object that it names, see [`reference`].
    Reference,
}

/// The facets of one object, each once.
pub(super) type Facets = BTreeSet<(Facet, String)>;

/// The label by which a slice names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// How a named object is written; the namespace or name is `*` when any may be meant.
pub(super) fn reference(kind: Kind, namespace: &str, name: &str) -> String {
    format!("{} {namespace}/{name}", kind as u8)
}

/// A label as it is indexed.
pub(super) fn label(key: &str, value: &str) -> String {
    format!("{key}={value}")
}

/// Collects the facets of one object.
struct Collector<'a> {
    object: &'a Object,
    facets: Facets,
}

/// By what an object is found.
pub(super) fn facets(object: &Object) -> Facets {
    let mut collector = Collector { object, facets: Facets::new() };
    collector.spec();
    collector.facets
}

impl Collector<'_> {
    fn spec(&mut self) {
        let namespace = self.object.namespace();
        match &self.object.spec {
            Spec::Service(spec) => {
                self.host(Facet::Host, self.object.name());
                self.selector(Some(&spec.spec.selector));
            }
            Spec::ServiceEntry(spec) => {
                spec.hosts.iter().for_each(|host| self.host(Facet::Host, host));
                spec.endpoints.iter().for_each(|endpoint| self.labels(&endpoint.labels));
                let nothing = BTreeMap::new();
                self.selector(Some(spec.workload_selector.as_ref().map_or(&nothing, |selector| &selector.labels)));
            }
            Spec::DestinationRule(spec) => {
                self.host(Facet::Host, &spec.host);
                self.matching(spec.workload_selector.as_ref());
            }
            Spec::VirtualService(spec) => self.virtual_service(spec),
            Spec::Gateway(spec) => {
                self.selector(Some(&spec.selector));
                for server in &spec.servers {
                    server.hosts.iter().for_each(|host| {
                        self.host(Facet::GatewayHost, host.rsplit('/').next().unwrap_or_default());
                    });
                    let file = server.tls.as_ref().and_then(|tls| tls.server_certificate.as_deref());
                    if let Some(file) = file.filter(|file| !file.is_empty()) {
                        self.facets.insert((Facet::Reference, format!("file {file}")));
                    }
                    let named = server.tls.as_ref().and_then(|tls| tls.credential_name.as_deref());
                    if let Some(name) = named.filter(|name| !name.is_empty()) {
                        // It is looked for beside the gateway's workloads, wherever these are.
                        self.names(Kind::Secret, "*", name.trim_start_matches("kubernetes://"));
                    }
                }
            }
            Spec::Pod(spec) => {
                self.labels(&self.object.meta.labels);
                if let Some(node) = &spec.spec.node_name {
                    self.names(Kind::Node, "", node);
                }
            }
            Spec::Deployment(spec) => self.labels(&spec.spec.template.metadata.labels),
            Spec::WorkloadEntry(spec) => self.labels(&spec.labels),
            Spec::Ingress(spec) => {
                for host in spec.spec.rules.iter().map(|rule| rule.host.as_deref().unwrap_or("*")) {
                    self.host(Facet::GatewayHost, host);
                }
                for service in spec.backends().filter_map(|(_, backend)| backend.service.as_ref()) {
                    self.host(Facet::Destination, &service.name);
                    self.names(Kind::Service, namespace, &service.name);
                }
                if let Some(class) = &spec.spec.ingress_class_name {
                    self.names(Kind::IngressClass, "", class);
                }
                for secret in spec.spec.tls.iter().filter_map(|tls| tls.secret_name.as_ref()) {
                    self.names(Kind::Secret, "*", secret);
                }
            }
            Spec::EndpointSlice(_) => {
                if let Some(service) = self.object.meta.labels.get(SERVICE_NAME) {
                    self.names(Kind::Service, namespace, service);
                }
            }
            Spec::MutatingWebhookConfiguration(spec) => {
                for service in spec.webhooks.iter().filter_map(|webhook| webhook.client_config.service.as_ref()) {
                    self.names(Kind::Service, &service.namespace, &service.name);
                }
            }
            _ => self.policy_or_route(),
        }
    }

    fn policy_or_route(&mut self) {
        match &self.object.spec {
            Spec::Sidecar(spec) => self.selector(spec.workload_selector.as_ref().map(|selector| &selector.labels)),
            Spec::EnvoyFilter(spec) => {
                let labels = spec.spec.pointer("/workloadSelector/labels").and_then(|labels| labels.as_object());
                let text =
                    |(key, value): (&String, &serde_json::Value)| Some((key.clone(), value.as_str()?.to_owned()));
                let labels: Option<BTreeMap<_, _>> = labels.map(|labels| labels.iter().filter_map(text).collect());
                self.selector(labels.as_ref());
            }
            Spec::PeerAuthentication(spec) => self.matching(spec.selector.as_ref()),
            Spec::ProxyConfig(spec) => self.matching(spec.selector.as_ref()),
            Spec::RequestAuthentication(spec) => {
                self.policy(spec.selector.as_ref(), spec.target_ref.iter().chain(&spec.target_refs));
            }
            Spec::AuthorizationPolicy(spec) => {
                let sources = spec.rules.iter().flat_map(|rule| &rule.from).filter_map(|from| from.source.as_ref());
                for pattern in sources.flat_map(|source| source.namespaces.iter().chain(&source.not_namespaces)) {
                    // What a pattern covers may be any.
                    let name = if pattern.contains('*') { "*".to_owned() } else { pattern.to_ascii_lowercase() };
                    self.names(Kind::Namespace, if name == "*" { "*" } else { "" }, &name);
                }
                self.policy(spec.selector.as_ref(), spec.target_ref.iter().chain(&spec.target_refs));
            }
            Spec::Telemetry(spec) => {
                self.policy(spec.selector.as_ref(), spec.target_ref.iter().chain(&spec.target_refs));
            }
            Spec::WasmPlugin(spec) => {
                self.policy(spec.selector.as_ref(), spec.target_ref.iter().chain(&spec.target_refs));
            }
            Spec::TrafficExtension(spec) => self.policy(spec.selector.as_ref(), spec.target_refs.iter()),
            Spec::KubeGateway(spec) => {
                for listener in &spec.listeners {
                    self.host(Facet::GatewayHost, listener.hostname.as_deref().unwrap_or("*"));
                    let certificates = listener.tls.iter().flat_map(|tls| &tls.certificate_refs);
                    certificates.for_each(|certificate| self.secret(certificate));
                }
            }
            Spec::HttpRoute(spec) => {
                self.route(&spec.parent_refs, &spec.hostnames);
                for to in spec.rules.iter().flatten().flat_map(|rule| &rule.backend_refs) {
                    self.backend(to.kind.as_deref(), &to.name, to.namespace.as_deref());
                }
            }
            Spec::GrpcRoute(spec) => {
                self.route(&spec.parent_refs, &spec.hostnames);
                for to in spec.rules.iter().flat_map(|rule| &rule.backend_refs) {
                    self.backend(to.kind.as_deref(), &to.name, to.namespace.as_deref());
                }
            }
            Spec::TlsRoute(spec) => {
                self.route(&spec.parent_refs, &spec.hostnames);
                for to in spec.rules.iter().flat_map(|rule| &rule.backend_refs) {
                    self.backend(to.kind.as_deref(), &to.name, to.namespace.as_deref());
                }
            }
            Spec::TcpRoute(spec) => {
                self.route(&spec.parent_refs, &[]);
                for to in spec.rules.iter().flat_map(|rule| &rule.backend_refs) {
                    self.backend(to.kind.as_deref(), &to.name, to.namespace.as_deref());
                }
            }
            _ => {}
        }
    }

    fn virtual_service(&mut self, spec: &VirtualService) {
        let in_mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|name| name == "mesh");
        let facet = if in_mesh { Facet::Host } else { Facet::GatewayHost };
        spec.hosts.iter().for_each(|host| self.host(facet, host));
        let http = spec.http.iter().flat_map(|route| {
            let mirrors = route.mirrors.iter().filter_map(|mirror| mirror.destination.as_ref());
            let routes = route.route.iter().filter_map(|target| target.destination.as_ref());
            routes.chain(&route.mirror).chain(mirrors)
        });
        let tls = spec.tls.iter().flat_map(|route| &route.route);
        let l4 = tls.chain(spec.tcp.iter().flat_map(|route| &route.route));
        let all: Vec<&Destination> = http.chain(l4.filter_map(|target| target.destination.as_ref())).collect();
        all.into_iter().for_each(|destination| self.host(Facet::Destination, &destination.host));
        let own = self.object.namespace();
        let conditions = spec.http.iter().flat_map(|route| &route.matches).flat_map(|one| &one.gateways);
        for reference in spec.gateways.iter().chain(conditions).filter(|name| *name != "mesh") {
            let (namespace, name) = reference.split_once('/').unwrap_or((own, reference));
            let namespace = if namespace == "." { own } else { namespace };
            self.names(Kind::Gateway, namespace, name);
            self.names(Kind::KubeGateway, namespace, name);
        }
        for delegate in spec.http.iter().filter_map(|route| route.delegate.as_ref()) {
            let namespace = delegate.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(own);
            self.names(Kind::VirtualService, namespace, &delegate.name);
        }
    }

    fn policy<'t>(
        &mut self,
        selector: Option<&LabelSelector>,
        targets: impl Iterator<Item = &'t PolicyTargetReference>,
    ) {
        self.matching(selector);
        for target in targets {
            let namespace = target.namespace.as_deref().filter(|namespace| !namespace.is_empty());
            let namespace = namespace.unwrap_or(self.object.namespace()).to_owned();
            for kind in Kind::all().filter(|kind| kind.as_str() == target.kind) {
                self.names(kind, &namespace, &target.name);
            }
        }
    }

    fn route(&mut self, parents: &[ParentReference], hosts: &[String]) {
        hosts.iter().for_each(|host| self.host(Facet::GatewayHost, host));
        for parent in parents {
            let kind = match parent.kind.as_deref() {
                None | Some("" | "Gateway") => Kind::KubeGateway,
                Some("ListenerSet") => Kind::ListenerSet,
                Some("Service") => Kind::Service,
                Some("ServiceEntry") => Kind::ServiceEntry,
                Some(_) => continue,
            };
            self.names(kind, parent.namespace.as_deref().unwrap_or(self.object.namespace()), &parent.name);
        }
    }

    fn backend(&mut self, kind: Option<&str>, name: &str, namespace: Option<&str>) {
        let namespace = namespace.unwrap_or(self.object.namespace());
        if matches!(kind, None | Some("" | "Service")) {
            self.facets.insert((Facet::Destination, full_host(name, namespace, DEFAULT_CLUSTER_DOMAIN)));
            self.names(Kind::Service, namespace, name);
        } else if kind == Some("Hostname") {
            self.host(Facet::Destination, name);
        }
    }

    fn secret(&mut self, secret: &SecretObjectReference) {
        self.names(Kind::Secret, secret.namespace.as_deref().unwrap_or(self.object.namespace()), &secret.name);
    }

    fn host(&mut self, facet: Facet, host: &str) {
        let host = host.to_ascii_lowercase();
        let full = full_host(&host, self.object.namespace(), DEFAULT_CLUSTER_DOMAIN);
        if full != host {
            self.facets.insert((facet, full));
        }
        self.facets.insert((facet, host));
    }

    fn labels(&mut self, labels: &BTreeMap<String, String>) {
        self.facets.extend(labels.iter().map(|(key, value)| (Facet::Label, label(key, value))));
    }

    fn matching(&mut self, selector: Option<&LabelSelector>) {
        self.selector(selector.map(|selector| &selector.match_labels));
    }

    fn selector(&mut self, wanted: Option<&BTreeMap<String, String>>) {
        let Some(wanted) = wanted else { return };
        let first = wanted.iter().next().map(|(key, value)| label(key, value));
        self.facets.insert((Facet::Selector, first.unwrap_or_default()));
    }

    fn names(&mut self, kind: Kind, namespace: &str, name: &str) {
        self.facets.insert((Facet::Reference, reference(kind, namespace, name)));
    }
}
