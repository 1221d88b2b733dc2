//! Secrets as messages.

use std::time::SystemTime;

use mesh_xds::Resource;
use mesh_xds_api::{
    any,
    envoy::{
        config::core::v3::{DataSource, TypedExtensionConfig, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate, secret::Type,
            spiffe_cert_validator_config::TrustDomain as ValidatedDomain,
        },
    },
};

use rustls_pki_types::CertificateDer;

use super::{ALL, OWN, ROOTS};
use crate::spiffe::{TrustBundle, TrustBundles, TrustDomain, TrustRoot, X509Svid};

/// The name of Envoy's validator by trust domain.
const SPIFFE_VALIDATOR: &str = "envoy.tls.cert_validator.spiffe";

fn inline(bytes: impl Into<Vec<u8>>) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(bytes.into().into())), ..Default::default() }
}

fn secret(name: impl Into<String>, kind: Type) -> Resource {
    let name = name.into();
    Resource::pack(name.as_str(), &Secret { name: name.clone(), r#type: Some(kind) })
}

/// A certificate with its key, both as PEM.
pub(super) fn certificate(name: &str, chain: &[u8], key: &[u8]) -> Resource {
    let certificate = TlsCertificate {
        certificate_chain: Some(inline(chain)),
        private_key: Some(inline(key)),
        ..TlsCertificate::default()
    };
    secret(name, Type::TlsCertificate(certificate))
}

pub(super) fn own(svid: &X509Svid) -> Resource {
    certificate(OWN, svid.chain_pem().as_bytes(), svid.key().to_pem().as_bytes())
}

/// Roots as PEM, and revocation lists if there are some.
pub(super) fn roots(name: impl Into<String>, pem: impl Into<Vec<u8>>, lists: Option<String>) -> Resource {
    let context = CertificateValidationContext {
        trusted_ca: Some(inline(pem)),
        crl: lists.map(inline),
        ..CertificateValidationContext::default()
    };
    secret(name, Type::ValidationContext(context))
}

/// The revocation lists of a bundle, as PEM: all or none. Envoy with lists refuses every certificate under an issuer that has
/// none or whose list has ended, so each root and each of `intermediates` must have one that has not.
fn lists(bundle: &TrustBundle, intermediates: &[CertificateDer<'static>], now: SystemTime) -> Option<String> {
    let lists: Vec<_> = bundle.crls().iter().filter(|c| c.next_update().is_none_or(|end| now < end)).collect();
    let mut issuers = bundle.roots().iter().map(TrustRoot::certificate).chain(intermediates);
    let all = !lists.is_empty() && issuers.all(|issuer| lists.iter().any(|c| c.is_signed_by(issuer)));
    all.then(|| lists.iter().map(|c| c.to_pem()).collect())
}

/// All that bundles give: of the own trust domain, of each, and of all. The own chain's `intermediates` are issuers of the own
/// trust domain.
pub(super) fn bundles(
    own: &TrustDomain,
    bundles: &TrustBundles,
    intermediates: &[CertificateDer<'static>],
    now: SystemTime,
) -> Vec<Resource> {
    let some: Vec<&TrustBundle> = bundles.iter().filter(|b| !b.roots().is_empty()).collect();
    let context = |name: String, bundle: &TrustBundle| {
        let below = if bundle.trust_domain() == own { intermediates } else { &[] };
        roots(name, bundle.to_pem(), lists(bundle, below, now))
    };
    let mut resources: Vec<Resource> = some.iter().map(|b| context(b.trust_domain().id(), b)).collect();
    resources.extend(some.iter().find(|b| b.trust_domain() == own).map(|b| context(ROOTS.to_owned(), b)));
    if !some.is_empty() {
        resources.push(validator(&some));
    }
    resources
}

fn validator(bundles: &[&TrustBundle]) -> Resource {
    let domain = |bundle: &&TrustBundle| ValidatedDomain {
        name: bundle.trust_domain().to_string(),
        trust_bundle: Some(inline(bundle.to_pem())),
        ..ValidatedDomain::default()
    };
    let config = SpiffeCertValidatorConfig {
        trust_domains: bundles.iter().map(domain).collect(),
        ..SpiffeCertValidatorConfig::default()
    };
    let extension = TypedExtensionConfig { name: SPIFFE_VALIDATOR.into(), typed_config: Some(any::pack(&config)) };
    let context = CertificateValidationContext {
        custom_validator_config: Some(extension),
        ..CertificateValidationContext::default()
    };
    secret(ALL, Type::ValidationContext(context))
}
