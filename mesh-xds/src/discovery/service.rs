use std::{collections::BTreeSet, fmt, sync::Arc};

use mesh_config::model::ObjectKey;

use super::{Labels, Protocol};

/// Identity of a service: where it lives and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Namespace of the object that declares it.
    pub namespace: Arc<str>,
    /// Fully qualified host name, possibly with a leading wildcard label (`*.example.com`).
    pub hostname: Arc<str>,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.hostname)
    }
}

/// How the addresses behind a service are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resolution {
    /// The registry lists the addresses; the proxy balances over them (EDS).
    #[default]
    Static,
    /// The proxy resolves names and balances over every address (STRICT_DNS).
    Dns,
    /// The proxy resolves one name and keeps using its first address (LOGICAL_DNS).
    DnsRoundRobin,
    /// The caller already chose the address: a headless service, or a ServiceEntry with resolution `NONE`.
    Passthrough,
}

/// Who declared a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Platform {
    /// A Kubernetes `Service`.
    #[default]
    Kubernetes,
    /// An Istio `ServiceEntry`.
    ServiceEntry,
    /// Anything else.
    Other,
}

/// Which namespaces may see an object. Source: `exportTo` of Istio's networking kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportTo {
    /// `*`, the default.
    #[default]
    All,
    /// The listed ones only; empty means none (`~`).
    Namespaces(BTreeSet<String>),
}

impl ExportTo {
    /// Reads the list of an object in `namespace`: `.` is the object's own, `*` all, `~` none; an empty list is `*`.
    #[must_use]
    pub fn parse<S: AsRef<str>>(list: &[S], namespace: &str) -> Self {
        if list.is_empty() || list.iter().any(|n| n.as_ref() == "*") {
            return Self::All;
        }
        let names = list.iter().map(AsRef::as_ref).filter(|n| *n != "~");
        Self::Namespaces(names.map(|n| if n == "." { namespace } else { n }.to_owned()).collect())
    }

    /// Whether `namespace` may see the object.
    #[must_use]
    pub fn is_visible_in(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(names) => names.contains(namespace),
        }
    }
}

/// The port of the workload that a service port leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum TargetPort {
    /// The service port's own number.
    #[default]
    Same,
    /// This number.
    Number(u16),
    /// The workload's port of this name.
    Name(String),
}

/// One port of a [`Service`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// Name, unique in the service. May be empty if the service has one port.
    pub name: String,
    /// Number callers use.
    pub number: u16,
    /// What is spoken.
    pub protocol: Protocol,
    /// Where on the workload it leads.
    pub target: TargetPort,
}

impl ServicePort {
    /// A port that leads to the same number on the workload.
    #[must_use]
    pub fn new(name: impl Into<String>, number: u16, protocol: Protocol) -> Self {
        Self { name: name.into(), number, protocol, target: TargetPort::Same }
    }
}

/// A service, whoever declared it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// Identity.
    pub key: ServiceKey,
    /// Short name: the Kubernetes name, or the host itself.
    pub name: String,
    /// Who declared it.
    pub platform: Platform,
    /// Its ports, in declared order.
    pub ports: Vec<ServicePort>,
    /// Virtual addresses (cluster IPs, ServiceEntry addresses; CIDR ranges allowed).
    pub addresses: Vec<String>,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// Whether it lies outside the mesh: no mutual TLS is tried.
    pub mesh_external: bool,
    /// Who may see it.
    pub export_to: ExportTo,
    /// Labels of the workloads behind it; `None` if it selects none.
    pub selector: Option<Labels>,
    /// Names (SPIFFE ids or DNS names) callers accept besides those of the endpoints' service accounts.
    pub subject_alt_names: BTreeSet<String>,
    /// RFC 3339 time of creation, the older one wins conflicts; empty if unknown.
    pub created: String,
    /// The user's object it was read from, if any.
    pub origin: Option<ObjectKey>,
}

impl Service {
    /// A Kubernetes-like service with no ports.
    #[must_use]
    pub fn new(hostname: impl Into<Arc<str>>, namespace: impl Into<Arc<str>>) -> Self {
        let hostname = hostname.into();
        Self {
            name: hostname.split('.').next().unwrap_or_default().to_owned(),
            key: ServiceKey { namespace: namespace.into(), hostname },
            platform: Platform::default(),
            ports: Vec::new(),
            addresses: Vec::new(),
            resolution: Resolution::default(),
            mesh_external: false,
            export_to: ExportTo::default(),
            selector: None,
            subject_alt_names: BTreeSet::new(),
            created: String::new(),
            origin: None,
        }
    }

    /// The host name.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.key.hostname
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    /// The port with this number.
    #[must_use]
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// Virtual addresses that are single IP addresses.
    pub fn vips(&self) -> impl Iterator<Item = std::net::IpAddr> {
        self.addresses.iter().filter_map(|address| address.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::ExportTo;

    #[test]
    fn export_to() {
        assert!(ExportTo::parse::<&str>(&[], "a").is_visible_in("b"));
        assert!(ExportTo::parse(&["*"], "a").is_visible_in("b"));
        assert!(ExportTo::parse(&["."], "a").is_visible_in("a"));
        assert!(!ExportTo::parse(&["."], "a").is_visible_in("b"));
        assert!(!ExportTo::parse(&["~"], "a").is_visible_in("a"));
        assert!(ExportTo::parse(&[".", "b"], "a").is_visible_in("b"));
    }
}
