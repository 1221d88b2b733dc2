//! The rules of X509-SVID.md, each with a name, and the finding that one is broken.

use std::fmt;

/// A rule that an X.509-SVID or its chain must keep. The section is that of X509-SVID.md, or of RFC 5280 when so named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// The bytes are a well-formed X.509 version 3 certificate.
    WellFormed,
    /// Exactly one URI SAN.
    OneUriSan,
    /// The URI SAN is a valid SPIFFE id.
    SpiffeId,
    /// A leaf's id has a path.
    LeafPath,
    /// The SAN extension is critical when the subject is empty.
    SanCritical,
    /// A leaf is not a CA.
    LeafNotCa,
    /// The key usage extension is there.
    KeyUsagePresent,
    /// The key usage extension is critical.
    KeyUsageCritical,
    /// A leaf has `digitalSignature`.
    LeafDigitalSignature,
    /// A leaf does not have `keyCertSign`.
    LeafNoKeyCertSign,
    /// A leaf does not have `cRLSign`.
    LeafNoCrlSign,
    /// A leaf's extended key usage, when there, has both `serverAuth` and `clientAuth`.
    LeafExtendedKeyUsage,
    /// A signing certificate is a CA.
    SigningCa,
    /// A signing certificate has `keyCertSign`.
    SigningKeyCertSign,
    /// A signing certificate's id, when there, has no path.
    SigningNoPath,
    /// The issuer of a leaf, when it has an id, is of the leaf's trust domain.
    SigningTrustDomain,
    /// Not before the start of validity.
    NotYetValid,
    /// Not after the end of validity.
    Expired,
    /// The chain ends at one of the trusted roots.
    TrustedRoot,
    /// Each certificate is signed by the next one.
    Signature,
    /// Signatures use an algorithm that is supported and not weak.
    SignatureAlgorithm,
    /// No more signing certificates than `pathLenConstraint` allows.
    PathLength,
    /// The names lie within the signing certificates' name constraints. URI constraints are refused whole.
    NameConstraints,
    /// No critical extension is unknown.
    CriticalExtension,
    /// Signing certificates that limit extended key usage allow this one.
    SigningExtendedKeyUsage,
    /// No certificate of the chain is on a revocation list of its issuer.
    Revoked,
    /// A revocation list by the name of an issuer is signed by that issuer.
    RevocationList,
    /// The chain can be checked with bounded work.
    PathComplexity,
    /// There is a bundle for the leaf's trust domain.
    TrustDomainKnown,
}

impl Rule {
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
            Self::WellFormed => {
                ("well-formed", "RFC 5280 4.1", "the bytes must be a well-formed X.509 version 3 certificate")
            }
            Self::OneUriSan => ("one-uri-san", "X509-SVID 2", "an SVID must have exactly one URI SAN"),
            Self::SpiffeId => ("spiffe-id", "X509-SVID 2", "the URI SAN must be a valid SPIFFE id"),
            Self::LeafPath => ("leaf-path", "X509-SVID 3.1", "the id of a leaf must have a path"),
            Self::SanCritical => {
                ("san-critical", "X509-SVID 3.1", "the SAN extension must be critical when the subject is empty")
            }
            Self::LeafNotCa => ("leaf-not-ca", "X509-SVID 4.1", "a leaf must not be a CA"),
            Self::KeyUsagePresent => ("key-usage-present", "X509-SVID 4.3", "the key usage extension must be set"),
            Self::KeyUsageCritical => {
                ("key-usage-critical", "X509-SVID 4.3", "the key usage extension must be critical")
            }
            Self::LeafDigitalSignature => {
                ("leaf-digital-signature", "X509-SVID 4.3", "a leaf must have digitalSignature")
            }
            Self::LeafNoKeyCertSign => ("leaf-no-key-cert-sign", "X509-SVID 4.3", "a leaf must not have keyCertSign"),
            Self::LeafNoCrlSign => ("leaf-no-crl-sign", "X509-SVID 4.3", "a leaf must not have cRLSign"),
            Self::LeafExtendedKeyUsage => (
                "leaf-extended-key-usage",
                "X509-SVID 4.4",
                "the extended key usage of a leaf, when set, must have serverAuth and clientAuth",
            ),
            Self::SigningCa => ("signing-ca", "X509-SVID 4.1", "a signing certificate must be a CA"),
            Self::SigningKeyCertSign => {
                ("signing-key-cert-sign", "X509-SVID 4.3", "a signing certificate must have keyCertSign")
            }
            Self::SigningNoPath => {
                ("signing-no-path", "X509-SVID 3.2", "the id of a signing certificate must not have a path")
            }
            Self::SigningTrustDomain => (
                "signing-trust-domain",
                "X509-SVID 3.2",
                "the id of a signing certificate must be of the trust domain of the leaves it issues",
            ),
            Self::NotYetValid => ("not-yet-valid", "RFC 5280 6.1.3", "the certificate must be valid already"),
            Self::Expired => ("expired", "RFC 5280 6.1.3", "the certificate must still be valid"),
            Self::TrustedRoot => ("trusted-root", "RFC 5280 6.1", "the chain must end at a trusted root"),
            Self::Signature => ("signature", "RFC 5280 6.1.3", "each certificate must be signed by the next one"),
            Self::SignatureAlgorithm => {
                ("signature-algorithm", "RFC 5280 6.1.3", "signatures must use a supported algorithm")
            }
            Self::PathLength => ("path-length", "RFC 5280 4.2.1.9", "the chain must keep to pathLenConstraint"),
            Self::NameConstraints => {
                ("name-constraints", "X509-SVID 4.2", "names must lie within the name constraints of the signers")
            }
            Self::CriticalExtension => {
                ("critical-extension", "RFC 5280 4.2", "every critical extension must be understood")
            }
            Self::SigningExtendedKeyUsage => (
                "signing-extended-key-usage",
                "X509-SVID 4.4",
                "a signing certificate that limits extended key usage must allow serverAuth or clientAuth",
            ),
            Self::Revoked => ("revoked", "RFC 5280 6.3", "no certificate of the chain may be revoked"),
            Self::RevocationList => (
                "revocation-list",
                "RFC 5280 6.3.3",
                "a revocation list must be signed by the issuer it names, which must have cRLSign",
            ),
            Self::PathComplexity => {
                ("path-complexity", "RFC 5280 6.1", "the chain must be checkable with bounded work")
            }
            Self::TrustDomainKnown => {
                ("trust-domain-known", "X509-SVID 5.1", "there must be a bundle for the trust domain of the id")
            }
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which certificate of a chain is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// The first one.
    Leaf,
    /// The nth signing certificate above the leaf, from 0, that is not the root.
    Intermediate(usize),
    /// The root.
    Root,
    /// The chain as a whole.
    Chain,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf => f.write_str("leaf"),
            Self::Intermediate(n) => write!(f, "intermediate {n}"),
            Self::Root => f.write_str("root"),
            Self::Chain => f.write_str("chain"),
        }
    }
}

/// A rule that was found broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {rule} ({}): {}{}{detail}", .rule.section(), .rule.text(), if .detail.is_empty() { "" } else { ": " })]
#[non_exhaustive]
pub struct RuleBroken {
    /// The rule.
    pub rule: Rule,
    /// The certificate that breaks it.
    pub place: Place,
    /// What was found instead; may be empty.
    pub detail: String,
}

impl RuleBroken {
    /// A finding.
    pub fn new(rule: Rule, place: Place, detail: impl Into<String>) -> Self {
        Self { rule, place, detail: detail.into() }
    }
}
