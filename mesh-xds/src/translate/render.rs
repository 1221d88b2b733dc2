//! A translation as text: for people, and as a static bootstrap that Envoy can check.

use std::collections::BTreeSet;

use mesh_xds_api::{TypeUrl, any, envoy, json};
use serde_json::{Map, Value, json};

use super::Translation;
use crate::Resource;

impl Translation {
    /// All resources as YAML documents in a stable order, each with its `@type` and, if it has one, its origin as a
    /// comment. Private keys of secrets are shown as `[redacted]`.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        for resource in &self.resources {
            out.push_str("---\n");
            if let Some(origin) = resource.origin() {
                out.push_str(&format!("# from {origin}\n"));
            }
            out.push_str(&json::value_to_yaml(&shown(resource)));
        }
        out
    }

    /// All resources as one JSON list, as [`Translation::to_yaml`] orders and redacts them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Array(self.resources.iter().map(shown).collect())
    }

    /// The resources as `static_resources` of an Envoy bootstrap, to be checked with `envoy --mode validate`.
    ///
    /// Endpoints are put into their clusters and routes into their listeners, and the cluster of the agent's secrets is
    /// added, so that nothing is fetched. Secrets that came with the resources are put beside them.
    #[must_use]
    pub fn static_bootstrap(&self) -> Value {
        let mut clusters = vec![agent_cluster()];
        let mut listeners = Vec::new();
        let mut secrets = Vec::new();
        for resource in &self.resources {
            let kind = resource.type_url();
            if *kind == TypeUrl::CLUSTER {
                clusters.push(self.with_endpoints(resource));
            } else if *kind == TypeUrl::LISTENER {
                let mut listener = bare(resource);
                self.inline_routes(&mut listener);
                listeners.push(listener);
            } else if *kind == TypeUrl::SECRET {
                secrets.push(bare(resource));
            }
        }
        let mut resources = json!({"clusters": clusters, "listeners": listeners});
        streamed_secrets(&mut resources, &secrets.iter().filter_map(|secret| secret["name"].as_str()).collect());
        resources["secrets"] = Value::Array(secrets);
        json!({"node": {"id": "validate", "cluster": "validate"}, "static_resources": resources})
    }

    fn named(&self, kind: &TypeUrl, name: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.type_url() == kind && resource.name().as_str() == name)
    }

    fn with_endpoints(&self, resource: &Resource) -> Value {
        let mut cluster = bare(resource);
        if cluster["type"] == "EDS"
            && let Some(fields) = cluster.as_object_mut()
        {
            fields.insert("type".into(), "STATIC".into());
            fields.remove("eds_cluster_config");
            let endpoints = self.named(&TypeUrl::ENDPOINT, resource.name().as_str()).map(bare);
            fields.insert("load_assignment".into(), endpoints.unwrap_or_else(|| json!({"cluster_name": "none"})));
        }
        cluster
    }

    fn inline_routes(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                let name = fields.get("rds").and_then(|rds| rds["route_config_name"].as_str()).map(str::to_owned);
                if let Some(name) = name {
                    fields.remove("rds");
                    let table = self.named(&TypeUrl::ROUTE, &name).map(bare);
                    fields.insert("route_config".into(), table.unwrap_or_else(|| json!({"name": name})));
                }
                fields.values_mut().for_each(|value| self.inline_routes(value));
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.inline_routes(value)),
            _ => {}
        }
    }
}

/// The message without its type.
fn bare(resource: &Resource) -> Value {
    let mut value = json::any_to_value(resource.any());
    if let Some(fields) = value.as_object_mut() {
        fields.remove("@type");
    }
    value
}

fn shown(resource: &Resource) -> Value {
    use envoy::extensions::transport_sockets::tls::v3::{Secret, secret::Type};
    if *resource.type_url() == TypeUrl::SECRET
        && let Ok(mut secret) = resource.unpack::<Secret>()
    {
        if let Some(Type::TlsCertificate(certificate)) = &mut secret.r#type {
            certificate.private_key = Some(super::proto::inline_text("[redacted]"));
        }
        return json::any_to_value(&any::pack(&secret));
    }
    json::any_to_value(resource.any())
}

/// Secrets of the stream are looked for beside the resources, where they need no source; those that are not there are
/// left to the agent.
fn streamed_secrets(value: &mut Value, known: &BTreeSet<&str>) {
    match value {
        Value::Object(fields) => {
            if fields.get("sds_config").is_some_and(|config| config.get("ads").is_some()) {
                fields.remove("sds_config");
                let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
                if !known.contains(name) {
                    let agent = json::to_value(&super::tls::agent_secret(name));
                    fields.insert("sds_config".into(), agent["sds_config"].clone());
                }
            }
            fields.values_mut().for_each(|value| streamed_secrets(value, known));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| streamed_secrets(value, known)),
        _ => {}
    }
}

/// The cluster that the agent's secrets come from, as a sidecar's bootstrap has it.
fn agent_cluster() -> Value {
    let http2 = json!({"explicit_http_config": {"http2_protocol_options": {}}});
    let mut options = Map::new();
    options.insert("@type".into(), "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions".into());
    options.extend(http2.as_object().cloned().unwrap_or_default());
    json!({
        "name": "sds-grpc",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": {
            "cluster_name": "sds-grpc",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": "./sds.sock"}}}}]}],
        },
    })
}
