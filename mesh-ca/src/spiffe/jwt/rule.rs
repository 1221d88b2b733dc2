//! The rules of JWT-SVIDs, each with its place in the standard.

use std::fmt;

/// What can be wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JwtRule {
    /// JWS Compact Serialization: three parts in base64url, of which two are JSON objects with fields of the right type.
    WellFormed,
    /// No header parameter but `alg`, `kid` and `typ`.
    HeaderParameters,
    /// A supported signature algorithm.
    Algorithm,
    /// `typ`, when there, is `JWT` or `JOSE`.
    Type,
    /// `sub` is a SPIFFE id.
    Subject,
    /// `aud` is there, with one value or more.
    AudiencePresent,
    /// One of the values of `aud` is the validator's own.
    AudienceNamed,
    /// `exp` is there.
    ExpirationPresent,
    /// Not after `exp`.
    Expired,
    /// Not before `nbf`, when it is there.
    NotYetValid,
    /// There is a bundle with JWT authorities for the trust domain of `sub`.
    TrustDomainKnown,
    /// The key that `kid` names is one of the trust domain's.
    KeyKnown,
    /// The signature is by a key of the trust domain.
    Signature,
}

impl JwtRule {
    /// A stable name for messages and JSON.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Where the rule stands.
    pub fn section(self) -> &'static str {
        self.row().1
    }

    /// What the rule asks for, in one sentence.
    pub fn text(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::WellFormed => ("jwt-well-formed", "JWT-SVID 5.1", "a JWT-SVID must be a JWS in compact form"),
            Self::HeaderParameters => {
                ("jwt-header-parameters", "JWT-SVID 2", "the header must hold nothing but alg, kid and typ")
            }
            Self::Algorithm => {
                ("jwt-algorithm", "JWT-SVID 2.1", "alg must be one of RS, ES or PS with 256, 384 or 512 bits")
            }
            Self::Type => ("jwt-type", "JWT-SVID 2.3", "typ, when set, must be JWT or JOSE"),
            Self::Subject => ("jwt-subject", "JWT-SVID 3.1", "sub must be a SPIFFE id"),
            Self::AudiencePresent => ("jwt-audience-present", "JWT-SVID 3.2", "aud must be set"),
            Self::AudienceNamed => ("jwt-audience-named", "JWT-SVID 3.2", "aud must name whoever validates the token"),
            Self::ExpirationPresent => ("jwt-expiration-present", "JWT-SVID 3.3", "exp must be set"),
            Self::Expired => ("jwt-expired", "RFC 7519 4.1.4", "the token must not have ended"),
            Self::NotYetValid => ("jwt-not-yet-valid", "RFC 7519 4.1.5", "the token must have begun"),
            Self::TrustDomainKnown => (
                "jwt-trust-domain-known",
                "JWT-SVID 6.2",
                "there must be JWT signing keys for the trust domain of the id",
            ),
            Self::KeyKnown => {
                ("jwt-key-known", "JWT-SVID 6.2", "kid must name a signing key of the trust domain that fits alg")
            }
            Self::Signature => {
                ("jwt-signature", "JWT-SVID 4", "the token must be signed by a signing key of the trust domain")
            }
        }
    }
}

impl fmt::Display for JwtRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A rule that was found broken. It never holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule} ({}): {}{}{detail}", .rule.section(), .rule.text(), if .detail.is_empty() { "" } else { ": " })]
#[non_exhaustive]
pub struct JwtRuleBroken {
    /// The rule.
    pub rule: JwtRule,
    /// What was found instead; may be empty.
    pub detail: String,
}

impl JwtRuleBroken {
    /// A finding.
    pub fn new(rule: JwtRule, detail: impl Into<String>) -> Self {
        Self { rule, detail: detail.into() }
    }
}
