//! [`RemoteIssuer`]: certificates that another CA signs; this one only judges who asks.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use rustls_pki_types::CertificateDer;

use super::{CertIssuer, IssueRequest, IssuedCertificate, error::IssueError, policy::IssuancePolicy};
use crate::{
    agent::{CertRequest, CertSource, FetchedCertificate, IdentityWatch, SourceError},
    clock::Clock,
    spiffe::{TrustBundle, TrustDomain, TrustRoot, VerifiedSvid, verify, x509::Facts},
};

/// How a remote CA is asked. A plain value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteIssuerConfig {
    /// Whose ids are asked for; all others are refused here.
    pub trust_domain: TrustDomain,
    /// The lifetimes asked for, and the keys that get certificates. An answer that lives longer is withheld. Its
    /// `backdate` plays no part: the remote CA has its own.
    pub policy: IssuancePolicy,
    /// Tries for one certificate as long as the CA cannot be reached. Default 3; at least 1.
    pub attempts: u32,
    /// The pause after the first try; later ones double. Default 200 milliseconds.
    pub pause: Duration,
    /// How far the CA's clock may be ahead of ours. Default 1 minute.
    pub clock_skew: Duration,
}

impl RemoteIssuerConfig {
    /// The defaults for a trust domain.
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            policy: IssuancePolicy::default(),
            attempts: 3,
            pause: Duration::from_millis(200),
            clock_skew: Duration::from_secs(60),
        }
    }
}

/// Has certificates signed by another CA: a registration authority, which knows the workloads, in front of a CA that knows
/// the registration authority.
///
/// Usually its source is a [`RemoteCa`](crate::agent::RemoteCa) that names each workload in its request
/// ([`RemoteCaConfig::acting_for_others`](crate::agent::RemoteCaConfig::acting_for_others)). What comes back is believed in
/// nothing: the chain must verify to roots that are known from `own`, and key, id, DNS names and lifetime be those asked for.
///
/// Before the first answer, [`CertIssuer::begins`] and [`CertIssuer::expires`] are those of the root that lives longest.
#[derive(Debug)]
pub struct RemoteIssuer {
    config: RemoteIssuerConfig,
    source: Arc<dyn CertSource>,
    own: IdentityWatch,
    clock: Arc<dyn Clock>,
    signers: Mutex<Option<(SystemTime, SystemTime)>>,
}

impl RemoteIssuer {
    /// Asks `source`, as whom `own` is, and believes whom `own` believes.
    pub fn new(
        config: RemoteIssuerConfig,
        source: Arc<dyn CertSource>,
        own: IdentityWatch,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { config, source, own, clock, signers: Mutex::new(None) }
    }

    async fn fetch(&self, request: &CertRequest) -> Result<FetchedCertificate, IssueError> {
        let mut pause = self.config.pause;
        let mut tries = 1;
        loop {
            let error = match self.source.fetch(request).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => error,
            };
            match error {
                SourceError::Unreachable(_) if tries < self.config.attempts => {}
                SourceError::Unreachable(_) | SourceError::Credential(_) => {
                    return Err(IssueError::Unavailable(error.to_string()));
                }
                _ => return Err(IssueError::Sign(error.to_string())),
            }
            self.clock.sleep(pause).await;
            tries += 1;
            pause = pause.saturating_mul(2);
        }
    }

    fn check(
        &self,
        request: &IssueRequest,
        granted: Duration,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<IssuedCertificate, IssueError> {
        let now = self.clock.now().wall;
        let bundle = self.trust_bundle();
        let (leaf, intermediates) =
            chain.split_first().ok_or_else(|| IssueError::Sign("the CA's answer holds no certificate".into()))?;
        let (root, seen) = path(leaf, intermediates, &bundle, now)?;
        let read = |der: &CertificateDer<'_>| Facts::parse(der).map_err(IssueError::Sign);
        let facts = read(leaf)?;
        let latest = now.checked_add(granted).and_then(|t| t.checked_add(self.config.clock_skew));
        for (same, what) in [
            (seen.id == request.id, "identity"),
            (facts.public_key == request.csr.public_key_der(), "public key"),
            (facts.dns_sans == request.dns_names, "list of DNS names"),
            (latest.is_none_or(|latest| seen.not_after <= latest), "validity"),
        ] {
            if !same {
                return Err(IssueError::Mismatch(what));
            }
        }
        let mut signers = (root.not_before(), root.not_after());
        for signer in intermediates {
            let facts = read(signer)?;
            signers = (signers.0.max(facts.not_before), signers.1.min(facts.not_after));
        }
        *self.signers.lock().unwrap_or_else(PoisonError::into_inner) = Some(signers);
        let root = root.certificate().clone();
        let (not_before, not_after) = (seen.not_before, seen.not_after);
        let roots = bundle.roots().iter().map(|root| root.certificate().clone()).collect();
        Ok(IssuedCertificate { chain, root, roots, id: seen.id, serial: seen.serial, not_before, not_after })
    }

    fn signers(&self) -> (SystemTime, SystemTime) {
        let seen = *self.signers.lock().unwrap_or_else(PoisonError::into_inner);
        seen.unwrap_or_else(|| {
            let bundle = self.trust_bundle();
            let longest = bundle.roots().iter().max_by_key(|r| r.not_after());
            longest.map_or((SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH), |r| (r.not_before(), r.not_after()))
        })
    }
}

/// The root that the chain ends at, and what verification found.
fn path<'a>(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    bundle: &'a TrustBundle,
    now: SystemTime,
) -> Result<(&'a TrustRoot, VerifiedSvid), IssueError> {
    // With all of them, so that an error tells what is wrong.
    let seen = verify(leaf, intermediates, bundle, now)?;
    let ends_at = |root: &&TrustRoot| {
        TrustBundle::new(bundle.trust_domain().clone(), [root.certificate().clone()])
            .is_ok_and(|alone| verify(leaf, intermediates, &alone.with_crls(bundle.crls().to_vec()), now).is_ok())
    };
    let root = bundle.roots().iter().find(ends_at);
    root.map(|root| (root, seen)).ok_or_else(|| IssueError::Sign("no single root ends the chain".into()))
}

#[async_trait]
impl CertIssuer for RemoteIssuer {
    async fn issue(&self, request: IssueRequest) -> Result<IssuedCertificate, IssueError> {
        if request.id.trust_domain() != &self.config.trust_domain {
            let asked = request.id.trust_domain().to_string();
            return Err(IssueError::TrustDomain { issuer: self.config.trust_domain.to_string(), asked });
        }
        request.csr.check_names(&request.id, &request.dns_names)?;
        if !self.config.policy.keys.allows(request.csr.key_kind()) {
            return Err(IssueError::KeyNotAllowed(request.csr.key_kind()));
        }
        let granted = self.config.policy.grant(request.lifetime);
        let mut asked = CertRequest::new(request.csr.to_pem(), request.id.clone(), self.own.state().bundles.clone());
        asked.dns_names = request.dns_names.clone();
        asked.lifetime = Some(granted);
        asked.current = self.own.svid();
        let fetched = self.fetch(&asked).await?;
        self.check(&request, granted, fetched.chain)
    }

    fn trust_bundle(&self) -> Arc<TrustBundle> {
        let known = self.own.state().bundles.bundle(&self.config.trust_domain).cloned();
        Arc::new(known.unwrap_or_else(|| TrustBundle::empty(self.config.trust_domain.clone())))
    }

    fn begins(&self) -> SystemTime {
        self.signers().0
    }

    fn expires(&self) -> SystemTime {
        self.signers().1
    }
}
