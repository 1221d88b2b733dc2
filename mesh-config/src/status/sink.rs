//! Where reports go.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::ObjectReport;
use crate::{model::ObjectKey, store::State};

/// A sink cannot write.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the status of objects: {0}")]
pub struct StatusError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where the reports about objects go: a file, a platform's `status` field, a dashboard.
///
/// # Contract
///
/// - A call tells what changed: `reports` replace those of the same objects, `gone` are objects that are no more. The
///   first call tells everything.
/// - A sink takes all of a call or fails. After a failure, the next call tells all that changed since the last call that
///   did not fail; what is told twice is the same.
/// - It may block for as long as a small write takes, and is not called by two threads at once.
pub trait StatusSink: fmt::Debug + Send {
    /// Writes what changed.
    ///
    /// # Errors
    ///
    /// When what changed is not written.
    fn write(&mut self, reports: &[ObjectReport], gone: &[ObjectKey]) -> Result<(), StatusError>;
}

/// Tells a sink what changes from one state to the next.
#[derive(Debug)]
pub struct StatusWriter<S> {
    sink: S,
    told: BTreeMap<ObjectKey, ObjectReport>,
}

impl<S: StatusSink> StatusWriter<S> {
    /// A writer that has told nothing yet.
    pub fn new(sink: S) -> Self {
        Self { sink, told: BTreeMap::new() }
    }

    /// Tells the sink what is different in `state`; how many reports that were.
    ///
    /// # Errors
    ///
    /// When the sink fails; the next call then tells all that it lacks.
    pub fn write(&mut self, state: &State) -> Result<usize, StatusError> {
        let now: BTreeMap<_, _> = state.reports().into_iter().map(|report| (report.key.clone(), report)).collect();
        let told = &self.told;
        let fresh = now.iter().filter(|(key, report)| told.get(key) != Some(report));
        let reports: Vec<_> = fresh.map(|(_, report)| report.clone()).collect();
        let gone: Vec<_> = told.keys().filter(|key| !now.contains_key(key)).cloned().collect();
        if !reports.is_empty() || !gone.is_empty() {
            self.sink.write(&reports, &gone)?;
        }
        self.told = now;
        Ok(reports.len() + gone.len())
    }

    /// The sink.
    pub fn into_inner(self) -> S {
        self.sink
    }
}

/// A sink in memory, for tests and for programs that show reports themselves. Cheap to clone; clones share their reports.
#[derive(Clone, Debug, Default)]
pub struct MemoryStatusSink(Arc<Mutex<BTreeMap<ObjectKey, ObjectReport>>>);

impl MemoryStatusSink {
    /// A sink without reports.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The reports at present, in the order of their keys.
    #[must_use]
    pub fn reports(&self) -> Vec<ObjectReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl StatusSink for MemoryStatusSink {
    fn write(&mut self, reports: &[ObjectReport], gone: &[ObjectKey]) -> Result<(), StatusError> {
        // The map is whole after every statement, so a panic elsewhere leaves nothing half done.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gone.iter().for_each(|key| {
            all.remove(key);
        });
        all.extend(reports.iter().map(|report| (report.key.clone(), report.clone())));
        Ok(())
    }
}
