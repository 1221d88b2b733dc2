//! The typed model of configuration: Istio's kinds and the Gateway API's in full, the platform's kinds as far as the mesh
//! reads them.
//!
//! The types follow the published APIs field by field; [`Object`] binds one of them to its metadata and to where it
//! was written.

pub(crate) mod admission;
pub(crate) mod common;
pub(crate) mod deployment;
pub(crate) mod destination_rule;
pub(crate) mod duration;
pub(crate) mod envoy_filter;
pub(crate) mod extension;
pub(crate) mod gateway;
pub mod gateway_api;
pub(crate) mod http_match;
pub(crate) mod http_policy;
pub(crate) mod ingress;
pub(crate) mod istio_operator;
pub(crate) mod kind;
pub(crate) mod load_balancer;
pub(crate) mod mesh_config;
pub(crate) mod mesh_networks;
pub(crate) mod object;
pub(crate) mod platform;
pub(crate) mod proxy_config;
pub(crate) mod request_authentication;
pub(crate) mod security;
pub(crate) mod service_entry;
pub(crate) mod sidecar;
pub(crate) mod spec;
pub(crate) mod status;
pub(crate) mod string_match;
pub(crate) mod telemetry;
pub(crate) mod traffic_policy;
pub(crate) mod virtual_service;
pub(crate) mod workload_group;

pub use self::{
    admission::{
        CustomResourceDefinition, MutatingWebhookConfiguration, ValidatingWebhookConfiguration, Webhook, WebhookClient,
        WebhookService,
    },
    common::{
        Destination, IntOrString, KubeLabelSelector, LabelExpression, LabelSelector, Percent, PolicyTargetReference,
        PortSelector, WorkloadMode, WorkloadSelector, labels_match,
    },
    deployment::{Deployment, DeploymentSpec, PodTemplate, PodTemplateMeta},
    destination_rule::{DestinationRule, Subset},
    duration::{Duration, DurationError},
    envoy_filter::EnvoyFilter,
    extension::{
        EnvValueSource, EnvVar, ExtensionPhase, FailStrategy, LuaExtension, PluginPhase, PluginType, PullPolicy,
        TrafficExtension, TrafficSelector, VmConfig, WasmExtension, WasmPlugin,
    },
    gateway::{Gateway, Port, Server, ServerTlsMode, ServerTlsSettings, TlsCertificate, TlsProtocol},
    http_match::HttpMatchRequest,
    http_policy::{
        CorsPolicy, FaultAbort, FaultDelay, HeaderOperations, Headers, HttpFaultInjection, HttpRetry,
        UnmatchedPreflights,
    },
    ingress::{
        Ingress, IngressBackend, IngressClass, IngressClassSpec, IngressPath, IngressPaths, IngressRule,
        IngressService, IngressServicePort, IngressSpec, IngressTls,
    },
    istio_operator::IstioOperator,
    kind::{Kind, UnknownKind},
    load_balancer::{
        BackendUtilizationLb, ConsistentHashLb, CookieAttribute, HttpCookie, LoadBalancerSettings, LocalityDistribute,
        LocalityFailover, LocalityLbSetting, Maglev, RingHash, SimpleLb, WarmupConfiguration, ZoneAwareLbSetting,
    },
    mesh_config::{DefaultProviders, DefaultProxyConfig, IngressControllerMode, MeshConfig, MeshExtensionProvider},
    mesh_networks::{MeshNetwork, MeshNetworks, NetworkEndpoints, NetworkGateway},
    object::{DEFAULT_NAMESPACE, Object, ObjectKey, ObjectMeta, SourceLocation},
    platform::{
        ConfigMap, Container, ContainerEnv, ContainerPort, EndpointConditions, EndpointSlice, KubeServicePort,
        Namespace, Node, ObjectReference, Pod, PodIp, PodSpec, PodStatus, Secret, SecurityContext, Service,
        ServiceAccount, ServiceSpec, SliceEndpoint, SlicePort,
    },
    proxy_config::{ProxyConfig, ProxyImage},
    request_authentication::{ClaimToHeader, JwtHeader, JwtRule, RequestAuthentication, TokenPresence},
    security::{
        AuthorizationAction, AuthorizationPolicy, Condition, ExtensionProvider, MutualTls, MutualTlsMode, Operation,
        PeerAuthentication, Rule, RuleFrom, RuleTo, Source,
    },
    service_entry::{Location, Resolution, ServiceEntry, ServicePort, WorkloadEntry},
    sidecar::{
        CaptureMode, IstioEgressListener, IstioIngressListener, OutboundTrafficPolicy, OutboundTrafficPolicyMode,
        Sidecar,
    },
    spec::{KindSpec, Spec},
    status::{HostAddress, ObjectStatus, ParentStatus, StatusCondition},
    string_match::StringMatch,
    telemetry::{
        AccessLogging, CustomTag, IstioMetric, LogFilter, MetricSelector, Metrics, MetricsOverride, ModeSelector,
        ProviderRef, TagOperation, TagOverride, TagSource, TagValue, Telemetry, Tracing,
    },
    traffic_policy::{
        ClientTlsMode, ClientTlsSettings, ConnectionPoolSettings, H2UpgradePolicy, Http2KeepAlive, HttpSettings,
        OutlierDetection, PortTrafficPolicy, ProxyProtocol, ProxyProtocolVersion, RetryBudget, TcpKeepalive,
        TcpSettings, TrafficPolicy, TunnelSettings,
    },
    virtual_service::{
        Delegate, HttpBody, HttpDirectResponse, HttpMirrorPolicy, HttpRedirect, HttpRewrite, HttpRoute,
        HttpRouteDestination, L4MatchAttributes, RedirectPort, RegexRewrite, RouteDestination, TcpRoute,
        TlsMatchAttributes, TlsRoute, VirtualService,
    },
    workload_group::{
        ExecHealthCheck, GroupMetadata, GrpcHealthCheck, HttpHeader, HttpHealthCheck, ReadinessProbe, TcpHealthCheck,
        WorkloadGroup,
    },
};
