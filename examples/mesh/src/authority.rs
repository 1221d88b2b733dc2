//! The certificate authority of a control plane: a self-signed root and a key for tokens, kept in a folder.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use mesh_ca::{
    authn::{AuthenticatorChain, ClientCertAuthenticator, JwtAuthenticator, JwtConfig, TokenMinter, TokenRequest},
    clock::{Clock, SystemClock},
    issuer::{CertIssuer, DirectoryStore, IssuancePolicy, SelfSigned, SelfSignedConfig},
    spiffe::{BundleSource, TrustBundle, TrustBundles, TrustDomain},
};

/// Issuer of tokens made here.
const TOKEN_ISSUER: &str = "mesh";

/// An opened authority.
pub(crate) struct Authority {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) issuer: Arc<SelfSigned>,
    minter: TokenMinter,
    clock: Arc<dyn Clock>,
}

impl Authority {
    /// Opens the authority in `folder`, and makes it if there is none.
    pub(crate) async fn open(folder: &Path, trust_domain: &str, lifetime: Duration) -> anyhow::Result<Self> {
        let trust_domain =
            TrustDomain::parse(trust_domain).with_context(|| format!("--trust-domain {trust_domain}"))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let why = || format!("the certificate authority in {} cannot be used", folder.display());
        let store = DirectoryStore::open(folder).with_context(why)?;
        let mut policy = IssuancePolicy::default().with_default_lifetime(lifetime);
        policy.max_lifetime = lifetime;
        let config = SelfSignedConfig::new(trust_domain.clone()).with_policy(policy);
        let issuer = SelfSigned::open(&store, config, clock.clone()).await.with_context(why)?;
        let minter = TokenMinter::open(&store, TOKEN_ISSUER, clock.clone()).await.with_context(why)?;
        Ok(Self { trust_domain, issuer: Arc::new(issuer), minter, clock })
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// The roots.
    pub(crate) fn bundle(&self) -> Arc<TrustBundle> {
        self.issuer.trust_bundle()
    }

    /// A token for one workload, as text.
    pub(crate) fn token(&self, namespace: &str, service_account: &str, lifetime: Duration) -> anyhow::Result<String> {
        let request = TokenRequest::new(namespace, service_account).with_lifetime(lifetime);
        Ok(self.minter.mint(&request).context("the token cannot be made")?.expose().to_owned())
    }

    /// Who may ask for certificates: holders of a valid certificate, and of a token made here.
    pub(crate) fn authenticator(&self) -> anyhow::Result<AuthenticatorChain> {
        let key = self.minter.verification_key().context("the token key cannot be used")?;
        let config = JwtConfig::new(TOKEN_ISSUER, self.trust_domain.clone());
        let tokens = JwtAuthenticator::new(config, [key], self.clock.clone());
        let bundles: Arc<dyn BundleSource> = Arc::new(Arc::new(TrustBundles::from(TrustBundle::clone(&self.bundle()))));
        let certificates = ClientCertAuthenticator::new(self.trust_domain.clone(), bundles, self.clock.clone());
        Ok(AuthenticatorChain::new([
            Arc::new(certificates) as Arc<dyn mesh_ca::authn::Authenticator>,
            Arc::new(tokens),
        ]))
    }
}
