//! The certificate authority of a control plane: a root of its own, kept in a folder and changed under way, or one that
//! somebody else has put into a folder; and a key for tokens.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use mesh_ca::{
    agent::WorkloadIdentity,
    authn::{AuthenticatorChain, ClientCertAuthenticator, JwtAuthenticator, JwtConfig, TokenMinter, TokenRequest},
    clock::{Clock, SystemClock},
    issuer::{
        CaStore, CertIssuer, DirectoryRecords, DirectoryStore, IssuancePolicy, IssuerBundles, PluggedIn,
        PluggedInConfig, PluggedInWatch, RootKeys, RotatingCa, RotatingCaConfig, SelfSignedConfig, StoreItem,
        rotation::Supervision,
    },
    spiffe::{self, Place, TrustBundle, TrustDomain},
};

/// Issuer of tokens made here.
const TOKEN_ISSUER: &str = "mesh";
/// How often the files of a plugged-in authority are looked at.
const LOOK_AT_FILES: Duration = Duration::from_secs(10);

/// Who signs.
#[derive(Clone)]
pub(crate) enum Ca {
    /// A root of its own.
    Own(Arc<RotatingCa>),
    /// What stands in a folder.
    PluggedIn(Arc<PluggedIn>),
}

impl Ca {
    pub(crate) fn issuer(&self) -> Arc<dyn CertIssuer> {
        match self {
            Self::Own(ca) => ca.clone(),
            Self::PluggedIn(ca) => ca.clone(),
        }
    }
}

/// An opened authority.
pub(crate) struct Authority {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) ca: Ca,
    minter: TokenMinter,
    clock: Arc<dyn Clock>,
}

/// What keeps an authority and the identity of its own server going.
pub(crate) struct Kept {
    _own: Vec<Supervision>,
    _files: Option<PluggedInWatch>,
}

fn domain(text: &str) -> anyhow::Result<TrustDomain> {
    TrustDomain::parse(text).with_context(|| format!("--trust-domain {text}"))
}

impl Authority {
    /// Opens the authority in `state`, and makes it if there is none; with `plugged_in` its certificates are signed by what is
    /// in that folder, and only the key for tokens is in `state`.
    pub(crate) async fn open(
        state: &Path,
        plugged_in: Option<&Path>,
        trust_domain: &str,
        lifetime: Duration,
    ) -> anyhow::Result<Self> {
        let trust_domain = domain(trust_domain)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let why = || format!("the certificate authority in {} cannot be used", state.display());
        let store = DirectoryStore::open(state).with_context(why)?;
        let mut policy = IssuancePolicy::default().with_default_lifetime(lifetime);
        policy.max_lifetime = lifetime;
        let minter = TokenMinter::open(&store, TOKEN_ISSUER, clock.clone()).await.with_context(why)?;
        let ca = match plugged_in {
            Some(folder) => {
                let why = || format!("--ca-dir {} holds no authority that can be used", folder.display());
                let config = PluggedInConfig::new(trust_domain.clone()).with_policy(policy);
                Ca::PluggedIn(Arc::new(PluggedIn::open(folder, config, clock.clone()).await.with_context(why)?))
            }
            None => {
                let records = DirectoryRecords::open(state, clock.clone()).await.with_context(why)?;
                let config = SelfSignedConfig::new(trust_domain.clone()).with_policy(policy);
                let (store, records) = (Arc::new(store), Arc::new(records));
                let config = RotatingCaConfig::new(config);
                let ca = RotatingCa::open(store, records, RootKeys::Inline, config, clock.clone()).await;
                Ca::Own(Arc::new(ca.with_context(why)?))
            }
        };
        Ok(Self { trust_domain, ca, minter, clock })
    }

    /// Keeps the authority going, and `own`, the identity of its server, up to date with it.
    pub(crate) fn keep(&self, own: &WorkloadIdentity) -> Kept {
        match &self.ca {
            Ca::Own(ca) => Kept { _own: vec![ca.supervise(), ca.follow(own)], _files: None },
            Ca::PluggedIn(ca) => {
                let (mut roots, renew) = (ca.subscribe(), own.renewer());
                tokio::spawn(async move {
                    while roots.changed().await.is_ok() {
                        renew.renew_now();
                    }
                });
                Kept { _own: Vec::new(), _files: Some(ca.watch(LOOK_AT_FILES)) }
            }
        }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// The roots.
    pub(crate) fn bundle(&self) -> Arc<TrustBundle> {
        self.ca.issuer().trust_bundle()
    }

    /// The roots and revocation lists as they are at each moment.
    pub(crate) fn bundles(&self) -> IssuerBundles {
        IssuerBundles(self.ca.issuer())
    }

    /// A token for one workload, as text.
    pub(crate) fn token(&self, namespace: &str, service_account: &str, lifetime: Duration) -> anyhow::Result<String> {
        mint(&self.minter, namespace, service_account, lifetime)
    }

    /// Who may ask for certificates: holders of a valid certificate, and of a token made here.
    pub(crate) fn authenticator(&self) -> anyhow::Result<AuthenticatorChain> {
        let key = self.minter.verification_key().context("the token key cannot be used")?;
        let config = JwtConfig::new(TOKEN_ISSUER, self.trust_domain.clone());
        let tokens = JwtAuthenticator::new(config, [key], self.clock.clone());
        let certificates =
            ClientCertAuthenticator::new(self.trust_domain.clone(), Arc::new(self.bundles()), self.clock.clone());
        Ok(AuthenticatorChain::new([
            Arc::new(certificates) as Arc<dyn mesh_ca::authn::Authenticator>,
            Arc::new(tokens),
        ]))
    }
}

fn mint(minter: &TokenMinter, namespace: &str, account: &str, lifetime: Duration) -> anyhow::Result<String> {
    let request = TokenRequest::new(namespace, account).with_lifetime(lifetime);
    Ok(minter.mint(&request).context("the token cannot be made")?.expose().to_owned())
}

/// A token for one workload, made beside a control plane that may be running.
pub(crate) async fn token(
    state: &Path,
    trust_domain: &str,
    (namespace, service_account): (&str, &str),
    lifetime: Duration,
) -> anyhow::Result<String> {
    public_roots(state, trust_domain).await?;
    let why = || format!("the key for tokens in {} cannot be used", state.display());
    let store = DirectoryStore::open(state).with_context(why)?;
    let minter = TokenMinter::open(&store, TOKEN_ISSUER, Arc::new(SystemClock)).await.with_context(why)?;
    mint(&minter, namespace, service_account, lifetime)
}

/// The roots of the authority in `state`, as a control plane that may be running has published them; `None` when there are
/// none yet.
pub(crate) async fn public_roots(state: &Path, trust_domain: &str) -> anyhow::Result<Option<TrustBundle>> {
    let trust_domain = domain(trust_domain)?;
    let why = || format!("the roots in {} cannot be used", state.display());
    let store = DirectoryStore::open(state).with_context(why)?;
    let Some(pem) = store.load(StoreItem::RootCertificates).await.with_context(why)? else { return Ok(None) };
    let bundle = TrustBundle::from_pem(trust_domain.clone(), &pem).with_context(why)?;
    for root in bundle.roots() {
        let of = spiffe::check_signing(root.certificate(), Place::Root).with_context(why)?;
        anyhow::ensure!(
            of.as_ref().is_none_or(|of| *of == trust_domain),
            "the authority in {} is of trust domain {}, not {trust_domain}; use another folder, or that trust domain",
            state.display(),
            of.map_or_else(String::new, |t| t.to_string())
        );
    }
    Ok(Some(bundle))
}
