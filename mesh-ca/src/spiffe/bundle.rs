//! [`TrustBundle`]: whom to believe, per trust domain.

use std::{collections::BTreeMap, fmt, sync::Arc, time::SystemTime};

use rustls_pki_types::{CertificateDer, TrustAnchor};

use super::{
    crl::Crl,
    pem::{PemError, certificates_from_pem, certificates_to_pem},
    rule::{Place, Rule, RuleBroken},
    trust_domain::TrustDomain,
    verify::{VerifiedSvid, check_leaf, root_profile, verify},
    x509::Facts,
};

/// Why a bundle could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The text is not PEM.
    #[error("trust bundle: {0}")]
    Pem(#[from] PemError),
    /// A certificate cannot be read.
    #[error("trust bundle: certificate {index} is malformed: {reason}")]
    Certificate {
        /// Its place, from 0.
        index: usize,
        /// What is wrong.
        reason: String,
    },
}

/// One root certificate with what verification needs of it.
#[derive(Clone)]
pub struct TrustRoot {
    der: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    not_before: SystemTime,
    not_after: SystemTime,
    profile: Result<Option<TrustDomain>, (Rule, String)>,
}

impl TrustRoot {
    fn new(der: CertificateDer<'static>) -> Result<Self, String> {
        let facts = Facts::parse(&der)?;
        let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|e| e.to_string())?.to_owned();
        let profile = root_profile(&facts);
        Ok(Self { der, anchor, not_before: facts.not_before, not_after: facts.not_after, profile })
    }

    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Start of its validity.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// End of its validity.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    pub(super) fn anchor(&self) -> &TrustAnchor<'static> {
        &self.anchor
    }

    pub(super) fn profile(&self) -> &Result<Option<TrustDomain>, (Rule, String)> {
        &self.profile
    }
}

impl fmt::Debug for TrustRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustRoot").field("not_before", &self.not_before).field("not_after", &self.not_after).finish()
    }
}

/// The roots of one trust domain. Never pooled with those of another: a root speaks for its own domain only.
#[derive(Clone)]
pub struct TrustBundle {
    trust_domain: TrustDomain,
    roots: Vec<TrustRoot>,
    anchors: Vec<TrustAnchor<'static>>,
    crls: Arc<[Crl]>,
}

impl TrustBundle {
    /// Takes root certificates in DER. The same certificate twice counts once.
    ///
    /// Roots that break the profile of signing certificates are kept, and refused by name when a path ends at them.
    ///
    /// # Errors
    /// When a certificate cannot be parsed.
    pub fn new(
        trust_domain: TrustDomain,
        roots: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, BundleError> {
        let mut bundle = Self { trust_domain, roots: Vec::new(), anchors: Vec::new(), crls: Arc::default() };
        for (index, der) in roots.into_iter().enumerate() {
            if bundle.roots.iter().any(|r| r.der == der) {
                continue;
            }
            let root = TrustRoot::new(der).map_err(|reason| BundleError::Certificate { index, reason })?;
            bundle.anchors.push(root.anchor.clone());
            bundle.roots.push(root);
        }
        Ok(bundle)
    }

    /// A bundle without roots: nothing verifies against it.
    pub fn empty(trust_domain: TrustDomain) -> Self {
        Self { trust_domain, roots: Vec::new(), anchors: Vec::new(), crls: Arc::default() }
    }

    /// Reads PEM text with one or more root certificates.
    ///
    /// # Errors
    /// When the text is not PEM, holds no certificate, or one that cannot be parsed.
    pub fn from_pem(trust_domain: TrustDomain, pem: &[u8]) -> Result<Self, BundleError> {
        Self::new(trust_domain, certificates_from_pem(pem)?)
    }

    /// All roots as PEM.
    pub fn to_pem(&self) -> String {
        certificates_to_pem(self.roots.iter().map(TrustRoot::certificate))
    }

    /// The trust domain that the roots speak for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The roots, in the order given.
    pub fn roots(&self) -> &[TrustRoot] {
        &self.roots
    }

    /// With revocation lists in place of those it had. Verification asks, for each certificate of a path, the first list by
    /// the name of its issuer; so CAs with different keys need different names.
    #[must_use]
    pub fn with_crls(mut self, crls: impl IntoIterator<Item = Crl>) -> Self {
        self.crls = crls.into_iter().collect();
        self
    }

    /// The revocation lists.
    pub fn crls(&self) -> &[Crl] {
        &self.crls
    }

    /// This bundle with the roots and revocation lists of `other` added. `other` must be of the same trust domain, else nothing is added.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        if self.trust_domain == other.trust_domain {
            for root in &other.roots {
                if !self.roots.iter().any(|r| r.der == root.der) {
                    self.anchors.push(root.anchor.clone());
                    self.roots.push(root.clone());
                }
            }
            let more = other.crls.iter().filter(|c| !self.crls.contains(c)).cloned();
            self.crls = self.crls.iter().cloned().chain(more).collect();
        }
        self
    }

    /// This bundle without the roots of `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let is_other = |der: &CertificateDer<'_>| other.roots.iter().any(|r| r.der == *der);
        let roots: Vec<TrustRoot> = self.roots.iter().filter(|r| !is_other(&r.der)).cloned().collect();
        let anchors = roots.iter().map(|r| r.anchor.clone()).collect();
        Self { trust_domain: self.trust_domain.clone(), roots, anchors, crls: Arc::clone(&self.crls) }
    }

    pub(super) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }
}

