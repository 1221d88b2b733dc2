//! [`JwtBundle`]: the keys that a trust domain signs tokens with.

use std::{collections::BTreeMap, fmt};

use super::algorithm::JwtAlgorithm;
use crate::spiffe::{
    TrustDomain,
    jwk::{Jwk, JwkError, PublicKey},
};

/// Why a key cannot verify JWT-SVIDs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtAuthorityError {
    /// It has no id.
    #[error("a JWT signing key needs a key id (JWT-SVID 6.1)")]
    NoKeyId,
    /// It is not a key, or of a kind that has no algorithm in JWT-SVID 2.1.
    #[error("not a key that can sign JWT-SVIDs (ECDSA on P-256, P-384 or P-521, or RSA): {0}")]
    Key(String),
}

/// A public key that JWT-SVIDs are signed with, under its id (JWT-SVID.md section 6).
#[derive(Clone, PartialEq, Eq)]
pub struct JwtAuthority {
    key_id: String,
    key: PublicKey,
}

impl JwtAuthority {
    /// Takes a SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// When the id is empty or the key cannot sign JWT-SVIDs.
    pub fn from_public_der(key_id: impl Into<String>, der: &[u8]) -> Result<Self, JwtAuthorityError> {
        let key = PublicKey::from_spki(der).map_err(|e| match e {
            JwkError::Unknown(what) | JwkError::Malformed(what) => JwtAuthorityError::Key(what),
        })?;
        Self::new(key_id.into(), key)
    }

    pub(in crate::spiffe) fn new(key_id: String, key: PublicKey) -> Result<Self, JwtAuthorityError> {
        if key_id.is_empty() {
            return Err(JwtAuthorityError::NoKeyId);
        }
        if matches!(key, PublicKey::Ed25519(_)) {
            return Err(JwtAuthorityError::Key("Ed25519".into()));
        }
        Ok(Self { key_id, key })
    }

    /// Its id, the `kid` of the tokens it verifies.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    pub(in crate::spiffe) fn to_jwk(&self) -> Jwk {
        Jwk { kid: Some(self.key_id.clone()), ..self.key.to_jwk() }
    }

    pub(super) fn fits(&self, algorithm: JwtAlgorithm) -> bool {
        self.key.fits(algorithm)
    }

    pub(super) fn verifies(&self, algorithm: JwtAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        self.key.verifies(algorithm, message, signature)
    }
}

impl fmt::Debug for JwtAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JwtAuthority").field(&self.key_id).finish()
    }
}

/// The JWT signing keys of one trust domain, one per key id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtBundle {
    trust_domain: TrustDomain,
    authorities: Vec<JwtAuthority>,
}

impl JwtBundle {
    /// Takes keys. Of several with one id the first counts.
    pub fn new(trust_domain: TrustDomain, authorities: impl IntoIterator<Item = JwtAuthority>) -> Self {
        let mut bundle = Self { trust_domain, authorities: Vec::new() };
        for authority in authorities {
            if bundle.authority(&authority.key_id).is_none() {
                bundle.authorities.push(authority);
            }
        }
        bundle
    }

    /// The trust domain that the keys speak for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The keys, in the order given. None means that the trust domain does not support JWT-SVIDs.
    pub fn authorities(&self) -> &[JwtAuthority] {
        &self.authorities
    }

    /// The key with this id.
    pub fn authority(&self, key_id: &str) -> Option<&JwtAuthority> {
        self.authorities.iter().find(|a| a.key_id == key_id)
    }
}

/// One set of JWT signing keys per trust domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JwtBundles {
    by_domain: BTreeMap<TrustDomain, JwtBundle>,
}

impl JwtBundles {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a bundle; replaces the one of the same trust domain and gives it back.
    pub fn insert(&mut self, bundle: JwtBundle) -> Option<JwtBundle> {
        self.by_domain.insert(bundle.trust_domain.clone(), bundle)
    }

    /// The bundle of a trust domain.
    pub fn bundle(&self, trust_domain: &TrustDomain) -> Option<&JwtBundle> {
        self.by_domain.get(trust_domain)
    }

    /// All bundles, ordered by trust domain.
    pub fn iter(&self) -> impl Iterator<Item = &JwtBundle> {
        self.by_domain.values()
    }
}

impl FromIterator<JwtBundle> for JwtBundles {
    fn from_iter<I: IntoIterator<Item = JwtBundle>>(iter: I) -> Self {
        let mut bundles = Self::new();
        for bundle in iter {
            bundles.insert(bundle);
        }
        bundles
    }
}

impl From<JwtBundle> for JwtBundles {
    fn from(bundle: JwtBundle) -> Self {
        [bundle].into_iter().collect()
    }
}
