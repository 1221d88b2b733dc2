//! The agent's identity: key and certificate, renewed for as long as the sidecar runs.

use std::sync::Arc;

use anyhow::Context as _;
use mesh_ca::{
    agent::{AgentConfig, RemoteCa, RemoteCaConfig, TokenSource, WorkloadIdentity},
    clock::{Clock, SystemClock},
    spiffe::{SpiffeId, TrustBundle, TrustBundles, TrustDomain},
    tls::PeerPolicy,
};

use crate::cli::SidecarArgs;

/// The trust domain of the workload.
pub(super) fn trust_domain(args: &SidecarArgs) -> anyhow::Result<TrustDomain> {
    TrustDomain::parse(&args.trust_domain).with_context(|| format!("--trust-domain {}", args.trust_domain))
}

/// Starts to hold the identity that the arguments name.
pub(super) fn start(args: &SidecarArgs, trust_domain: TrustDomain) -> anyhow::Result<WorkloadIdentity> {
    let id = SpiffeId::for_workload(&trust_domain, &args.namespace, &args.service_account)
        .context("--namespace and --service-account make no SPIFFE id")?;
    let path = args.root_cert.display();
    let pem = std::fs::read(&args.root_cert).with_context(|| format!("cannot read --root-cert {path}"))?;
    let roots = TrustBundle::from_pem(trust_domain, &pem).with_context(|| format!("--root-cert {path}"))?;
    let mut bundles = TrustBundles::new();
    bundles.insert(roots);

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let server =
        SpiffeId::parse(&crate::control_plane::identity(&args.trust_domain)).context("control plane's SPIFFE id")?;
    let remote = RemoteCaConfig::new(&args.control_plane, PeerPolicy::id(server))
        .with_token(TokenSource::File(args.token.clone()));
    let config = AgentConfig::new(id).with_bundles(bundles).with_lifetime(args.certificate_ttl);
    Ok(WorkloadIdentity::spawn(config, Arc::new(RemoteCa::new(remote, clock.clone())), clock))
}
