//! `MeshConfig`: settings of the whole mesh. Source: `istio.mesh.v1alpha1.MeshConfig`.
//!
//! What checks read has fields of its own; the whole is kept as written, for the checks of the settings themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeStruct as _};
use serde_json::Value;

/// Settings of the whole mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct MeshConfig {
    /// The namespace whose policies apply to the whole mesh; `istio-system` by default.
    pub root_namespace: String,
    /// Settings of proxies that do not have their own.
    pub default_config: DefaultProxyConfig,
    /// Providers that policies and telemetry name.
    pub extension_providers: Vec<MeshExtensionProvider>,
    /// Providers of telemetry that names none.
    pub default_providers: DefaultProviders,
    /// The class of the Ingresses that Istio carries out; `istio` by default.
    pub ingress_class: String,
    /// Which Ingresses Istio carries out.
    pub ingress_controller_mode: IngressControllerMode,
    /// All settings, as written; `null` when these were not read.
    pub settings: Value,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            root_namespace: "istio-system".to_owned(),
            default_config: DefaultProxyConfig::default(),
            extension_providers: Vec::new(),
            default_providers: DefaultProviders::default(),
            ingress_class: "istio".to_owned(),
            ingress_controller_mode: IngressControllerMode::default(),
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
            ingress_class: part(&settings, "ingressClass", "ingress_class").unwrap_or(read.ingress_class),
            ingress_controller_mode: part(&settings, "ingressControllerMode", "ingress_controller_mode")
                .unwrap_or_default(),
            settings,
        })
    }
}

impl Serialize for MeshConfig {
    /// As written; what was not read, field by field.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.settings.is_null() {
            return self.settings.serialize(serializer);
        }
        let mut fields = serializer.serialize_struct("MeshConfig", 6)?;
        fields.serialize_field("rootNamespace", &self.root_namespace)?;
        fields.serialize_field("defaultConfig", &self.default_config)?;
        fields.serialize_field("extensionProviders", &self.extension_providers)?;
        fields.serialize_field("defaultProviders", &self.default_providers)?;
        fields.serialize_field("ingressClass", &self.ingress_class)?;
        fields.serialize_field("ingressControllerMode", &self.ingress_controller_mode)?;
        fields.end()
    }
}

/// Which Ingresses Istio carries out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum IngressControllerMode {
    /// None.
    Off,
    /// Those that name a class of Istio's, and those that name none.
    Default,
    /// Those that name a class of Istio's.
    #[default]
    Strict,
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
