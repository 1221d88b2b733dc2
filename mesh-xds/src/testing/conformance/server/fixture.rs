//! The hand that changes what the server under test serves.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    Resource, ResourceKey,
    store::{Batch, View},
};

/// Names a resource to be removed.
pub type Removal = ResourceKey;

/// Changes what the server under test serves to the target's node.
///
/// # Contract
/// - [`Fixture::update`] adds or replaces `put` (by type and name) and takes `remove` away, as one change. When it
///   returns, streams that are opened from then on see the new content; open ones hear of it soon.
/// - The content is served as given: no resource is added, changed, or refused.
/// - Calls come one after the other.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// Changes the content.
    ///
    /// # Errors
    /// [`FixtureError`]: the case is not applicable, and says why.
    async fn update(&self, put: &[Resource], remove: &[Removal]) -> Result<(), FixtureError>;

    /// Adds or replaces one resource, which lives for `ttl` only unless the server says it again.
    ///
    /// # Errors
    /// [`FixtureError::Unsupported`] is the answer of a server without TTLs, and of this default.
    async fn put_with_ttl(&self, resource: &Resource, ttl: Duration) -> Result<(), FixtureError> {
        let _ = (resource, ttl);
        Err(FixtureError::Unsupported("TTLs"))
    }
}

/// Why the content could not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FixtureError {
    /// The server has no such thing.
    #[error("the fixture does not offer {0}")]
    Unsupported(&'static str),
    /// It should have worked.
    #[error("the content could not be changed: {0}")]
    Failed(String),
}

/// The content of a [`View`] of this crate.
#[derive(Debug, Clone)]
pub struct ViewFixture(pub Arc<View>);

#[async_trait]
impl Fixture for ViewFixture {
    async fn update(&self, put: &[Resource], remove: &[Removal]) -> Result<(), FixtureError> {
        let mut batch: Batch = put.iter().cloned().collect();
        for key in remove {
            batch = batch.remove(key.type_url.clone(), key.name.clone());
        }
        self.0.update(batch);
        Ok(())
    }

    async fn put_with_ttl(&self, resource: &Resource, ttl: Duration) -> Result<(), FixtureError> {
        self.0.update(Batch::new().put(resource.clone().with_ttl(Some(ttl))));
        Ok(())
    }
}
