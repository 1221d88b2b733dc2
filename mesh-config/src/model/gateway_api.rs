//! The kinds of the Kubernetes Gateway API, with the fields of its experimental channel.
//!
//! Source: <https://gateway-api.sigs.k8s.io/reference/spec/>, `gateway.networking.k8s.io/v1`. Spans of time are kept as
//! written: their form (GEP-2257) is narrower than that of Istio's kinds.

pub(crate) mod backend_tls_policy;
pub(crate) mod experimental;
pub(crate) mod filter;
pub(crate) mod gateway;
pub(crate) mod gateway_class;
pub(crate) mod grpc_route;
pub(crate) mod http_route;
pub(crate) mod l4_route;
pub(crate) mod reference;
pub(crate) mod reference_grant;
pub(crate) mod session;

pub use self::{
    backend_tls_policy::{BackendTlsPolicy, BackendTlsValidation, SubjectAltName, SubjectAltNameType},
    experimental::{
        EndpointSelector, ExternalHostname, RequestRate, RetryBudgetDetails, RetryConstraint, XBackend, XBackendPort,
        XBackendTls, XBackendTrafficPolicy, XMesh,
    },
    filter::{
        CorsFilter, ExternalAuthFilter, ExternalAuthForwardBody, ExternalAuthGrpc, ExternalAuthHttp,
        ExternalAuthProtocol, Fraction, GrpcRouteFilter, GrpcRouteFilterType, Header, HeaderModifier, HttpRouteFilter,
        HttpRouteFilterType, PathModifier, PathModifierType, RequestMirror, RequestRedirect, UrlRewrite,
    },
    gateway::{
        AllowedListeners, AllowedRoutes, BackendTls, FrontendTls, FrontendTlsConfig, FrontendValidation, Gateway,
        GatewayAddress, GatewayInfrastructure, GatewayTls, Listener, ListenerFilter, ListenerFilterType,
        ListenerFilters, ListenerNamespaces, ListenerSet, ListenerTls, ListenerTlsMode, PortTls, RouteGroupKind,
        RouteNamespaces,
    },
    gateway_class::GatewayClass,
    grpc_route::{GrpcHeaderMatch, GrpcMethodMatch, GrpcRoute, GrpcRouteMatch, GrpcRouteRule},
    http_route::{
        HttpHeaderMatch, HttpPathMatch, HttpQueryParamMatch, HttpRoute, HttpRouteMatch, HttpRouteRetry, HttpRouteRule,
        HttpRouteTimeouts, MatchType, PathMatchType,
    },
    l4_route::{L4RouteRule, TcpRoute, TlsRoute, UdpRoute},
    reference::{
        BackendObjectReference, BackendRef, FilteredBackendRef, LocalObjectReference, ObjectReference,
        ParametersReference, ParentReference, PolicyTarget, SecretObjectReference,
    },
    reference_grant::{ReferenceGrant, ReferenceGrantFrom, ReferenceGrantTo},
    session::{SessionCookie, SessionCookieConfig, SessionHeader, SessionPersistence},
};
