//! Verification of an X.509-SVID: the profile by our own rules, the path by rustls' path builder.

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, RequiredEkuNotFoundContext,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use super::{
    bundle::{TrustBundle, TrustRoot},
    crl::Crl,
    id::SpiffeId,
    pem::certificates_from_pem,
    rule::{Place, Rule, RuleBroken},
    trust_domain::TrustDomain,
    x509::Facts,
};

/// What a successful verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedSvid {
    /// Who the leaf speaks for.
    pub id: SpiffeId,
    /// Start of the leaf's validity.
    pub not_before: SystemTime,
    /// End of the leaf's validity.
    pub not_after: SystemTime,
    /// The leaf's serial number, hexadecimal.
    pub serial: String,
    /// How many signing certificates stand between leaf and root.
    pub intermediates: usize,
}

/// Verifies a leaf against the bundle of its trust domain at the time `now` (X509-SVID.md section 5).
///
/// Certificates on a revocation list of the bundle ([`TrustBundle::with_crls`]) are refused, wherever they stand in the path.
///
/// `intermediates` may hold the signing certificates in any order, and more than are needed. A root among them is not
/// trusted for that. The work is bounded whatever is given.
///
/// # Errors
/// The first rule found broken: the leaf's profile first, then its validity, then the path.
pub fn verify(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    bundle: &TrustBundle,
    now: SystemTime,
) -> Result<VerifiedSvid, RuleBroken> {
    verify_and_read(leaf, intermediates, bundle, now).map(|(verified, _)| verified)
}

/// As [`verify()`], with what was read of the leaf, so that it need not be read twice.
pub(crate) fn verify_and_read(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    bundle: &TrustBundle,
    now: SystemTime,
) -> Result<(VerifiedSvid, Facts), RuleBroken> {
    let (id, facts) = leaf_profile(leaf)?;
    if id.trust_domain() != bundle.trust_domain() {
        let detail = format!("{id} is not of {}", bundle.trust_domain());
        return Err(RuleBroken::new(Rule::TrustDomainKnown, Place::Leaf, detail));
    }
    verify_profiled(leaf, id, &facts, intermediates, bundle, now).map(|verified| (verified, facts))
}

/// Verifies PEM texts: what `mesh ca verify --trust ROOTS [--untrusted CHAIN] [--time T] LEAF` does.
///
/// The roots are taken as those of the leaf's own trust domain. `leaf` may be followed by its chain.
///
/// # Errors
/// As [`verify()`]; a text that is not PEM breaks [`Rule::WellFormed`].
pub fn verify_pem(
    leaf: &[u8],
    untrusted: Option<&[u8]>,
    roots: &[u8],
    now: SystemTime,
) -> Result<VerifiedSvid, RuleBroken> {
    let read = |pem: &[u8], place| {
        certificates_from_pem(pem).map_err(|e| RuleBroken::new(Rule::WellFormed, place, e.to_string()))
    };
    let mut chain = read(leaf, Place::Leaf)?;
    let leaf = chain.remove(0);
    if let Some(untrusted) = untrusted {
        chain.extend(read(untrusted, Place::Intermediate(0))?);
    }
    let roots = read(roots, Place::Root)?;
    let (id, facts) = leaf_profile(&leaf)?;
    let bundle = TrustBundle::new(id.trust_domain().clone(), roots)
        .map_err(|e| RuleBroken::new(Rule::WellFormed, Place::Root, e.to_string()))?;
    verify_profiled(&leaf, id, &facts, &chain, &bundle, now)
}

/// Checks the profile of a leaf alone (X509-SVID.md sections 2 to 4): no path, no time.
///
/// # Errors
/// The first rule found broken.
pub fn check_leaf(leaf: &CertificateDer<'_>) -> Result<SpiffeId, RuleBroken> {
    leaf_profile(leaf).map(|(id, _)| id)
}

/// Checks the profile of a signing certificate alone; the trust domain when it carries a SPIFFE id, as it should.
///
/// # Errors
/// The first rule found broken; `place` is named in it.
pub fn check_signing(certificate: &CertificateDer<'_>, place: Place) -> Result<Option<TrustDomain>, RuleBroken> {
    let facts = Facts::parse(certificate).map_err(|e| RuleBroken::new(Rule::WellFormed, place, e))?;
    signing_profile(&facts).map_err(|(rule, detail)| RuleBroken::new(rule, place, detail))
}

