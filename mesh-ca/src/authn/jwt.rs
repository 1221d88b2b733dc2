//! [`JwtAuthenticator`]: tokens in the form of Kubernetes' projected service account tokens.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use serde::Deserialize;
use x509_parser::{
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
    },
    prelude::FromDer,
    x509::SubjectPublicKeyInfo,
};

use super::{Authenticator, AuthnError, Identity, ProofKind, RequestFacts};
use crate::{
    clock::Clock,
    spiffe::{SpiffeId, TrustDomain},
};

/// Most bytes of a token that is looked at. Kubernetes' have about 1200.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

const KIND: &str = "token";
const SUBJECT_PREFIX: &str = "system:serviceaccount:";

/// What tokens must say. Issuer and trust domain have no default.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwtConfig {
    /// The `iss` claim.
    pub issuer: String,
    /// One of these must be in `aud`. Default `istio-ca`, as Istio's agents ask for.
    pub audiences: Vec<String>,
    /// The trust domain of the ids made from `sub`.
    pub trust_domain: TrustDomain,
    /// How far clocks may differ. Default 30 seconds.
    pub leeway: Duration,
}

impl JwtConfig {
    /// The defaults for an issuer.
    pub fn new(issuer: impl Into<String>, trust_domain: TrustDomain) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: vec!["istio-ca".into()],
            trust_domain,
            leeway: Duration::from_secs(30),
        }
    }

    /// With other audiences.
    #[must_use]
    pub fn with_audiences(mut self, audiences: impl IntoIterator<Item = String>) -> Self {
        self.audiences = audiences.into_iter().collect();
        self
    }
}

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
}

/// A public key that tokens may be signed with. Its kind fixes the algorithm, whatever a token's header says.
#[derive(Clone)]
pub struct JwtKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
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

    fn may_have_signed(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let same_id = match (self.id.as_deref(), id) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        same_id && self.algorithm == algorithm
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Accepts signed tokens whose subject is `system:serviceaccount:NAMESPACE:ACCOUNT` and gives the caller
/// `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
///
/// Checked are signature, `iss`, `aud`, `exp` (which must be there), `nbf` and `sub`.
#[derive(Debug, Clone)]
pub struct JwtAuthenticator {
    config: JwtConfig,
    keys: Vec<JwtKey>,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn names(&self, wanted: &str) -> bool {
        match self {
            Self::One(name) => name == wanted,
            Self::Many(names) => names.iter().any(|n| n == wanted),
        }
    }
}

impl JwtAuthenticator {
    /// Accepts tokens that are signed with one of `keys` and say what `config` asks for.
    pub fn new(config: JwtConfig, keys: impl IntoIterator<Item = JwtKey>, clock: Arc<dyn Clock>) -> Self {
        Self { config, keys: keys.into_iter().collect(), clock }
    }

    fn judge(&self, token: &str, now: SystemTime) -> Result<Identity, String> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(format!("it has {} bytes; at most {MAX_TOKEN_BYTES} are read", token.len()));
        }
        let header = decode_header(token).map_err(|_| "not a signed JWT".to_owned())?;
        let claims = self
            .keys
            .iter()
            .filter(|k| k.may_have_signed(header.alg, header.kid.as_deref()))
            .find_map(|k| self.claims(token, k))
            .ok_or_else(|| "no known key verifies its signature".to_owned())?;
        self.check(&claims, now)?;
        let id = self.subject_id(&claims.sub)?;
        Ok(Identity::new(id, ProofKind::Jwt, claims.sub))
    }

    /// The claims when the key verifies the signature. Times and names are checked by us, on our clock.
    fn claims(&self, token: &str, key: &JwtKey) -> Option<Claims> {
        let mut rules = Validation::new(key.algorithm);
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        rules.validate_aud = false;
        decode::<Claims>(token, &key.key, &rules).ok().map(|data| data.claims)
    }

    fn check(&self, claims: &Claims, now: SystemTime) -> Result<(), String> {
        if claims.iss != self.config.issuer {
            return Err(format!("issuer is {:?}, not {:?}", claims.iss, self.config.issuer));
        }
        if !self.config.audiences.iter().any(|a| claims.aud.names(a)) {
            return Err(format!("audience is none of {:?}", self.config.audiences));
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = self.config.leeway.as_secs_f64();
        if now > claims.exp + leeway {
            return Err("it is expired".into());
        }
        if claims.nbf.is_some_and(|nbf| now + leeway < nbf) {
            return Err("it is not valid yet".into());
        }
        Ok(())
    }

    fn subject_id(&self, subject: &str) -> Result<SpiffeId, String> {
        let wrong = || format!("subject {subject:?} is not {SUBJECT_PREFIX}NAMESPACE:ACCOUNT");
        let (namespace, account) =
            subject.strip_prefix(SUBJECT_PREFIX).and_then(|s| s.split_once(':')).ok_or_else(wrong)?;
        SpiffeId::for_workload(&self.config.trust_domain, namespace, account).map_err(|_| wrong())
    }
}

#[async_trait]
impl Authenticator for JwtAuthenticator {
    async fn authenticate(&self, facts: &RequestFacts) -> Result<Identity, AuthnError> {
        let now = self.clock.now().wall;
        let mut verdict = Err(AuthnError::NoProof(KIND));
        for token in &facts.bearer_tokens {
            verdict = self.judge(token.expose(), now).map_err(|reason| AuthnError::Refused { kind: KIND, reason });
            if verdict.is_ok() {
                break;
            }
        }
        verdict
    }
}
