use std::{path::PathBuf, sync::Arc};

use rustls_pki_types::CertificateDer;

use super::StringMatcher;

/// What both sides of TLS share (`tls.v3.CommonTlsContext`).
#[derive(Clone, Debug, Default)]
pub struct TlsCommon {
    /// Own certificates, in order of preference; empty = none is presented.
    pub certificates: Vec<CertificateSource>,
    /// How the peer is verified; `None` = it is not.
    pub validation: Option<ValidationSource>,
    /// ALPN protocols in order of preference.
    pub alpn: Vec<Vec<u8>>,
    /// Lowest version. Default: 1.2.
    pub min_version: Option<TlsVersion>,
    /// Highest version. Default: 1.3.
    pub max_version: Option<TlsVersion>,
    /// TLS 1.2 cipher suites by OpenSSL name; empty = the provider's. TLS 1.3 suites cannot be chosen, as in Envoy.
    pub cipher_suites: Vec<String>,
    /// Key exchange groups by name (`X25519`, `P-256`, `X25519MLKEM768`); empty = the provider's.
    pub groups: Vec<String>,
}

/// A TLS version this proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// Reference to a secret delivered by SDS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretRef {
    /// Secret name.
    pub name: String,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// Where a dynamic resource comes from (`core.v3.ConfigSource`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConfigSource {
    /// The aggregated stream.
    Ads,
    /// A gRPC stream of its own to this cluster; `delta` says which protocol.
    Grpc {
        /// Cluster that carries the stream.
        cluster: String,
        /// `DELTA_GRPC` instead of `GRPC`.
        delta: bool,
    },
    /// A file that holds a `DiscoveryResponse` or one resource, watched.
    File(PathBuf),
}

/// Own certificate chain and key.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// Read at configuration time (inline or from files that are not watched).
    Static(Arc<Secret>),
    /// By SDS.
    Sds(SecretRef),
}

/// Roots, and what is required of the peer beyond them.
#[derive(Clone, Debug)]
pub struct ValidationSource {
    /// Roots given in place, if any.
    pub roots: Option<Arc<Secret>>,
    /// Roots by SDS, if any. One of the two is set.
    pub sds: Option<SecretRef>,
    /// The peer's SAN must match one of these; empty = any SAN of a chain that verifies.
    pub sans: Vec<SanMatcher>,
    /// An untrusted certificate is accepted all the same (`ACCEPT_UNTRUSTED`).
    pub accept_untrusted: bool,
    /// Hex SHA-256 of accepted leaf certificates; empty = any.
    pub certificate_hashes: Vec<[u8; 32]>,
    /// Base64-decoded SHA-256 of accepted public keys (SPKI); empty = any.
    pub spki_hashes: Vec<[u8; 32]>,
}

/// `tls.v3.SubjectAltNameMatcher`.
#[derive(Clone, Debug)]
pub struct SanMatcher {
    /// Kind of name looked at.
    pub san_type: SanType,
    /// Condition.
    pub matcher: StringMatcher,
}

/// Kind of subject alternative name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SanType {
    /// rfc822Name.
    Email,
    /// dNSName.
    Dns,
    /// uniformResourceIdentifier, where SPIFFE ids are.
    Uri,
    /// iPAddress, matched in its text form.
    Ip,
}

/// A named secret (`tls.v3.Secret`).
#[derive(Clone, Debug, PartialEq)]
pub struct Secret {
    /// Name; empty for those given in place.
    pub name: String,
    /// What it holds.
    pub value: SecretValue,
}

/// Content of a [`Secret`].
#[derive(Clone, PartialEq)]
pub enum SecretValue {
    /// A chain, leaf first, and its private key in DER.
    Certificate {
        /// Leaf first.
        chain: Vec<CertificateDer<'static>>,
        /// PKCS#8, SEC1 or PKCS#1 DER, never shown by `Debug`.
        key: Arc<rustls_pki_types::PrivateKeyDer<'static>>,
    },
    /// Trusted roots, and revocation lists in DER.
    Validation {
        /// Trust anchors.
        roots: Vec<CertificateDer<'static>>,
        /// CRLs in DER.
        crls: Vec<rustls_pki_types::CertificateRevocationListDer<'static>>,
        /// SAN matchers that came with the secret.
        sans: Arc<[SanMatcher]>,
    },
}

impl PartialEq for SanMatcher {
    fn eq(&self, other: &Self) -> bool {
        self.san_type == other.san_type && format!("{:?}", self.matcher) == format!("{:?}", other.matcher)
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretValue::Certificate { chain, .. } => write!(f, "Certificate({} in chain, key hidden)", chain.len()),
            SecretValue::Validation { roots, crls, .. } => {
                write!(f, "Validation({} roots, {} CRLs)", roots.len(), crls.len())
            }
        }
    }
}

/// TLS toward clients (`tls.v3.DownstreamTlsContext`).
#[derive(Clone, Debug, Default)]
pub struct ServerTls {
    /// Shared part.
    pub common: TlsCommon,
    /// A client without a certificate is refused.
    pub require_client_certificate: bool,
    /// Stateless session tickets are not offered.
    pub disable_session_tickets: bool,
}

/// TLS toward upstreams (`tls.v3.UpstreamTlsContext`).
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    /// Shared part.
    pub common: TlsCommon,
    /// SNI; empty = none is sent, unless `auto_host_sni`.
    pub sni: String,
    /// SNI is the host's name (`auto_host_sni`).
    pub auto_host_sni: bool,
}
