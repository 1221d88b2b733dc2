//! [`MemoryJoinTokens`], a double for tests.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use async_trait::async_trait;

use super::{JoinTokenRecord, JoinTokenState, JoinTokenStore};
use crate::issuer::StoreError;

/// Keeps join tokens in memory.
#[derive(Debug, Default)]
pub struct MemoryJoinTokens {
    /// With whether it was used.
    records: Mutex<BTreeMap<String, (JoinTokenRecord, bool)>>,
}

impl MemoryJoinTokens {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (JoinTokenRecord, bool)>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl JoinTokenStore for MemoryJoinTokens {
    async fn put(&self, record: &JoinTokenRecord) -> Result<(), StoreError> {
        self.lock().insert(record.handle.clone(), (record.clone(), false));
        Ok(())
    }

    async fn find(&self, handle: &str) -> Result<JoinTokenState, StoreError> {
        Ok(match self.lock().get(handle) {
            Some((_, true)) => JoinTokenState::Used,
            Some((record, false)) => JoinTokenState::Unused(record.clone()),
            None => JoinTokenState::Unknown,
        })
    }

    async fn mark_used(&self, handle: &str) -> Result<bool, StoreError> {
        Ok(self.lock().get_mut(handle).is_some_and(|(_, used)| !std::mem::replace(used, true)))
    }

    async fn forget_ended(&self, now: SystemTime) -> Result<usize, StoreError> {
        let mut records = self.lock();
        records.retain(|_, (record, _)| now < record.expires);
        Ok(records.len())
    }
}
