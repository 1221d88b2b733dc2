//! [`MemorySink`], a double for tests.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use async_trait::async_trait;

use super::{CredentialSet, CredentialSink, ServiceAccount, SinkError, Stored};

/// Holds sets in memory. Can be told to fail.
#[derive(Debug, Default)]
pub struct MemorySink {
    held: Mutex<BTreeMap<ServiceAccount, Stored>>,
    fails: AtomicBool,
}

impl MemorySink {
    /// Whether everything fails from now on.
    pub fn set_failing(&self, fails: bool) {
        self.fails.store(fails, Relaxed);
    }

    /// Puts something there, as somebody else would.
    pub fn put(&self, account: &ServiceAccount, stored: Stored) {
        self.lock().insert(account.clone(), stored);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServiceAccount, Stored>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> Result<(), SinkError> {
        if self.fails.load(Relaxed) { Err(SinkError::Other("told to fail".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl CredentialSink for MemorySink {
    async fn list(&self) -> Result<Vec<ServiceAccount>, SinkError> {
        self.check()?;
        let held = self.lock();
        Ok(held.iter().filter(|(_, stored)| **stored != Stored::Absent).map(|(account, _)| account.clone()).collect())
    }

    async fn load(&self, account: &ServiceAccount) -> Result<Stored, SinkError> {
        self.check()?;
        Ok(self.lock().get(account).cloned().unwrap_or(Stored::Absent))
    }

    async fn store(&self, account: &ServiceAccount, set: &CredentialSet) -> Result<(), SinkError> {
        self.check()?;
        self.lock().insert(account.clone(), Stored::Held(set.clone()));
        Ok(())
    }

    async fn remove(&self, account: &ServiceAccount) -> Result<(), SinkError> {
        self.check()?;
        self.lock().remove(account);
        Ok(())
    }
}
