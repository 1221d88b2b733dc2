//! Versions, cipher suites and key exchange groups.

use mesh_xds_api::envoy::extensions::transport_sockets::tls::v3::{TlsParameters, tls_parameters::TlsProtocol};

use crate::{
    config::{
        error::{Translated, refuse, refuse_field},
        value::enumeration,
    },
    model::{TlsCommon, TlsVersion},
    tls::{TlsError, check_parameters},
};

/// A client's highest version is TLS 1.2 by Envoy's default, a server's 1.3; rustls offers both either way.
pub(super) fn parameters(value: &TlsParameters, common: &mut TlsCommon) -> Translated<()> {
    common.min_version = protocol(value.tls_minimum_protocol_version, "tls_minimum_protocol_version")?;
    common.max_version = protocol(value.tls_maximum_protocol_version, "tls_maximum_protocol_version")?;
    common.cipher_suites.clone_from(&value.cipher_suites);
    common.groups.clone_from(&value.ecdh_curves);
    let Err(error) = check_parameters(common) else { return Ok(()) };
    let reason = error.to_string();
    let at = |list: &[String], name: &str| list.iter().position(|entry| entry.contains(name)).unwrap_or(0);
    match error {
        TlsError::CipherSuite(name) => {
            refuse_field(format!("cipher_suites[{}]", at(&value.cipher_suites, &name)), reason)
        }
        TlsError::NoCipherSuite => refuse_field("cipher_suites", reason),
        TlsError::Group(name) => refuse_field(format!("ecdh_curves[{}]", at(&value.ecdh_curves, &name)), reason),
        TlsError::Versions => refuse_field(
            "tls_maximum_protocol_version",
            "is below tls_minimum_protocol_version, or its default TLSv1_2",
        ),
        _ => refuse(reason),
    }
}

fn protocol(value: i32, field: &str) -> Translated<Option<TlsVersion>> {
    Ok(match enumeration(value, field)? {
        TlsProtocol::TlsAuto => None,
        TlsProtocol::TlSv12 => Some(TlsVersion::V1_2),
        TlsProtocol::TlSv13 => Some(TlsVersion::V1_3),
        TlsProtocol::TlSv10 | TlsProtocol::TlSv11 => return refuse_field(field, "TLS below 1.2 is not spoken"),
    })
}
