//! [`SpiffeBundle`]: a trust domain's keys as one document (SPIFFE_Trust_Domain_and_Bundle.md section 4).

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::{
    bundle::{BundleError, TrustBundle},
    jwk::{Jwk, JwkError, PublicKey},
    jwt::{JwtAuthority, JwtAuthorityError, JwtBundle},
    trust_domain::TrustDomain,
    x509::Facts,
};

/// Most bytes of a bundle document that is read.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// Most keys in a bundle document.
const MAX_KEYS: usize = 1024;

const X509_SVID: &str = "x509-svid";
const JWT_SVID: &str = "jwt-svid";

/// Why a bundle document is refused. What the standard wants passed over (unknown uses and key types) is no error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// More than [`MAX_DOCUMENT_BYTES`].
    #[error("bundle document has {0} bytes; at most {MAX_DOCUMENT_BYTES} are read")]
    TooLarge(usize),
    /// Not a JWK Set.
    #[error("bundle document is not a JWK Set: {0}")]
    Malformed(String),
    /// More keys than a trust domain can reasonably have.
    #[error("bundle document has {0} keys; at most {MAX_KEYS} are read")]
    TooManyKeys(usize),
    /// A key of a use and type that is known here cannot be read.
    #[error("bundle document: key {index} ({usage}): {reason}")]
    Key {
        /// Its place in `keys`, from 0.
        index: usize,
        /// Its use.
        usage: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// All that a trust domain publishes of its keys: X.509 roots, JWT signing keys, and how the document ages.
///
/// The document does not name the trust domain: whoever reads one must know it from elsewhere (section 3).
///
/// ```
/// use mesh_ca::spiffe::{SpiffeBundle, TrustDomain};
/// let domain = TrustDomain::parse("example.org")?;
/// let document = r#"{ "keys": [], "spiffe_sequence": 7, "spiffe_refresh_hint": 300 }"#;
/// let bundle = SpiffeBundle::from_jwks(domain, document.as_bytes())?;
/// assert_eq!((bundle.sequence, bundle.refresh_hint.map(|h| h.as_secs())), (Some(7), Some(300)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpiffeBundle {
    /// Roots of X.509-SVIDs. None means that the trust domain does not support them.
    pub x509: TrustBundle,
    /// Signing keys of JWT-SVIDs. None means that the trust domain does not support them.
    pub jwt: JwtBundle,
    /// `spiffe_sequence`: grows with each change of the keys.
    pub sequence: Option<u64>,
    /// `spiffe_refresh_hint`: how often to look for changes, in whole seconds.
    pub refresh_hint: Option<Duration>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    keys: Vec<Jwk>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spiffe_sequence: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spiffe_refresh_hint: Option<u64>,
}

impl SpiffeBundle {
    /// A bundle of these roots, without JWT signing keys, sequence and refresh hint.
    pub fn new(x509: TrustBundle) -> Self {
        let jwt = JwtBundle::new(x509.trust_domain().clone(), []);
        Self { x509, jwt, sequence: None, refresh_hint: None }
    }

    /// With JWT signing keys of the same trust domain. Keys of another one are not taken.
    #[must_use]
    pub fn with_jwt(mut self, jwt: JwtBundle) -> Self {
        if jwt.trust_domain() == self.trust_domain() {
            self.jwt = jwt;
        }
        self
    }

    /// With a sequence number.
    #[must_use]
    pub fn with_sequence(mut self, sequence: u64) -> Self {
        self.sequence = Some(sequence);
        self
    }

    /// With a refresh hint.
    #[must_use]
    pub fn with_refresh_hint(mut self, hint: Duration) -> Self {
        self.refresh_hint = Some(hint);
        self
    }

    /// The trust domain that the keys speak for.
    pub fn trust_domain(&self) -> &TrustDomain {
        self.x509.trust_domain()
    }

