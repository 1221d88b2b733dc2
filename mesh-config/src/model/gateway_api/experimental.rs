//! Kinds of the experimental channel with names of their own (`gateway.networking.x-k8s.io`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    backend_tls_policy::BackendTlsValidation,
    reference::{ParametersReference, PolicyTarget, SecretObjectReference},
    session::SessionPersistence,
};

/// Limits of retries towards some backends, and their sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct XBackendTrafficPolicy {
    /// The backends.
    pub target_refs: Vec<PolicyTarget>,
    /// The limit of retries.
    pub retry_constraint: Option<RetryConstraint>,
    /// How the requests of a session are kept with one endpoint.
    pub session_persistence: Option<SessionPersistence>,
}

/// A limit of retries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RetryConstraint {
    /// The share of requests that may be retries.
    pub budget: Option<RetryBudgetDetails>,
    /// The rate of retries that is always allowed; 10 in `1s` by default.
    pub min_retry_rate: Option<RequestRate>,
}

/// A share of the requests of an interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RetryBudgetDetails {
    /// The share in percent; 20 by default.
    pub percent: Option<i32>,
    /// The interval, in the form of GEP-2257; `10s` by default.
    pub interval: Option<String>,
}

/// A number of requests in an interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RequestRate {
    /// The number, 1 to 1 000 000.
    pub count: Option<i32>,
    /// The interval, in the form of GEP-2257.
    pub interval: Option<String>,
}

/// A backend: a name outside the cluster, or pods by label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct XBackend {
    /// `ExternalHostname` or `EndpointSelector`.
    #[serde(rename = "type")]
    pub backend_type: Option<String>,
    /// The port.
    pub port: Option<XBackendPort>,
    /// The name, for the type `ExternalHostname`.
    pub external_hostname: Option<ExternalHostname>,
    /// The pods, for the type `EndpointSelector`.
    pub endpoint_selector: Option<EndpointSelector>,
    /// `TCP`, `HTTP`, `HTTP2`, `HTTP11`, `H2C`, `MCP`, `GRPC` or `WSS`; as the route says by default.
    pub protocol: Option<String>,
    /// TLS towards it.
    pub tls: Option<XBackendTls>,
}

/// The port of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct XBackendPort {
    /// The number.
    #[serde(alias = "port")]
    pub number: Option<u32>,
}

/// A name outside the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ExternalHostname {
    /// The name; no address.
    pub hostname: String,
}

/// Pods by label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EndpointSelector {
    /// Labels that they carry, all of them.
    pub match_labels: BTreeMap<String, String>,
}

/// TLS towards a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct XBackendTls {
    /// `None`, `ServerOnly` or `ClientAndServer`.
    pub mode: Option<String>,
    /// The certificate that is shown, for the mode `ClientAndServer`.
    pub client_certificate_ref: Option<SecretObjectReference>,
    /// How the backend's certificate is verified.
    pub validation: Option<BackendTlsValidation>,
}

/// A mesh: the controller that carries out routes between services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct XMesh {
    /// The controller, `DOMAIN/PATH`.
    pub controller_name: String,
    /// The controller's own settings.
    pub parameters_ref: Option<ParametersReference>,
    /// What it is, for people.
    pub description: Option<String>,
}
