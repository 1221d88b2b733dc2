//! The rules of TLS settings of servers.

use std::collections::BTreeSet;

use super::Findings;
use crate::{
    model::{ServerTlsMode, ServerTlsSettings, TlsProtocol},
    path::FieldPath,
};

/// Cipher suites by the names that Envoy takes. Source: Istio's `pkg/config/security`.
const CIPHERS: [&str; 14] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
    "AES256-SHA",
    "AES128-SHA",
];

fn is_given(text: Option<&String>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

/// Checks how a server does TLS.
pub(super) fn validate(path: FieldPath<'_>, tls: &ServerTlsSettings, findings: &mut Findings<'_>) {
    ciphers(path.field("cipherSuites"), &tls.cipher_suites, findings);
    let (least, most) = (tls.min_protocol_version, tls.max_protocol_version);
    if let (Some(least), Some(most)) = (least, most)
        && most != TlsProtocol::Auto
        && least > most
    {
        findings.error(path.field("maxProtocolVersion"), "the highest version is below the lowest");
    }
    match tls.mode {
        ServerTlsMode::IstioMutual => own_certificate(path, tls, findings),
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => {
            if is_given(tls.server_certificate.as_ref()) || is_given(tls.private_key.as_ref()) || has_secret(tls) {
                findings.warning(path, "certificates have no effect: TLS is not terminated in this mode");
            }
        }
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
            certificates(path, tls, findings);
        }
    }
}

fn has_secret(tls: &ServerTlsSettings) -> bool {
    is_given(tls.credential_name.as_ref()) || !tls.credential_names.is_empty()
}

fn own_certificate(path: FieldPath<'_>, tls: &ServerTlsSettings, findings: &mut Findings<'_>) {
    for (field, given) in [
        ("serverCertificate", is_given(tls.server_certificate.as_ref())),
        ("privateKey", is_given(tls.private_key.as_ref())),
        ("caCertificates", is_given(tls.ca_certificates.as_ref())),
        ("caCrl", is_given(tls.ca_crl.as_ref())),
        ("credentialName", is_given(tls.credential_name.as_ref())),
        ("credentialNames", !tls.credential_names.is_empty()),
        ("tlsCertificates", !tls.tls_certificates.is_empty()),
    ] {
        if given {
            findings.error(path.field(field), format_args!("{field} and ISTIO_MUTUAL exclude each other"));
        }
    }
}

fn certificates(path: FieldPath<'_>, tls: &ServerTlsSettings, findings: &mut Findings<'_>) {
    const MOST: usize = 2;
    let certificate = is_given(tls.server_certificate.as_ref());
    let key = is_given(tls.private_key.as_ref());
    let mutual = tls.mode != ServerTlsMode::Simple;
    let sources = [
        ("credentialName", is_given(tls.credential_name.as_ref())),
        ("credentialNames", !tls.credential_names.is_empty()),
        ("serverCertificate", certificate && key),
        ("tlsCertificates", !tls.tls_certificates.is_empty()),
    ];
    let given: Vec<&str> = sources.iter().filter(|(_, given)| *given).map(|(field, _)| *field).collect();
    if let [first, others @ ..] = given.as_slice() {
        for other in others {
            findings.error(path.field(other), format_args!("{first} and {other} exclude each other: keep one"));
        }
    }
    for (field, count) in
        [("credentialNames", tls.credential_names.len()), ("tlsCertificates", tls.tls_certificates.len())]
    {
        if count > MOST {
            findings.warning(path.field(field), "only the first two count: one for RSA, one for ECDSA");
        }
    }
    if has_secret(tls) {
        return;
    }
    if !mutual && is_given(tls.ca_crl.as_ref()) {
        findings
            .error(path.field("caCrl"), "a list of revoked certificates has no effect for SIMPLE: clients show none");
    }
    if is_given(tls.ca_cert_credential_name.as_ref()) && !certificate && tls.tls_certificates.is_empty() {
        findings.error(path, "credentialName is required with caCertCredentialName");
    }
    if tls.tls_certificates.is_empty() {
        for (field, _) in [("serverCertificate", certificate), ("privateKey", key)].iter().filter(|(_, given)| !given) {
            findings.error(path, format_args!("{field} is required, unless there is a credentialName"));
        }
    }
    let entries = path.field("tlsCertificates");
    for (index, entry) in tls.tls_certificates.iter().enumerate() {
        if !is_given(entry.server_certificate.as_ref()) || !is_given(entry.private_key.as_ref()) {
            findings.error(entries.index(index), "serverCertificate and privateKey are required");
        }
    }
    let own = tls.tls_certificates.iter().any(|entry| is_given(entry.ca_certificates.as_ref()));
    let authorities = is_given(tls.ca_certificates.as_ref()) || is_given(tls.ca_cert_credential_name.as_ref()) || own;
    if mutual && !authorities {
        findings.error(path, "caCertificates is required to verify clients, unless there is a credentialName");
    }
}

fn ciphers(path: FieldPath<'_>, suites: &[String], findings: &mut Findings<'_>) {
    let mut seen = BTreeSet::new();
    for (index, suite) in suites.iter().enumerate() {
        let at = path.index(index);
        let name = suite.trim_start_matches(['-', '+', '!']);
        if !CIPHERS.contains(&name) && name != "ALL" {
            findings.warning(at, format_args!("the cipher suite {suite:?} is unknown and left out"));
        } else if !seen.insert(suite) {
            findings.warning(at, format_args!("the cipher suite {suite:?} stands twice"));
        }
    }
}
