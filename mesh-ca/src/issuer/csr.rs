//! [`Csr`]: a signing request that has been read and whose proof of possession holds.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, SanType, SubjectPublicKeyInfo};
use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject};
use x509_parser::{
    certification_request::X509CertificationRequest,
    cri_attributes::ParsedCriAttribute,
    extensions::{GeneralName, ParsedExtension},
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_PKCS1_SHA1WITHRSA,
        OID_SHA1_WITH_RSA, OID_SIG_ED25519,
    },
    prelude::FromDer,
    public_key::PublicKey,
};

use crate::spiffe::{KeyError, PrivateKey, SpiffeId, key::Signer, pem_block};

/// Most bytes of a signing request, PEM or DER. An RSA-4096 one has about 1700.
pub const MAX_CSR_BYTES: usize = 16 * 1024;

const MIN_RSA_BITS: usize = 2048;
/// Larger keys make every handshake of the peers expensive.
const MAX_RSA_BITS: usize = 4096;

/// Why a signing request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsrError {
    /// More than [`MAX_CSR_BYTES`].
    #[error("signing request has {0} bytes; at most {MAX_CSR_BYTES} are read")]
    TooLarge(usize),
    /// Not PEM, or no `CERTIFICATE REQUEST` in it, or not a PKCS #10 structure.
    #[error("not a PKCS #10 signing request in PEM: {0}")]
    Malformed(String),
    /// The signature in the request is not by its key: the asker may not hold the private key.
    #[error("proof of possession failed: the request is not signed by the key in it")]
    ProofOfPossession,
    /// The request is signed with SHA-1.
    #[error("the request is signed with SHA-1; use SHA-256 or better")]
    WeakSignature,
    /// The key is of a kind or size that is not allowed.
    #[error("key type {0} is not allowed; use ECDSA P-256 or P-384, Ed25519, or RSA with 2048 to 4096 bits")]
    KeyType(String),
    /// A name is asked for that the asker was not granted.
    #[error("the request asks for {0}, which the caller is not granted")]
    ForeignName(String),
    /// The CA bit is asked for.
    #[error("the request asks for a CA certificate")]
    CaRequested,
}

/// The kind of the key in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CsrKey {
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA.
    Rsa {
        /// Bits of its modulus.
        bits: usize,
    },
}

impl fmt::Display for CsrKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EcdsaP256 => f.write_str("ECDSA P-256"),
            Self::EcdsaP384 => f.write_str("ECDSA P-384"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Rsa { bits } => write!(f, "RSA with {bits} bits"),
        }
    }
}

/// A PKCS #10 signing request, parsed and checked.
///
/// A value of this type means: the size is within limits, the key is of an allowed kind, and whoever made the request holds
/// the private key. What it asks for is not granted by that: [`Csr::check_names`] compares the names, and key usages and
/// other extensions asked for are overwritten by the issuer, as Istio's API says.
#[derive(Clone)]
pub struct Csr {
    der: Vec<u8>,
    public_key: SubjectPublicKeyInfo,
    public_key_der: Vec<u8>,
    key_kind: CsrKey,
    uris: Vec<String>,
    dns_names: Vec<String>,
    other_names: usize,
    ca: bool,
}

impl Csr {
    /// Reads PEM text; the first `CERTIFICATE REQUEST` block counts.
    ///
    /// # Errors
    /// See [`CsrError`]; names are not compared here.
    pub fn from_pem(pem: &str) -> Result<Self, CsrError> {
        if pem.len() > MAX_CSR_BYTES {
            return Err(CsrError::TooLarge(pem.len()));
        }
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
            .map_err(|e| CsrError::Malformed(e.to_string()))?;
        Self::from_der(&der)
    }

