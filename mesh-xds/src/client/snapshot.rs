//! The last good resources, kept on disk for a start without a server.
//!
//! What watches have accepted is written to one file, shortly after it changed. A client that finds no server when it starts
//! gives its watches what the file holds, as an update from [`Source::Snapshot`](super::Source::Snapshot) that says how old
//! it is. When a server answers, only what differs is sent (delta) or told (SotW).
//!
//! - The file is replaced as a whole (written beside, synced, renamed), readable by its owner only, and has a checksum. One
//!   that is damaged, too large, too old, or another node's is ignored, with a warning.
//! - Secrets are not written unless [`LastGood::types`] names their type. (A key inside of a cluster or listener is.)
//! - A resource with a time to live is not written: it must not outlive the contact with the server.
//! - Nothing that goes wrong here disturbs the client: see [`LastGoodStatus`].

mod file;
mod format;
mod keeper;

use std::{io, path::PathBuf, time::Duration, time::SystemTime};

pub(super) use self::keeper::{Keeper, Write};
use crate::{Resource, TypeUrl};

/// Where the last good resources are kept, and within which limits.
#[derive(Debug, Clone)]
pub struct LastGood {
    path: PathBuf,
    max_age: Duration,
    max_bytes: usize,
    delay: Duration,
    types: Option<Vec<TypeUrl>>,
}

/// Why a snapshot cannot be used, or could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// It exceeds [`LastGood::max_bytes`].
    #[error("the snapshot has {bytes} bytes, more than {limit}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: usize,
    },
    /// It is no snapshot, or was cut off or changed.
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    /// It was made by a client of another node.
    #[error("the snapshot is node {found}'s, this is {expected}")]
    OtherNode {
        /// The node in the file.
        found: String,
        /// The client's node.
        expected: String,
    },
    /// All of it is older than [`LastGood::max_age`].
    #[error("the snapshot is {age:?} old, more than {limit:?}")]
    TooOld {
        /// The age of what is youngest in it.
        age: Duration,
        /// The limit.
        limit: Duration,
    },
}

/// How the file stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastGoodStatus {
    /// When it was written last by this client.
    pub saved: Option<SystemTime>,
    /// How often it was written.
    pub saves: u64,
    /// Resources that were written last, or read at the start.
    pub resources: usize,
    /// Why it could not be read or written the last time.
    pub error: Option<String>,
}

/// The content of the file.
#[derive(Debug, Clone, Default, PartialEq)]
struct Snapshot {
    node: String,
    types: Vec<TypeSnapshot>,
}

/// What is known of one type.
#[derive(Debug, Clone, PartialEq)]
struct TypeSnapshot {
    type_url: TypeUrl,
    saved: SystemTime,
    /// The place of the server that it comes from: versions mean nothing to another.
    server: u64,
    /// It answers a subscription to everything.
    whole: bool,
    resources: Vec<Resource>,
}

impl LastGood {
    /// Keeps the last good resources in the file `path`, whose folder must exist. Only one client may use it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_age: Duration::from_secs(24 * 3600),
            max_bytes: 256 << 20,
            delay: Duration::from_secs(1),
            types: None,
        }
    }

    /// Sets how old resources may be that watches are given. Default 24 h. The time of the file is renewed while a server is
    /// connected.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Sets how large the file may be. What is larger is neither written nor read. Default 256 MiB.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets how long changes are gathered before they are written. Default 1 s.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets the types that are kept. Default: every type but secrets. To name [`TypeUrl::SECRET`] writes private keys to
    /// disk.
    #[must_use]
    pub fn types(mut self, types: impl IntoIterator<Item = TypeUrl>) -> Self {
        self.types = Some(types.into_iter().collect());
        self
    }

    fn keeps(&self, type_url: &TypeUrl) -> bool {
        match &self.types {
            Some(types) => types.contains(type_url),
            None => *type_url != TypeUrl::SECRET,
        }
    }
}

impl Snapshot {
    fn resources(&self) -> usize {
        self.types.iter().map(|t| t.resources.len()).sum()
    }
}

impl TypeSnapshot {
    /// A clock that was set back makes nothing younger than new.
    fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.saved).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
