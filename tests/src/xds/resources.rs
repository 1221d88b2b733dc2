//! Resources for Envoy, in few words.

use std::net::SocketAddr;

use mesh_xds::{Origin, Resource};
use serde_json::{Value, json};

use super::Transport;
use crate::{certs::Pair, envoy::socket_address};

const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";
const HTTP: &str = "type.googleapis.com/envoy.extensions.filters.http";
/// What Envoy logs of a request that it fails.
const FAILED: &str = "failed: %START_TIME% %REQ(:AUTHORITY)% %RESPONSE_CODE% %RESPONSE_FLAGS% \
    %RESPONSE_CODE_DETAILS% cluster=%UPSTREAM_CLUSTER_RAW% host=%UPSTREAM_HOST%\n";
const HTTP_MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// A resource of a message in JSON. Its origin is `Test default/NAME`.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn resource(type_name: &str, mut message: Value) -> Resource {
    message["@type"] = format!("type.googleapis.com/{type_name}").into();
    let any = mesh_xds_api::json::any_from_value(&message).unwrap_or_else(|e| panic!("{e} in {message:#}"));
    let resource = Resource::from_any(any).unwrap_or_else(|e| panic!("{e} in {message:#}"));
    let origin = Origin::object("Test", "default", resource.name().as_str());
    resource.with_origin(origin)
}

/// Makes resources that refer to others by one transport.
#[derive(Debug, Clone)]
pub struct Resources {
    /// The `ConfigSource` of every reference.
    pub source: Value,
}

impl Resources {
    /// References by `transport`.
    #[must_use]
    pub fn new(transport: Transport) -> Self {
        Self { source: transport.source() }
    }

    /// A cluster of type EDS in JSON; `resource` makes it one.
    #[must_use]
    pub fn eds_cluster(&self, name: &str) -> Value {
        json!({
            "name": name,
            "type": "EDS",
            "connect_timeout": "2s",
            "eds_cluster_config": { "eds_config": self.source },
        })
    }

    /// A cluster.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Resource {
        cluster(self.eds_cluster(name))
    }

    /// The TLS of a cluster that shows the secret `own` and trusts the roots in the secret `roots`.
    #[must_use]
    pub fn upstream_tls(&self, own: &str, roots: &str) -> Value {
        json!({ "name": "tls", "typed_config": {
            "@type": format!("{TLS}.UpstreamTlsContext"),
            "sni": "localhost",
            "common_tls_context": {
                "tls_certificate_sds_secret_configs": [self.secret_ref(own)],
                "validation_context_sds_secret_config": self.secret_ref(roots),
            },
        } })
    }

    /// A listener on a free port of 127.0.0.N with the HTTP filters, and a router behind them; `routing` says where
    /// requests go (see [`Resources::rds`]).
    ///
    /// Give each listener an N of its own: to Envoy port 0 is a port like others, so that a new listener takes over the
    /// socket of one that is draining at the same address.
    #[must_use]
    pub fn http_listener(&self, (name, n): (&str, u8), routing: (&str, Value), mut filters: Vec<Value>) -> Value {
        filters.push(json!({ "name": "router", "typed_config": { "@type": format!("{HTTP}.router.v3.Router") } }));
        let mut manager = json!({ "@type": HTTP_MANAGER, "stat_prefix": name, "http_filters": filters });
        manager[routing.0] = routing.1;
        manager["access_log"] = json!([failed_requests()]);
        json!({
            "name": name,
            "address": socket_address(SocketAddr::from(([127, 0, 0, n], 0))),
            "filter_chains": [{ "name": "only", "filters": [{ "name": "http", "typed_config": manager }] }],
        })
    }

    /// Routing by the route configuration `name`.
    #[must_use]
    pub fn rds(&self, name: &str) -> (&'static str, Value) {
        ("rds", json!({ "route_config_name": name, "config_source": self.source }))
    }

    /// The TLS of a listener that shows the secret `own`; a `transport_socket` of its filter chain.
    #[must_use]
    pub fn downstream_tls(&self, own: &str) -> Value {
        json!({ "name": "tls", "typed_config": {
            "@type": format!("{TLS}.DownstreamTlsContext"),
            "common_tls_context": { "tls_certificate_sds_secret_configs": [self.secret_ref(own)] },
        } })
    }

    /// An HTTP filter whose configuration is discovered.
    #[must_use]
    pub fn discovered_filter(&self, name: &str) -> Value {
        json!({ "name": name, "config_discovery": {
            "config_source": self.source,
            "type_urls": [
                format!("{HTTP}.header_mutation.v3.HeaderMutation"),
                format!("{HTTP}.buffer.v3.Buffer"),
            ],
        } })
    }

    fn secret_ref(&self, name: &str) -> Value {
        json!({ "name": name, "sds_config": self.source })
    }
}

