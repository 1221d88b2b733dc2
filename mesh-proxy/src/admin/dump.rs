use std::time::SystemTime;

use mesh_xds_api::any::Any;
use regex::Regex;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::redact;

/// Every resource a proxy has, as it came.
#[derive(Clone, Debug, Default)]
pub struct ConfigDump {
    /// The bootstrap, and when it was read.
    pub bootstrap: Option<(Any, SystemTime)>,
    /// Clusters.
    pub clusters: TypeDump,
    /// Endpoint assignments.
    pub endpoints: TypeDump,
    /// Listeners.
    pub listeners: TypeDump,
    /// Route tables.
    pub routes: TypeDump,
    /// Secrets.
    pub secrets: TypeDump,
}

/// Resources of one type.
#[derive(Clone, Debug, Default)]
pub struct TypeDump {
    /// Version of the last accepted response; empty if there was none or versions are per resource.
    pub version: String,
    /// The resources.
    pub resources: Vec<ResourceDump>,
}

/// One resource.
#[derive(Clone, Debug, Default)]
pub struct ResourceDump {
    /// Its name.
    pub name: String,
    /// It stands in the bootstrap, or inside a listener.
    pub is_static: bool,
    /// In force.
    pub active: Option<ResourceVersion>,
    /// Accepted, but waiting for what it names.
    pub warming: Option<ResourceVersion>,
    /// The last version, if it was refused.
    pub error: Option<ResourceError>,
}

/// A version of a resource.
#[derive(Clone, Debug)]
pub struct ResourceVersion {
    /// Version told by the control plane; empty for static ones.
    pub version: String,
    /// The resource.
    pub config: Any,
    /// When it was taken.
    pub updated: SystemTime,
}

/// A version of a resource that was refused.
#[derive(Clone, Debug)]
pub struct ResourceError {
    /// The refused resource, if it was kept.
    pub config: Option<Any>,
    /// Version told by the control plane.
    pub version: String,
    /// When it was refused.
    pub at: SystemTime,
    /// Why.
    pub details: String,
}

/// How the parts of a type's dump are called.
struct Names {
    /// `envoy.admin.v3.` message.
    message: &'static str,
    /// Field of the resource itself.
    resource: &'static str,
    statics: (&'static str, &'static str),
    dynamics: (&'static str, &'static str),
    /// Field and message of warming resources, where they are apart.
    warming: Option<(&'static str, &'static str)>,
    /// Entries carry the resource's name.
    named: bool,
}

const CLUSTERS: Names = Names {
    message: "ClustersConfigDump",
    resource: "cluster",
    statics: ("static_clusters", "StaticCluster"),
    dynamics: ("dynamic_active_clusters", "DynamicCluster"),
    warming: Some(("dynamic_warming_clusters", "DynamicCluster")),
    named: false,
};
const ENDPOINTS: Names = Names {
    message: "EndpointsConfigDump",
    resource: "endpoint_config",
    statics: ("static_endpoint_configs", "StaticEndpointConfig"),
    dynamics: ("dynamic_endpoint_configs", "DynamicEndpointConfig"),
    warming: None,
    named: false,
};
const LISTENERS: Names = Names {
    message: "ListenersConfigDump",
    resource: "listener",
    statics: ("static_listeners", "StaticListener"),
    dynamics: ("dynamic_listeners", "DynamicListener"),
    warming: None,
    named: true,
};
const ROUTES: Names = Names {
    message: "RoutesConfigDump",
    resource: "route_config",
    statics: ("static_route_configs", "StaticRouteConfig"),
    dynamics: ("dynamic_route_configs", "DynamicRouteConfig"),
    warming: None,
    named: false,
};
const SECRETS: Names = Names {
    message: "SecretsConfigDump",
    resource: "secret",
    statics: ("static_secrets", "StaticSecret"),
    dynamics: ("dynamic_active_secrets", "DynamicSecret"),
    warming: Some(("dynamic_warming_secrets", "DynamicSecret")),
    named: true,
};

/// The messages of `/config_dump`, in Envoy's order.
pub(super) fn configs(dump: &ConfigDump, names: Option<&Regex>, endpoints: bool) -> Vec<Value> {
    let mut configs = Vec::new();
    if let Some((bootstrap, updated)) = dump.bootstrap.as_ref().filter(|_| names.is_none()) {
        let mut shown = redact::any(bootstrap);
        if let Some(fields) = shown.as_object_mut() {
            fields.remove("@type");
        }
        let kind = type_url("BootstrapConfigDump");
        configs.push(json!({"@type": kind, "bootstrap": shown, "last_updated": timestamp(*updated)}));
    }
    configs.push(type_dump(&CLUSTERS, &dump.clusters, names));
    if endpoints {
        configs.push(type_dump(&ENDPOINTS, &dump.endpoints, names));
    }
    configs.push(type_dump(&LISTENERS, &dump.listeners, names));
    configs.push(type_dump(&ROUTES, &dump.routes, names));
    configs.push(type_dump(&SECRETS, &dump.secrets, names));
    configs
}

