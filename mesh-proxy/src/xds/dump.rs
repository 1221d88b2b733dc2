use std::time::SystemTime;

use mesh_xds_api::any::Any;

/// Every resource this proxy holds, as it came. What `/config_dump` is made of.
///
/// Private keys are not in it: they are replaced by `[redacted]` when a secret arrives.
#[derive(Clone, Debug, Default)]
pub struct ConfigDump {
    /// The bootstrap.
    pub bootstrap: Any,
    /// Clusters, by name.
    pub clusters: Vec<DumpEntry>,
    /// Listeners, in the order they came.
    pub listeners: Vec<DumpEntry>,
    /// Route configurations by RDS, by name.
    pub routes: Vec<DumpEntry>,
    /// Endpoints by EDS, by name.
    pub endpoints: Vec<DumpEntry>,
    /// Secrets, by name.
    pub secrets: Vec<DumpEntry>,
}

/// One resource, in one of its states: a resource that changes has an active and a warming one.
#[derive(Clone, Debug)]
pub struct DumpEntry {
    /// Name.
    pub name: String,
    /// Version told with it; empty for static ones.
    pub version: String,
    /// The resource; `None` if it never was accepted.
    pub raw: Option<Any>,
    /// When it was taken.
    pub updated: SystemTime,
    /// Where it stands.
    pub state: DumpState,
    /// The last refused version, if the one here is older than it.
    pub failure: Option<DumpFailure>,
}

/// Where a resource stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpState {
    /// From the bootstrap.
    Static,
    /// In force.
    Active,
    /// Waiting for what it needs.
    Warming,
    /// Named by another resource, and not arrived.
    Requested,
    /// Refused, and no older version is in force.
    Refused,
}

/// A refused version of a resource (`admin.v3.UpdateFailureState`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpFailure {
    /// Why, as the control plane was told.
    pub details: String,
    /// Version told with it.
    pub version: String,
    /// When.
    pub at: SystemTime,
}
