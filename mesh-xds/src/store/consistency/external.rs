use std::{collections::HashSet, fmt, sync::Arc};

use crate::ResourceKey;

/// What clients have from elsewhere, such as the static clusters of their bootstrap: references to it lead somewhere. Cheap
/// to clone.
#[derive(Clone, Default)]
pub struct External(Option<Arc<Predicate>>);

type Predicate = dyn Fn(&ResourceKey) -> bool + Send + Sync;

impl External {
    /// Nothing. The default.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// What `holds` says. It is asked for every reference that is looked at, under the lock of a view: it must be quick, and
    /// always say the same of one key.
    pub fn when(holds: impl Fn(&ResourceKey) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(holds)))
    }

    pub(super) fn holds(&self, key: &ResourceKey) -> bool {
        self.0.as_ref().is_some_and(|holds| holds(key))
    }
}

impl FromIterator<ResourceKey> for External {
    fn from_iter<I: IntoIterator<Item = ResourceKey>>(keys: I) -> Self {
        let keys: HashSet<ResourceKey> = keys.into_iter().collect();
        Self::when(move |key| keys.contains(key))
    }
}

impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "External(..)" } else { "External(none)" })
    }
}
