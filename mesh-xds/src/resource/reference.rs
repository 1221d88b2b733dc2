//! What resources name of each other.

use std::sync::{Arc, OnceLock};

use mesh_xds_api::{any::Any, references};

use super::ResourceKey;

/// One place in a resource that names another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Reference {
    /// What is named.
    pub to: ResourceKey,
    /// The field that has the name, such as `virtual_hosts[0].routes[2].route.cluster`.
    pub path: String,
}

/// The references of a resource, once somebody asked. They follow from its message, and say nothing more about equality.
#[derive(Clone, Default)]
pub(super) struct References(OnceLock<Arc<[Reference]>>);

impl References {
    pub(super) fn of(&self, any: &Any) -> &Arc<[Reference]> {
        self.0.get_or_init(|| references::of(any).into_iter().map(Reference::from).collect())
    }
}

impl PartialEq for References {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl From<references::Reference> for Reference {
    fn from(found: references::Reference) -> Self {
        Self { to: ResourceKey::new(found.type_url, found.name), path: found.path }
    }
}
