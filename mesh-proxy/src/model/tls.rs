use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use rustls_pki_types::CertificateDer;

use super::{CidrRange, StringMatcher};

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
    /// Key exchange groups by name (`X25519`, `P-256`, `X25519MLKEM768`); empty = the provider's, the post-quantum hybrid
    /// first.
    pub groups: Vec<String>,
    /// Where the secrets of connections are written; `None` = nowhere.
    pub key_log: Option<KeyLogFile>,
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
#[derive(Clone, Debug, Default)]
pub struct ValidationSource {
    /// Roots given in place, if any.
    pub roots: Option<Arc<Secret>>,
    /// Roots by SDS, if any. At most one of the two is set.
    pub sds: Option<SecretRef>,
    /// Requirements, to which those of the secret are added.
    pub rules: PeerRules,
}

/// What is required of a peer beside trusted roots (`tls.v3.CertificateValidationContext`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeerRules {
    /// The peer's SAN must match one of these; empty = any SAN of a chain that verifies.
    pub sans: Vec<SanMatcher>,
    /// An untrusted certificate is accepted all the same (`ACCEPT_UNTRUSTED`).
    pub accept_untrusted: bool,
    /// Hex SHA-256 of accepted leaf certificates; empty = any.
    pub certificate_hashes: Vec<[u8; 32]>,
    /// Base64-decoded SHA-256 of accepted public keys (SPKI); empty = any.
    pub spki_hashes: Vec<[u8; 32]>,
    /// Revocation lists speak of the leaf only; otherwise every issuer in the chain needs one.
    pub leaf_crl_only: bool,
    /// Certificates are accepted outside of their time of validity too, where there is a moment at which the whole chain
    /// was valid.
    pub allow_expired: bool,
    /// Longest chain, the leaf not counted, the root counted; `None` = as long as rustls goes.
    pub max_depth: Option<u32>,
    /// Clients are not told the names of the roots.
    pub hide_roots: bool,
    /// Roots by SPIFFE trust domain (`envoy.tls.cert_validator.spiffe`): a peer's chain must lead to a root of the trust
    /// domain its id is in. Empty = not by trust domain.
    pub trust_domains: BTreeMap<String, Vec<CertificateDer<'static>>>,
}

impl PeerRules {
    /// These and `more`, as Envoy merges messages: lists are joined, what `more` sets counts.
    #[must_use]
    pub fn and(&self, more: &Self) -> Self {
        let both = |a: &[[u8; 32]], b: &[[u8; 32]]| [a, b].concat();
        let trust_domains = if more.trust_domains.is_empty() { &self.trust_domains } else { &more.trust_domains };
        Self {
            sans: self.sans.iter().chain(&more.sans).cloned().collect(),
            accept_untrusted: self.accept_untrusted || more.accept_untrusted,
            certificate_hashes: both(&self.certificate_hashes, &more.certificate_hashes),
            spki_hashes: both(&self.spki_hashes, &more.spki_hashes),
            leaf_crl_only: self.leaf_crl_only || more.leaf_crl_only,
            allow_expired: self.allow_expired || more.allow_expired,
            max_depth: more.max_depth.or(self.max_depth),
            hide_roots: self.hide_roots || more.hide_roots,
            trust_domains: trust_domains.clone(),
        }
    }
}

/// `tls.v3.SubjectAltNameMatcher`.
#[derive(Clone, Debug)]
pub struct SanMatcher {
    /// Kind of name looked at.
    pub san_type: SanType,
    /// Condition.
    pub matcher: StringMatcher,
    /// For [`SanType::OtherName`]: its type, in dotted form; empty otherwise.
    pub oid: String,
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
    /// otherName of one type, where its value is text.
    OtherName,
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
        /// Requirements that came with the secret.
        rules: Arc<PeerRules>,
    },
    /// Keys of session tickets.
    SessionTicketKeys(Arc<[SessionTicketKey]>),
}

/// A key of session tickets (`tls.v3.TlsSessionTicketKeys`), never shown by `Debug`: 16 bytes of name, 64 of key.
#[derive(Clone, PartialEq)]
pub struct SessionTicketKey(pub [u8; 80]);

impl std::fmt::Debug for SessionTicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionTicketKey(hidden)")
    }
}

impl PartialEq for SanMatcher {
    fn eq(&self, other: &Self) -> bool {
        self.san_type == other.san_type
            && self.oid == other.oid
            && format!("{:?}", self.matcher) == format!("{:?}", other.matcher)
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretValue::Certificate { chain, .. } => write!(f, "Certificate({} in chain, key hidden)", chain.len()),
            SecretValue::Validation { roots, crls, .. } => {
                write!(f, "Validation({} roots, {} CRLs)", roots.len(), crls.len())
            }
            SecretValue::SessionTicketKeys(keys) => write!(f, "SessionTicketKeys({} keys, hidden)", keys.len()),
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
    /// How sessions are resumed.
    pub resumption: Resumption,
    /// The client's order of cipher suites counts; otherwise ours.
    pub prefer_client_ciphers: bool,
}

/// How a server resumes sessions.
#[derive(Clone, Debug, Default)]
pub struct Resumption {
    /// Stateless tickets.
    pub tickets: SessionTickets,
    /// Sessions of TLS 1.2 are not kept by their id (`disable_stateful_session_resumption`).
    pub stateless_only: bool,
    /// Longest time until a session is resumed; `None` = two hours. Fractions of a second do not count.
    pub timeout: Option<Duration>,
}

/// Keys of session tickets.
#[derive(Clone, Debug, Default)]
pub enum SessionTickets {
    /// Random, kept to this process, changed every few hours.
    #[default]
    Random,
    /// Given: a secret of kind [`SecretValue::SessionTicketKeys`]. The first key makes tickets, all open them.
    Static(Arc<Secret>),
    /// The same, by SDS.
    Sds(SecretRef),
    /// There are no tickets; in TLS 1.3 there is no resumption then.
    Off,
}

/// Writes the secrets of connections into a file, for looking into recorded traffic (`tls.v3.TlsKeyLog`). Whoever reads it
/// can read the connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLogFile {
    /// The file, opened for appending, in the format of NSS.
    pub path: PathBuf,
    /// Only connections with an own address in one of these; empty = all.
    pub local: Vec<CidrRange>,
    /// Only connections with a peer's address in one of these; empty = all.
    pub remote: Vec<CidrRange>,
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
    /// The server's certificate must have a DNS SAN for the SNI that was sent, instead of the SAN matchers.
    pub auto_sni_san: bool,
    /// Servers whose sessions are kept for resumption; zero = none, `None` = some hundred.
    pub max_session_keys: Option<u32>,
}
