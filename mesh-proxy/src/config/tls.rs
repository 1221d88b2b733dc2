//! TLS contexts and transport sockets.

use std::sync::Arc;

use mesh_xds_api::{
    TypeUrl, any,
    envoy::{
        config::core::v3::{TransportSocket, transport_socket::ConfigType},
        extensions::transport_sockets::{
            raw_buffer::v3::RawBuffer,
            tls::v3::{
                CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, TlsParameters,
                UpstreamTlsContext, certificate_validation_context::TrustChainVerification,
                common_tls_context::ValidationContextType, downstream_tls_context::SessionTicketKeysType,
                subject_alt_name_matcher::SanType as ProtoSan, tls_parameters::TlsProtocol,
            },
        },
    },
};

use super::{
    error::{At as _, Translated, refuse, refuse_field},
    matcher::string_matcher,
    secret,
    source::Context,
    value::{enumeration, present, required, unpack},
};
use crate::{
    model::{
        CertificateSource, ClientTls, SanMatcher, SanType, Secret, SecretRef, ServerTls, TlsCommon, TlsVersion,
        UpstreamSocket, ValidationSource,
    },
    supported,
};

supported! {
    /// Transport sockets.
    pub(super) static TLS =
    envoy.config.core.v3.TransportSocket {
        carried: typed_config;
        irrelevant: name = "a label; the type of typed_config says what it is";
    }
    envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer {}
    envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext {
        carried: common_tls_context, sni, auto_host_sni;
        irrelevant: max_session_keys = "bounds a cache of sessions, which is bounded anyhow",
            enforce_rsa_key_usage = "key usage is always enforced";
    }
    envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext {
        carried: common_tls_context, require_client_certificate, disable_stateless_session_resumption;
        limited: require_sni = "false";
        irrelevant: full_scan_certs_on_sni_mismatch = "a certificate is always looked for among all";
    }
    envoy.extensions.transport_sockets.tls.v3.CommonTlsContext {
        carried: tls_params, tls_certificates, tls_certificate_sds_secret_configs, validation_context,
            validation_context_sds_secret_config, combined_validation_context, alpn_protocols;
    }
    envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext {
        carried: default_validation_context, validation_context_sds_secret_config;
    }
    envoy.extensions.transport_sockets.tls.v3.TlsParameters {
        carried: ecdh_curves;
        limited: tls_minimum_protocol_version = "TLSv1_2, TLSv1_3",
            tls_maximum_protocol_version = "TLSv1_2, TLSv1_3",
            cipher_suites = "suites without forward secrecy or AEAD may be named but are never negotiated; one that can be \
                is needed";
    }
    envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig {
        carried: name, sds_config;
    }
    envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext {
        carried: trusted_ca, crl, match_typed_subject_alt_names, match_subject_alt_names, verify_certificate_spki,
            verify_certificate_hash, trust_chain_verification;
    }
    envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher {
        carried: matcher;
        limited: san_type = "EMAIL, DNS, URI, IP_ADDRESS";
    }
}

/// TLS toward clients, if the socket of a filter chain is not plaintext.
pub(super) fn downstream(value: Option<&TransportSocket>, cx: &Context<'_>) -> Translated<Option<Arc<ServerTls>>> {
    let Some(config) = typed_config(value)? else { return Ok(None) };
    if any::is::<RawBuffer>(config) {
        return Ok(None);
    }
    if !any::is::<DownstreamTlsContext>(config) {
        return refuse_field("typed_config", format!("transport socket {} is not carried", config.type_url));
    }
    let context: DownstreamTlsContext = unpack(config).at("typed_config")?;
    server(&context, cx).at("typed_config").map(|tls| Some(Arc::new(tls)))
}

/// The transport toward hosts of a cluster.
pub(super) fn upstream(value: Option<&TransportSocket>, cx: &Context<'_>) -> Translated<UpstreamSocket> {
    let Some(config) = typed_config(value)? else { return Ok(UpstreamSocket::Plain) };
    if any::is::<RawBuffer>(config) {
        return Ok(UpstreamSocket::Plain);
    }
    if !any::is::<UpstreamTlsContext>(config) {
        return refuse_field("typed_config", format!("transport socket {} is not carried", config.type_url));
    }
    let context: UpstreamTlsContext = unpack(config).at("typed_config")?;
    client(&context, cx).at("typed_config").map(|tls| UpstreamSocket::Tls(Arc::new(tls)))
}

