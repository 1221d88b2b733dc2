//! How peers are verified.

use std::{collections::BTreeMap, sync::Arc};

use mesh_xds_api::{
    any,
    envoy::extensions::transport_sockets::tls::v3::{
        CertificateValidationContext, CommonTlsContext, SdsSecretConfig, SpiffeCertValidatorConfig,
        SubjectAltNameMatcher, certificate_validation_context::TrustChainVerification,
        common_tls_context::ValidationContextType, subject_alt_name_matcher::SanType as ProtoSan,
    },
};
use rustls_pki_types::CertificateDer;

use super::certificates::{Sds, sds};
use crate::{
    base64,
    config::{
        error::{At as _, Translated, refuse, refuse_field},
        matcher::string_matcher,
        secret,
        source::Context,
        value::{data, enumeration, present, required, unpack},
    },
    model::{PeerRules, SanMatcher, SanType, Secret, ValidationSource},
    supported,
};

supported! {
    /// Validation contexts.
    pub(in crate::config) static VALIDATION =
    envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext {
        carried: trusted_ca, crl, match_typed_subject_alt_names, match_subject_alt_names, verify_certificate_spki,
            verify_certificate_hash, trust_chain_verification, only_verify_leaf_cert_crl, allow_expired_certificate,
            max_verify_depth, suppress_client_ca_list, system_root_certs;
        limited: custom_validator_config = "envoy.tls.cert_validator.spiffe";
        irrelevant: watched_directory = "files of a secret by SDS are watched by name, through any change of the folders \
            above them; those of a context given in place are read once, as by Envoy";
    }
    envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.SystemRootCerts {}
    envoy.config.core.v3.TypedExtensionConfig {
        carried: typed_config;
        irrelevant: name = "a label; the type of typed_config says what it is";
    }
    envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig {
        carried: trust_domains, trust_bundles;
    }
    envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig.TrustDomain {
        carried: name, trust_bundle;
    }
    envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher {
        carried: matcher, san_type, oid;
    }
}

/// Longest chain that may be asked for, as in Envoy.
const MAX_DEPTH: u32 = 100;

pub(super) fn validation(value: &CommonTlsContext, cx: &Context<'_>) -> Translated<Option<ValidationSource>> {
    match &value.validation_context_type {
        None => Ok(None),
        Some(ValidationContextType::ValidationContext(context)) => in_place(context).at("validation_context"),
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => {
            with_sds(PeerRules::default(), config, cx).at("validation_context_sds_secret_config").map(Some)
        }
        Some(ValidationContextType::CombinedValidationContext(both)) => {
            let field = "combined_validation_context";
            let default = both.default_validation_context.as_ref();
            let config = both.validation_context_sds_secret_config.as_ref();
            let default = present(default, "default_validation_context").at(field)?;
            let config = present(config, "validation_context_sds_secret_config").at(field)?;
            if default.trusted_ca.is_some() || default.crl.is_some() || default.system_root_certs.is_some() {
                let reason = "roots and crl are carried in the secret only";
                return refuse_field(format!("{field}.default_validation_context"), reason);
            }
            let rules = rules(default).at("default_validation_context").at(field)?;
            with_sds(rules, config, cx).at(field).map(Some)
        }
        Some(_) => refuse("this kind of validation context is not carried"),
    }
}

/// An empty context verifies nothing, as in Envoy.
fn in_place(context: &CertificateValidationContext) -> Translated<Option<ValidationSource>> {
    if let Some(value) = trust(context)? {
        let roots = Some(Arc::new(Secret { name: String::new(), value }));
        return Ok(Some(ValidationSource { roots, ..ValidationSource::default() }));
    }
    let rules = rules(context)?;
    if !rules.sans.is_empty() && !rules.accept_untrusted {
        return refuse("SAN-based verification of peer certificates without trusted CA is insecure and not allowed");
    }
    let verifies = !rules.certificate_hashes.is_empty() || !rules.spki_hashes.is_empty();
    Ok(verifies.then(|| ValidationSource { rules, ..ValidationSource::default() }))
}

fn with_sds(rules: PeerRules, config: &SdsSecretConfig, cx: &Context<'_>) -> Translated<ValidationSource> {
    let mut source = ValidationSource { rules, ..ValidationSource::default() };
    match sds(config, cx)? {
        Sds::Here(secret) => source.roots = Some(secret),
        Sds::Dynamic(reference) => source.sds = Some(reference),
    }
    Ok(source)
}

