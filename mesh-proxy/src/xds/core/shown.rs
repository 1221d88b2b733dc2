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

use super::{Core, redact::redact};
use crate::{
    model::{Secret, SecretValue},
    xds::dump::{ConfigDump, DumpEntry, DumpState},
};

impl Core {
    /// Everything held, as it came.
    pub(crate) fn dump(&self) -> ConfigDump {
        let mut clusters = self.clusters.dump();
        clusters.sort_by(|a, b| a.name.cmp(&b.name));
        let mut secrets = self.needs.dump(&TypeUrl::SECRET);
        secrets.extend(self.bootstrap.secrets.iter().map(|held| DumpEntry {
            name: held.name.clone(),
            version: String::new(),
            raw: Some(secret(held)),
            updated: std::time::SystemTime::UNIX_EPOCH,
            state: DumpState::Static,
            failure: None,
        }));
        ConfigDump {
            bootstrap: redact(&self.bootstrap.raw),
            clusters: masked(clusters),
            listeners: masked(self.listeners.dump()),
            routes: self.needs.dump(&TypeUrl::ROUTE),
            endpoints: self.needs.dump(&TypeUrl::ENDPOINT),
            secrets,
        }
    }
}

fn masked(mut entries: Vec<DumpEntry>) -> Vec<DumpEntry> {
    for entry in &mut entries {
        entry.raw = entry.raw.as_ref().map(redact);
    }
    entries
}

/// A secret without its key.
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
