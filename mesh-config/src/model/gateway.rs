//! `Gateway`: what a proxy at the edge listens for. Source: `istio.networking.v1`, gateway.proto.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The servers of a gateway proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Gateway {
    /// What it listens for.
    pub servers: Vec<Server>,
    /// Labels of the proxies that serve it.
    pub selector: BTreeMap<String, String>,
}

/// One port of a gateway and the hosts that are served there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Server {
    /// The port.
    pub port: Option<Port>,
    /// The address to listen on; all by default.
    pub bind: Option<String>,
    /// Hosts, each `name` or `namespace/name`, with `*.` wildcards.
    pub hosts: Vec<String>,
    /// TLS of the server; required for HTTPS and TLS.
    pub tls: Option<ServerTlsSettings>,
    /// Not implemented by Istio for gateways.
    pub default_endpoint: Option<String>,
    /// A name, unique in the gateway.
    pub name: Option<String>,
}

/// A port that is listened on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Port {
    /// The number, 1 to 65535.
    pub number: u32,
    /// `HTTP`, `HTTPS`, `GRPC`, `HTTP2`, `MONGO`, `TCP`, `TLS`.
    pub protocol: String,
    /// The name.
    pub name: String,
    /// Deprecated and without effect.
    pub target_port: Option<u32>,
}

/// TLS of a server. Source: `ServerTLSSettings`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ServerTlsSettings {
    /// Answer plain HTTP with a redirect to HTTPS.
    pub https_redirect: bool,
    /// How TLS is done; `PASSTHROUGH` by default.
    pub mode: ServerTlsMode,
    /// The file of the certificate; `SIMPLE` and `MUTUAL` need it or a credential.
    pub server_certificate: Option<String>,
    /// The file of the private key; `SIMPLE` and `MUTUAL` need it or a credential.
    pub private_key: Option<String>,
    /// The file of the authorities for client certificates.
    pub ca_certificates: Option<String>,
    /// The file of revoked certificates.
    pub ca_crl: Option<String>,
    /// The Secret with key, certificate and authorities.
    pub credential_name: Option<String>,
    /// Several Secrets, one for each kind of key; at most two.
    pub credential_names: Vec<String>,
    /// Several certificates from files; at most two.
    pub tls_certificates: Vec<TlsCertificate>,
    /// The Secret or ConfigMap with the authorities for client certificates.
    pub ca_cert_credential_name: Option<String>,
    /// Names of which a client's certificate must carry one.
    pub subject_alt_names: Vec<String>,
    /// Base64 SHA-256 digests of accepted client keys.
    pub verify_certificate_spki: Vec<String>,
    /// Hex SHA-256 digests of accepted client certificates.
    pub verify_certificate_hash: Vec<String>,
    /// The lowest TLS version; 1.2 by default.
    pub min_protocol_version: Option<TlsProtocol>,
    /// The highest TLS version.
    pub max_protocol_version: Option<TlsProtocol>,
    /// Cipher suites by Envoy's names.
    pub cipher_suites: Vec<String>,
    /// Elliptic curves by Envoy's names.
    pub ecdh_curves: Vec<String>,
    /// Application protocols that are offered (ALPN); those of the port's protocol by default.
    pub alpn_protocols: Vec<String>,
    /// Let clients in whose certificate does not verify.
    pub insecure_skip_verify: Option<bool>,
}

/// A certificate from files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TlsCertificate {
    /// The file of the certificate.
    pub server_certificate: Option<String>,
    /// The file of the private key.
    pub private_key: Option<String>,
    /// The file of the authorities for client certificates.
    pub ca_certificates: Option<String>,
}

/// How a server does TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerTlsMode {
    /// Not terminated; the server name chooses the destination by TLS routes.
    #[default]
    Passthrough,
    /// Terminated, no client certificate.
    Simple,
    /// Terminated, client certificate required.
    Mutual,
    /// Not terminated; the server name holds the destination.
    AutoPassthrough,
    /// Terminated with the proxy's own mesh certificate.
    IstioMutual,
    /// Terminated, client certificate verified when given.
    OptionalMutual,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsProtocol {
    /// Chosen by the proxy.
    #[default]
    #[serde(rename = "TLS_AUTO")]
    Auto,
    /// TLS 1.0.
    #[serde(rename = "TLSV1_0")]
    V1_0,
    /// TLS 1.1.
    #[serde(rename = "TLSV1_1")]
    V1_1,
    /// TLS 1.2.
    #[serde(rename = "TLSV1_2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "TLSV1_3")]
    V1_3,
}
