use std::sync::Arc;

use rustls::{
    CipherSuite, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{self, kx_group},
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use super::TlsError;
use crate::model::{Secret, SecretValue, TlsCommon, TlsVersion};

/// TLS 1.2 suites that can be negotiated: OpenSSL's name and the suite's.
const SUITES: &[(&str, CipherSuite)] = &[
    ("ECDHE-ECDSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Suites without forward secrecy or with CBC. A list may name them; they are never offered or chosen. A list of
/// suites says what is allowed, and at least one of it must be usable.
const NEVER_NEGOTIATED: &[&str] = &[
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "DES-CBC3-SHA",
];

/// Name of a suite as OpenSSL spells it.
pub(super) fn openssl_name(suite: CipherSuite) -> String {
    if let Some((name, _)) = SUITES.iter().find(|(_, s)| *s == suite) {
        return (*name).to_owned();
    }
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256".to_owned(),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384".to_owned(),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Whether versions, suites and groups can be used.
///
/// Suites of TLS 1.2 are given by OpenSSL's name, also in Envoy's form `[A|B]`. Suites without forward secrecy
/// (`AES128-GCM-SHA256`, …) and with CBC may be named but are never negotiated; at least one other must be named too.
///
/// # Errors
///
/// The first name that is not known, or that nothing usable is left.
pub fn check_parameters(common: &TlsCommon) -> Result<(), TlsError> {
    versions(common)?;
    provider(common).map(drop)
}

/// The provider, reduced to what is configured.
pub(super) fn provider(common: &TlsCommon) -> Result<Arc<CryptoProvider>, TlsError> {
    let mut provider = aws_lc_rs::default_provider();
    if !common.cipher_suites.is_empty() {
        provider.cipher_suites = suites(&common.cipher_suites, &provider.cipher_suites)?;
    }
    if !common.groups.is_empty() {
        provider.kx_groups = common
            .groups
            .iter()
            .map(|name| match name.as_str() {
                "X25519" => Ok(kx_group::X25519),
                "P-256" | "prime256v1" | "secp256r1" => Ok(kx_group::SECP256R1),
                "P-384" | "secp384r1" => Ok(kx_group::SECP384R1),
                "X25519MLKEM768" => Ok(kx_group::X25519MLKEM768),
                other => Err(TlsError::Group(other.to_owned())),
            })
            .collect::<Result<_, _>>()?;
    }
    Ok(Arc::new(provider))
}

fn suites(names: &[String], all: &[SupportedCipherSuite]) -> Result<Vec<SupportedCipherSuite>, TlsError> {
    let mut chosen: Vec<_> = all.iter().copied().filter(|s| s.tls13().is_some()).collect();
    let fixed = chosen.len();
    for name in names.iter().flat_map(|n| n.trim_matches(['[', ']']).split('|')) {
        match SUITES.iter().find(|(known, _)| *known == name) {
            Some((_, suite)) => chosen.extend(all.iter().filter(|s| s.suite() == *suite)),
            None if NEVER_NEGOTIATED.contains(&name) => {}
            None => return Err(TlsError::CipherSuite(name.to_owned())),
        }
    }
    if chosen.len() == fixed { Err(TlsError::NoCipherSuite) } else { Ok(chosen) }
}

/// Versions from the lowest to the highest.
pub(super) fn versions(common: &TlsCommon) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let min = common.min_version.unwrap_or(TlsVersion::V1_2);
    let max = common.max_version.unwrap_or(TlsVersion::V1_3);
    let all = [(TlsVersion::V1_3, &TLS13), (TlsVersion::V1_2, &TLS12)];
    let chosen: Vec<_> = all.into_iter().filter(|(v, _)| (min..=max).contains(v)).map(|(_, v)| v).collect();
    if chosen.is_empty() { Err(TlsError::Versions) } else { Ok(chosen) }
}

/// Certificate and key, checked to belong together.
pub(super) fn certified_key(secret: &Secret) -> Result<CertifiedKey, TlsError> {
    let name = || secret.name.clone();
    let SecretValue::Certificate { chain, key } = &secret.value else {
        return Err(TlsError::WrongKind { name: name(), wanted: "certificate" });
    };
    if chain.is_empty() {
        return Err(TlsError::EmptyChain(name()));
    }
    CertifiedKey::from_der(chain.clone(), key.clone_key(), &aws_lc_rs::default_provider())
        .map_err(|source| TlsError::Key { name: name(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_suites(names: &[&str]) -> Result<(), TlsError> {
        let cipher_suites = names.iter().map(|n| (*n).to_owned()).collect();
        check_parameters(&TlsCommon { cipher_suites, ..TlsCommon::default() })
    }

    #[test]
    fn suites_by_openssl_name() {
        // What Istio sends to sidecars.
        with_suites(&[
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "AES256-GCM-SHA384",
            "AES128-GCM-SHA256",
        ])
        .unwrap();
        with_suites(&["[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]"]).unwrap();
        assert!(matches!(with_suites(&["AES128-SHA"]), Err(TlsError::NoCipherSuite)));
        assert!(matches!(with_suites(&["RC4-MD5"]), Err(TlsError::CipherSuite(name)) if name == "RC4-MD5"));
    }

    #[test]
    fn versions_and_groups() {
        let common = TlsCommon {
            min_version: Some(TlsVersion::V1_3),
            max_version: Some(TlsVersion::V1_2),
            ..TlsCommon::default()
        };
        assert!(matches!(check_parameters(&common), Err(TlsError::Versions)));
        let common = TlsCommon { groups: vec!["X25519".into(), "P-999".into()], ..TlsCommon::default() };
        assert!(matches!(check_parameters(&common), Err(TlsError::Group(_))));
        assert_eq!(openssl_name(CipherSuite::TLS13_AES_128_GCM_SHA256), "TLS_AES_128_GCM_SHA256");
    }
}
