//! `MeshConfig`: settings of the whole mesh, as far as checks read them. Source: `istio.mesh.v1alpha1.MeshConfig`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Settings of the whole mesh. Fields that no check reads are passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// The namespace whose policies apply to the whole mesh; `istio-system` by default.
    pub root_namespace: String,
    /// Settings of proxies that do not have their own.
    pub default_config: DefaultProxyConfig,
    /// Providers that policies and telemetry name.
    pub extension_providers: Vec<MeshExtensionProvider>,
    /// Providers of telemetry that names none.
    pub default_providers: DefaultProviders,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            root_namespace: "istio-system".to_owned(),
            default_config: DefaultProxyConfig::default(),
            extension_providers: Vec::new(),
            default_providers: DefaultProviders::default(),
        }
    }
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
