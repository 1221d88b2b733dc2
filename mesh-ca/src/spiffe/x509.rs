//! What this crate reads from a certificate.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time, x509::X509Version,
};

/// The facts of one certificate that the SPIFFE rules and the status views need.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) uri_sans: Vec<String>,
    pub(crate) dns_sans: Vec<String>,
    pub(crate) san_critical: bool,
    pub(crate) subject_empty: bool,
    pub(crate) ca: bool,
    pub(crate) key_usage: Option<KeyUsageFacts>,
    pub(crate) extended_key_usage: Option<ExtendedKeyUsageFacts>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    /// Hexadecimal, lower case, without separators.
    pub(crate) serial: String,
    pub(crate) public_key: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyUsageFacts {
    pub(crate) critical: bool,
    pub(crate) digital_signature: bool,
    pub(crate) key_cert_sign: bool,
    pub(crate) crl_sign: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ExtendedKeyUsageFacts {
    pub(crate) server_auth: bool,
    pub(crate) client_auth: bool,
}

impl Facts {
    /// Reads a DER certificate. The error says what is wrong with the bytes.
    pub(crate) fn parse(der: &[u8]) -> Result<Self, String> {
        let (rest, cert) = X509Certificate::from_der(der).map_err(|e| e.to_string())?;
        if !rest.is_empty() {
            return Err(format!("{} bytes after the certificate", rest.len()));
        }
        if cert.version() != X509Version::V3 {
            return Err("not version 3".into());
        }
        let mut facts = Self {
            uri_sans: Vec::new(),
            dns_sans: Vec::new(),
            san_critical: false,
            subject_empty: cert.subject().iter().next().is_none(),
            ca: cert.basic_constraints().map_err(|e| e.to_string())?.is_some_and(|b| b.value.ca),
            key_usage: None,
            extended_key_usage: None,
            not_before: system_time(cert.validity().not_before),
            not_after: system_time(cert.validity().not_after),
            serial: cert.raw_serial().iter().map(|b| format!("{b:02x}")).collect(),
            public_key: cert.public_key().raw.to_vec(),
        };
        facts.read_names(&cert)?;
        facts.read_usages(&cert)?;
        Ok(facts)
    }

    fn read_names(&mut self, cert: &X509Certificate<'_>) -> Result<(), String> {
        let Some(san) = cert.subject_alternative_name().map_err(|e| e.to_string())? else { return Ok(()) };
        self.san_critical = san.critical;
        for name in &san.value.general_names {
            match name {
                GeneralName::URI(uri) => self.uri_sans.push((*uri).to_owned()),
                GeneralName::DNSName(dns) => self.dns_sans.push((*dns).to_owned()),
                GeneralName::Invalid(tag, _) => return Err(format!("a name with tag {tag} is not readable")),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_usages(&mut self, cert: &X509Certificate<'_>) -> Result<(), String> {
        self.key_usage = cert.key_usage().map_err(|e| e.to_string())?.map(|k| KeyUsageFacts {
            critical: k.critical,
            digital_signature: k.value.digital_signature(),
            key_cert_sign: k.value.key_cert_sign(),
            crl_sign: k.value.crl_sign(),
        });
        self.extended_key_usage = cert
            .extended_key_usage()
            .map_err(|e| e.to_string())?
            .map(|e| ExtendedKeyUsageFacts { server_auth: e.value.server_auth, client_auth: e.value.client_auth });
        Ok(())
    }
}

fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let span = Duration::from_secs(seconds.unsigned_abs());
    // Both ends of what X.509 can say (years 0 to 9999) fit into the clock of every supported platform.
    let shifted = if seconds < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
    shifted.unwrap_or(UNIX_EPOCH)
}
