//! [`PrivateKey`]: a key pair that stays where it was made.

use std::{fmt, str::FromStr};

use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{KeyPair, PublicKeyData, RsaKeySize, SignatureAlgorithm, SigningKey};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use zeroize::{Zeroize, Zeroizing};

/// What kind of key to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum KeyType {
    /// ECDSA on P-256: the default, small and fast.
    #[default]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519. Not every TLS peer takes it.
    Ed25519,
    /// RSA with 2048 bits, for old peers.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
}

impl KeyType {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 6] =
        [Self::EcdsaP256, Self::EcdsaP384, Self::Ed25519, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// The name used in settings: `ecdsa-p256`, `ecdsa-p384`, `ed25519`, `rsa-2048`, `rsa-3072`, `rsa-4096`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Ed25519 => "ed25519",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
        }
    }
}

impl FromStr for KeyType {
    type Err = KeyError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|k| k.name() == s).ok_or(KeyError::UnknownType)
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a key could not be made or read. Never holds key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The name of a key type is not known.
    #[error("unknown key type; use one of ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072, rsa-4096")]
    UnknownType,
    /// The crypto library could not make a key.
    #[error("key could not be made")]
    Generation,
    /// The text or bytes are not a private key that we can use.
    #[error("not a private key in PKCS #8, SEC1 or PKCS #1 form of a supported type (ECDSA, Ed25519, RSA)")]
    Malformed,
}

/// A private key in PKCS #8 form. The bytes are wiped on drop and never shown by `Debug`.
///
/// It has no `Clone` on purpose: share it by reference or `Arc`.
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
}

impl PrivateKey {
    /// Makes a new key with the system's random source.
    ///
    /// # Errors
    /// [`KeyError::Generation`] when the crypto library fails.
    pub fn generate(key_type: KeyType) -> Result<Self, KeyError> {
        let made = match key_type {
            KeyType::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            KeyType::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            KeyType::Ed25519 => return generate_ed25519(),
            KeyType::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
            KeyType::Rsa3072 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_3072),
            KeyType::Rsa4096 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096),
        };
        let mut pair = made.map_err(|_| KeyError::Generation)?;
        let key = Self { pkcs8: Zeroizing::new(pair.serialized_der().to_vec()) };
        pair.zeroize();
        Ok(key)
    }

    /// Reads the first private key of a PEM text: PKCS #8, SEC1 (`EC PRIVATE KEY`) or PKCS #1 (`RSA PRIVATE KEY`).
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when there is none or its type is not supported.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        Self::from_der(PrivateKeyDer::from_pem_slice(pem).map_err(|_| KeyError::Malformed)?)
    }

    /// Reads every private key of a PEM text, in order; there may be none.
    pub(crate) fn all_from_pem(pem: &[u8]) -> Result<Vec<Self>, KeyError> {
        let keys = PrivateKeyDer::pem_slice_iter(pem);
        keys.map(|der| Self::from_der(der.map_err(|_| KeyError::Malformed)?)).collect()
    }

    fn from_der(mut der: PrivateKeyDer<'static>) -> Result<Self, KeyError> {
        let parsed = KeyPair::try_from(&der).map_err(|_| KeyError::Malformed);
        let pkcs8 = match (&der, parsed) {
            (PrivateKeyDer::Pkcs8(k), Ok(mut pair)) => {
                pair.zeroize();
                Ok(Zeroizing::new(k.secret_pkcs8_der().to_vec()))
            }
            (_, Ok(pair)) => to_pkcs8(&der, pair),
            (_, Err(e)) => Err(e),
        };
        der.zeroize();
        Ok(Self { pkcs8: pkcs8? })
    }

    /// The key in PEM, PKCS #8 form. The text is wiped on drop.
    pub fn to_pem(&self) -> Zeroizing<String> {
        super::pem::block("PRIVATE KEY", &self.pkcs8)
    }

    /// The key in DER, PKCS #8 form.
    pub fn as_pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The same for functions of rustls; borrows, copies nothing.
    pub fn as_der(&self) -> PrivateKeyDer<'_> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.as_slice()))
    }

    /// The public half as SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] cannot happen for keys made by this type.
    pub fn public_key_der(&self) -> Result<Vec<u8>, KeyError> {
        self.with_pair(|pair| pair.subject_public_key_info())
    }

    /// The form that signs certificates.
    pub(crate) fn to_signer(&self) -> Result<Signer, KeyError> {
        KeyPair::try_from(self.pkcs8.as_slice()).map(Signer).map_err(|_| KeyError::Malformed)
    }

    /// Lends rcgen's form of the key and wipes its copy afterwards.
    pub(crate) fn with_pair<T>(&self, work: impl FnOnce(&KeyPair) -> T) -> Result<T, KeyError> {
        let mut pair = KeyPair::try_from(self.pkcs8.as_slice()).map_err(|_| KeyError::Malformed)?;
        let out = work(&pair);
        pair.zeroize();
        Ok(out)
    }
}

/// In PKCS #8 version 1: OpenSSL does not read the version 2 form that carries the public key too.
fn generate_ed25519() -> Result<PrivateKey, KeyError> {
    let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Generation)?;
    let pkcs8 = pair.to_pkcs8v1().map_err(|_| KeyError::Generation)?;
    Ok(PrivateKey { pkcs8: Zeroizing::new(pkcs8.as_ref().to_vec()) })
}

/// A key pair in use for signing certificates; its encoded form is wiped on drop.
pub(crate) struct Signer(KeyPair);

impl Drop for Signer {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}

impl SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

/// SEC1 and PKCS #1 keys are carried on in the one form that every part of this crate reads.
fn to_pkcs8(der: &PrivateKeyDer<'_>, mut pair: KeyPair) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    use aws_lc_rs::{
        encoding::{AsDer, Pkcs8V1Der},
        rsa, signature,
    };

    let algorithm = pair.algorithm();
    pair.zeroize();
    match der {
        PrivateKeyDer::Pkcs1(k) => {
            let key = rsa::KeyPair::from_der(k.secret_pkcs1_der()).map_err(|_| KeyError::Malformed)?;
            let out: Pkcs8V1Der<'_> = key.as_der().map_err(|_| KeyError::Malformed)?;
            Ok(Zeroizing::new(out.as_ref().to_vec()))
        }
        PrivateKeyDer::Sec1(k) => {
            let curve = if algorithm == &rcgen::PKCS_ECDSA_P384_SHA384 {
                &signature::ECDSA_P384_SHA384_ASN1_SIGNING
            } else {
                &signature::ECDSA_P256_SHA256_ASN1_SIGNING
            };
            let key = signature::EcdsaKeyPair::from_private_key_der(curve, k.secret_sec1_der())
                .map_err(|_| KeyError::Malformed)?;
            let out = key.to_pkcs8v1().map_err(|_| KeyError::Malformed)?;
            Ok(Zeroizing::new(out.as_ref().to_vec()))
        }
        _ => Err(KeyError::Malformed),
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyType, PrivateKey};

    #[test]
    fn every_type_survives_pem_and_debug_shows_nothing() {
        for kind in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Ed25519, KeyType::Rsa2048] {
            let key = PrivateKey::generate(kind).unwrap();
            let again = PrivateKey::from_pem(key.to_pem().as_bytes()).unwrap();
            assert_eq!(key.as_pkcs8_der(), again.as_pkcs8_der(), "{kind}");
            assert_eq!(format!("{key:?}"), "PrivateKey(redacted)");
            assert_eq!(kind.name().parse::<KeyType>().unwrap(), kind);
        }
        assert!(PrivateKey::from_pem(b"no key").is_err());
    }
}