impl PartialEq for TrustBundle {
    fn eq(&self, other: &Self) -> bool {
        self.trust_domain == other.trust_domain
            && self.roots.len() == other.roots.len()
            && self.roots.iter().zip(&other.roots).all(|(a, b)| a.der == b.der)
            && self.crls == other.crls
    }
}

impl Eq for TrustBundle {}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustBundle")
            .field("trust_domain", &self.trust_domain)
            .field("roots", &self.roots)
            .field("crls", &self.crls)
            .finish()
    }
}

/// One bundle per trust domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustBundles {
    by_domain: BTreeMap<TrustDomain, TrustBundle>,
}

impl TrustBundles {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a bundle; replaces the one of the same trust domain and gives it back.
    pub fn insert(&mut self, bundle: TrustBundle) -> Option<TrustBundle> {
        self.by_domain.insert(bundle.trust_domain.clone(), bundle)
    }

    /// The bundle of a trust domain.
    pub fn bundle(&self, trust_domain: &TrustDomain) -> Option<&TrustBundle> {
        self.by_domain.get(trust_domain)
    }

    /// All bundles, ordered by trust domain.
    pub fn iter(&self) -> impl Iterator<Item = &TrustBundle> {
        self.by_domain.values()
    }

    /// Verifies a leaf against the bundle of its own trust domain, as [`verify()`] does.
    ///
    /// # Errors
    /// The first rule found broken; [`Rule::TrustDomainKnown`] when there is no bundle for the leaf's domain.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<VerifiedSvid, RuleBroken> {
        let id = check_leaf(leaf)?;
        match self.bundle(id.trust_domain()) {
            Some(bundle) => verify(leaf, intermediates, bundle, now),
            None => Err(RuleBroken::new(
                Rule::TrustDomainKnown,
                Place::Leaf,
                format!("no bundle for {}", id.trust_domain()),
            )),
        }
    }
}

impl From<TrustBundle> for TrustBundles {
    fn from(bundle: TrustBundle) -> Self {
        let mut bundles = Self::new();
        bundles.insert(bundle);
        bundles
    }
}

impl FromIterator<TrustBundle> for TrustBundles {
    fn from_iter<I: IntoIterator<Item = TrustBundle>>(iter: I) -> Self {
        let mut bundles = Self::new();
        for bundle in iter {
            bundles.insert(bundle);
        }
        bundles
    }
}

/// Where the bundles in force are read, at each verification.
///
/// Called on the path of a handshake: it must return at once, without blocking or waiting.
pub trait BundleSource: fmt::Debug + Send + Sync {
    /// The bundles in force now.
    fn bundles(&self) -> Arc<TrustBundles>;
}

/// A set that never changes.
impl BundleSource for Arc<TrustBundles> {
    fn bundles(&self) -> Arc<TrustBundles> {
        Arc::clone(self)
    }
}
