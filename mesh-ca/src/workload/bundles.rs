//! [`BundleSet`].

use crate::spiffe::{JwtBundles, SpiffeBundle, TrustBundles};

/// Whom the workloads of a machine are to believe: the bundle of their own trust domain and those of federated ones.
///
/// It is published whole through a [`tokio::sync::watch`] channel; what a workload holds follows what was published last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BundleSet {
    /// Roots of X.509-SVIDs.
    pub x509: TrustBundles,
    /// Signing keys of JWT-SVIDs.
    pub jwt: JwtBundles,
}

impl BundleSet {
    /// Of nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// With the bundle of one more trust domain, or another one for the same.
    #[must_use]
    pub fn with(mut self, bundle: SpiffeBundle) -> Self {
        self.x509.insert(bundle.x509);
        self.jwt.insert(bundle.jwt);
        self
    }
}

impl FromIterator<SpiffeBundle> for BundleSet {
    fn from_iter<I: IntoIterator<Item = SpiffeBundle>>(iter: I) -> Self {
        iter.into_iter().fold(Self::new(), Self::with)
    }
}
