//! What controllers report in an object's `status`, as far as checks read it.

use serde::{Deserialize, Serialize};

/// The `status` of an object. Only the parts that checks read are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectStatus {
    /// What is and is not so. Source: Kubernetes `Condition`, `IstioCondition`.
    pub conditions: Vec<StatusCondition>,
    /// Addresses that were given to the hosts of a ServiceEntry.
    pub addresses: Vec<HostAddress>,
    /// What each parent of a route says of it.
    pub parents: Vec<ParentStatus>,
}

/// What a parent says of a route. Source: Gateway API, `RouteParentStatus`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentStatus {
    /// What is and is not so.
    pub conditions: Vec<StatusCondition>,
}

/// One condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusCondition {
    /// What is said.
    #[serde(rename = "type")]
    pub condition_type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
}

/// An address that was given to a host. Source: `ServiceEntryAddress`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostAddress {
    /// The host.
    pub host: String,
    /// The address.
    pub value: String,
}
