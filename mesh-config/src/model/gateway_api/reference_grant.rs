//! `ReferenceGrant`: which references from other namespaces are allowed.

use serde::{Deserialize, Serialize};

/// References into its own namespace that are allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ReferenceGrant {
    /// The objects that may refer.
    pub from: Vec<ReferenceGrantFrom>,
    /// The objects that may be referred to.
    pub to: Vec<ReferenceGrantTo>,
}

/// Objects that may refer: a kind in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ReferenceGrantFrom {
    /// The API group; empty for the core group.
    pub group: Option<String>,
    /// The kind.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
}

/// Objects that may be referred to: a kind, or one object of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ReferenceGrantTo {
    /// The API group; empty for the core group.
    pub group: Option<String>,
    /// The kind.
    pub kind: String,
    /// The name; every object of the kind by default.
    pub name: Option<String>,
}
