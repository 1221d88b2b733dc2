//! Trusted roots, and chains that lead to them.

use std::{sync::Arc, time::Duration};

use rustls::{DistinguishedName, crypto::WebPkiSupportedAlgorithms};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptionsBuilder, VerifiedPath,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate_error;
use crate::{
    model::{PeerRules, Secret, SecretValue},
    tls::TlsError,
};

/// Trust anchors and revocation lists.
#[derive(Debug)]
pub(in crate::tls) struct Anchors {
    roots: Vec<TrustAnchor<'static>>,
    crls: Vec<Arc<CertRevocationList<'static>>>,
}

/// Reads the roots, revocation lists and requirements of a validation secret.
pub(in crate::tls) fn anchors(secret: &Secret) -> Result<(Anchors, PeerRules), TlsError> {
    let name = &secret.name;
    let SecretValue::Validation { roots, crls, rules } = &secret.value else {
        return Err(TlsError::WrongKind { name: name.clone(), wanted: "validation context" });
    };
    let crl = |(index, der): (usize, &rustls_pki_types::CertificateRevocationListDer<'_>)| {
        let crl = OwnedCertRevocationList::from_der(der.as_ref());
        crl.map(|crl| Arc::new(crl.into())).map_err(|e| TlsError::Crl {
            name: name.clone(),
            index,
            reason: e.to_string(),
        })
    };
    let crls: Vec<_> = crls.iter().enumerate().map(crl).collect::<Result<_, _>>()?;
    for (domain, roots) in &rules.trust_domains {
        Anchors::new(domain, roots, Vec::new())?;
    }
    Ok((Anchors::new(name, roots, crls)?, (**rules).clone()))
}

impl Anchors {
    /// `name` is for errors.
    pub(super) fn new(
        name: &str,
        roots: &[CertificateDer<'static>],
        crls: Vec<Arc<CertRevocationList<'static>>>,
    ) -> Result<Self, TlsError> {
        let root = |(index, der): (usize, &CertificateDer<'static>)| {
            let anchor = webpki::anchor_from_trusted_cert(der).map(|anchor| anchor.to_owned());
            anchor.map_err(|e| TlsError::Root { name: name.to_owned(), index, reason: e.to_string() })
        };
        Ok(Self { roots: roots.iter().enumerate().map(root).collect::<Result<_, _>>()?, crls })
    }

    pub(super) fn crls(&self) -> Vec<Arc<CertRevocationList<'static>>> {
        self.crls.clone()
    }

    pub(super) fn subjects(&self) -> Vec<DistinguishedName> {
        self.roots.iter().map(|root| DistinguishedName::in_sequence(root.subject.as_ref())).collect()
    }

    /// Whether the chain leads to a root.
    pub(super) fn verify(
        &self,
        rules: &PeerRules,
        algorithms: WebPkiSupportedAlgorithms,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), rustls::Error> {
        let end_entity = EndEntityCert::try_from(leaf).map_err(certificate_error)?;
        let crls: Vec<&CertRevocationList<'_>> = self.crls.iter().map(|crl| &**crl).collect();
        let depth = if rules.leaf_crl_only { RevocationCheckDepth::EndEntity } else { RevocationCheckDepth::Chain };
        let revocation = || {
            // As BoringSSL: a list that has ended proves nothing.
            let options = RevocationOptionsBuilder::new(&crls).ok()?;
            Some(options.with_depth(depth).with_expiration_policy(ExpirationPolicy::Enforce).build())
        };
        let short_enough = |path: &VerifiedPath<'_>| match rules.max_depth {
            Some(max) if path.intermediate_certificates().count() + 1 > max as usize => {
                Err(webpki::Error::MaximumPathDepthExceeded)
            }
            _ => Ok(()),
        };
        let verify = |at| {
            end_entity
                .verify_for_usage(
                    algorithms.all,
                    &self.roots,
                    intermediates,
                    at,
                    usage,
                    revocation(),
                    Some(&short_enough),
                )
                .map(drop)
        };
        match verify(now) {
            Err(webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. }) if rules.allow_expired => {
                verify(moment_of_validity(leaf, intermediates, now))
            }
            result => result,
        }
        .map_err(certificate_error)
    }
}

/// The moment nearest to `now` at which the certificates were valid together, if there was one.
fn moment_of_validity(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], now: UnixTime) -> UnixTime {
    let (mut from, mut until) = (0, u64::MAX);
    for der in std::iter::once(leaf).chain(intermediates) {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { continue };
        let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
        from = from.max(seconds(certificate.validity().not_before.timestamp()));
        until = until.min(seconds(certificate.validity().not_after.timestamp()));
    }
    UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().max(from).min(until)))
}
