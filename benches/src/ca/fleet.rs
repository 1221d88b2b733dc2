//! Many workloads in one process: how long they take to be renewed, and what each costs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use async_trait::async_trait;
use mesh_ca::{
    agent::{
        AgentConfig, CertRequest, CertSource, FetchedCertificate, IssuerSource, RemoteCa, RemoteCaConfig, SourceError,
        WorkloadIdentity,
    },
    spiffe::{SpiffeId, TrustBundles},
    tls::PeerPolicy,
};
use tokio::sync::Semaphore;

use crate::{
    rpc::{World, clock},
    usage,
};

/// Requests under way at once: a fleet is spread over time, this is it all at once.
const UNDER_WAY: usize = 64;

/// How the CA is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Nothing,
    Grpc,
}

impl Over {
    pub(crate) const ALL: [Self; 2] = [Self::Nothing, Self::Grpc];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "in the same process",
            Self::Grpc => "gRPC, one TLS each",
        }
    }
}

/// Figures of one fleet.
pub(crate) struct Fleet {
    pub(crate) first: Duration,
    pub(crate) renewal: Duration,
    pub(crate) bytes_each: f64,
}

#[derive(Debug)]
struct Bounded {
    inner: Arc<dyn CertSource>,
    permits: Semaphore,
}

#[async_trait]
impl CertSource for Bounded {
    async fn fetch(&self, request: &CertRequest) -> Result<FetchedCertificate, SourceError> {
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(|_| SourceError::Unreachable("closed".into()))?;
        self.inner.fetch(request).await
    }
}

pub(crate) fn measure(over: Over, workloads: usize) -> anyhow::Result<Fleet> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(over, workloads))
}

async fn run(over: Over, workloads: usize) -> anyhow::Result<Fleet> {
    let world = Arc::new(World::new().await?);
    let bundles = TrustBundles::from((*mesh_ca::issuer::CertIssuer::trust_bundle(&*world.ca)).clone());
    let issuer: Arc<dyn CertSource> = Arc::new(IssuerSource::new(world.ca.clone()));
    let holder = world.identity(&world.web).await?;
    let (tell, address) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn({
        let (world, authenticator) = (world.clone(), world.by_certificate(&holder.watch()));
        async move {
            let ready = |at| {
                // The other side waits for it.
                let _ = tell.send(at);
            };
            world.serve(authenticator, ready).await
        }
    });
    let address = address.await.context("the server did not start")?;
    let config = RemoteCaConfig::new(address.to_string(), PeerPolicy::id(world.istiod.clone()));
    let remote: Arc<dyn CertSource> = Arc::new(RemoteCa::new(config, clock()));
    // First certificates come from the issuer itself: there is no proof yet.
    let source = Arc::new(Switch { first: issuer.clone(), later: if over == Over::Grpc { remote } else { issuer } });
    let source = Arc::new(Bounded { inner: source, permits: Semaphore::new(UNDER_WAY) });

    let before = usage::resident_bytes()?;
    let start = Instant::now();
    let mut fleet = Vec::with_capacity(workloads);
    for n in 0..workloads {
        let id = SpiffeId::for_workload(&world.domain, "shop", &format!("web-{n}"))?;
        let mut config = AgentConfig::new(id).with_bundles(bundles.clone());
        // All wait in line, on purpose.
        config.rotation.fetch_timeout = Duration::from_secs(600);
        fleet.push(WorkloadIdentity::spawn(config, source.clone(), clock()));
    }
    for identity in &fleet {
        identity.watch().ready().await.context("a certificate")?;
    }
    let first = start.elapsed();
    let bytes_each = (usage::resident_bytes()? - before) / workloads as f64;
    let start = Instant::now();
    fleet.iter().for_each(WorkloadIdentity::renew_now);
    for identity in &fleet {
        let mut states = identity.watch().subscribe();
        states.wait_for(|s| s.rotations >= 2).await.context("a renewal")?;
    }
    let renewal = start.elapsed();
    serving.abort();
    Ok(Fleet { first, renewal, bytes_each })
}

#[derive(Debug)]
struct Switch {
    first: Arc<dyn CertSource>,
    later: Arc<dyn CertSource>,
}

#[async_trait]
impl CertSource for Switch {
    async fn fetch(&self, request: &CertRequest) -> Result<FetchedCertificate, SourceError> {
        let source = if request.current.is_some() { &self.later } else { &self.first };
        source.fetch(request).await
    }
}