    /// Reads DER bytes.
    ///
    /// # Errors
    /// As [`Csr::from_pem`].
    pub fn from_der(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > MAX_CSR_BYTES {
            return Err(CsrError::TooLarge(der.len()));
        }
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|e| CsrError::Malformed(e.to_string()))?;
        if !rest.is_empty() {
            return Err(CsrError::Malformed(format!("{} bytes after the request", rest.len())));
        }
        let key_kind = key_kind(&request)?;
        let signed_with = &request.signature_algorithm.algorithm;
        if *signed_with == OID_PKCS1_SHA1WITHRSA || *signed_with == OID_SHA1_WITH_RSA {
            return Err(CsrError::WeakSignature);
        }
        request.verify_signature().map_err(|_| CsrError::ProofOfPossession)?;
        let public_key_der = request.certification_request_info.subject_pki.raw.to_vec();
        let public_key =
            SubjectPublicKeyInfo::from_der(&public_key_der).map_err(|e| CsrError::KeyType(e.to_string()))?;
        let mut csr = Self {
            der: der.to_vec(),
            public_key,
            public_key_der,
            key_kind,
            uris: Vec::new(),
            dns_names: Vec::new(),
            other_names: 0,
            ca: false,
        };
        csr.read_wishes(&request)?;
        Ok(csr)
    }

    /// Makes a request for `id`, signed by `key`, as PEM: what a workload sends.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn create_pem(key: &PrivateKey, id: &SpiffeId, dns_names: &[String]) -> Result<String, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let uri = id.as_str().try_into().map_err(|_| KeyError::Malformed)?;
        params.subject_alt_names.push(SanType::URI(uri));
        for name in dns_names {
            let name = name.as_str().try_into().map_err(|_| KeyError::Malformed)?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        let signer: Signer = key.to_signer()?;
        let request = params.serialize_request(&signer).map_err(|_| KeyError::Malformed)?;
        request.pem().map_err(|_| KeyError::Malformed)
    }

    /// The request itself, as PEM: for passing it on.
    pub fn to_pem(&self) -> String {
        pem_block("CERTIFICATE REQUEST", &self.der).as_str().to_owned()
    }

    /// The URI names asked for.
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// The DNS names asked for.
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// The public key as SubjectPublicKeyInfo in DER.
    pub fn public_key_der(&self) -> &[u8] {
        &self.public_key_der
    }

    /// Checks that nothing is asked for beyond `id` and `dns_names`. Asking for less, or for nothing, is fine.
    ///
    /// # Errors
    /// [`CsrError::ForeignName`] or [`CsrError::CaRequested`].
    pub fn check_names(&self, id: &SpiffeId, dns_names: &[String]) -> Result<(), CsrError> {
        if self.ca {
            return Err(CsrError::CaRequested);
        }
        if let Some(uri) = self.uris.iter().find(|u| *u != id.as_str()) {
            return Err(CsrError::ForeignName(format!("the URI name {}", shown(uri))));
        }
        if let Some(dns) = self.dns_names.iter().find(|d| !dns_names.contains(d)) {
            return Err(CsrError::ForeignName(format!("the DNS name {}", shown(dns))));
        }
        if self.other_names > 0 {
            return Err(CsrError::ForeignName("a name that is neither URI nor DNS name".into()));
        }
        Ok(())
    }

    pub(super) fn public_key(&self) -> &SubjectPublicKeyInfo {
        &self.public_key
    }

    /// The kind of the key.
    pub fn key_kind(&self) -> CsrKey {
        self.key_kind
    }

    /// Reads names and the CA bit from every extension request in it.
    fn read_wishes(&mut self, request: &X509CertificationRequest<'_>) -> Result<(), CsrError> {
        for attribute in request.certification_request_info.iter_attributes() {
            let ParsedCriAttribute::ExtensionRequest(wanted) = attribute.parsed_attribute() else { continue };
            for extension in &wanted.extensions {
                match extension.parsed_extension() {
                    ParsedExtension::SubjectAlternativeName(names) => {
                        names.general_names.iter().for_each(|n| self.read_name(n));
                    }
                    ParsedExtension::BasicConstraints(b) => self.ca |= b.ca,
                    ParsedExtension::ParseError { error } => {
                        return Err(CsrError::Malformed(format!("extension {}: {error}", extension.oid)));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn read_name(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
            GeneralName::DNSName(dns) => self.dns_names.push((*dns).to_owned()),
            _ => self.other_names += 1,
        }
    }
}

/// A name as it goes into messages and logs: quoted, and not longer than a caller should be able to make a log line.
pub(crate) fn shown(name: &str) -> String {
    const LONGEST: usize = 256;
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", &name[..end]),
        None => format!("{name:?}"),
    }
}

/// The kind of the key, or an error when no policy could allow its kind or size.
fn key_kind(request: &X509CertificationRequest<'_>) -> Result<CsrKey, CsrError> {
    let key = &request.certification_request_info.subject_pki;
    let algorithm = &key.algorithm;
    if algorithm.algorithm == OID_SIG_ED25519 {
        return Ok(CsrKey::Ed25519);
    }
    if algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok());
        return match curve {
            Some(c) if c == OID_EC_P256 => Ok(CsrKey::EcdsaP256),
            Some(c) if c == OID_NIST_EC_P384 => Ok(CsrKey::EcdsaP384),
            Some(c) => Err(CsrError::KeyType(format!("EC with curve {c}"))),
            None => Err(CsrError::KeyType("EC without a named curve".into())),
        };
    }
    if algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
        return match key.parsed() {
            Ok(PublicKey::RSA(rsa)) if (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&rsa.key_size()) => {
                Ok(CsrKey::Rsa { bits: rsa.key_size() })
            }
            Ok(PublicKey::RSA(rsa)) => Err(CsrError::KeyType(format!("RSA with {} bits", rsa.key_size()))),
            _ => Err(CsrError::Malformed("RSA key".into())),
        };
    }
    Err(CsrError::KeyType(algorithm.algorithm.to_string()))
}

impl fmt::Debug for Csr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Csr")
            .field("uris", &self.uris)
            .field("dns_names", &self.dns_names)
            .field("other_names", &self.other_names)
            .field("ca", &self.ca)
            .field("key_kind", &self.key_kind)
            .finish_non_exhaustive()
    }
}
