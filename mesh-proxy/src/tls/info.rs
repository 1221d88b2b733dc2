use std::{net::IpAddr, sync::Arc};

use rustls::CommonState;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::KeyUsage;
use x509_parser::{
    asn1_rs::{Any, Tag},
    prelude::{FromDer, GeneralName, X509Certificate, X509Name},
};

use super::{client::BuiltClient, provider::openssl_name, server::BuiltServer, verify::PeerVerifier};
use crate::{filter::TlsInfo, hash::sha256};

/// Subject alternative names of a certificate.
#[derive(Clone, Debug, Default)]
pub(super) struct SubjectNames {
    pub(super) uris: Vec<String>,
    pub(super) dns: Vec<String>,
    pub(super) emails: Vec<String>,
    pub(super) ips: Vec<String>,
    /// Type in dotted form, and value; of those whose value is text.
    pub(super) others: Vec<(String, String)>,
}

impl SubjectNames {
    /// `None` if the certificate cannot be read.
    pub(super) fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self::of(&certificate))
    }

    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut names = Self::default();
        let Ok(Some(extension)) = certificate.subject_alternative_name() else { return names };
        for name in &extension.value.general_names {
            match name {
                GeneralName::URI(text) => names.uris.push((*text).to_owned()),
                GeneralName::DNSName(text) => names.dns.push((*text).to_owned()),
                GeneralName::RFC822Name(text) => names.emails.push((*text).to_owned()),
                GeneralName::IPAddress(bytes) => names.ips.extend(ip(bytes).map(|ip| ip.to_string())),
                GeneralName::OtherName(oid, value) => {
                    names.others.extend(other_name(value).map(|text| (oid.to_id_string(), text)));
                }
                _ => {}
            }
        }
        names
    }

    /// Whether a DNS SAN is this very name.
    pub(super) fn has_dns(&self, name: &str) -> bool {
        self.dns.iter().any(|san| san.eq_ignore_ascii_case(name))
    }

    /// Whether a DNS SAN is this name or the wildcard of its domain.
    pub(super) fn dns_matches(&self, name: &str) -> bool {
        let domain = name.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, domain)| domain);
        self.dns.iter().any(|san| match san.strip_prefix("*.") {
            Some(wild) => domain.is_some_and(|domain| domain.eq_ignore_ascii_case(wild)),
            None => san.eq_ignore_ascii_case(name),
        })
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The text in an otherName: `[0] EXPLICIT`, and in it a string of some kind.
fn other_name(value: &[u8]) -> Option<String> {
    let (_, explicit) = Any::from_der(value).ok()?;
    let (_, inner) = Any::from_der(explicit.data).ok()?;
    match inner.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::VisibleString | Tag::OctetString => {
            std::str::from_utf8(inner.data).ok().map(str::to_owned)
        }
        Tag::BmpString => {
            let units: Vec<u16> =
                inner.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

/// What the admin API tells of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Serial number, lower case hex.
    pub serial: String,
    /// Subject, RFC 2253.
    pub subject: String,
    /// URI SANs.
    pub uris: Vec<String>,
    /// DNS SANs.
    pub dns: Vec<String>,
    /// IP address SANs.
    pub ips: Vec<String>,
    /// Start of validity, seconds since the Unix epoch.
    pub not_before: i64,
    /// End of validity, seconds since the Unix epoch.
    pub not_after: i64,
}

/// Facts of a certificate; `None` if it cannot be read.
#[must_use]
pub fn certificate_facts(der: &CertificateDer<'_>) -> Option<CertificateFacts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = SubjectNames::of(&certificate);
    Some(CertificateFacts {
        serial: hex(certificate.raw_serial()),
        subject: subject(certificate.subject()),
        uris: names.uris,
        dns: names.dns,
        ips: names.ips,
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
    })
}

/// Facts of a connection accepted with `built`.
pub(crate) fn server_info(connection: &CommonState, built: &BuiltServer, now: UnixTime) -> Arc<TlsInfo> {
    info(connection, &built.verifier, &built.local_uris, now, KeyUsage::client_auth())
}

/// Facts of a connection made with `built`.
pub(crate) fn client_info(connection: &CommonState, built: &BuiltClient, now: UnixTime) -> Arc<TlsInfo> {
    info(connection, &built.verifier, &built.local_uris, now, KeyUsage::server_auth())
}

fn info(
    connection: &CommonState,
    verifier: &PeerVerifier,
    local_uris: &[String],
    now: UnixTime,
    usage: KeyUsage,
) -> Arc<TlsInfo> {
    let mut info = TlsInfo {
        local_uris: local_uris.to_vec(),
        version: match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        },
        cipher: connection.negotiated_cipher_suite().map(|s| openssl_name(s.suite())).unwrap_or_default(),
        alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        ..TlsInfo::default()
    };
    let Some(chain) = connection.peer_certificates() else { return Arc::new(info) };
    let Some((leaf, intermediates)) = chain.split_first() else { return Arc::new(info) };
    info.peer_fingerprint = hex(&sha256(leaf));
    if let Ok((_, certificate)) = X509Certificate::from_der(leaf) {
        let names = SubjectNames::of(&certificate);
        info.peer_uris = names.uris;
        info.peer_dns = names.dns;
        info.peer_subject = subject(certificate.subject());
        info.peer_issuer = subject(certificate.issuer());
    }
    // With `accept_untrusted` the handshake says nothing about the chain.
    info.peer_verified = verifier.asks()
        && (!verifier.accepts_untrusted() || verifier.verify(leaf, intermediates, now, usage, None).is_ok());
    info.peer_chain = chain.to_vec();
    Arc::new(info)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// RFC 2253: last RDN first, joined with commas.
fn subject(name: &X509Name<'_>) -> String {
    let registry = x509_parser::objects::oid_registry();
    let rdns: Vec<_> = name.iter_rdn().collect();
    let one = |rdn: &&x509_parser::x509::RelativeDistinguishedName<'_>| {
        let attributes = rdn.iter().map(|attribute| {
            let key = x509_parser::objects::oid2abbrev(attribute.attr_type(), registry)
                .map_or_else(|_| attribute.attr_type().to_id_string(), str::to_owned);
            format!("{key}={}", escape(attribute.as_str().unwrap_or_default()))
        });
        attributes.collect::<Vec<_>>().join("+")
    };
    rdns.iter().rev().map(one).collect::<Vec<_>>().join(",")
}

/// RFC 2253 section 2.4.
fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        let edge = (i == 0 && matches!(c, ' ' | '#')) || (i == last && c == ' ');
        if edge || matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}
