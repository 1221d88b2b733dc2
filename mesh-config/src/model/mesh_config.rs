//! `MeshConfig`: settings of the whole mesh. Source: `istio.mesh.v1alpha1.MeshConfig`.
//!
//! What checks read has fields of its own; the whole is kept as written, for the checks of the settings themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;

/// Settings of the whole mesh.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshConfig {
    /// The namespace whose policies apply to the whole mesh; `istio-system` by default.
    pub root_namespace: String,
    /// Settings of proxies that do not have their own.
    pub default_config: DefaultProxyConfig,
    /// Providers that policies and telemetry name.
    pub extension_providers: Vec<MeshExtensionProvider>,
    /// Providers of telemetry that names none.
    pub default_providers: DefaultProviders,
    /// All settings, as written; `null` when these were not read.
    #[serde(skip)]
    pub settings: Value,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            root_namespace: "istio-system".to_owned(),
            default_config: DefaultProxyConfig::default(),
            extension_providers: Vec::new(),
            default_providers: DefaultProviders::default(),
            settings: Value::Null,
        }
    }
}

impl<'de> Deserialize<'de> for MeshConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let settings = Value::deserialize(deserializer)?;
        if !settings.is_object() && !settings.is_null() {
            return Err(D::Error::custom("expected a mapping"));
        }
        let read = Self::default();
        // What is of another type is a finding of the check of the settings; here it counts as left out.
        Ok(Self {
            root_namespace: part(&settings, "rootNamespace", "root_namespace").unwrap_or(read.root_namespace),
            default_config: part(&settings, "defaultConfig", "default_config").unwrap_or_default(),
            extension_providers: part(&settings, "extensionProviders", "extension_providers").unwrap_or_default(),
            default_providers: part(&settings, "defaultProviders", "default_providers").unwrap_or_default(),
            settings,
        })
    }
}

/// A field, under either of the names that the JSON form of protobuf has for it.
fn part<T: for<'de> Deserialize<'de>>(settings: &Value, name: &str, other: &str) -> Option<T> {
    let value = settings.get(name).or_else(|| settings.get(other))?;
    T::deserialize(value).ok()
}

/// Settings of proxies that do not have their own. Source: `ProxyConfig` of the mesh API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DefaultProxyConfig {
    /// Metadata that proxies send, among it switches of DNS.
    pub proxy_metadata: BTreeMap<String, String>,
}

/// A provider that policies and telemetry name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshExtensionProvider {
    /// The name.
    pub name: String,
    /// Settings of LightStep's tracing, which is no longer supported.
    pub lightstep: Option<Value>,
}

/// Providers of telemetry that names none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DefaultProviders {
    /// Of traces.
    pub tracing: Vec<String>,
    /// Of metrics.
    pub metrics: Vec<String>,
    /// Of access logs.
    pub access_logging: Vec<String>,
}