/// Some control planes name the raw buffer without a configuration.
fn typed_config(value: Option<&TransportSocket>) -> Translated<Option<&any::Any>> {
    match value {
        None => Ok(None),
        Some(TransportSocket { config_type: Some(ConfigType::TypedConfig(config)), .. }) => Ok(Some(config)),
        Some(TransportSocket { name, .. }) if name == "envoy.transport_sockets.raw_buffer" || name == "raw_buffer" => {
            Ok(None)
        }
        Some(_) => refuse_field("typed_config", "is required"),
    }
}

fn server(value: &DownstreamTlsContext, cx: &Context<'_>) -> Translated<ServerTls> {
    if value.require_sni == Some(true) {
        return refuse_field("require_sni", "only false is carried");
    }
    let common = present(value.common_tls_context.as_ref(), "common_tls_context")?;
    let common = common_tls(common, cx).at("common_tls_context")?;
    if common.certificates.is_empty() {
        return refuse_field("common_tls_context", "no TLS certificates found: a server needs one");
    }
    let require_client_certificate = value.require_client_certificate.unwrap_or(false);
    let disable_session_tickets =
        matches!(value.session_ticket_keys_type, Some(SessionTicketKeysType::DisableStatelessSessionResumption(true)));
    Ok(ServerTls { common, require_client_certificate, disable_session_tickets })
}

fn client(value: &UpstreamTlsContext, cx: &Context<'_>) -> Translated<ClientTls> {
    let default = CommonTlsContext::default();
    let common = value.common_tls_context.as_ref().unwrap_or(&default);
    let common = common_tls(common, cx).at("common_tls_context")?;
    if common.certificates.len() > 1 {
        return refuse_field("common_tls_context.tls_certificates", "a client presents one certificate at most");
    }
    if value.sni.len() > 255 {
        return refuse_field("sni", "is longer than 255 bytes");
    }
    Ok(ClientTls { common, sni: value.sni.clone(), auto_host_sni: value.auto_host_sni })
}

fn common_tls(value: &CommonTlsContext, cx: &Context<'_>) -> Translated<TlsCommon> {
    let mut common = TlsCommon {
        certificates: certificates(value, cx)?,
        validation: validation(value, cx)?,
        alpn: value.alpn_protocols.iter().map(|protocol| protocol.clone().into_bytes()).collect(),
        ..TlsCommon::default()
    };
    if let Some(at) = common.alpn.iter().position(|protocol| protocol.is_empty() || protocol.len() > 255) {
        return refuse_field(format!("alpn_protocols[{at}]"), "must have 1 to 255 bytes");
    }
    if let Some(params) = &value.tls_params {
        parameters(params, &mut common).at("tls_params")?;
    }
    Ok(common)
}

fn certificates(value: &CommonTlsContext, cx: &Context<'_>) -> Translated<Vec<CertificateSource>> {
    let mut found = Vec::new();
    for (i, certificate) in value.tls_certificates.iter().enumerate() {
        let value = secret::tls_certificate(certificate).at(format_args!("tls_certificates[{i}]"))?;
        found.push(CertificateSource::Static(Arc::new(Secret { name: String::new(), value })));
    }
    for (i, config) in value.tls_certificate_sds_secret_configs.iter().enumerate() {
        let source = sds(config, cx).at(format_args!("tls_certificate_sds_secret_configs[{i}]"))?;
        found.push(match source {
            Sds::Here(secret) => CertificateSource::Static(secret),
            Sds::Dynamic(reference) => CertificateSource::Sds(reference),
        });
    }
    Ok(found)
}

/// What an SDS configuration stands for: without a source, a secret of the bootstrap.
enum Sds {
    Here(Arc<Secret>),
    Dynamic(SecretRef),
}

