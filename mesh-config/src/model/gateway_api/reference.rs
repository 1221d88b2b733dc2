//! References between objects.

use serde::{Deserialize, Serialize};

/// What a route is attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ParentReference {
    /// The API group; `gateway.networking.k8s.io` by default.
    pub group: Option<String>,
    /// The kind; `Gateway` by default.
    pub kind: Option<String>,
    /// The namespace; that of the route by default.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// The listener, or the service's port, by name; all by default.
    pub section_name: Option<String>,
    /// The listeners, or the service's port, by number; all by default.
    pub port: Option<u32>,
}

/// A place that requests are sent to, mostly a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BackendObjectReference {
    /// The API group; the core group by default.
    pub group: Option<String>,
    /// The kind; `Service` by default.
    pub kind: Option<String>,
    /// The name.
    pub name: String,
    /// The namespace; that of the route by default. Another one needs a ReferenceGrant.
    pub namespace: Option<String>,
    /// The port; required for a Service.
    pub port: Option<u32>,
}

/// One weighted backend of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BackendRef {
    /// The API group; the core group by default.
    pub group: Option<String>,
    /// The kind; `Service` by default.
    pub kind: Option<String>,
    /// The name.
    pub name: String,
    /// The namespace; that of the route by default.
    pub namespace: Option<String>,
    /// The port; required for a Service.
    pub port: Option<u32>,
    /// Its share of the sum of weights, 0 to 1000000; 1 by default.
    pub weight: Option<i32>,
}

/// One weighted backend of a rule with its own filters `F`. Source: `HTTPBackendRef`, `GRPCBackendRef`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FilteredBackendRef<F: Default> {
    /// The API group; the core group by default.
    pub group: Option<String>,
    /// The kind; `Service` by default.
    pub kind: Option<String>,
    /// The name.
    pub name: String,
    /// The namespace; that of the route by default.
    pub namespace: Option<String>,
    /// The port; required for a Service.
    pub port: Option<u32>,
    /// Its share of the sum of weights, 0 to 1000000; 1 by default.
    pub weight: Option<i32>,
    /// What is done with requests to this backend only.
    pub filters: Vec<F>,
}

/// An object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LocalObjectReference {
    /// The API group; empty for the core group.
    pub group: Option<String>,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
}

/// An object of any namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ObjectReference {
    /// The API group; empty for the core group.
    pub group: Option<String>,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The namespace; that of the referring object by default.
    pub namespace: Option<String>,
}

/// An object with an implementation's own settings.
pub type ParametersReference = ObjectReference;

/// A Secret, or another object with a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SecretObjectReference {
    /// The API group; the core group by default.
    pub group: Option<String>,
    /// The kind; `Secret` by default.
    pub kind: Option<String>,
    /// The name.
    pub name: String,
    /// The namespace; that of the referring object by default.
    pub namespace: Option<String>,
}

/// What a policy is bound to. Source: `LocalPolicyTargetReferenceWithSectionName`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PolicyTarget {
    /// The API group; empty for the core group.
    pub group: Option<String>,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// A part of the object, such as a port by name; the whole of it by default.
    pub section_name: Option<String>,
}