/// Requests that fail are written to Envoy's output.
fn failed_requests() -> Value {
    let at_least = json!({ "op": "GE", "value": { "default_value": 500, "runtime_key": "none" } });
    json!({
        "name": "stdout",
        "filter": { "status_code_filter": { "comparison": at_least } },
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": { "text_format_source": { "inline_string": FAILED } },
        },
    })
}

/// A cluster from JSON.
#[must_use]
pub fn cluster(message: Value) -> Resource {
    resource("envoy.config.cluster.v3.Cluster", message)
}

/// A listener from JSON.
#[must_use]
pub fn listener(message: Value) -> Resource {
    resource("envoy.config.listener.v3.Listener", message)
}

/// The endpoints of a cluster.
#[must_use]
pub fn endpoints(cluster: &str, addresses: &[SocketAddr]) -> Resource {
    let of = |a: &SocketAddr| json!({ "endpoint": { "address": socket_address(*a) } });
    let lb_endpoints: Vec<Value> = addresses.iter().map(of).collect();
    let message = json!({ "cluster_name": cluster, "endpoints": [{ "lb_endpoints": lb_endpoints }] });
    resource("envoy.config.endpoint.v3.ClusterLoadAssignment", message)
}

/// A route configuration.
#[must_use]
pub fn routes(name: &str, virtual_hosts: Vec<Value>) -> Resource {
    resource("envoy.config.route.v3.RouteConfiguration", json!({ "name": name, "virtual_hosts": virtual_hosts }))
}

/// A virtual host in JSON that sends everything for `domain` to clusters by weight.
#[must_use]
pub fn virtual_host(domain: &str, clusters: &[(&str, u32)]) -> Value {
    let action = match clusters {
        [(only, _)] => json!({ "cluster": only, "timeout": "10s" }),
        several => {
            let weighted: Vec<Value> = several.iter().map(|(c, w)| json!({ "name": c, "weight": w })).collect();
            json!({ "weighted_clusters": { "clusters": weighted }, "timeout": "10s" })
        }
    };
    json!({ "name": domain, "domains": [domain], "routes": [{ "match": { "prefix": "/" }, "route": action }] })
}

/// A certificate with its key, as a secret.
#[must_use]
pub fn certificate(name: &str, pair: &Pair) -> Resource {
    let message = json!({ "name": name, "tls_certificate": {
        "certificate_chain": { "inline_string": pair.certificate },
        "private_key": { "inline_string": pair.key },
    } });
    resource("envoy.extensions.transport_sockets.tls.v3.Secret", message)
}

/// Roots to trust, as a secret.
#[must_use]
pub fn roots(name: &str, pem: &str) -> Resource {
    let message = json!({ "name": name, "validation_context": { "trusted_ca": { "inline_string": pem } } });
    resource("envoy.extensions.transport_sockets.tls.v3.Secret", message)
}

/// The configuration of the filter `name`: adds the header `x-filter` with `value` to responses.
#[must_use]
pub fn header_filter(name: &str, value: &str) -> Resource {
    let mutation = json!({ "append": {
        "header": { "key": "x-filter", "value": value }, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    } });
    filter(name, "header_mutation.v3.HeaderMutation", json!({ "mutations": { "response_mutations": [mutation] } }))
}

/// The configuration of the filter `name` as one that does nothing to small requests.
#[must_use]
pub fn buffer_filter(name: &str) -> Resource {
    filter(name, "buffer.v3.Buffer", json!({ "max_request_bytes": 65536 }))
}

fn filter(name: &str, kind: &str, mut config: Value) -> Resource {
    config["@type"] = format!("{HTTP}.{kind}").into();
    resource("envoy.config.core.v3.TypedExtensionConfig", json!({ "name": name, "typed_config": config }))
}

/// The layer of runtime that [`crate::envoy::EnvoyConfig`] asks for.
#[must_use]
pub fn runtime(values: Value) -> Resource {
    resource("envoy.service.runtime.v3.Runtime", json!({ "name": "runtime", "layer": values }))
}
