//! What the admin interface is shown.

use mesh_xds_api::{
    TypeUrl,
    any::{self, Any},
    envoy::{
        config::core::v3::{DataSource, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, Secret as ProtoSecret, TlsCertificate, TlsSessionTicketKeys, secret::Type,
        },
    },
};
use rustls_pki_types::CertificateDer;

use super::Core;
use crate::{
    admin::{ConfigDump, ResourceDump, ResourceVersion},
    base64,
    model::{Secret, SecretValue},
};

impl Core {
    /// Everything held, as it came.
    pub(crate) fn dump(&self) -> ConfigDump {
        let mut secrets = self.needs.dump(&TypeUrl::SECRET);
        secrets.resources.extend(self.bootstrap.raw_secrets.iter().map(|held| ResourceDump {
            name: held.name.clone(),
            is_static: true,
            active: Some(ResourceVersion {
                version: String::new(),
                config: held.raw.clone(),
                updated: self.started_at,
            }),
            ..ResourceDump::default()
        }));
        ConfigDump {
            bootstrap: Some((self.bootstrap.raw.clone(), self.started_at)),
            clusters: self.clusters.dump(),
            listeners: self.listeners.dump(),
            routes: self.needs.dump(&TypeUrl::ROUTE),
            endpoints: self.needs.dump(&TypeUrl::ENDPOINT),
            secrets,
        }
    }
}

/// A secret without its key, so that no key is held for showing it.
pub(super) fn secret(value: &Secret) -> Any {
    let inline =
        |text: String| Some(DataSource { specifier: Some(Specifier::InlineString(text)), ..Default::default() });
    let content = match &value.value {
        SecretValue::Certificate { chain, .. } => Type::TlsCertificate(TlsCertificate {
            certificate_chain: inline(pem(chain)),
            private_key: inline("[redacted]".to_owned()),
            ..Default::default()
        }),
        SecretValue::Validation { roots, .. } => Type::ValidationContext(CertificateValidationContext {
            trusted_ca: inline(pem(roots)),
            ..Default::default()
        }),
        SecretValue::SessionTicketKeys(keys) => Type::SessionTicketKeys(TlsSessionTicketKeys {
            keys: keys.iter().filter_map(|_| inline("[redacted]".to_owned())).collect(),
        }),
    };
    any::pack(&ProtoSecret { name: value.name.clone(), r#type: Some(content) })
}

/// Certificates in PEM (RFC 7468).
fn pem(certificates: &[CertificateDer<'_>]) -> String {
    let mut out = String::new();
    for der in certificates {
        out.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in der.chunks(48) {
            out.push_str(&base64::encode(line));
            out.push('\n');
        }
        out.push_str("-----END CERTIFICATE-----\n");
    }
    out
}