    /// Reads a document of `trust_domain`.
    ///
    /// Elements of another use or an unknown key type are passed over (section 4.1.3), as are `x509-svid` elements without
    /// certificate; of several certificates in one element the first counts (X509-SVID.md section 6.2). An element that
    /// should be readable and is not makes the whole document refused, so that the last good one stays.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn from_jwks(trust_domain: TrustDomain, document: &[u8]) -> Result<Self, DocumentError> {
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(DocumentError::TooLarge(document.len()));
        }
        let document: Document =
            serde_json::from_slice(document).map_err(|e| DocumentError::Malformed(e.to_string()))?;
        if document.keys.len() > MAX_KEYS {
            return Err(DocumentError::TooManyKeys(document.keys.len()));
        }
        let (mut roots, mut authorities) = (Vec::new(), Vec::<JwtAuthority>::new());
        for (index, jwk) in document.keys.iter().enumerate() {
            let refused = |usage, reason| DocumentError::Key { index, usage, reason };
            match jwk.usage.as_deref() {
                Some(X509_SVID) => roots.extend(root(jwk).map_err(|reason| refused(X509_SVID, reason))?),
                Some(JWT_SVID) => {
                    let Some(read) = authority(jwk).map_err(|reason| refused(JWT_SVID, reason))? else { continue };
                    match authorities.iter().find(|a| a.key_id() == read.key_id()) {
                        Some(same) if *same == read => {}
                        Some(_) => {
                            return Err(refused(JWT_SVID, format!("another key has the id {:?}", read.key_id())));
                        }
                        None => authorities.push(read),
                    }
                }
                _ => {}
            }
        }
        let x509 = TrustBundle::new(trust_domain.clone(), roots).map_err(|e| match e {
            BundleError::Certificate { reason, index } => DocumentError::Key { index, usage: X509_SVID, reason },
            other @ BundleError::Pem(_) => DocumentError::Malformed(other.to_string()),
        })?;
        Ok(Self {
            x509,
            jwt: JwtBundle::new(trust_domain, authorities),
            sequence: document.spiffe_sequence,
            refresh_hint: document.spiffe_refresh_hint.map(Duration::from_secs),
        })
    }

    /// The whole document. A root whose key is of a kind that JWK has no parameters for here is left out.
    pub fn to_jwks(&self) -> String {
        let roots = self.x509.roots().iter().filter_map(|r| x509_element(r.certificate()));
        let keys = roots.chain(jwt_elements(&self.jwt)).collect();
        let hint = self.refresh_hint.map(|h| h.as_secs());
        text(&Document { keys, spiffe_sequence: self.sequence, spiffe_refresh_hint: hint })
    }
}

impl JwtBundle {
    /// The keys alone as a document: what the Workload API gives as a JWT bundle (workloadapi.proto, `JWTBundlesResponse`).
    pub fn to_jwks(&self) -> String {
        text(&Document { keys: jwt_elements(self).collect(), spiffe_sequence: None, spiffe_refresh_hint: None })
    }
}

fn text(document: &Document) -> String {
    // Texts and numbers only: this cannot fail.
    serde_json::to_string(document).unwrap_or_default()
}

/// X509-SVID.md section 6.1: the certificate, no key id, and the key's own parameters as RFC 7517 asks. `None` for a key that has
/// no such parameters here: an element without `kty` makes readers refuse the whole document (RFC 7517 section 4.1), and nothing
/// that such a root signs would verify.
fn x509_element(certificate: &CertificateDer<'_>) -> Option<Jwk> {
    let key = Facts::parse(certificate).ok().and_then(|f| PublicKey::from_spki(&f.public_key).ok())?;
    Some(Jwk { usage: Some(X509_SVID.into()), x5c: Some(vec![STANDARD.encode(certificate)]), ..key.to_jwk() })
}

/// JWT-SVID.md section 6.1.
fn jwt_elements(bundle: &JwtBundle) -> impl Iterator<Item = Jwk> + '_ {
    bundle.authorities().iter().map(|a| Jwk { usage: Some(JWT_SVID.into()), ..a.to_jwk() })
}

/// X509-SVID.md section 6.2; `None` when the element is to be passed over.
fn root(jwk: &Jwk) -> Result<Option<CertificateDer<'static>>, String> {
    let Some(text) = jwk.x5c.as_ref().and_then(|certificates| certificates.first()) else { return Ok(None) };
    let stated = match PublicKey::from_jwk(jwk) {
        Ok(key) => Some(key),
        Err(JwkError::Unknown(_)) => return Ok(None),
        // Publishers that give nothing but the certificate are understood too.
        Err(JwkError::Malformed(_)) if jwk.n.is_none() && jwk.x.is_none() => None,
        Err(JwkError::Malformed(reason)) => return Err(reason),
    };
    let der = STANDARD.decode(text).map_err(|_| "x5c is not base64".to_owned())?;
    let facts = Facts::parse(&der)?;
    let key = match PublicKey::from_spki(&facts.public_key) {
        Ok(key) => key,
        // Not understood here, and so nothing that could be published again.
        Err(JwkError::Unknown(_)) => return Ok(None),
        Err(JwkError::Malformed(reason)) => return Err(reason),
    };
    // RFC 7517 section 4.7: the parameters must be those of the certificate's key.
    if stated.is_some_and(|stated| stated != key) {
        return Err("the key is not the one in its certificate".into());
    }
    Ok(Some(der.into()))
}

fn authority(jwk: &Jwk) -> Result<Option<JwtAuthority>, String> {
    let key = match PublicKey::from_jwk(jwk) {
        Ok(key) => key,
        Err(JwkError::Unknown(_)) => return Ok(None),
        Err(JwkError::Malformed(reason)) => return Err(reason),
    };
    match JwtAuthority::new(jwk.kid.clone().unwrap_or_default(), key) {
        Ok(authority) => Ok(Some(authority)),
        // A key type that no algorithm of JWT-SVID 2.1 goes with is as good as an unknown one.
        Err(JwtAuthorityError::Key(_)) => Ok(None),
        Err(e @ JwtAuthorityError::NoKeyId) => Err(e.to_string()),
    }
}
