//! [`RootKeys`]: where the keys of roots are, and [`Root`]: one root with its key.

use std::{fmt, sync::Arc, time::SystemTime};

use rustls_pki_types::CertificateDer;

use super::machine::{RootFacts, RootId};
use crate::{
    issuer::{
        authority::{Authority, AuthorityError},
        keys::{CaKey, CertificateSigner, KeyName, KeyStore, KeyStoreError, LocalKey},
        self_signed::{SelfSignedConfig, SelfSignedError},
        template::{self, Validity},
    },
    spiffe::{Place, PrivateKey, TrustBundle, check_signing, x509::Facts},
};

/// Where the keys of a rotating CA's roots are.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RootKeys {
    /// In the CA's store, beside their certificates, in one item: they cannot be torn apart.
    Inline,
    /// In a key store, so that the CA's store holds no secret. The first key has the name itself (as with
    /// [`SelfSigned::open_with_keys`](crate::issuer::SelfSigned::open_with_keys)), later ones `NAME-2`, `NAME-3`, ...
    Store {
        /// The key store.
        keys: Arc<dyn KeyStore>,
        /// The name of the first key; later ones need room for a number.
        name: KeyName,
    },
}

impl RootKeys {
    fn name(&self, generation: u64) -> Option<Result<KeyName, SelfSignedError>> {
        let Self::Store { name, .. } = self else { return None };
        if generation == 1 {
            return Some(Ok(name.clone()));
        }
        Some(KeyName::new(format!("{name}-{generation}")).map_err(|e| SelfSignedError::Create(e.to_string())))
    }
}

/// A root with its key.
#[derive(Clone)]
pub(super) struct Root {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: Arc<dyn CaKey>,
    /// The key once more, when it is kept inline.
    pub(super) inline: Option<Arc<PrivateKey>>,
    pub(super) generation: u64,
    pub(super) facts: RootFacts,
}

impl Root {
    /// Makes a root, and its key unless the key store has it already.
    pub(super) async fn make(
        keys: &RootKeys,
        config: &SelfSignedConfig,
        generation: u64,
        now: SystemTime,
    ) -> Result<Self, SelfSignedError> {
        let (key, inline): (Arc<dyn CaKey>, _) = match keys {
            RootKeys::Inline => {
                let key = PrivateKey::generate(config.key_type)?;
                (Arc::new(LocalKey::new(&key)?), Some(Arc::new(key)))
            }
            RootKeys::Store { keys: store, .. } => {
                let name = keys.name(generation).transpose()?;
                let name = name.ok_or_else(|| SelfSignedError::Create("the key has no name".into()))?;
                // A crash may have left the key without its root.
                let key = match store.generate(&name, config.key_type).await {
                    Err(KeyStoreError::Exists(_)) => {
                        store.get(&name).await?.ok_or(SelfSignedError::KeyMissing(name))?
                    }
                    made => made?,
                };
                (key, None)
            }
        };
        let failed = |e: &dyn fmt::Display| SelfSignedError::Create(e.to_string());
        let validity = Validity::new(now, config.policy.backdate, config.root_lifetime);
        let params = template::root(&config.trust_domain, generation, validity).map_err(|e| failed(&e))?;
        let signer = CertificateSigner::new(Arc::clone(&key))?;
        let signed = tokio::task::spawn_blocking(move || params.self_signed(&signer)).await.map_err(|e| failed(&e))?;
        let certificate = signed.map_err(|e| failed(&e))?.der().clone();
        Self::with(certificate, key, inline, generation).map_err(|e| failed(&e))
    }

    /// A stored root; its key is `inline`, or in the key store.
    pub(super) async fn stored(
        certificate: CertificateDer<'static>,
        inline: Option<PrivateKey>,
        keys: &RootKeys,
        generation: u64,
    ) -> Result<Self, SelfSignedError> {
        let damaged = |e: &dyn fmt::Display| SelfSignedError::Damaged { reason: e.to_string() };
        let (key, inline): (Arc<dyn CaKey>, _) = match (inline, keys) {
            (Some(key), _) => (Arc::new(LocalKey::new(&key).map_err(|e| damaged(&e))?), Some(Arc::new(key))),
            (None, RootKeys::Store { keys: store, .. }) => {
                let name = keys.name(generation).transpose()?;
                let name = name.ok_or_else(|| damaged(&"its key has no name"))?;
                (store.get(&name).await?.ok_or(SelfSignedError::KeyMissing(name))?, None)
            }
            (None, RootKeys::Inline) => return Err(damaged(&"it holds no key")),
        };
        Self::with(certificate, key, inline, generation).map_err(|e| damaged(&e))
    }

    fn with(
        certificate: CertificateDer<'static>,
        key: Arc<dyn CaKey>,
        inline: Option<Arc<PrivateKey>>,
        generation: u64,
    ) -> Result<Self, String> {
        let facts = Facts::parse(&certificate)?;
        if facts.public_key != key.public_key_der() {
            return Err("a key does not belong to its certificate".into());
        }
        let facts =
            RootFacts { id: RootId::of(&certificate), not_before: facts.not_before, not_after: facts.not_after };
        Ok(Self { certificate, key, inline, generation, facts })
    }

    /// Checks that it is a root of the trust domain.
    pub(super) fn check(&self, config: &SelfSignedConfig) -> Result<(), SelfSignedError> {
        let damaged = |e: &dyn fmt::Display| SelfSignedError::Damaged { reason: e.to_string() };
        let of = check_signing(&self.certificate, Place::Root).map_err(|e| damaged(&e))?;
        if of.as_ref() == Some(&config.trust_domain) {
            return Ok(());
        }
        let stored = of.map_or_else(|| "(none)".into(), |t| t.to_string());
        Err(SelfSignedError::TrustDomain { stored, asked: config.trust_domain.to_string() })
    }

    /// What signs with it, for peers that hold `bundle`.
    pub(super) fn authority(
        &self,
        bundle: &Arc<TrustBundle>,
        config: &SelfSignedConfig,
    ) -> Result<Authority, SelfSignedError> {
        let (key, bundle, policy) = (Arc::clone(&self.key), Arc::clone(bundle), config.policy.clone());
        let root = self.certificate.clone();
        Authority::new(&self.certificate, key, Vec::new(), root, bundle, policy)
            .map_err(|e: AuthorityError| SelfSignedError::Damaged { reason: e.to_string() })
    }

    /// Destroys its key, when that is in a key store of its own.
    pub(super) async fn destroy(&self, keys: &RootKeys) {
        if let (RootKeys::Store { keys: store, .. }, Some(Ok(name))) = (keys, keys.name(self.generation))
            && let Err(error) = store.remove(&name).await
        {
            tracing::warn!(%name, %error, "the key of a withdrawn root could not be removed");
        }
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root").field("generation", &self.generation).field("facts", &self.facts).finish_non_exhaustive()
    }
}
