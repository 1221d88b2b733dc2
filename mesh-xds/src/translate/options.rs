use std::time::Duration;

/// What happens to requests for hosts nobody declared. Source: Istio's `outboundTrafficPolicy.mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutboundPolicy {
    /// They go where they were going (`ALLOW_ANY`). Without interception nobody knows where that was: 502.
    #[default]
    AllowAny,
    /// They are refused with 502 (`REGISTRY_ONLY`).
    RegistryOnly,
}

/// What holds for the whole mesh. Names and defaults as in Istio's MeshConfig unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeshOptions {
    /// Trust domain of all identities. Default `cluster.local`.
    pub trust_domain: String,
    /// Domain of Kubernetes host names. Default `cluster.local`.
    pub cluster_domain: String,
    /// Namespace whose objects hold for all. Default `istio-system`.
    pub root_namespace: String,
    /// Requests for unknown hosts. Default [`OutboundPolicy::AllowAny`].
    pub outbound_policy: OutboundPolicy,
    /// Whether callers use mutual TLS whenever the endpoint has a sidecar. Default true.
    pub auto_mtls: bool,
    /// Time to establish an upstream connection. Default 10 s.
    pub connect_timeout: Duration,
    /// File that access logs go to, `/dev/stdout` for example. Default none.
    pub access_log_file: Option<String>,
    /// Text form of access log lines; Envoy's default format if absent.
    pub access_log_format: Option<String>,
    /// File with the roots that verify servers outside the mesh, where a DestinationRule names none. Read by the proxy on its
    /// own machine, and refused by it if missing. Default `/etc/ssl/certs/ca-certificates.crt`.
    pub system_roots: String,
    /// How often the proxy resolves host names. Default 60 s.
    pub dns_refresh_rate: Duration,
}

impl Default for MeshOptions {
    fn default() -> Self {
        Self {
            trust_domain: "cluster.local".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            root_namespace: "istio-system".to_owned(),
            outbound_policy: OutboundPolicy::default(),
            auto_mtls: true,
            connect_timeout: Duration::from_secs(10),
            access_log_file: None,
            access_log_format: None,
            system_roots: "/etc/ssl/certs/ca-certificates.crt".to_owned(),
            dns_refresh_rate: Duration::from_secs(60),
        }
    }
}
