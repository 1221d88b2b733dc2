//! TLS contexts.

mod certificates;
mod parameters;
mod resumption;
mod validation;

use mesh_xds_api::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, TlsKeyLog, UpstreamTlsContext, downstream_tls_context::OcspStaplePolicy,
};

pub(super) use self::validation::{VALIDATION, trust};
use super::{
    error::{At as _, Translated, refuse_field},
    source::Context,
    value::{cidrs, enumeration, present, required},
};
use crate::{
    model::{ClientTls, KeyLogFile, ServerTls, TlsCommon},
    supported,
};

supported! {
    /// TLS contexts.
    pub(super) static TLS =
    envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext {
        carried: common_tls_context, sni, auto_host_sni, auto_sni_san_validation, max_session_keys;
        limited: allow_renegotiation = "false: a handshake is never renegotiated";
        irrelevant: enforce_rsa_key_usage = "key usage is always enforced";
    }
    envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext {
        carried: common_tls_context, require_client_certificate, disable_stateless_session_resumption,
            disable_stateful_session_resumption, session_ticket_keys, session_ticket_keys_sds_secret_config,
            session_timeout, prefer_client_ciphers;
        limited: require_sni = "false",
            ocsp_staple_policy = "LENIENT_STAPLING, STRICT_STAPLING: there are no staples, of which alone the second speaks";
        irrelevant: full_scan_certs_on_sni_mismatch = "a certificate is always looked for among all";
    }
    envoy.extensions.transport_sockets.tls.v3.CommonTlsContext {
        carried: tls_params, tls_certificates, tls_certificate_sds_secret_configs, validation_context,
            validation_context_sds_secret_config, combined_validation_context, alpn_protocols, key_log;
    }
    envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext {
        carried: default_validation_context, validation_context_sds_secret_config;
    }
    envoy.extensions.transport_sockets.tls.v3.TlsKeyLog {
        carried: path, local_address_range, remote_address_range;
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
}

/// TLS toward clients.
pub(super) fn server(value: &DownstreamTlsContext, cx: &Context<'_>) -> Translated<ServerTls> {
    if value.require_sni == Some(true) {
        return refuse_field("require_sni", "only false is carried");
    }
    if enumeration::<OcspStaplePolicy>(value.ocsp_staple_policy, "ocsp_staple_policy")? == OcspStaplePolicy::MustStaple
    {
        return refuse_field("ocsp_staple_policy", "MUST_STAPLE is not carried");
    }
    let common = present(value.common_tls_context.as_ref(), "common_tls_context")?;
    let common = common_tls(common, cx).at("common_tls_context")?;
    if common.certificates.is_empty() {
        return refuse_field("common_tls_context", "no TLS certificates found: a server needs one");
    }
    Ok(ServerTls {
        common,
        require_client_certificate: value.require_client_certificate.unwrap_or(false),
        resumption: resumption::resumption(value, cx)?,
        prefer_client_ciphers: value.prefer_client_ciphers,
    })
}

/// TLS toward hosts.
pub(super) fn client(value: &UpstreamTlsContext, cx: &Context<'_>) -> Translated<ClientTls> {
    if value.allow_renegotiation {
        return refuse_field("allow_renegotiation", "only false is carried");
    }
    let default = CommonTlsContext::default();
    let common = value.common_tls_context.as_ref().unwrap_or(&default);
    let common = common_tls(common, cx).at("common_tls_context")?;
    if common.certificates.len() > 1 {
        return refuse_field("common_tls_context.tls_certificates", "a client presents one certificate at most");
    }
    if value.sni.len() > 255 {
        return refuse_field("sni", "is longer than 255 bytes");
    }
    if value.auto_sni_san_validation && common.validation.is_none() {
        return refuse_field("auto_sni_san_validation", "needs a trusted CA: a name without a chain proves nothing");
    }
    Ok(ClientTls {
        common,
        sni: value.sni.clone(),
        auto_host_sni: value.auto_host_sni,
        auto_sni_san: value.auto_sni_san_validation,
        max_session_keys: value.max_session_keys,
    })
}

fn common_tls(value: &CommonTlsContext, cx: &Context<'_>) -> Translated<TlsCommon> {
    let mut common = TlsCommon {
        certificates: certificates::certificates(value, cx)?,
        validation: validation::validation(value, cx)?,
        alpn: value.alpn_protocols.iter().map(|protocol| protocol.clone().into_bytes()).collect(),
        key_log: value.key_log.as_ref().map(key_log).transpose().at("key_log")?,
        ..TlsCommon::default()
    };
    if let Some(at) = common.alpn.iter().position(|protocol| protocol.is_empty() || protocol.len() > 255) {
        return refuse_field(format!("alpn_protocols[{at}]"), "must have 1 to 255 bytes");
    }
    if let Some(params) = &value.tls_params {
        parameters::parameters(params, &mut common).at("tls_params")?;
    }
    Ok(common)
}

fn key_log(value: &TlsKeyLog) -> Translated<KeyLogFile> {
    Ok(KeyLogFile {
        path: required(&value.path, "path")?.into(),
        local: cidrs(&value.local_address_range, "local_address_range")?,
        remote: cidrs(&value.remote_address_range, "remote_address_range")?,
    })
}
