//! `tls.v3.Secret`, and certificates given in place.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use mesh_xds_api::{
    any::{self, Any},
    envoy::{
        config::core::v3::{DataSource, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, Secret as ProtoSecret, TlsCertificate, TlsSessionTicketKeys, secret::Type,
        },
    },
};
use rustls::{crypto::aws_lc_rs, sign::CertifiedKey};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use super::{
    error::{At as _, Translated, refuse, refuse_field},
    tls,
    value::{data, present},
};
use crate::{
    model::{Secret, SecretValue, SessionTicketKey},
    supported,
};

supported! {
    /// Secrets.
    pub(super) static SECRETS =
    envoy.extensions.transport_sockets.tls.v3.Secret {
        carried: name, tls_certificate, validation_context, session_ticket_keys;
    }
    envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys {
        carried: keys;
    }
    envoy.extensions.transport_sockets.tls.v3.TlsCertificate {
        carried: certificate_chain, private_key;
        irrelevant: watched_directory = "files of a secret by SDS are watched by name, through any change of the folders \
            above them; those of a certificate given in place are read once, as by Envoy";
    }
}

/// A secret as SDS delivers it.
pub(super) fn secret(value: &ProtoSecret) -> Translated<Secret> {
    let content = match &value.r#type {
        Some(Type::TlsCertificate(certificate)) => tls_certificate(certificate).at("tls_certificate")?,
        Some(Type::ValidationContext(context)) => validation(context).at("validation_context")?,
        Some(Type::SessionTicketKeys(keys)) => ticket_keys(keys).at("session_ticket_keys")?,
        Some(Type::GenericSecret(_)) => return refuse_field("generic_secret", "is not carried"),
        None => return refuse("one of tls_certificate, validation_context, session_ticket_keys is required"),
    };
    Ok(Secret { name: value.name.clone(), value: content })
}

/// Files that a secret names.
pub(crate) fn files(secret: &Any) -> Vec<PathBuf> {
    let Ok(secret) = any::unpack::<ProtoSecret>(secret) else { return Vec::new() };
    let sources: Vec<&DataSource> = match &secret.r#type {
        Some(Type::TlsCertificate(value)) => {
            [&value.certificate_chain, &value.private_key].into_iter().flatten().collect()
        }
        Some(Type::ValidationContext(value)) => [&value.trusted_ca, &value.crl].into_iter().flatten().collect(),
        Some(Type::SessionTicketKeys(value)) => value.keys.iter().collect(),
        _ => Vec::new(),
    };
    let name = |source: &DataSource| match &source.specifier {
        Some(Specifier::Filename(name)) => Some(PathBuf::from(name)),
        _ => None,
    };
    sources.into_iter().filter_map(name).collect()
}

/// A chain and its key. The key must be that of the chain's leaf.
pub(super) fn tls_certificate(value: &TlsCertificate) -> Translated<SecretValue> {
    let chain_source = present(value.certificate_chain.as_ref(), "certificate_chain")?;
    let chain = certificates(&data(chain_source).at("certificate_chain")?).at("certificate_chain")?;
    let key = data(present(value.private_key.as_ref(), "private_key")?).at("private_key")?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .or_else(|_| refuse_field("private_key", "holds no unencrypted private key in PEM"))?;
    CertifiedKey::from_der(chain.clone(), key.clone_key(), &aws_lc_rs::default_provider())
        .or_else(|error| refuse_field("private_key", format!("does not fit the certificate: {error}")))?;
    Ok(SecretValue::Certificate { chain, key: Arc::new(key) })
}

/// Keys of session tickets: 80 bytes each, a name and the key itself.
pub(super) fn ticket_keys(value: &TlsSessionTicketKeys) -> Translated<SecretValue> {
    if value.keys.is_empty() {
        return refuse_field("keys", "one at least is required");
    }
    let one = |(i, source): (usize, &DataSource)| {
        let bytes = data(source).at(format_args!("keys[{i}]"))?;
        let key = <[u8; 80]>::try_from(&bytes[..]);
        key.map(SessionTicketKey)
            .or_else(|_| refuse_field(format!("keys[{i}]"), format!("must have 80 bytes, and has {}", bytes.len())))
    };
    let keys: Vec<_> = value.keys.iter().enumerate().map(one).collect::<Translated<_>>()?;
    Ok(SecretValue::SessionTicketKeys(keys.into()))
}

/// A validation context that is a secret of its own must say whom to trust.
fn validation(value: &CertificateValidationContext) -> Translated<SecretValue> {
    match tls::trust(value)? {
        Some(trust) => Ok(trust),
        None => refuse_field("trusted_ca", "is required"),
    }
}

/// Files with the roots that the system trusts, as distributions name them.
const SYSTEM_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The roots that the system trusts: of `SSL_CERT_FILE`, or the first of the usual files that is there.
pub(super) fn system_roots() -> Translated<Vec<CertificateDer<'static>>> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = SYSTEM_ROOTS.iter().map(PathBuf::from);
    let Some(pem) = named.into_iter().chain(usual).find_map(|path| std::fs::read(path).ok()) else {
        return refuse("this system has no file of trusted roots; install ca-certificates or set SSL_CERT_FILE");
    };
    certificates(&pem.into())
}

pub(super) fn certificates(pem: &Bytes) -> Translated<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => refuse("holds no certificate in PEM"),
        Ok(all) => readable(&all).map(|()| all),
        Err(error) => refuse(format!("is no PEM: {error}")),
    }
}

/// Whether all can be read.
pub(super) fn readable(certificates: &[CertificateDer<'_>]) -> Translated<()> {
    match certificates.iter().position(|der| x509_parser::parse_x509_certificate(der).is_err()) {
        Some(at) => refuse(format!("certificate {at} is malformed")),
        None => Ok(()),
    }
}

pub(super) fn crls(source: &DataSource) -> Translated<Vec<CertificateRevocationListDer<'static>>> {
    let pem = data(source)?;
    let all: Result<Vec<_>, pem::Error> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
    match all {
        Ok(all) if all.is_empty() => refuse("holds no revocation list in PEM"),
        Ok(all) => Ok(all),
        Err(error) => refuse(format!("is no PEM: {error}")),
    }
}
