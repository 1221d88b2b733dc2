//! [`LocalKey`]: a key in this process; and how certificates are signed with a key that may be elsewhere.

use std::{fmt, sync::Arc};

use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};
use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};

use super::{CaKey, KeyAlgorithm, KeyStoreError};
use crate::spiffe::{KeyError, PrivateKey, key::Signer};

/// A key in this process; wiped on drop.
pub(in crate::issuer) struct LocalKey {
    signer: Signer,
    public_key_der: Vec<u8>,
    algorithm: KeyAlgorithm,
}

impl LocalKey {
    pub(in crate::issuer) fn new(key: &PrivateKey) -> Result<Self, KeyError> {
        let signer = key.to_signer()?;
        let algorithm = [
            (&rcgen::PKCS_ECDSA_P256_SHA256, KeyAlgorithm::EcdsaP256Sha256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, KeyAlgorithm::EcdsaP384Sha384),
            (&rcgen::PKCS_ED25519, KeyAlgorithm::Ed25519),
            (&rcgen::PKCS_RSA_SHA256, KeyAlgorithm::RsaPkcs1Sha256),
        ];
        let own = PublicKeyData::algorithm(&signer);
        let (_, algorithm) = algorithm.into_iter().find(|(theirs, _)| *theirs == own).ok_or(KeyError::Malformed)?;
        Ok(Self { signer, public_key_der: key.public_key_der()?, algorithm })
    }
}

impl CaKey for LocalKey {
    fn public_key_der(&self) -> &[u8] {
        &self.public_key_der
    }

    fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyStoreError> {
        SigningKey::sign(&self.signer, message).map_err(|e| KeyStoreError::Sign(e.to_string()))
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Any key in the form that rcgen signs certificates with.
pub(in crate::issuer) struct CertificateSigner {
    key: Arc<dyn CaKey>,
    /// The bits of the public key, without its algorithm.
    bits: Vec<u8>,
}

impl CertificateSigner {
    pub(in crate::issuer) fn new(key: Arc<dyn CaKey>) -> Result<Self, KeyError> {
        let (_, info) = SubjectPublicKeyInfo::from_der(key.public_key_der()).map_err(|_| KeyError::Malformed)?;
        let bits = info.subject_public_key.data.to_vec();
        Ok(Self { key, bits })
    }

    pub(in crate::issuer) fn is_remote(&self) -> bool {
        self.key.is_remote()
    }
}

impl PublicKeyData for CertificateSigner {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.key.algorithm() {
            KeyAlgorithm::EcdsaP256Sha256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::EcdsaP384Sha384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
            KeyAlgorithm::RsaPkcs1Sha256 => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl SigningKey for CertificateSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        // rcgen has no room for a reason; the verification of what was signed would catch a wrong signature.
        self.key.sign(message).map_err(|error| {
            tracing::warn!(%error, "CA key did not sign");
            rcgen::Error::RemoteKeyError
        })
    }
}
