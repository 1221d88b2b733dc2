//! `EnvoyFilter`: patches to generated configuration, kept as written.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Patches to generated configuration. Source: `istio.networking.v1alpha3.EnvoyFilter`.
///
/// The fields are checked by the kind's validator, not by the type, since patches hold Envoy's own messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvoyFilter {
    /// The `spec` as written.
    pub spec: Value,
}
