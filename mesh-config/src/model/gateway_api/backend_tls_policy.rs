//! `BackendTLSPolicy`: TLS from gateways to backends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::reference::{LocalObjectReference, PolicyTarget};

/// TLS towards some services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BackendTlsPolicy {
    /// The services, or ports of them.
    pub target_refs: Vec<PolicyTarget>,
    /// How the backend's certificate is verified.
    pub validation: Option<BackendTlsValidation>,
    /// An implementation's own settings.
    pub options: BTreeMap<String, String>,
}

/// How a backend's certificate is verified: by authorities that are named, or by well-known ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BackendTlsValidation {
    /// ConfigMaps (key `ca.crt`) or other objects with the authorities.
    pub ca_certificate_refs: Vec<LocalObjectReference>,
    /// `System`, or an implementation's own set.
    #[serde(rename = "wellKnownCACertificates")]
    pub well_known_ca_certificates: Option<String>,
    /// The server name sent in the handshake, and without `subject_alt_names` the name that the certificate must carry.
    pub hostname: String,
    /// Names of which the certificate must carry one.
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// A name in a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SubjectAltName {
    /// The form of the name.
    #[serde(rename = "type")]
    pub name_type: Option<SubjectAltNameType>,
    /// A host name.
    pub hostname: Option<String>,
    /// A URI, such as a SPIFFE id.
    pub uri: Option<String>,
}

/// The form of a name in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubjectAltNameType {
    /// A host name.
    Hostname,
    /// A URI.
    #[serde(rename = "URI")]
    Uri,
}
