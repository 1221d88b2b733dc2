use super::Labels;

/// Where an endpoint runs. Source: `topology.kubernetes.io/*` labels, or `region/zone/subzone` of Istio's `locality`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// Region, empty if unknown.
    pub region: String,
    /// Zone, empty if unknown.
    pub zone: String,
    /// Part of the zone, empty if unknown.
    pub sub_zone: String,
}

impl Locality {
    /// Reads `region/zone/subzone`, of which the latter two may be absent.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Self { region: next(), zone: next(), sub_zone: next() }
    }
}

/// Whether an endpoint takes traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// Ready.
    #[default]
    Healthy,
    /// Not ready: used only if too few healthy ones are left.
    Unhealthy,
    /// Leaving: keeps what it has, gets nothing new.
    Draining,
}

/// Whether a sidecar answers at an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsMode {
    /// Nobody said: plaintext, unless [`Registry::with_sidecars`](super::Registry::with_sidecars) knows better.
    #[default]
    Unstated,
    /// No sidecar: plaintext.
    Disabled,
    /// A sidecar that accepts the mesh's mutual TLS.
    Istio,
}

/// One address that serves one port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// IP address, or a host name for services resolved by DNS.
    pub address: String,
    /// Port at the address.
    pub port: u16,
    /// Name of the service port it serves.
    pub service_port: String,
    /// Labels of the workload.
    pub labels: Labels,
    /// Namespace of the workload.
    pub namespace: String,
    /// Name of the workload (the owner of a pod, or the WorkloadEntry); empty if unknown.
    pub workload: String,
    /// Service account, empty if unknown.
    pub service_account: String,
    /// Where it runs.
    pub locality: Locality,
    /// Whether it takes traffic.
    pub health: Health,
    /// Share of the load among its peers; 0 is taken as 1.
    pub weight: u32,
    /// Network it is reachable in, empty for the default one.
    pub network: String,
    /// Cluster it lives in, empty for the only one.
    pub cluster: String,
    /// Whether a sidecar answers.
    pub tls_mode: TlsMode,
}

impl Endpoint {
    /// A healthy endpoint without labels and without a sidecar.
    #[must_use]
    pub fn new(address: impl Into<String>, port: u16, service_port: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            port,
            service_port: service_port.into(),
            labels: Labels::default(),
            namespace: String::new(),
            workload: String::new(),
            service_account: String::new(),
            locality: Locality::default(),
            health: Health::default(),
            weight: 1,
            network: String::new(),
            cluster: String::new(),
            tls_mode: TlsMode::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Locality;

    #[test]
    fn locality() {
        let of = |region: &str, zone: &str, sub: &str| Locality {
            region: region.into(),
            zone: zone.into(),
            sub_zone: sub.into(),
        };
        assert_eq!(Locality::parse("eu/a/rack1"), of("eu", "a", "rack1"));
        assert_eq!(Locality::parse("eu"), of("eu", "", ""));
        assert_eq!(Locality::parse(""), Locality::default());
    }
}
