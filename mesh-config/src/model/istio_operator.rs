//! `IstioOperator`: what Istio's installer is told. Source: `istio.operator.v1alpha1.IstioOperatorSpec`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use super::mesh_config::MeshConfig;

/// What Istio's installer is told. The mesh reads the settings in it; the rest is kept as written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IstioOperator {
    /// Settings of the mesh, when there are any.
    pub mesh_config: Option<MeshConfig>,
    /// The `spec` as written.
    pub spec: Value,
}

impl<'de> Deserialize<'de> for IstioOperator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spec = Value::deserialize(deserializer)?;
        if !spec.is_object() && !spec.is_null() {
            return Err(D::Error::custom("expected a mapping"));
        }
        let given = spec.get("meshConfig").filter(|given| !given.is_null());
        // What is no mapping is a finding of the check of the settings.
        let mesh_config = given.and_then(|given| MeshConfig::deserialize(given).ok());
        Ok(Self { mesh_config, spec })
    }
}

impl Serialize for IstioOperator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.spec.serialize(serializer)
    }
}