/// The elements of the repeated field `field` of one of the dumps; `None` if there is no such field.
pub(super) fn elements(configs: &[Value], field: &str) -> Option<Vec<Value>> {
    let all = [&CLUSTERS, &ENDPOINTS, &LISTENERS, &ROUTES, &SECRETS];
    let (names, message) = all.iter().find_map(|names| {
        let fields = [Some(names.statics), Some(names.dynamics), names.warming];
        fields.into_iter().flatten().find(|(f, _)| *f == field).map(|(_, message)| (names, message))
    })?;
    let kind = type_url(names.message);
    let dump = configs.iter().find(|config| config["@type"] == kind.as_str())?;
    let items = dump.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let typed = |item: Value| {
        let mut out = Map::from_iter([("@type".to_owned(), type_url(&format!("{}.{message}", names.message)).into())]);
        if let Value::Object(fields) = item {
            out.extend(fields);
        }
        Value::Object(out)
    };
    Some(items.into_iter().map(typed).collect())
}

fn type_url(message: &str) -> String {
    format!("type.googleapis.com/envoy.admin.v3.{message}")
}

fn type_dump(kind: &Names, dump: &TypeDump, names: Option<&Regex>) -> Value {
    let mut out = Map::from_iter([("@type".to_owned(), Value::from(type_url(kind.message)))]);
    if !dump.version.is_empty() {
        out.insert("version_info".to_owned(), dump.version.clone().into());
    }
    for resource in dump.resources.iter().filter(|r| names.is_none_or(|names| names.is_match(&r.name))) {
        for (field, entry) in entries(kind, resource) {
            let list = out.entry(field).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(entry);
            }
        }
    }
    Value::Object(out)
}

/// The entries of one resource: field and value.
fn entries(kind: &Names, resource: &ResourceDump) -> Vec<(&'static str, Value)> {
    if resource.is_static {
        let entry = resource.active.as_ref().map(|version| (kind.statics.0, state(kind, resource, version)));
        return entry.into_iter().collect();
    }
    if kind.resource == "listener" {
        return vec![(kind.dynamics.0, listener(kind, resource))];
    }
    let mut entries = Vec::new();
    if let Some(version) = &resource.active {
        entries.push((kind.dynamics.0, status(resource, state(kind, resource, version))));
    }
    if let (Some(version), Some((field, _))) = (&resource.warming, kind.warming) {
        entries.push((field, status(resource, state(kind, resource, version))));
    }
    if entries.is_empty() {
        let name = if kind.named { json!({"name": resource.name}) } else { json!({}) };
        entries.push((kind.dynamics.0, status(resource, name)));
    }
    entries
}

/// A version of a resource with its facts.
fn state(kind: &Names, resource: &ResourceDump, version: &ResourceVersion) -> Value {
    let mut out = Map::new();
    if kind.named && kind.resource == "secret" {
        out.insert("name".to_owned(), resource.name.clone().into());
    }
    if !version.version.is_empty() {
        out.insert("version_info".to_owned(), version.version.clone().into());
    }
    out.insert(kind.resource.to_owned(), redact::any(&version.config));
    out.insert("last_updated".to_owned(), timestamp(version.updated).into());
    Value::Object(out)
}

/// `DynamicListener` holds its states one level deeper.
fn listener(kind: &Names, resource: &ResourceDump) -> Value {
    let mut out = Map::from_iter([("name".to_owned(), Value::from(resource.name.clone()))]);
    for (field, version) in [("active_state", &resource.active), ("warming_state", &resource.warming)] {
        if let Some(version) = version {
            out.insert(field.to_owned(), state(kind, resource, version));
        }
    }
    status(resource, Value::Object(out))
}

/// `entry` with `error_state` and `client_status`.
fn status(resource: &ResourceDump, entry: Value) -> Value {
    let Value::Object(mut out) = entry else { return entry };
    if let Some(error) = &resource.error {
        let mut state = Map::new();
        if let Some(config) = &error.config {
            state.insert("failed_configuration".to_owned(), redact::any(config));
        }
        state.insert("last_update_attempt".to_owned(), timestamp(error.at).into());
        state.insert("details".to_owned(), error.details.clone().into());
        if !error.version.is_empty() {
            state.insert("version_info".to_owned(), error.version.clone().into());
        }
        out.insert("error_state".to_owned(), state.into());
    }
    let client_status = match (&resource.error, &resource.active, &resource.warming) {
        (Some(_), ..) => "NACKED",
        (None, None, None) => "REQUESTED",
        _ => "ACKED",
    };
    out.insert("client_status".to_owned(), client_status.into());
    Value::Object(out)
}

/// RFC 3339 in UTC, with milliseconds.
pub(super) fn timestamp(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let millis = at.replace_millisecond(at.millisecond()).unwrap_or(at);
    millis.format(&Rfc3339).unwrap_or_default()
}
