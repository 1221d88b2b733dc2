//! What the admin interface is shown.

use mesh_xds_api::{
    TypeUrl,
    any::{self, Any},
    envoy::{
        config::core::v3::{DataSource, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, Secret as ProtoSecret, TlsCertificate, secret::Type,
        },
    },
};
use rustls_pki_types::CertificateDer;

use super::Core;
use crate::{
    admin::{ConfigDump, ResourceDump, ResourceVersion},
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
    };
    any::pack(&ProtoSecret { name: value.name.clone(), r#type: Some(content) })
}

/// Certificates in PEM (RFC 7468).
fn pem(certificates: &[CertificateDer<'_>]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for der in certificates {
        out.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in der.chunks(48) {
            for group in line.chunks(3) {
                let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
                let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
                for digit in 0..4_usize {
                    // Six bits always index the table.
                    let at = (bits >> (18 - 6 * digit) & 63) as usize;
                    out.push(if digit <= group.len() { char::from(DIGITS[at]) } else { '=' });
                }
            }
            out.push('\n');
        }
        out.push_str("-----END CERTIFICATE-----\n");
    }
    out
}