fn sds(value: &SdsSecretConfig, cx: &Context<'_>) -> Translated<Sds> {
    let name = required(&value.name, "name")?;
    let Some(source) = &value.sds_config else {
        return match cx.secrets.get(name) {
            Some(secret) => Ok(Sds::Here(secret.clone())),
            None => refuse_field("name", format!("{name}: no such secret in static_resources.secrets")),
        };
    };
    let source = cx.needs(TypeUrl::SECRET, name, source).at("sds_config")?;
    Ok(Sds::Dynamic(SecretRef { name: name.to_owned(), source }))
}

fn validation(value: &CommonTlsContext, cx: &Context<'_>) -> Translated<Option<ValidationSource>> {
    match &value.validation_context_type {
        None => Ok(None),
        Some(ValidationContextType::ValidationContext(context)) => {
            let mut source = requirements(context).at("validation_context")?;
            if context.trusted_ca.is_some() {
                let value = secret::roots(context).at("validation_context")?;
                source.roots = Some(Arc::new(Secret { name: String::new(), value }));
            } else if !source.sans.is_empty() && !source.accept_untrusted {
                let reason =
                    "SAN-based verification of peer certificates without trusted CA is insecure and not allowed";
                return refuse_field("validation_context", reason);
            }
            // An empty context verifies nothing, as in Envoy.
            let verifies =
                source.roots.is_some() || !source.certificate_hashes.is_empty() || !source.spki_hashes.is_empty();
            Ok(verifies.then_some(source))
        }
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => {
            let empty = CertificateValidationContext::default();
            with_sds(&empty, config, cx).at("validation_context_sds_secret_config").map(Some)
        }
        Some(ValidationContextType::CombinedValidationContext(both)) => {
            let default = present(
                both.default_validation_context.as_ref(),
                "combined_validation_context.default_validation_context",
            )?;
            let config = present(
                both.validation_context_sds_secret_config.as_ref(),
                "combined_validation_context.validation_context_sds_secret_config",
            )?;
            if default.trusted_ca.is_some() || default.crl.is_some() {
                return refuse_field(
                    "combined_validation_context.default_validation_context",
                    "trusted_ca and crl are carried in the secret only",
                );
            }
            with_sds(default, config, cx).at("combined_validation_context").map(Some)
        }
        Some(_) => refuse("this kind of validation context is not carried"),
    }
}

fn with_sds(
    context: &CertificateValidationContext,
    config: &SdsSecretConfig,
    cx: &Context<'_>,
) -> Translated<ValidationSource> {
    let mut source = requirements(context)?;
    match sds(config, cx)? {
        Sds::Here(secret) => source.roots = Some(secret),
        Sds::Dynamic(reference) => source.sds = Some(reference),
    }
    Ok(source)
}

/// What is required of the peer beyond roots.
fn requirements(value: &CertificateValidationContext) -> Translated<ValidationSource> {
    let verification: TrustChainVerification = enumeration(value.trust_chain_verification, "trust_chain_verification")?;
    Ok(ValidationSource {
        roots: None,
        sds: None,
        sans: sans(value)?,
        accept_untrusted: verification == TrustChainVerification::AcceptUntrusted,
        certificate_hashes: hashes(&value.verify_certificate_hash, "verify_certificate_hash", from_hex)?,
        spki_hashes: hashes(&value.verify_certificate_spki, "verify_certificate_spki", from_base64)?,
    })
}

/// SAN matchers. Those of the older untyped form look at every kind of name.
pub(super) fn sans(value: &CertificateValidationContext) -> Translated<Vec<SanMatcher>> {
    let mut found = Vec::new();
    for (i, san) in value.match_typed_subject_alt_names.iter().enumerate() {
        let field = format!("match_typed_subject_alt_names[{i}]");
        let san_type = match enumeration(san.san_type, "san_type").at(&field)? {
            ProtoSan::Email => SanType::Email,
            ProtoSan::Dns => SanType::Dns,
            ProtoSan::Uri => SanType::Uri,
            ProtoSan::IpAddress => SanType::Ip,
            ProtoSan::OtherName => return refuse_field(format!("{field}.san_type"), "OTHER_NAME is not carried"),
            ProtoSan::Unspecified => return refuse_field(format!("{field}.san_type"), "is required"),
        };
        let matcher = present(san.matcher.as_ref(), "matcher").at(&field)?;
        found.push(SanMatcher { san_type, matcher: string_matcher(matcher).at("matcher").at(&field)? });
    }
    for (i, matcher) in value.match_subject_alt_names.iter().enumerate() {
        let matcher = string_matcher(matcher).at(format_args!("match_subject_alt_names[{i}]"))?;
        let types = [SanType::Dns, SanType::Uri, SanType::Email, SanType::Ip];
        found.extend(types.map(|san_type| SanMatcher { san_type, matcher: matcher.clone() }));
    }
    Ok(found)
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

/// Standard Base64 of 32 bytes: 43 digits and a padding.
fn from_base64(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_suffix('=')?;
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::with_capacity(32));
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    (digits.len() == 43).then(|| bytes.try_into().ok()).flatten()
}

