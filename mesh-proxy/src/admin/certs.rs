use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use x509_parser::{
    extensions::GeneralName,
    prelude::{ASN1Time, FromDer, X509Certificate},
};

use super::dump::timestamp;
use crate::model::{Secret, SecretValue};

/// `envoy.admin.v3.Certificates`: own chains and trusted roots.
pub(super) fn json(secrets: &[Arc<Secret>], now: SystemTime) -> Value {
    let one = |secret: &Arc<Secret>| {
        let list = |certificates: &[CertificateDer<'static>]| -> Vec<Value> {
            certificates.iter().filter_map(|certificate| details(&secret.name, certificate, now)).collect()
        };
        match &secret.value {
            SecretValue::Certificate { chain, .. } => json!({"ca_cert": [], "cert_chain": list(chain)}),
            SecretValue::Validation { roots, .. } => json!({"ca_cert": list(roots), "cert_chain": []}),
            SecretValue::SessionTicketKeys(_) => Value::Null,
        }
    };
    json!({ "certificates": secrets.iter().map(one).filter(|one| !one.is_null()).collect::<Vec<_>>() })
}

/// One certificate; `None` if it cannot be read. Its `path` is the name of the secret, or `<inline>`.
fn details(name: &str, certificate: &CertificateDer<'_>, now: SystemTime) -> Option<Value> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    let (from, to) = (instant(validity.not_before), instant(validity.not_after));
    let days = to.duration_since(now).map_or(0, |left| left.as_secs() / 86_400);
    let names = certificate.subject_alternative_name().ok().flatten();
    let names: Vec<Value> = names.iter().flat_map(|names| &names.value.general_names).filter_map(san).collect();
    let serial: String = certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(json!({
        "path": if name.is_empty() { "<inline>" } else { name },
        "serial_number": serial.trim_start_matches("00"),
        "subject_alt_names": names,
        "days_until_expiration": days.to_string(),
        "valid_from": timestamp(from),
        "expiration_time": timestamp(to),
    }))
}

fn instant(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    match u64::try_from(seconds) {
        Ok(seconds) => UNIX_EPOCH + Duration::from_secs(seconds),
        Err(_) => UNIX_EPOCH - Duration::from_secs(seconds.unsigned_abs()),
    }
}

fn san(name: &GeneralName<'_>) -> Option<Value> {
    match name {
        GeneralName::DNSName(name) => Some(json!({ "dns": name })),
        GeneralName::URI(name) => Some(json!({ "uri": name })),
        GeneralName::IPAddress(bytes) => {
            let ip = <[u8; 4]>::try_from(*bytes)
                .map(IpAddr::from)
                .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            ip.ok().map(|ip| json!({ "ip_address": ip.to_string() }))
        }
        _ => None,
    }
}
