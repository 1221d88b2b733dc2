//! Own certificates, and secrets by SDS.

use std::sync::Arc;

use mesh_xds_api::{
    TypeUrl,
    envoy::extensions::transport_sockets::tls::v3::{CommonTlsContext, SdsSecretConfig},
};

use crate::{
    config::{
        error::{At as _, Translated, refuse_field},
        secret,
        source::Context,
        value::required,
    },
    model::{CertificateSource, Secret, SecretRef},
};

pub(super) fn certificates(value: &CommonTlsContext, cx: &Context<'_>) -> Translated<Vec<CertificateSource>> {
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
pub(super) enum Sds {
    Here(Arc<Secret>),
    Dynamic(SecretRef),
}

pub(super) fn sds(value: &SdsSecretConfig, cx: &Context<'_>) -> Translated<Sds> {
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