/// Everything in a validation context that says whom to trust; `None` if nothing does.
pub(in crate::config) fn trust(value: &CertificateValidationContext) -> Translated<Option<crate::model::SecretValue>> {
    let rules = rules(value)?;
    let by_domain = !rules.trust_domains.is_empty();
    if by_domain && (value.trusted_ca.is_some() || value.system_root_certs.is_some()) {
        return refuse_field("custom_validator_config", "brings its own roots, beside which there are no others");
    }
    let roots = match (&value.trusted_ca, &value.system_root_certs) {
        (Some(source), _) => secret::certificates(&data(source).at("trusted_ca")?).at("trusted_ca")?,
        (None, Some(_)) => secret::system_roots().at("system_root_certs")?,
        (None, None) if by_domain => Vec::new(),
        (None, None) if value.crl.is_some() => return refuse_field("crl", "needs a trusted_ca"),
        (None, None) => return Ok(None),
    };
    let crls = value.crl.as_ref().map(secret::crls).transpose().at("crl")?.unwrap_or_default();
    Ok(Some(crate::model::SecretValue::Validation { roots, crls, rules: Arc::new(rules) }))
}

/// What is required of the peer beyond roots.
fn rules(value: &CertificateValidationContext) -> Translated<PeerRules> {
    let verification: TrustChainVerification = enumeration(value.trust_chain_verification, "trust_chain_verification")?;
    if value.max_verify_depth.is_some_and(|depth| depth > MAX_DEPTH) {
        return refuse_field("max_verify_depth", "must be at most 100");
    }
    Ok(PeerRules {
        sans: sans(value)?,
        accept_untrusted: verification == TrustChainVerification::AcceptUntrusted,
        certificate_hashes: hashes(&value.verify_certificate_hash, "verify_certificate_hash", from_hex)?,
        spki_hashes: hashes(&value.verify_certificate_spki, "verify_certificate_spki", from_base64)?,
        leaf_crl_only: value.only_verify_leaf_cert_crl,
        allow_expired: value.allow_expired_certificate,
        max_depth: value.max_verify_depth,
        hide_roots: value.suppress_client_ca_list,
        trust_domains: custom_validator(value).at("custom_validator_config")?,
    })
}

/// SAN matchers. Those of the older untyped form look at every kind of name.
fn sans(value: &CertificateValidationContext) -> Translated<Vec<SanMatcher>> {
    let mut found = Vec::new();
    for (i, san) in value.match_typed_subject_alt_names.iter().enumerate() {
        found.push(typed_san(san).at(format_args!("match_typed_subject_alt_names[{i}]"))?);
    }
    for (i, matcher) in value.match_subject_alt_names.iter().enumerate() {
        let matcher = string_matcher(matcher).at(format_args!("match_subject_alt_names[{i}]"))?;
        let types = [SanType::Dns, SanType::Uri, SanType::Email, SanType::Ip];
        found.extend(types.map(|san_type| SanMatcher { san_type, matcher: matcher.clone(), oid: String::new() }));
    }
    Ok(found)
}

fn typed_san(san: &SubjectAltNameMatcher) -> Translated<SanMatcher> {
    let san_type = match enumeration(san.san_type, "san_type")? {
        ProtoSan::Email => SanType::Email,
        ProtoSan::Dns => SanType::Dns,
        ProtoSan::Uri => SanType::Uri,
        ProtoSan::IpAddress => SanType::Ip,
        ProtoSan::OtherName => SanType::OtherName,
        ProtoSan::Unspecified => return refuse_field("san_type", "is required"),
    };
    let dotted = |oid: &str| oid.split('.').count() > 1 && oid.split('.').all(|arc| arc.parse::<u128>().is_ok());
    if (san_type == SanType::OtherName) != dotted(&san.oid) {
        return refuse_field("oid", "an object identifier in dotted form is required for OTHER_NAME, and for it alone");
    }
    let matcher = present(san.matcher.as_ref(), "matcher")?;
    Ok(SanMatcher { san_type, matcher: string_matcher(matcher).at("matcher")?, oid: san.oid.clone() })
}

