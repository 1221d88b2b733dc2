use serde_json::Value;

use super::{NodeFacts, UNKNOWN, text};
use crate::{filter::StreamInfo, model::Metadata};

/// Labels in Istio's order.
pub(super) type Labels = Vec<(&'static str, String)>;

/// What identifies a set of labels, borrowed from a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) info: &'a StreamInfo,
    pub(super) inbound: bool,
    /// Authority without port, lower case or not; empty for TCP.
    pub(super) host: &'a str,
    pub(super) protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Grpc,
    Tcp,
}

impl Protocol {
    fn as_str(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Grpc => "grpc",
            Protocol::Tcp => "tcp",
        }
    }
}

/// A side of the traffic, as labels say it.
struct Side {
    facts: NodeFacts,
    principal: String,
}

struct Service {
    host: String,
    name: String,
    namespace: String,
}

impl<'a> Facts<'a> {
    /// Identity of the peer and the own one, from the certificates of the connection on the reporting side.
    pub(super) fn principals(&self) -> (&'a str, &'a str) {
        let info = self.info;
        let tls = if self.inbound { info.connection.tls.as_deref() } else { info.upstream_tls.as_deref() };
        let first = |uris: &'a [String]| uris.first().map_or("", String::as_str);
        tls.map_or(("", ""), |tls| (first(&tls.peer_uris), first(&tls.local_uris)))
    }

    pub(super) fn mutual(&self) -> bool {
        self.info.connection.tls.as_deref().is_some_and(|tls| !tls.peer_chain.is_empty() || !tls.peer_uris.is_empty())
    }

    /// Host used as destination service when the configuration names none.
    pub(super) fn fallback_host(&self) -> &'a str {
        if self.inbound { "" } else { self.host }
    }

    pub(super) fn labels(&self, own: &NodeFacts) -> Labels {
        let (peer_id, own_id) = self.principals();
        let own = Side { facts: own.clone(), principal: or_unknown(own_id) };
        let peer = if self.inbound { client(peer_id) } else { endpoint(self.info.upstream_metadata.as_ref(), peer_id) };
        let (source, destination) = if self.inbound { (peer, own) } else { (own, peer) };
        let service = self.service(&destination.facts.namespace);
        let mut labels = vec![("reporter", if self.inbound { "destination" } else { "source" }.to_owned())];
        labels.extend(side(SOURCE, source));
        labels.extend(side(DESTINATION, destination));
        labels.push(("destination_service", service.host));
        labels.push(("destination_service_name", service.name));
        labels.push(("destination_service_namespace", service.namespace));
        labels.push(("request_protocol", self.protocol.as_str().to_owned()));
        if self.protocol != Protocol::Tcp {
            labels.push(("response_code", self.info.status.unwrap_or(0).to_string()));
            let grpc = match (self.protocol, self.info.grpc_status) {
                (Protocol::Grpc, Some(status)) => status.to_string(),
                _ => String::new(),
            };
            labels.push(("grpc_response_status", grpc));
        }
        labels.push(("response_flags", self.info.flags.to_string()));
        labels.push(("connection_security_policy", self.security().to_owned()));
        labels
    }

    /// Only the destination knows how the connection is protected.
    fn security(&self) -> &'static str {
        match (self.inbound, self.mutual()) {
            (false, _) => UNKNOWN,
            (true, true) => "mutual_tls",
            (true, false) => "none",
        }
    }

    fn service(&self, namespace: &str) -> Service {
        if let Some(service) = self.info.cluster_metadata.as_ref().and_then(named_service) {
            return service;
        }
        let cluster = self.info.cluster.as_deref().unwrap_or_default();
        let host = cluster.split('|').nth(3).filter(|host| !host.is_empty());
        match host {
            Some(host) => of_host(host, namespace),
            None if !self.fallback_host().is_empty() => {
                let mut service = of_host(&self.host.to_ascii_lowercase(), namespace);
                // Names of the clusters that carry what matches no service.
                if matches!(cluster, "PassthroughCluster" | "BlackHoleCluster" | "InboundPassthroughCluster") {
                    cluster.clone_into(&mut service.name);
                }
                service
            }
            None => Service { host: UNKNOWN.into(), name: UNKNOWN.into(), namespace: namespace.into() },
        }
    }
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { UNKNOWN } else { text }.to_owned()
}

/// The service in a cluster's metadata: `istio.services[0]`.
fn named_service(metadata: &Metadata) -> Option<Service> {
    let service = metadata.get("istio")?.get("services")?.get(0)?;
    let host = text(service.get("host"))?;
    let fact = |key: &str| text(service.get(key)).unwrap_or_else(|| UNKNOWN.to_owned());
    Some(Service { name: fact("name"), namespace: fact("namespace"), host })
}

/// `NAME.NAMESPACE.svc.*` names both; of other hosts the name is the whole.
fn of_host(host: &str, namespace: &str) -> Service {
    let mut parts = host.splitn(4, '.');
    let (name, space, svc) = (parts.next(), parts.next(), parts.next());
    match (name, space, svc) {
        (Some(name), Some(space), Some("svc")) => {
            Service { host: host.to_owned(), name: name.to_owned(), namespace: space.to_owned() }
        }
        _ => Service { host: host.to_owned(), name: host.to_owned(), namespace: namespace.to_owned() },
    }
}

/// A client of which its certificate is known.
fn client(id: &str) -> Side {
    let namespace = id.split_once("/ns/").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
    Side { facts: NodeFacts { namespace: or_unknown(namespace), ..NodeFacts::default() }, principal: or_unknown(id) }
}

/// An endpoint of which metadata and certificate are known.
fn endpoint(metadata: Option<&Metadata>, id: &str) -> Side {
    let mut side = client(id);
    let Some(istio) = metadata.and_then(|metadata| metadata.get("istio")) else { return side };
    let facts = &mut side.facts;
    if let Some(packed) = istio.get("workload").and_then(Value::as_str).filter(|workload| workload.contains(';')) {
        let fields = [
            &mut facts.workload,
            &mut facts.namespace,
            &mut facts.canonical_service,
            &mut facts.canonical_revision,
            &mut facts.cluster,
        ];
        for (field, value) in fields.into_iter().zip(packed.split(';')).filter(|(_, value)| !value.is_empty()) {
            value.clone_into(field);
        }
        return side;
    }
    for (key, field) in [
        ("workload", &mut facts.workload),
        ("namespace", &mut facts.namespace),
        ("app", &mut facts.app),
        ("version", &mut facts.version),
        ("cluster", &mut facts.cluster),
        ("canonical_service", &mut facts.canonical_service),
        ("canonical_revision", &mut facts.canonical_revision),
    ] {
        if let Some(value) = text(istio.get(key)) {
            *field = value;
        }
    }
    side
}

const SOURCE: [&str; 8] = [
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "source_canonical_service",
    "source_canonical_revision",
];
const DESTINATION: [&str; 8] = [
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_cluster",
    "destination_canonical_service",
    "destination_canonical_revision",
];

fn side(names: [&'static str; 8], side: Side) -> impl Iterator<Item = (&'static str, String)> {
    let facts = side.facts;
    let values = [
        facts.workload,
        facts.namespace,
        side.principal,
        facts.app,
        facts.version,
        facts.cluster,
        facts.canonical_service,
        facts.canonical_revision,
    ];
    names.into_iter().zip(values)
}
