//! Where configuration comes from.

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod directory;
mod health;
#[cfg(feature = "http")]
mod http;
mod layered;
mod memory;
mod scan;
mod walk;

use std::{fmt, sync::Arc};

use async_trait::async_trait;

#[cfg(feature = "http")]
pub use self::http::{HttpOptions, HttpSource, InvalidUrl};
pub use self::{
    directory::{DirectoryOptions, DirectorySource},
    health::{HealthHandle, HealthRecorder, SourceHealth},
    layered::LayeredSource,
    memory::{MemoryHandle, MemorySource},
    scan::DirectoryScanner,
    walk::ScanError,
};
pub(crate) use self::{scan::duplicate, walk::list_files};
use crate::{
    diagnostic::Diagnostic,
    model::{Object, ObjectKey},
};

/// Where configuration comes from: a folder, memory, a platform.
///
/// # Contract
///
/// - The first event that is not [`Event::Failed`] is [`Event::Snapshot`]. It comes as soon as the whole set is known,
///   also when the set is empty.
/// - After it, each event tells what changed since the one before. Changes that belong together (one edit of one file)
///   come in one event and are taken together. Changes may be merged: the last state of an object counts.
/// - Another [`Event::Snapshot`] may follow at any time; what it does not hold is gone.
/// - Trouble with the source itself is an [`Event::Failed`]: it changes no object. A source that is in trouble tries
///   again by itself.
/// - `None` means that nothing will ever follow; what was told stays.
/// - A source gives one key only once per event, and holds a bounded amount of undelivered changes.
/// - Its [`SourceHealth`] is ready before the first snapshot is told; a failure is recorded before it is told.
///
/// The module `source::conformance` (feature `test-util`) checks an implementation.
#[async_trait]
pub trait ConfigSource: fmt::Debug + Send {
    /// Waits for the next event.
    ///
    /// Cancel safe: an event is either returned or told by the next call. Must not block the thread.
    async fn next(&mut self) -> Option<Event>;

    /// How the source is, also later: whether it has told its whole set, when it was last read well, what went wrong
    /// last. A source keeps one [`HealthRecorder`] and gives its handle.
    fn health(&self) -> HealthHandle;
}

/// What a source tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The whole set: what it neither applies nor refuses is gone.
    Snapshot(Vec<ObjectChange>),
    /// What changed since the event before.
    Changes(Vec<ObjectChange>),
    /// The source cannot be read at present; no object changes. The findings say why; they are over with the next
    /// event that is no failure.
    Failed(Vec<Diagnostic>),
}

/// A change of one object.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ObjectChange {
    /// The object is new, or says something else.
    Applied(Arc<Object>),
    /// The object's new version cannot be read; its last good version may stay in force.
    Refused {
        /// The object.
        key: ObjectKey,
        /// Why.
        diagnostics: Vec<Diagnostic>,
    },
    /// The object is gone.
    Deleted(ObjectKey),
    /// Findings that belong to no object (such as broken YAML), for one part of the source. They replace those told
    /// for the same part before; none means that all is well there.
    Findings {
        /// The part, such as a file.
        part: Arc<str>,
        /// The findings.
        diagnostics: Vec<Diagnostic>,
    },
}

#[async_trait]
impl<S: ConfigSource + ?Sized> ConfigSource for Box<S> {
    async fn next(&mut self) -> Option<Event> {
        (**self).next().await
    }

    fn health(&self) -> HealthHandle {
        (**self).health()
    }
}