/// Roots by trust domain.
fn custom_validator(
    value: &CertificateValidationContext,
) -> Translated<BTreeMap<String, Vec<CertificateDer<'static>>>> {
    let Some(extension) = &value.custom_validator_config else { return Ok(BTreeMap::new()) };
    let config = present(extension.typed_config.as_ref(), "typed_config")?;
    if !any::is::<SpiffeCertValidatorConfig>(config) {
        return refuse_field("typed_config", format!("validator {} is not carried", config.type_url));
    }
    let config: SpiffeCertValidatorConfig = unpack(config).at("typed_config")?;
    spiffe_roots(&config).at("typed_config")
}

fn spiffe_roots(config: &SpiffeCertValidatorConfig) -> Translated<BTreeMap<String, Vec<CertificateDer<'static>>>> {
    let mut domains = BTreeMap::new();
    for (i, domain) in config.trust_domains.iter().enumerate() {
        let field = format!("trust_domains[{i}]");
        let name = required(&domain.name, "name").at(&field)?;
        let bundle = present(domain.trust_bundle.as_ref(), "trust_bundle").at(&field)?;
        let roots = data(bundle).and_then(|pem| secret::certificates(&pem)).at("trust_bundle").at(&field)?;
        if domains.insert(name.to_owned(), roots).is_some() {
            return refuse_field(format!("{field}.name"), "is there twice");
        }
    }
    if let Some(source) = &config.trust_bundles {
        if !domains.is_empty() {
            return refuse_field("trust_bundles", "and trust_domains exclude each other");
        }
        domains = data(source).and_then(|text| bundle_map(&text)).at("trust_bundles")?;
    }
    if domains.is_empty() { refuse_field("trust_domains", "one at least is required") } else { Ok(domains) }
}

/// SPIFFE bundles by trust domain, in JSON: `{"trust_domains": {NAME: {"keys": [{"use": "x509-svid", "x5c": [...]}]}}}`.
fn bundle_map(text: &[u8]) -> Translated<BTreeMap<String, Vec<CertificateDer<'static>>>> {
    let map: serde_json::Value =
        serde_json::from_slice(text).or_else(|error| refuse(format!("is no JSON: {error}")))?;
    let Some(found) = map["trust_domains"].as_object() else { return refuse("has no trust_domains") };
    let mut domains = BTreeMap::new();
    for (name, bundle) in found {
        let keys = bundle["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ours = keys.iter().filter(|key| key["use"] == "x509-svid");
        let texts = ours.flat_map(|key| key["x5c"].as_array().map(Vec::as_slice).unwrap_or_default());
        let roots = texts.map(|text| text.as_str().and_then(base64::decode).map(CertificateDer::from));
        let Some(roots) = roots.collect::<Option<Vec<_>>>().filter(|roots| !roots.is_empty()) else {
            return refuse(format!("trust domain {name} has no key for x509-svid with certificates in x5c"));
        };
        secret::readable(&roots)?;
        domains.insert(name.clone(), roots);
    }
    Ok(domains)
}

fn hashes(texts: &[String], field: &str, read: fn(&str) -> Option<[u8; 32]>) -> Translated<Vec<[u8; 32]>> {
    let one = |(i, text): (usize, &String)| {
        read(text).map_or_else(|| refuse_field(format!("{field}[{i}]"), "is no SHA-256 in the expected form"), Ok)
    };
    texts.iter().enumerate().map(one).collect()
}

/// 64 hexadecimal digits, pairs perhaps with colons between.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|b| *b != b':')
        .map(|b| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| (pair[0] << 4) | pair.get(1).copied().unwrap_or(0)).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok()).flatten()
}

fn from_base64(text: &str) -> Option<[u8; 32]> {
    base64::decode(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::{from_base64, from_hex};

    #[test]
    fn hashes_in_both_forms() {
        let hex = "DF6FF72FE9116521268F6F2DD4966F51DF479883FE7037B39F75916AC3049D1A";
        let colons: Vec<String> = hex.as_bytes().chunks(2).map(|p| String::from_utf8_lossy(p).into_owned()).collect();
        assert_eq!(from_hex(hex), from_hex(&colons.join(":").to_lowercase()));
        assert_eq!(from_hex(hex).unwrap()[0], 0xdf);
        assert_eq!(from_hex(&hex[1..]), None);
        assert_eq!(from_base64("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=").unwrap()[31], 1);
        assert_eq!(from_base64("NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=").unwrap()[0], 0x36);
        assert_eq!(from_base64("NvqY="), None);
    }
}
