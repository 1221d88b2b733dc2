//! [`JwtKey`]: a public key that tokens may be signed with, from PEM, DER or a JWK Set.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use serde::Deserialize;
use x509_parser::{
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
    },
    prelude::FromDer,
    x509::SubjectPublicKeyInfo,
};

/// Most bytes of a JWK Set that are read. Kubernetes' has about 1 kB.
pub const MAX_JWKS_BYTES: usize = 256 * 1024;

/// Most keys of a set: each could be tried for a token without key id.
const MAX_KEYS: usize = 64;

/// Why a verification key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtKeyError {
    /// Not a public key in PEM.
    #[error("not a public key in PEM (-----BEGIN PUBLIC KEY-----)")]
    Malformed,
    /// A key of a kind that has no token algorithm here.
    #[error("key type {0} is not supported; use ECDSA P-256 or P-384, Ed25519, or RSA")]
    KeyType(String),
    /// Not a JWK Set (RFC 7517 section 5).
    #[error("not a JWK Set: {0}")]
    Set(String),
    /// A set with more keys than an issuer can reasonably have.
    #[error("JWK Set with {0} keys; at most {MAX_KEYS} are read")]
    TooMany(usize),
    /// A set in which no key can be used.
    #[error("JWK Set without a signing key of a known kind")]
    NoneUsable,
}

/// A public key that tokens may be signed with. Its kind fixes the algorithm, whatever a token's header says.
#[derive(Clone)]
pub struct JwtKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

/// The parameters that count; others are passed over (RFC 7517 section 4).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl JwtKey {
    /// Reads a public key. With an `id`, tokens that name another key id (`kid`) are not tried with it.
    ///
    /// # Errors
    /// When it is not a public key in PEM or of an unsupported kind.
    pub fn from_public_pem(id: Option<String>, pem: &[u8]) -> Result<Self, JwtKeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| JwtKeyError::Malformed)?;
        Self::from_public_der(id, &der)
    }

    /// As [`JwtKey::from_public_pem`], from SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// As there.
    pub fn from_public_der(id: Option<String>, der: &[u8]) -> Result<Self, JwtKeyError> {
        let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| JwtKeyError::Malformed)?;
        let kind = &info.algorithm.algorithm;
        let curve = info.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok());
        // The decoder wants the bare key: the point, or RSA's two numbers.
        let raw = info.subject_public_key.data.as_ref();
        let (algorithm, key) = if *kind == OID_SIG_ED25519 {
            (Algorithm::EdDSA, DecodingKey::from_ed_der(raw))
        } else if *kind == OID_PKCS1_RSAENCRYPTION {
            (Algorithm::RS256, DecodingKey::from_rsa_der(raw))
        } else if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY && curve.as_ref() == Some(&OID_EC_P256) {
            (Algorithm::ES256, DecodingKey::from_ec_der(raw))
        } else if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY && curve.as_ref() == Some(&OID_NIST_EC_P384) {
            (Algorithm::ES384, DecodingKey::from_ec_der(raw))
        } else {
            return Err(JwtKeyError::KeyType(kind.to_string()));
        };
        Ok(Self { id, algorithm, key })
    }

    /// Reads the signing keys of a JWK Set. Elements of another use, and those that cannot be read, are passed over, as
    /// RFC 7517 section 5 asks.
    ///
    /// # Errors
    /// When it is no set, too large a one, or no key is left.
    pub fn all_from_jwks(document: &[u8]) -> Result<Vec<Self>, JwtKeyError> {
        if document.len() > MAX_JWKS_BYTES {
            return Err(JwtKeyError::Set(format!(
                "it has {} bytes; at most {MAX_JWKS_BYTES} are read",
                document.len()
            )));
        }
        let set: JwkSet = serde_json::from_slice(document).map_err(|e| JwtKeyError::Set(e.to_string()))?;
        if set.keys.len() > MAX_KEYS {
            return Err(JwtKeyError::TooMany(set.keys.len()));
        }
        let keys: Vec<Self> =
            set.keys.into_iter().filter_map(|k| Self::from_jwk(serde_json::from_value(k).ok()?)).collect();
        if keys.is_empty() { Err(JwtKeyError::NoneUsable) } else { Ok(keys) }
    }

    fn from_jwk(jwk: Jwk) -> Option<Self> {
        if jwk.usage.as_deref().is_some_and(|u| u != "sig") {
            return None;
        }
        let (default, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => (Algorithm::RS256, DecodingKey::from_rsa_components(&jwk.n?, &jwk.e?).ok()?),
            ("EC", Some("P-256")) => (Algorithm::ES256, DecodingKey::from_ec_components(&jwk.x?, &jwk.y?).ok()?),
            ("EC", Some("P-384")) => (Algorithm::ES384, DecodingKey::from_ec_components(&jwk.x?, &jwk.y?).ok()?),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, DecodingKey::from_ed_components(&jwk.x?).ok()?),
            _ => return None,
        };
        let algorithm = match jwk.alg {
            None => default,
            Some(named) => named.parse().ok().filter(|a| *a == default || (is_rsa(default) && is_rsa(*a)))?,
        };
        Some(Self { id: jwk.kid, algorithm, key })
    }

    /// Its key id.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(super) fn may_have_signed(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let same_id = match (self.id.as_deref(), id) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        same_id && self.algorithm == algorithm
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.key
    }
}

fn is_rsa(algorithm: Algorithm) -> bool {
    use Algorithm as A;
    matches!(algorithm, A::RS256 | A::RS384 | A::RS512 | A::PS256 | A::PS384 | A::PS512)
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}
