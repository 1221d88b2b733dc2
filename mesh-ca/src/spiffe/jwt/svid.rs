//! [`JwtSvid`]: a token that was believed.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    bundle::{JwtBundle, JwtBundles},
    claims::{self, Unverified},
    rule::{JwtRule, JwtRuleBroken},
};
use crate::spiffe::SpiffeId;

/// Most bytes of a token that is looked at.
pub const MAX_JWT_BYTES: usize = 16 * 1024;

/// A JWT-SVID whose rules hold (JWT-SVID.md). `Debug` does not show the token, which is as good as a password until it ends.
#[derive(Clone)]
pub struct JwtSvid {
    token: Zeroizing<String>,
    id: SpiffeId,
    audiences: Vec<String>,
    expires: SystemTime,
    claims: Map<String, Value>,
}

impl JwtSvid {
    /// Verifies a token for whoever is called one of `audiences`, against the bundle of the token's own trust domain, at
    /// the time `now` (JWT-SVID.md appendix A). Clocks may differ by `leeway`.
    ///
    /// A token without a key id is tried with each key of the trust domain that fits its algorithm.
    ///
    /// # Errors
    /// The first rule found broken: form, key and signature, then times and audience.
    pub fn verify(
        token: &str,
        bundles: &JwtBundles,
        audiences: &[&str],
        now: SystemTime,
        leeway: Duration,
    ) -> Result<Self, JwtRuleBroken> {
        if token.len() > MAX_JWT_BYTES {
            let detail = format!("it has {} bytes; at most {MAX_JWT_BYTES} are read", token.len());
            return Err(JwtRuleBroken::new(JwtRule::WellFormed, detail));
        }
        let read = claims::read(token)?;
        let bundle = bundles.bundle(read.id.trust_domain()).filter(|b| !b.authorities().is_empty());
        let bundle =
            bundle.ok_or_else(|| JwtRuleBroken::new(JwtRule::TrustDomainKnown, read.id.trust_domain().to_string()))?;
        check_signature(&read, bundle)?;
        check_claims(&read, audiences, now, leeway)?;
        Ok(Self {
            token: Zeroizing::new(token.to_owned()),
            id: read.id,
            audiences: read.audiences,
            expires: read.expires,
            claims: read.claims,
        })
    }

    /// The token itself. Do not log it.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Who it speaks for.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Whom it is for.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// When it ends.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// All claims, as they stand in the token.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }
}

fn check_signature(read: &Unverified<'_>, bundle: &JwtBundle) -> Result<(), JwtRuleBroken> {
    let mut fitting = bundle
        .authorities()
        .iter()
        .filter(|a| read.key_id.as_deref().is_none_or(|id| id == a.key_id()) && a.fits(read.algorithm))
        .peekable();
    if fitting.peek().is_none() {
        return Err(JwtRuleBroken::new(JwtRule::KeyKnown, ""));
    }
    if fitting.any(|a| a.verifies(read.algorithm, read.signed.as_bytes(), &read.signature)) {
        return Ok(());
    }
    Err(JwtRuleBroken::new(JwtRule::Signature, ""))
}

fn check_claims(
    read: &Unverified<'_>,
    audiences: &[&str],
    now: SystemTime,
    leeway: Duration,
) -> Result<(), JwtRuleBroken> {
    if !read.audiences.iter().any(|a| audiences.contains(&a.as_str())) {
        return Err(JwtRuleBroken::new(JwtRule::AudienceNamed, ""));
    }
    // RFC 7519: "on or after" its end a token is refused.
    if now.checked_sub(leeway).unwrap_or(SystemTime::UNIX_EPOCH) >= read.expires {
        return Err(JwtRuleBroken::new(JwtRule::Expired, ""));
    }
    if read.not_before.is_some_and(|begin| now.checked_add(leeway).is_some_and(|now| now < begin)) {
        return Err(JwtRuleBroken::new(JwtRule::NotYetValid, ""));
    }
    Ok(())
}

impl fmt::Debug for JwtSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSvid")
            .field("id", &self.id)
            .field("audiences", &self.audiences)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
