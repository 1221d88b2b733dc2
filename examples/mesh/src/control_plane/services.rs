//! What the control plane's port serves beside xDS, and who may ask.

use std::sync::Arc;

use mesh_ca::{
    server::{CertificateServer, CertificateService, PeerCertificates, PeerInfo as CaPeer, ServiceMetrics},
    spiffe,
};
use mesh_xds::server::PeerInfo;
use tonic::{Request, Status, service::interceptor::InterceptedService};

use crate::authority::{Authority, Ca};

/// The SPIFFE id of a peer's certificate. TLS has verified the chain.
pub(super) fn spiffe_id(peer: &PeerInfo) -> Option<String> {
    spiffe::check_leaf(peer.certificates.first()?).ok().map(|id| id.to_string())
}

/// Tells the certificate service who is at the other end, in its own terms.
pub(super) type TellPeer = fn(Request<()>) -> Result<Request<()>, Status>;

fn tell_peer(mut request: Request<()>) -> Result<Request<()>, Status> {
    if let Some(peer) = request.extensions().get::<PeerInfo>().cloned() {
        request.extensions_mut().insert(CaPeer::new(PeerCertificates(peer.certificates), peer.remote_addr));
    }
    Ok(request)
}

/// Istio's certificate service, told who asks.
pub(super) type Certificates = InterceptedService<CertificateServer, TellPeer>;

/// Istio's certificate service, and its counters.
pub(super) fn certificates(authority: &Authority) -> anyhow::Result<(Certificates, Arc<ServiceMetrics>)> {
    let mut service =
        CertificateService::new(authority.ca.issuer(), Arc::new(authority.authenticator()?), authority.clock());
    if let Ca::Own(ca) = &authority.ca {
        service = service.with_holders(ca.holders().clone());
    }
    let metrics = service.metrics();
    Ok((InterceptedService::new(service.into_server(), tell_peer as TellPeer), metrics))
}
