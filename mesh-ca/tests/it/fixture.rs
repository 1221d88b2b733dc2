//! A CA on a clock in hand, and what tests need from it.

use std::{sync::Arc, time::Duration};

use mesh_ca::{
    agent::IdentityWatch,
    clock::{Clock, ManualClock},
    issuer::{CertIssuer, Csr, IssueRequest, SelfSigned, SelfSignedConfig, store::MemoryStore},
    spiffe::{KeyType, PrivateKey, SpiffeId, TrustBundles, TrustDomain, X509Svid},
};

pub(crate) struct Ca {
    pub(crate) clock: ManualClock,
    pub(crate) issuer: Arc<SelfSigned>,
}

pub(crate) fn trust_domain() -> TrustDomain {
    TrustDomain::parse("cluster.local").unwrap()
}

pub(crate) fn workload(account: &str) -> SpiffeId {
    SpiffeId::for_workload(&trust_domain(), "default", account).unwrap()
}

impl Ca {
    pub(crate) async fn new() -> Self {
        Self::of(trust_domain(), ManualClock::system()).await
    }

    pub(crate) async fn of(trust_domain: TrustDomain, clock: ManualClock) -> Self {
        let config = SelfSignedConfig::new(trust_domain);
        let issuer = SelfSigned::open(&MemoryStore::default(), config, Arc::new(clock.clone())).await.unwrap();
        Self { clock, issuer: Arc::new(issuer) }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    pub(crate) fn bundles(&self) -> Arc<TrustBundles> {
        Arc::new(TrustBundles::from((*self.issuer.trust_bundle()).clone()))
    }

    pub(crate) async fn svid(&self, id: &SpiffeId, lifetime: Duration) -> X509Svid {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let csr = Csr::from_pem(&Csr::create_pem(&key, id, &[]).unwrap()).unwrap();
        let request = IssueRequest { csr, id: id.clone(), dns_names: vec![], lifetime: Some(lifetime) };
        X509Svid::new(self.issuer.issue(request).await.unwrap().chain, key).unwrap()
    }

    pub(crate) async fn identity(&self, account: &str) -> IdentityWatch {
        let svid = self.svid(&workload(account), Duration::from_secs(3600)).await;
        IdentityWatch::fixed(Some(Arc::new(svid)), self.bundles(), self.clock())
    }
}
