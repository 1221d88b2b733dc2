//! `GatewayClass`: who carries out the gateways that name it.

use serde::{Deserialize, Serialize};

use super::reference::ParametersReference;

/// A class of gateways. It has no namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GatewayClass {
    /// The controller, `DOMAIN/PATH`.
    pub controller_name: String,
    /// The controller's own settings.
    pub parameters_ref: Option<ParametersReference>,
    /// A note for people, at most 64 characters.
    pub description: Option<String>,
}
