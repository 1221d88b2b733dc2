//! Public keys as JSON Web Keys (RFC 7517, parameters of RFC 7518 section 6 and RFC 8037).

use aws_lc_rs::signature::{
    self, EcdsaVerificationAlgorithm, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde::{Deserialize, Serialize};
use x509_parser::{
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
        OID_SIG_ED25519,
    },
    prelude::FromDer,
    public_key::PublicKey as ParsedKey,
    x509::SubjectPublicKeyInfo,
};

use super::jwt::JwtAlgorithm;

/// One element of a key set, with the parameters that a SPIFFE bundle uses. Others are passed over, as RFC 7517 section 4
/// asks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Jwk {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kty: Option<String>,
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) crv: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) x: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) y: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) n: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) e: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) x5c: Option<Vec<String>>,
}

/// Curves by their JWK names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Bytes of one coordinate.
    fn width(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// The uncompressed point: 4, x, y.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    /// Modulus and exponent without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    Ed25519(Vec<u8>),
}

/// Why a key is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum JwkError {
    /// Of a kind that is not known here: the element is to be passed over.
    Unknown(String),
    /// Of a known kind, and not readable.
    Malformed(String),
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo.
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, JwkError> {
        let malformed = |what: &str| JwkError::Malformed(what.to_owned());
        let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| malformed("not a public key"))?;
        let kind = &info.algorithm.algorithm;
        let raw = info.subject_public_key.data.as_ref();
        if *kind == OID_SIG_ED25519 {
            return Ok(Self::Ed25519(raw.to_vec()));
        }
        if *kind == OID_PKCS1_RSAENCRYPTION {
            let Ok(ParsedKey::RSA(rsa)) = info.parsed() else { return Err(malformed("not an RSA key")) };
            return Ok(Self::Rsa { n: stripped(rsa.modulus), e: stripped(rsa.exponent) });
        }
        if *kind != OID_KEY_TYPE_EC_PUBLIC_KEY {
            return Err(JwkError::Unknown(format!("key type {kind}")));
        }
        let curve = info.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok());
        let curve = match curve {
            Some(c) if c == OID_EC_P256 => Curve::P256,
            Some(c) if c == OID_NIST_EC_P384 => Curve::P384,
            Some(c) if c == OID_NIST_EC_P521 => Curve::P521,
            _ => return Err(JwkError::Unknown("EC with another curve".into())),
        };
        if raw.len() != 1 + 2 * curve.width() || raw.first() != Some(&4) {
            return Err(malformed("not an uncompressed point"));
        }
        Ok(Self::Ec { curve, point: raw.to_vec() })
    }

    /// Reads the key parameters of an element.
    pub(super) fn from_jwk(jwk: &Jwk) -> Result<Self, JwkError> {
        match jwk.kty.as_deref() {
            Some("EC") => {
                let name = jwk.crv.as_deref().ok_or_else(|| JwkError::Malformed("crv is missing".into()))?;
                let curve = Curve::ALL.into_iter().find(|c| c.name() == name);
                let curve = curve.ok_or_else(|| JwkError::Unknown(format!("curve {name:?}")))?;
                let mut point = vec![4];
                for (name, value) in [("x", &jwk.x), ("y", &jwk.y)] {
                    let bytes = decoded(name, value.as_deref())?;
                    // RFC 7518 section 6.2.1.2: the full width, whatever the value.
                    if bytes.len() != curve.width() {
                        return Err(JwkError::Malformed(format!("{name} has {} bytes", bytes.len())));
                    }
                    point.extend(bytes);
                }
                Ok(Self::Ec { curve, point })
            }
            Some("RSA") => Ok(Self::Rsa {
                n: stripped(&decoded("n", jwk.n.as_deref())?),
                e: stripped(&decoded("e", jwk.e.as_deref())?),
            }),
            Some("OKP") if jwk.crv.as_deref() == Some("Ed25519") => {
                let bytes = decoded("x", jwk.x.as_deref())?;
                if bytes.len() != 32 {
                    return Err(JwkError::Malformed(format!("x has {} bytes", bytes.len())));
                }
                Ok(Self::Ed25519(bytes))
            }
            Some(other) => Err(JwkError::Unknown(format!("key type {other:?}"))),
            None => Err(JwkError::Unknown("no key type".into())),
        }
    }

    /// The element with just the key parameters.
    pub(super) fn to_jwk(&self) -> Jwk {
        let text = |bytes: &[u8]| Some(BASE64URL.encode(bytes));
        match self {
            Self::Ec { curve, point } => {
                let (x, y) = point[1..].split_at(curve.width());
                Jwk { kty: Some("EC".into()), crv: Some(curve.name().into()), x: text(x), y: text(y), ..Jwk::default() }
            }
            Self::Rsa { n, e } => Jwk { kty: Some("RSA".into()), n: text(n), e: text(e), ..Jwk::default() },
            Self::Ed25519(x) => {
                Jwk { kty: Some("OKP".into()), crv: Some("Ed25519".into()), x: text(x), ..Jwk::default() }
            }
        }
    }

    /// Whether a signature with this algorithm could be by this key.
    pub(super) fn fits(&self, algorithm: JwtAlgorithm) -> bool {
        use JwtAlgorithm as A;
        match self {
            Self::Ec { curve: Curve::P256, .. } => algorithm == A::Es256,
            Self::Ec { curve: Curve::P384, .. } => algorithm == A::Es384,
            Self::Ec { curve: Curve::P521, .. } => algorithm == A::Es512,
            Self::Rsa { .. } => !matches!(algorithm, A::Es256 | A::Es384 | A::Es512),
            Self::Ed25519(_) => false,
        }
    }

    /// Whether `signature` of `message` is by this key.
    pub(super) fn verifies(&self, algorithm: JwtAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        match (self, scheme(algorithm)) {
            (Self::Ec { point, .. }, Scheme::Ec(scheme)) if self.fits(algorithm) => {
                UnparsedPublicKey::new(scheme, point).verify(message, signature).is_ok()
            }
            (Self::Rsa { n, e }, Scheme::Rsa(scheme)) => {
                RsaPublicKeyComponents { n, e }.verify(scheme, message, signature).is_ok()
            }
            _ => false,
        }
    }
}

enum Scheme {
    Ec(&'static EcdsaVerificationAlgorithm),
    Rsa(&'static RsaParameters),
}

fn scheme(algorithm: JwtAlgorithm) -> Scheme {
    use JwtAlgorithm as A;
    match algorithm {
        A::Es256 => Scheme::Ec(&signature::ECDSA_P256_SHA256_FIXED),
        A::Es384 => Scheme::Ec(&signature::ECDSA_P384_SHA384_FIXED),
        A::Es512 => Scheme::Ec(&signature::ECDSA_P521_SHA512_FIXED),
        A::Rs256 => Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        A::Rs384 => Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        A::Rs512 => Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        A::Ps256 => Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
        A::Ps384 => Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
        A::Ps512 => Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
    }
}

fn decoded(name: &str, value: Option<&str>) -> Result<Vec<u8>, JwkError> {
    let value = value.ok_or_else(|| JwkError::Malformed(format!("{name} is missing")))?;
    BASE64URL.decode(value).map_err(|_| JwkError::Malformed(format!("{name} is not base64url without padding")))
}

/// A number in big endian without leading zeros.
fn stripped(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|b| *b == 0).collect()
}