fn verify_profiled(
    leaf: &CertificateDer<'_>,
    id: SpiffeId,
    facts: &Facts,
    intermediates: &[CertificateDer<'_>],
    bundle: &TrustBundle,
    now: SystemTime,
) -> Result<VerifiedSvid, RuleBroken> {
    check_time(facts.not_before, facts.not_after, now).map_err(|r| RuleBroken::new(r, Place::Leaf, ""))?;
    let intermediates = verify_path(leaf, id.trust_domain(), intermediates, bundle, now)?;
    Ok(VerifiedSvid {
        id,
        not_before: facts.not_before,
        not_after: facts.not_after,
        serial: facts.serial.clone(),
        intermediates,
    })
}

fn leaf_profile(leaf: &CertificateDer<'_>) -> Result<(SpiffeId, Facts), RuleBroken> {
    let facts = Facts::parse(leaf).map_err(|e| RuleBroken::new(Rule::WellFormed, Place::Leaf, e))?;
    match check_leaf_facts(&facts) {
        Ok(id) => Ok((id, facts)),
        Err((rule, detail)) => Err(RuleBroken::new(rule, Place::Leaf, detail)),
    }
}

fn check_leaf_facts(facts: &Facts) -> Result<SpiffeId, (Rule, String)> {
    let [uri] = facts.uri_sans.as_slice() else {
        return Err((Rule::OneUriSan, format!("it has {}", facts.uri_sans.len())));
    };
    let id = SpiffeId::parse(uri).map_err(|e| (Rule::SpiffeId, e.to_string()))?;
    let require = |held: bool, rule: Rule| if held { Ok(()) } else { Err((rule, String::new())) };
    require(!id.path().is_empty(), Rule::LeafPath)?;
    require(!facts.ca, Rule::LeafNotCa)?;
    let usage = facts.key_usage.ok_or((Rule::KeyUsagePresent, String::new()))?;
    require(!usage.key_cert_sign, Rule::LeafNoKeyCertSign)?;
    require(!usage.crl_sign, Rule::LeafNoCrlSign)?;
    require(usage.digital_signature, Rule::LeafDigitalSignature)?;
    require(usage.critical, Rule::KeyUsageCritical)?;
    require(facts.san_critical || !facts.subject_empty, Rule::SanCritical)?;
    let both = facts.extended_key_usage.is_none_or(|e| e.server_auth && e.client_auth);
    require(both, Rule::LeafExtendedKeyUsage)?;
    Ok(id)
}

/// A root: a plain one (no SPIFFE id) may lack key usage altogether, since trust in it comes from configuration and
/// RFC 5280 section 6.1 takes no more of an anchor than its name and key.
pub(super) fn root_profile(facts: &Facts) -> Result<Option<TrustDomain>, (Rule, String)> {
    let plain = !facts.uri_sans.iter().any(|u| u.starts_with("spiffe:"));
    if plain && facts.ca && facts.key_usage.is_none() {
        return Ok(None);
    }
    signing_profile(facts)
}

/// A CA without a SPIFFE id is not an SVID: then only what makes it a signing certificate is asked of it.
fn signing_profile(facts: &Facts) -> Result<Option<TrustDomain>, (Rule, String)> {
    if !facts.ca {
        return Err((Rule::SigningCa, String::new()));
    }
    let usage = facts.key_usage.ok_or((Rule::KeyUsagePresent, String::new()))?;
    if !usage.key_cert_sign {
        return Err((Rule::SigningKeyCertSign, String::new()));
    }
    let Some(uri) = facts.uri_sans.iter().find(|u| u.starts_with("spiffe:")) else { return Ok(None) };
    if facts.uri_sans.len() > 1 {
        return Err((Rule::OneUriSan, format!("it has {}", facts.uri_sans.len())));
    }
    let id = SpiffeId::parse(uri).map_err(|e| (Rule::SpiffeId, e.to_string()))?;
    if !id.path().is_empty() {
        return Err((Rule::SigningNoPath, id.to_string()));
    }
    if !usage.critical {
        return Err((Rule::KeyUsageCritical, String::new()));
    }
    Ok(Some(id.trust_domain().clone()))
}

fn check_time(not_before: SystemTime, not_after: SystemTime, now: SystemTime) -> Result<(), Rule> {
    if now < not_before {
        Err(Rule::NotYetValid)
    } else if now > not_after {
        Err(Rule::Expired)
    } else {
        Ok(())
    }
}

/// Builds and checks the path; gives the number of intermediates in it.
fn verify_path(
    leaf: &CertificateDer<'_>,
    trust_domain: &TrustDomain,
    intermediates: &[CertificateDer<'_>],
    bundle: &TrustBundle,
    now: SystemTime,
) -> Result<usize, RuleBroken> {
    let entity = EndEntityCert::try_from(leaf).map_err(|e| from_webpki(&e))?;
    let time = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    // The builder tries other paths when ours is refused, so the last refusal is kept here.
    let refused = RefCell::new(None);
    let check = |path: &VerifiedPath<'_>| {
        check_signers(path, trust_domain, bundle.roots(), now).map_err(|broken| {
            *refused.borrow_mut() = Some(broken);
            webpki::Error::UnknownIssuer
        })
    };
    let lists: Vec<&CertRevocationList<'_>> = bundle.crls().iter().map(Crl::parsed).collect();
    // The error means that there are none. Issuers without a list have revoked nothing, and an old list is better than none.
    let revocation =
        RevocationOptionsBuilder::new(&lists).ok().map(|b| b.with_status_policy(UnknownStatusPolicy::Allow).build());
    let path = entity
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            bundle.anchors(),
            intermediates,
            time,
            TlsUsage,
            revocation,
            Some(&check),
        )
        .map_err(|e| refused.take().unwrap_or_else(|| from_webpki(&e)))?;
    Ok(path.intermediate_certificates().count())
}