fn parameters(value: &TlsParameters, common: &mut TlsCommon) -> Translated<()> {
    common.min_version = protocol(value.tls_minimum_protocol_version, "tls_minimum_protocol_version")?;
    common.max_version = protocol(value.tls_maximum_protocol_version, "tls_maximum_protocol_version")?;
    let lowest = common.min_version.unwrap_or(TlsVersion::V1_2);
    // A client's highest version is TLS 1.2 by Envoy's default, a server's 1.3; rustls offers both either way.
    if common.max_version.is_some_and(|highest| highest < lowest) {
        return refuse_field("tls_maximum_protocol_version", "is below tls_minimum_protocol_version");
    }
    common.cipher_suites = cipher_suites(&value.cipher_suites)?;
    for (i, curve) in value.ecdh_curves.iter().enumerate() {
        if !GROUPS.contains(&curve.as_str()) {
            return refuse_field(format!("ecdh_curves[{i}]"), format!("{curve} is not carried"));
        }
        common.groups.push(curve.clone());
    }
    Ok(())
}

fn protocol(value: i32, field: &str) -> Translated<Option<TlsVersion>> {
    Ok(match enumeration(value, field)? {
        TlsProtocol::TlsAuto => None,
        TlsProtocol::TlSv12 => Some(TlsVersion::V1_2),
        TlsProtocol::TlSv13 => Some(TlsVersion::V1_3),
        TlsProtocol::TlSv10 | TlsProtocol::TlSv11 => return refuse_field(field, "TLS below 1.2 is not spoken"),
    })
}

/// Key exchange groups by OpenSSL's names.
const GROUPS: &[&str] = &["X25519", "P-256", "P-384", "P-521", "X25519MLKEM768"];

/// TLS 1.2 suites that can be negotiated, by OpenSSL's names.
const CIPHER_SUITES: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// Suites Envoy knows beyond these: no forward secrecy or no AEAD. Not offering them only narrows the choice.
const NEVER_NEGOTIATED: &[&str] = &[
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
];

fn cipher_suites(values: &[String]) -> Translated<Vec<String>> {
    let mut found = Vec::new();
    for (i, value) in values.iter().enumerate() {
        // Suites of equal preference stand in brackets.
        for suite in value.trim_start_matches('[').trim_end_matches(']').split('|') {
            if CIPHER_SUITES.contains(&suite) {
                found.push(suite.to_owned());
            } else if !NEVER_NEGOTIATED.contains(&suite) {
                return refuse_field(format!("cipher_suites[{i}]"), format!("{suite} is not known"));
            }
        }
    }
    if found.is_empty() && !values.is_empty() {
        return refuse_field(
            "cipher_suites",
            format!("none can be negotiated; known are {}", CIPHER_SUITES.join(", ")),
        );
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{cipher_suites, from_base64, from_hex};

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

    #[test]
    fn cipher_suites_of_istio_are_taken() {
        let suites = |names: &[&str]| cipher_suites(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        let found = suites(&["ECDHE-ECDSA-AES256-GCM-SHA384", "AES256-GCM-SHA384"]).unwrap();
        assert_eq!(found, ["ECDHE-ECDSA-AES256-GCM-SHA384"]);
        let pair = suites(&["[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]"]).unwrap();
        assert_eq!(pair.len(), 2);
        assert!(suites(&["AES128-SHA"]).is_err());
        assert!(suites(&["FOO"]).is_err());
    }
}
