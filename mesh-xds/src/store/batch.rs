//! Changes to a view.

use super::Refused;
use crate::{Resource, ResourceKey, ResourceName, TypeUrl};

/// Puts and removals that take effect together. The last word on a name wins.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Put(Resource),
    Remove(ResourceKey),
}

impl Batch {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `resource`, or replaces the one of the same type and name.
    #[must_use]
    pub fn put(mut self, resource: Resource) -> Self {
        self.steps.push(Step::Put(resource));
        self
    }

    /// Removes a resource. It is no error if there is none.
    #[must_use]
    pub fn remove(mut self, type_url: TypeUrl, name: impl Into<ResourceName>) -> Self {
        self.steps.push(Step::Remove(ResourceKey { type_url, name: name.into() }));
        self
    }

    /// Whether the batch does nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

impl Extend<Resource> for Batch {
    fn extend<I: IntoIterator<Item = Resource>>(&mut self, resources: I) {
        self.steps.extend(resources.into_iter().map(Step::Put));
    }
}

impl FromIterator<Resource> for Batch {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        let mut batch = Self::new();
        batch.extend(resources);
        batch
    }
}

/// What an update really changed: puts of equal content are not in it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Changed {
    /// Added or replaced.
    pub put: Vec<ResourceKey>,
    /// Removed.
    pub removed: Vec<ResourceKey>,
    /// Set aside: what the view had under their names, if anything, is still there.
    pub refused: Vec<Refused>,
}

impl Changed {
    /// Whether nothing changed. Something may have been refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.removed.is_empty()
    }
}
