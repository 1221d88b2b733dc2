//! [`X509Svid`]: an identity that can be used.

use std::{fmt, sync::Arc, time::SystemTime};

use rustls::{crypto::aws_lc_rs::sign::any_supported_type, sign::CertifiedKey};
use rustls_pki_types::CertificateDer;

use super::{
    bundle::TrustBundle,
    id::SpiffeId,
    key::PrivateKey,
    pem::certificates_to_pem,
    rule::{Place, Rule, RuleBroken},
    verify::{check_leaf, verify},
    x509::Facts,
};

/// Why certificates and key do not make an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SvidError {
    /// No certificate was given.
    #[error("certificate chain is empty")]
    EmptyChain,
    /// The leaf or chain breaks the profile.
    #[error("certificate is not a valid SVID: {0}")]
    Profile(#[from] RuleBroken),
    /// The key is not the one in the leaf.
    #[error("private key does not belong to the certificate")]
    KeyMismatch,
    /// TLS cannot use the key.
    #[error("private key cannot be used for TLS: {0}")]
    Key(String),
}

/// A certificate chain with its private key (X509-SVID.md). Made once, never changed; share it by `Arc`.
pub struct X509Svid {
    id: SpiffeId,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    not_before: SystemTime,
    not_after: SystemTime,
    serial: String,
    dns_names: Vec<String>,
    certified: Arc<CertifiedKey>,
}

impl X509Svid {
    /// Puts a chain (leaf first, without the root) and its key together.
    ///
    /// The leaf's profile and the key are checked; trust and time are not, see [`X509Svid::verify`].
    ///
    /// # Errors
    /// When the chain is empty, the leaf breaks the profile, or the key is another one.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKey) -> Result<Self, SvidError> {
        let leaf = chain.first().ok_or(SvidError::EmptyChain)?;
        let id = check_leaf(leaf)?;
        let facts = Facts::parse(leaf).map_err(|e| RuleBroken::new(Rule::WellFormed, Place::Leaf, e))?;
        if key.public_key_der().map_err(|e| SvidError::Key(e.to_string()))? != facts.public_key {
            return Err(SvidError::KeyMismatch);
        }
        let signing = any_supported_type(&key.as_der()).map_err(|e| SvidError::Key(e.to_string()))?;
        let certified = Arc::new(CertifiedKey::new(chain.clone(), signing));
        Ok(Self {
            id,
            chain,
            key,
            not_before: facts.not_before,
            not_after: facts.not_after,
            serial: facts.serial,
            dns_names: facts.dns_sans,
            certified,
        })
    }

    /// Checks trust and time, as a peer would.
    ///
    /// # Errors
    /// The rule found broken.
    pub fn verify(&self, bundle: &TrustBundle, now: SystemTime) -> Result<(), RuleBroken> {
        // `new` refuses an empty chain.
        let Some((leaf, rest)) = self.chain.split_first() else { return Ok(()) };
        verify(leaf, rest, bundle, now).map(|_| ())
    }

    /// Who it speaks for.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The certificates, leaf first, without the root.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The certificates as PEM, leaf first.
    pub fn chain_pem(&self) -> String {
        certificates_to_pem(&self.chain)
    }

    /// The private key. Keep it in this process.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Start of validity.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// End of validity.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The leaf's serial number, hexadecimal.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// DNS names of the leaf; serving certificates of the control plane have some.
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// Whether `now` lies within the validity.
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The form that rustls resolvers hand out.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

impl fmt::Debug for X509Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Svid")
            .field("id", &self.id)
            .field("serial", &self.serial)
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .field("chain", &self.chain.len())
            .finish_non_exhaustive()
    }
}
