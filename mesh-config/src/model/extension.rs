//! `WasmPlugin` and `TrafficExtension`: filters that users bring.
//!
//! Source: `istio.extensions.v1alpha1`, wasm.proto and traffic_extension.proto.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::common::{LabelSelector, PolicyTargetReference, PortSelector, WorkloadMode};

/// A WebAssembly filter in some workloads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WasmPlugin {
    /// The workloads; all in the namespace (in the root namespace: in the mesh) by default.
    pub selector: Option<LabelSelector>,
    /// The resource it is bound to. Deprecated by `target_refs`.
    pub target_ref: Option<PolicyTargetReference>,
    /// The resources it is bound to; excludes a selector.
    pub target_refs: Vec<PolicyTargetReference>,
    /// Where the module is fetched: `oci://` (default), `http://`, `https://` or `file://`.
    pub url: String,
    /// The SHA-256 of the module or image, 64 lower case hexadecimal digits.
    pub sha256: Option<String>,
    /// When the module is fetched again.
    pub image_pull_policy: Option<PullPolicy>,
    /// The Secret with credentials for the registry.
    pub image_pull_secret: Option<String>,
    /// Not implemented by Istio.
    pub verification_key: Option<String>,
    /// The configuration that the module is given.
    pub plugin_config: Option<Map<String, Value>>,
    /// The name that the module is given.
    pub plugin_name: Option<String>,
    /// Where in the chain it stands.
    pub phase: Option<PluginPhase>,
    /// The order within a phase, highest first; 0 by default.
    pub priority: Option<i32>,
    /// What happens when the module cannot be loaded or fails.
    pub fail_strategy: Option<FailStrategy>,
    /// The virtual machine.
    pub vm_config: Option<VmConfig>,
    /// Which traffic it sees; all by default.
    #[serde(rename = "match")]
    pub matches: Vec<TrafficSelector>,
    /// Whether it is an HTTP or a network filter.
    #[serde(rename = "type")]
    pub plugin_type: Option<PluginType>,
}

/// A filter in some workloads, in one of several languages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TrafficExtension {
    /// The workloads; all in the namespace (in the root namespace: in the mesh) by default.
    pub selector: Option<LabelSelector>,
    /// The resources it is bound to; excludes a selector.
    pub target_refs: Vec<PolicyTargetReference>,
    /// Where in the chain it stands.
    pub phase: Option<ExtensionPhase>,
    /// The order within a phase, highest first; 0 by default.
    pub priority: Option<i32>,
    /// Which traffic it sees; all by default.
    #[serde(rename = "match")]
    pub matches: Vec<TrafficSelector>,
    /// A WebAssembly module.
    pub wasm: Option<WasmExtension>,
    /// A Lua script; excludes `wasm`.
    pub lua: Option<LuaExtension>,
}

/// The module of a [`TrafficExtension`]; its fields are those of a [`WasmPlugin`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WasmExtension {
    /// Where the module is fetched.
    pub url: String,
    /// The SHA-256 of the module or image.
    pub sha256: Option<String>,
    /// When the module is fetched again.
    pub image_pull_policy: Option<PullPolicy>,
    /// The Secret with credentials for the registry.
    pub image_pull_secret: Option<String>,
    /// Not implemented by Istio.
    pub verification_key: Option<String>,
    /// The configuration that the module is given.
    pub plugin_config: Option<Map<String, Value>>,
    /// The name that the module is given.
    pub plugin_name: Option<String>,
    /// What happens when the module cannot be loaded or fails.
    pub fail_strategy: Option<FailStrategy>,
    /// The virtual machine.
    pub vm_config: Option<VmConfig>,
    /// Whether it is an HTTP or a network filter.
    #[serde(rename = "type")]
    pub plugin_type: Option<PluginType>,
}

/// A script for Envoy's Lua filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LuaExtension {
    /// The script, 1 to 65536 bytes.
    pub inline_code: String,
}

/// When a module is fetched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// `Always` for the tag `latest`, else `IfNotPresent`.
    #[serde(rename = "UNSPECIFIED_POLICY")]
    Unspecified,
    /// When it is not there.
    IfNotPresent,
    /// Whenever the configuration changes.
    Always,
}

/// Where in the filter chain a [`WasmPlugin`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PluginPhase {
    /// At the end, before the router.
    UnspecifiedPhase,
    /// Before authentication.
    Authn,
    /// After authentication, before authorization.
    Authz,
    /// After authorization, before statistics.
    Stats,
}

/// Where in the filter chain a [`TrafficExtension`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExtensionPhase {
    /// At the end, before the router.
    Unspecified,
    /// Before authentication.
    Authn,
    /// After authentication, before authorization.
    Authz,
    /// After authorization, before statistics.
    Stats,
}

/// What happens when a module cannot be loaded or fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailStrategy {
    /// Requests fail; the default.
    FailClose,
    /// Requests go on without it.
    FailOpen,
    /// The module is started again once, then requests fail.
    FailReload,
}

/// Whether a module is an HTTP or a network filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PluginType {
    /// An HTTP filter.
    #[serde(rename = "UNSPECIFIED_PLUGIN_TYPE")]
    Unspecified,
    /// An HTTP filter.
    #[serde(rename = "HTTP")]
    Http,
    /// A network filter.
    #[serde(rename = "NETWORK")]
    Network,
}

/// The virtual machine of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct VmConfig {
    /// Environment variables that the module sees.
    pub env: Vec<EnvVar>,
}

/// An environment variable of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EnvVar {
    /// The name.
    pub name: String,
    /// Where the value comes from; `INLINE` by default.
    pub value_from: Option<EnvValueSource>,
    /// The value, unless it is that of the proxy.
    pub value: Option<String>,
}

/// Where the value of an environment variable comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EnvValueSource {
    /// It is given.
    Inline,
    /// It is the proxy's own.
    Host,
}

/// Which traffic a filter sees: by role and port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TrafficSelector {
    /// The role of the workload; both by default.
    pub mode: Option<WorkloadMode>,
    /// Ports; all by default.
    pub ports: Vec<PortSelector>,
}
