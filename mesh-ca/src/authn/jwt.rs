//! [`JwtAuthenticator`]: tokens in the form of Kubernetes' projected service account tokens.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use jsonwebtoken::{Header, Validation, decode, decode_header};
use serde::Deserialize;

use super::{
    Authenticator, AuthnError, Identity, ProofKind, RequestFacts,
    jwt_key::JwtKey,
    key_source::{FixedKeys, JwtKeySource},
};
use crate::{
    clock::Clock,
    issuer::shown,
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

/// Accepts signed tokens whose subject is `system:serviceaccount:NAMESPACE:ACCOUNT` and gives the caller
/// `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
///
/// Checked are signature, `iss`, `aud`, `exp` (which must be there), `nbf` and `sub`; and that `kubernetes.io`, when it is
/// there as in Kubernetes' own tokens, names the same namespace and account as `sub`.
///
/// A token of another issuer, which can be read from it before its signature is checked, is refused without asking for
/// keys. One with a key id that is not known makes a [`JwtKeySource`] look for newer keys, within its bounds.
#[derive(Debug, Clone)]
pub struct JwtAuthenticator {
    config: JwtConfig,
    keys: Arc<dyn JwtKeySource>,
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
    #[serde(default, rename = "kubernetes.io")]
    kubernetes: Option<Kubernetes>,
}

/// What Kubernetes says of the account (KEP-1205); pod and node, which stand beside, are not looked at.
#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
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

/// A verdict that is not a good one.
enum Verdict {
    Refused(String),
    Unavailable(String),
}

impl JwtAuthenticator {
    /// Accepts tokens that are signed with one of `keys` and say what `config` asks for.
    pub fn new(config: JwtConfig, keys: impl IntoIterator<Item = JwtKey>, clock: Arc<dyn Clock>) -> Self {
        Self::with_source(config, Arc::new(FixedKeys::new(keys)), clock)
    }

    /// As [`JwtAuthenticator::new`], with keys that may change.
    pub fn with_source(config: JwtConfig, keys: Arc<dyn JwtKeySource>, clock: Arc<dyn Clock>) -> Self {
        Self { config, keys, clock }
    }

    async fn judge(&self, token: &str) -> Result<Identity, Verdict> {
        let refused = |reason: &str| Verdict::Refused(reason.to_owned());
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Verdict::Refused(format!("it has {} bytes; at most {MAX_TOKEN_BYTES} are read", token.len())));
        }
        let header = decode_header(token).map_err(|_| refused("not a signed JWT"))?;
        // Of no weight but one: strangers' tokens do not make us look for keys.
        let stated = jsonwebtoken::dangerous::insecure_decode::<Claims>(token)
            .map_err(|_| refused("it lacks a claim, or one is of the wrong type"))?
            .claims;
        self.check_issuer(&stated)?;
        let claims = self.verified(token, &header).await?;
        self.check(&claims, self.clock.now().wall)?;
        let id = self.subject_id(&claims)?;
        Ok(Identity::new(id, ProofKind::Jwt, claims.sub))
    }

    /// The claims when a key verifies the signature. Times and names are checked by us, on our clock.
    async fn verified(&self, token: &str, header: &Header) -> Result<Claims, Verdict> {
        let unknown = || Verdict::Refused("no known key verifies its signature".to_owned());
        let keys = self.keys.keys().await.map_err(|e| Verdict::Unavailable(e.to_string()))?;
        if let Some(claims) = signed_by(&keys, token, header) {
            return Ok(claims);
        }
        // A key that is there and does not fit will not fit later.
        if keys.iter().any(|k| k.id().is_some() && k.id() == header.kid.as_deref()) {
            return Err(unknown());
        }
        let newer = self.keys.newer_than(&keys).await.ok_or_else(unknown)?;
        signed_by(&newer, token, header).ok_or_else(unknown)
    }

    fn check_issuer(&self, claims: &Claims) -> Result<(), Verdict> {
        if claims.iss == self.config.issuer {
            return Ok(());
        }
        Err(Verdict::Refused(format!("issuer is {}, not {:?}", shown(&claims.iss), self.config.issuer)))
    }

    fn check(&self, claims: &Claims, now: SystemTime) -> Result<(), Verdict> {
        self.check_issuer(claims)?;
        if !self.config.audiences.iter().any(|a| claims.aud.names(a)) {
            return Err(Verdict::Refused(format!("audience is none of {:?}", self.config.audiences)));
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = self.config.leeway.as_secs_f64();
        if now > claims.exp + leeway {
            return Err(Verdict::Refused("it is expired".into()));
        }
        if claims.nbf.is_some_and(|nbf| now + leeway < nbf) {
            return Err(Verdict::Refused("it is not valid yet".into()));
        }
        Ok(())
    }

    fn subject_id(&self, claims: &Claims) -> Result<SpiffeId, Verdict> {
        let subject = &claims.sub;
        let wrong = || Verdict::Refused(format!("subject {} is not {SUBJECT_PREFIX}NAMESPACE:ACCOUNT", shown(subject)));
        let (namespace, account) =
            subject.strip_prefix(SUBJECT_PREFIX).and_then(|s| s.split_once(':')).ok_or_else(wrong)?;
        let differs = |k: &Kubernetes| k.namespace != namespace || k.serviceaccount.name != account;
        if claims.kubernetes.as_ref().is_some_and(differs) {
            return Err(Verdict::Refused(format!("subject {} is not the account in kubernetes.io", shown(subject))));
        }
        SpiffeId::for_workload(&self.config.trust_domain, namespace, account).map_err(|_| wrong())
    }
}

fn signed_by(keys: &[JwtKey], token: &str, header: &Header) -> Option<Claims> {
    keys.iter().filter(|k| k.may_have_signed(header.alg, header.kid.as_deref())).find_map(|key| {
        let mut rules = Validation::new(key.algorithm());
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        rules.validate_aud = false;
        decode::<Claims>(token, key.decoding(), &rules).ok().map(|data| data.claims)
    })
}

#[async_trait]
impl Authenticator for JwtAuthenticator {
    async fn authenticate(&self, facts: &RequestFacts) -> Result<Identity, AuthnError> {
        let mut verdict = Err(AuthnError::NoProof(KIND));
        for token in &facts.bearer_tokens {
            verdict = match self.judge(token.expose()).await {
                Ok(identity) => return Ok(identity),
                Err(Verdict::Refused(reason)) => Err(AuthnError::Refused { kind: KIND, reason }),
                Err(Verdict::Unavailable(reason)) => Err(AuthnError::Unavailable { kind: KIND, reason }),
            };
        }
        verdict
    }
}