/// SPIFFE's rules for signing certificates, on a path whose signatures hold.
fn check_signers(
    path: &VerifiedPath<'_>,
    trust_domain: &TrustDomain,
    roots: &[TrustRoot],
    now: SystemTime,
) -> Result<(), RuleBroken> {
    // Only the issuer of the leaf itself: a signer above it may be of another trust domain.
    let issues_leaf = |of: Option<&TrustDomain>, place| match of.filter(|of| *of != trust_domain) {
        Some(other) => {
            Err(RuleBroken::new(Rule::SigningTrustDomain, place, format!("{other} issued for {trust_domain}")))
        }
        None => Ok(()),
    };
    let mut direct = true;
    for (n, signer) in path.intermediate_certificates().enumerate() {
        let of = check_signing(&signer.der(), Place::Intermediate(n))?;
        if direct {
            issues_leaf(of.as_ref(), Place::Intermediate(n))?;
        }
        direct = false;
    }
    // The anchor is one of the bundle's by construction; several roots may share a name and key, one good one is enough.
    let mut verdict = Err(RuleBroken::new(Rule::TrustedRoot, Place::Root, ""));
    for root in roots.iter().filter(|r| same_anchor(r.anchor(), path.anchor())) {
        verdict = root.check(now).and_then(|of| if direct { issues_leaf(of, Place::Root) } else { Ok(()) });
        if verdict.is_ok() {
            break;
        }
    }
    verdict
}

fn same_anchor(a: &TrustAnchor<'_>, b: &TrustAnchor<'_>) -> bool {
    a.subject == b.subject && a.subject_public_key_info == b.subject_public_key_info
}

impl TrustRoot {
    /// The root's own profile and validity; the trust domain of its id, if it has one.
    pub(super) fn check(&self, now: SystemTime) -> Result<Option<&TrustDomain>, RuleBroken> {
        let of = self.profile().as_ref().map_err(|(rule, d)| RuleBroken::new(*rule, Place::Root, d.clone()))?;
        check_time(self.not_before(), self.not_after(), now).map_err(|r| RuleBroken::new(r, Place::Root, ""))?;
        Ok(of.as_ref())
    }
}

/// Signing certificates that limit extended key usage must allow TLS in one role at least.
struct TlsUsage;

/// serverAuth, clientAuth, anyExtendedKeyUsage.
const ALLOWED_USAGES: [&[usize]; 3] =
    [webpki::KeyUsage::SERVER_AUTH_REPR, webpki::KeyUsage::CLIENT_AUTH_REPR, &[2, 5, 29, 37, 0]];

impl ExtendedKeyUsageValidator for TlsUsage {
    fn validate(&self, iter: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut present = Vec::new();
        for id in iter {
            present.push(id?.to_decoded_oid());
        }
        // The leaf's own usages were checked by the profile.
        if present.is_empty() || present.iter().any(|oid| ALLOWED_USAGES.contains(&oid.as_slice())) {
            return Ok(());
        }
        let required = webpki::KeyUsage::client_auth();
        Err(webpki::Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext { required, present }))
    }
}

fn from_webpki(error: &webpki::Error) -> RuleBroken {
    use webpki::Error as E;
    let rule = match error {
        E::CertExpired { .. } => Rule::Expired,
        E::CertNotValidYet { .. } => Rule::NotYetValid,
        E::UnknownIssuer => Rule::TrustedRoot,
        E::InvalidSignatureForPublicKey | E::SignatureAlgorithmMismatch => Rule::Signature,
        E::UnsupportedSignatureAlgorithmContext(_) | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            Rule::SignatureAlgorithm
        }
        E::PathLenConstraintViolated => Rule::PathLength,
        E::NameConstraintViolation | E::MalformedNameConstraint => Rule::NameConstraints,
        E::UnsupportedCriticalExtension => Rule::CriticalExtension,
        E::RequiredEkuNotFoundContext(_) => Rule::SigningExtendedKeyUsage,
        E::CertRevoked => Rule::Revoked,
        E::InvalidCrlSignatureForPublicKey
        | E::IssuerNotCrlSigner
        | E::UnsupportedCrlSignatureAlgorithmContext(_)
        | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => Rule::RevocationList,
        E::EndEntityUsedAsCa => Rule::SigningCa,
        E::CaUsedAsEndEntity => Rule::LeafNotCa,
        E::MaximumPathBuildCallsExceeded
        | E::MaximumPathDepthExceeded
        | E::MaximumSignatureChecksExceeded
        | E::MaximumNameConstraintComparisonsExceeded => Rule::PathComplexity,
        _ => Rule::WellFormed,
    };
    RuleBroken::new(rule, Place::Chain, error.to_string())
}
