//! The discovery services, all over the same stream.
//!
//! They are the generated services in all but one thing: a push is not encoded for each client ([`super::codec`]).

use std::{
    convert::Infallible,
    future::ready,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use mesh_xds_api::envoy::service::{
    cluster::v3::cluster_discovery_service_server as cds,
    discovery::v3::{
        DeltaDiscoveryRequest, DiscoveryRequest, DiscoveryResponse, aggregated_discovery_service_server as ads,
    },
    endpoint::v3::endpoint_discovery_service_server as eds,
    extension::v3::extension_config_discovery_service_server as ecds,
    listener::v3::listener_discovery_service_server as lds,
    route::v3::{
        route_discovery_service_server as rds, scoped_routes_discovery_service_server as srds,
        virtual_host_discovery_service_server as vhds,
    },
    runtime::v3::runtime_discovery_service_server as rtds,
    secret::v3::secret_discovery_service_server as sds,
};
use tonic::{
    Request, Response, Status,
    body::Body,
    metadata::GRPC_CONTENT_TYPE,
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;
use tower::Service;

use super::{
    Inner, PeerInfo,
    codec::PushBody,
    fetch::{self, Fetched},
    incoming::{RequestMessage, Requests},
    outbox::outbox,
    stream::{self, Newcomer},
};
use crate::TypeUrl;

/// A service as the API defines it: its methods by name.
trait Definition: Send + Sync + 'static {
    const NAME: &'static str;
    const SOTW: Option<&'static str>;
    const DELTA: Option<&'static str>;
    const FETCH: Option<&'static str>;
    /// The type it has; none, if it has all.
    const TYPE: Option<TypeUrl>;
}

macro_rules! services {
    ($($name:ident: $module:ident, $sotw:expr, $delta:expr, $fetch:expr, $type_url:expr;)*) => {
        $(
            struct $name;

            impl Definition for $name {
                const NAME: &'static str = $module::SERVICE_NAME;
                const SOTW: Option<&'static str> = $sotw;
                const DELTA: Option<&'static str> = $delta;
                const FETCH: Option<&'static str> = $fetch;
                const TYPE: Option<TypeUrl> = $type_url;
            }
        )*

        /// Adds every discovery service.
        pub(super) fn add_all(inner: &Arc<Inner>, builder: &mut tonic::service::RoutesBuilder) {
            $(builder.add_service(Discovery::<$name> { inner: inner.clone(), definition: PhantomData });)*
        }
    };
}

services! {
    Aggregated: ads, Some("StreamAggregatedResources"), Some("DeltaAggregatedResources"), None, None;
    Clusters: cds, Some("StreamClusters"), Some("DeltaClusters"), Some("FetchClusters"), Some(TypeUrl::CLUSTER);
    Endpoints: eds, Some("StreamEndpoints"), Some("DeltaEndpoints"), Some("FetchEndpoints"), Some(TypeUrl::ENDPOINT);
    Listeners: lds, Some("StreamListeners"), Some("DeltaListeners"), Some("FetchListeners"), Some(TypeUrl::LISTENER);
    Routes: rds, Some("StreamRoutes"), Some("DeltaRoutes"), Some("FetchRoutes"), Some(TypeUrl::ROUTE);
    ScopedRoutes: srds, Some("StreamScopedRoutes"), Some("DeltaScopedRoutes"), Some("FetchScopedRoutes"),
        Some(TypeUrl::SCOPED_ROUTE);
    VirtualHosts: vhds, None, Some("DeltaVirtualHosts"), None, Some(TypeUrl::VIRTUAL_HOST);
    Secrets: sds, Some("StreamSecrets"), Some("DeltaSecrets"), Some("FetchSecrets"), Some(TypeUrl::SECRET);
    Extensions: ecds, Some("StreamExtensionConfigs"), Some("DeltaExtensionConfigs"), Some("FetchExtensionConfigs"),
        Some(TypeUrl::EXTENSION_CONFIG);
    Runtime: rtds, Some("StreamRuntime"), Some("DeltaRuntime"), Some("FetchRuntime"), Some(TypeUrl::RUNTIME);
}

/// One service.
struct Discovery<D> {
    inner: Arc<Inner>,
    definition: PhantomData<D>,
}

impl<D> Clone for Discovery<D> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), definition: PhantomData }
    }
}

impl<D: Definition> NamedService for Discovery<D> {
    const NAME: &'static str = D::NAME;
}

impl<D: Definition> Service<http::Request<Body>> for Discovery<D> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = Method { inner: self.inner.clone(), only: D::TYPE };
        let name = request.uri().path().rsplit('/').next();
        if name == D::SOTW {
            Box::pin(ready(Ok(method.open::<DiscoveryRequest>(request))))
        } else if name == D::DELTA {
            Box::pin(ready(Ok(method.open::<DeltaDiscoveryRequest>(request))))
        } else if name == D::FETCH {
            let codec = ProstCodec::<DiscoveryResponse, DiscoveryRequest>::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(self.inner.limits.max_request_bytes);
            Box::pin(async move { Ok(grpc.unary(method, request).await) })
        } else {
            Box::pin(ready(Ok(Status::unimplemented("the service has no such method").into_http())))
        }
    }
}

/// What a method works with.
struct Method {
    inner: Arc<Inner>,
    only: Option<TypeUrl>,
}

/// The header by which a client says that its messages are compressed.
const ENCODING: &str = "grpc-encoding";

impl Method {
    /// Opens a stream whose client sends `Q`.
    fn open<Q: RequestMessage>(self, request: http::Request<Body>) -> http::Response<Body> {
        if request.headers().get(ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Status::unimplemented("compressed requests are not understood").into_http();
        }
        let peer = request.extensions().get::<PeerInfo>().cloned().unwrap_or_default();
        let requests = Requests::<Q>::new(request.into_body(), self.inner.limits.max_request_bytes);
        let (outbox, outlet) = outbox();
        let newcomer = Box::new(Newcomer { variant: Q::VARIANT, only: self.only, peer });
        tokio::spawn(stream::run(self.inner, newcomer, Box::pin(requests), outbox));
        let mut response = http::Response::new(Body::new(PushBody::new(outlet)));
        response.headers_mut().insert(http::header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
        response
    }
}

impl UnaryService<DiscoveryRequest> for Method {
    type Response = DiscoveryResponse;
    type Future = BoxFuture<'static, Result<Response<DiscoveryResponse>, Status>>;

    fn call(&mut self, request: Request<DiscoveryRequest>) -> Self::Future {
        let peer = request.extensions().get::<PeerInfo>().cloned().unwrap_or_default();
        let (inner, only) = (self.inner.clone(), self.only.clone());
        let mut message = request.into_inner();
        // gRPC has no way to say that nothing changed.
        message.version_info.clear();
        Box::pin(async move {
            match fetch::fetch(&inner, only.as_ref(), &peer, message).await? {
                Fetched::Push(push) => Ok(Response::new(push.into_sotw())),
                Fetched::Unchanged => Err(Status::internal("a fetch without a version is always answered")),
            }
        })
    }
}
