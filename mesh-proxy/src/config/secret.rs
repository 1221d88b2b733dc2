//! `tls.v3.Secret`, and certificates given in place.

use std::sync::Arc;

use bytes::Bytes;
use mesh_xds_api::envoy::{
    config::core::v3::DataSource,
    extensions::transport_sockets::tls::v3::{
        CertificateValidationContext, Secret as ProtoSecret, TlsCertificate, secret::Type,
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
    model::{Secret, SecretValue},
    supported,
};

supported! {
    /// Secrets.
    pub(super) static SECRETS =
    envoy.extensions.transport_sockets.tls.v3.Secret {
        carried: name, tls_certificate, validation_context;
    }
    envoy.extensions.transport_sockets.tls.v3.TlsCertificate {
        carried: certificate_chain, private_key;
    }
}

/// A secret as SDS delivers it.
pub(super) fn secret(value: &ProtoSecret) -> Translated<Secret> {
    let content = match &value.r#type {
        Some(Type::TlsCertificate(certificate)) => tls_certificate(certificate).at("tls_certificate")?,
        Some(Type::ValidationContext(context)) => sds_validation(context).at("validation_context")?,
        Some(_) => return refuse("only tls_certificate and validation_context are carried"),
        None => return refuse("one of tls_certificate, validation_context is required"),
    };
    Ok(Secret { name: value.name.clone(), value: content })
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

/// A validation context that is a secret of its own: what is required of the peer beyond roots is SAN matchers only.
fn sds_validation(value: &CertificateValidationContext) -> Translated<SecretValue> {
    if !value.verify_certificate_hash.is_empty() {
        return refuse_field("verify_certificate_hash", "is not carried in a secret");
    }
    if !value.verify_certificate_spki.is_empty() {
        return refuse_field("verify_certificate_spki", "is not carried in a secret");
    }
    if value.trust_chain_verification != 0 {
        return refuse_field("trust_chain_verification", "is not carried in a secret");
    }
    present(value.trusted_ca.as_ref(), "trusted_ca")?;
    roots(value)
}

/// Roots, revocation lists and SAN matchers of a validation context that has a `trusted_ca`.
pub(super) fn roots(value: &CertificateValidationContext) -> Translated<SecretValue> {
    let source = present(value.trusted_ca.as_ref(), "trusted_ca")?;
    let roots = certificates(&data(source).at("trusted_ca")?).at("trusted_ca")?;
    let crls = value.crl.as_ref().map(crls).transpose().at("crl")?.unwrap_or_default();
    Ok(SecretValue::Validation { roots, crls, sans: tls::sans(value)?.into() })
}

fn certificates(pem: &Bytes) -> Translated<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => refuse("holds no certificate in PEM"),
        Ok(all) => match all.iter().position(|der| x509_parser::parse_x509_certificate(der).is_err()) {
            Some(at) => refuse(format!("certificate {at} is malformed")),
            None => Ok(all),
        },
        Err(error) => refuse(format!("is no PEM: {error}")),
    }
}

fn crls(source: &DataSource) -> Translated<Vec<CertificateRevocationListDer<'static>>> {
    let pem = data(source)?;
    let all: Result<Vec<_>, pem::Error> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
    match all {
        Ok(all) if all.is_empty() => refuse("holds no revocation list in PEM"),
        Ok(all) => Ok(all),
        Err(error) => refuse(format!("is no PEM: {error}")),
    }
}
