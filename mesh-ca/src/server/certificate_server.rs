//! [`CertificateServer`].

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tonic::{
    Code, Status,
    body::Body as TonicBody,
    codegen::{Body, BoxFuture, Service, StdError},
    server::NamedService,
};

use super::{
    incoming::PeerInfo,
    service::{CertificateService, MAX_REQUEST_BYTES, Refusal},
};
use crate::{api::istio_certificate_service_server::IstioCertificateServiceServer, authn::RequestFacts};

/// [`CertificateService`] as a tonic router takes it, with the size limit set.
///
/// A message that is too large or no protobuf never reaches the service. Such a call is refused here, counted and
/// audited like every other:
///
/// | status | when |
/// |---|---|
/// | `RESOURCE_EXHAUSTED` | the message has more than [`MAX_REQUEST_BYTES`] |
/// | `INVALID_ARGUMENT` | the message is missing, cut off or no protobuf |
#[derive(Debug, Clone)]
pub struct CertificateServer {
    service: CertificateService,
    inner: IstioCertificateServiceServer<CertificateService>,
}

/// Set by the service when a call has reached it: a request extension.
#[derive(Debug, Clone, Default)]
pub(super) struct Reached(Arc<AtomicBool>);

impl Reached {
    pub(super) fn set(&self) {
        self.0.store(true, Relaxed);
    }
}

impl CertificateServer {
    pub(super) fn new(service: CertificateService) -> Self {
        let inner = IstioCertificateServiceServer::new(service.clone()).max_decoding_message_size(MAX_REQUEST_BYTES);
        Self { service, inner }
    }
}

impl NamedService for CertificateServer {
    const NAME: &'static str = <IstioCertificateServiceServer<CertificateService> as NamedService>::NAME;
}

impl<B> Service<http::Request<B>> for CertificateServer
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<TonicBody>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let mut facts = RequestFacts::new();
        facts.peer_address = request.extensions().get::<PeerInfo>().and_then(|peer| peer.address);
        let reached = Reached::default();
        request.extensions_mut().insert(reached.clone());
        let answer = self.inner.call(request);
        let service = self.service.clone();
        Box::pin(async move {
            let answer = answer.await?;
            if reached.0.load(Relaxed) {
                return Ok(answer);
            }
            match Status::from_header_map(answer.headers()).as_ref().and_then(unread) {
                Some(refusal) => Ok(service.refuse(&facts, None, refusal).into_http()),
                None => Ok(answer),
            }
        })
    }
}

/// What tonic's status for a message that it could not read means to the caller. `None` for what is no fault of the
/// message, such as an unknown method.
fn unread(status: &Status) -> Option<Refusal> {
    match status.code() {
        // tonic says OUT_OF_RANGE, other gRPC stacks RESOURCE_EXHAUSTED.
        Code::OutOfRange | Code::ResourceExhausted => {
            let reason = format!("the request is too large, at most {MAX_REQUEST_BYTES} bytes are read");
            Some(Refusal::new(Code::ResourceExhausted, reason))
        }
        Code::Internal | Code::InvalidArgument => {
            Some(Refusal::new(Code::InvalidArgument, format!("the request cannot be read: {}", status.message())))
        }
        _ => None,
    }
}
