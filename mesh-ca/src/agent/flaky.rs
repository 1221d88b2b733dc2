//! [`FlakySource`], a double for tests.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::source::{CertRequest, CertSource, FetchedCertificate, SourceError};

/// What a [`FlakySource`] does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behaviour {
    /// Passes it on.
    Well,
    /// Refuses it.
    Refuse,
    /// Never answers.
    Hang,
}

/// Passes requests on to another source, but for those that its plan says otherwise of. Remembers all requests.
#[derive(Debug)]
pub struct FlakySource {
    inner: Arc<dyn CertSource>,
    plan: Mutex<VecDeque<Behaviour>>,
    requests: Mutex<Vec<CertRequest>>,
}

impl FlakySource {
    /// Behaves by plan, one step per request, and well once the plan is used up.
    pub fn new(inner: Arc<dyn CertSource>, plan: impl IntoIterator<Item = Behaviour>) -> Self {
        Self { inner, plan: Mutex::new(plan.into_iter().collect()), requests: Mutex::default() }
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<CertRequest> {
        lock(&self.requests).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl CertSource for FlakySource {
    async fn fetch(&self, request: &CertRequest) -> Result<FetchedCertificate, SourceError> {
        lock(&self.requests).push(request.clone());
        let behaviour = lock(&self.plan).pop_front().unwrap_or(Behaviour::Well);
        match behaviour {
            Behaviour::Well => self.inner.fetch(request).await,
            Behaviour::Refuse => Err(SourceError::Refused("refused by plan".into())),
            Behaviour::Hang => std::future::pending().await,
        }
    }
}
