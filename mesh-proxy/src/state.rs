//! What the workers see: one immutable snapshot at a time.

use std::{collections::HashMap, sync::Arc};

use indexmap::IndexMap;

use crate::{cluster::ClusterHandle, model::Listener, route::Routes};

/// The configuration in force. Names only what is warm.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Active listeners by name.
    pub listeners: Arc<IndexMap<Arc<str>, Arc<Listener>>>,
    /// Compiled RDS tables by name.
    pub routes: Arc<HashMap<Arc<str>, Arc<Routes>>>,
    /// Active clusters by name.
    pub clusters: Arc<HashMap<Arc<str>, Arc<ClusterHandle>>>,
    /// Rises with every snapshot.
    pub version: u64,
}
