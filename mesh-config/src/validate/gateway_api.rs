//! The rules of the Gateway API's kinds: those of its definitions' schemas and of the CEL rules in them.

mod backend_tls_policy;
mod cors;
mod experimental;
mod external_auth;
mod filter;
mod gateway;
mod gateway_class;
mod grpc_route;
mod header;
mod http_match;
mod http_route;
mod l4_route;
mod listener;
mod name;
mod parent;
mod reference;
mod reference_grant;
mod session;

pub(super) use self::{
    backend_tls_policy::validate as backend_tls_policy,
    experimental::{backend as x_backend, mesh as x_mesh, traffic_policy as x_backend_traffic_policy},
    gateway::{validate as gateway, validate_listener_set as listener_set},
    gateway_class::validate as gateway_class,
    grpc_route::validate as grpc_route,
    http_route::validate as http_route,
    l4_route::{validate_tcp as tcp_route, validate_tls as tls_route, validate_udp as udp_route},
    reference_grant::validate as reference_grant,
};
