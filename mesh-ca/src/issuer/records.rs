//! [`IssuedRecords`]: what was issued, kept before it is handed out.

mod log;

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{rotation::RootId, store::StoreError};
use crate::spiffe::SpiffeId;

pub use log::{DirectoryRecords, MAX_RECORDS};

/// One certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedRecord {
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// Whom it speaks for.
    pub id: SpiffeId,
    /// The root that its chain ends at.
    pub root: RootId,
    /// The bundle that goes out with it, see [`RotationState::sequence`](super::rotation::RotationState::sequence).
    pub sequence: u64,
    /// When it ends; whole seconds.
    pub not_after: SystemTime,
}

/// A record as it is written.
#[derive(Serialize, Deserialize)]
struct Line {
    serial: String,
    id: String,
    root: RootId,
    sequence: u64,
    not_after: u64,
}

impl IssuedRecord {
    /// One line of JSON, with its end.
    fn to_line(&self) -> Result<String, StoreError> {
        let line = Line {
            serial: self.serial.clone(),
            id: self.id.to_string(),
            root: self.root.clone(),
            sequence: self.sequence,
            not_after: self.not_after.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        };
        let mut text = serde_json::to_string(&line).map_err(|e| StoreError::Other(e.to_string()))?;
        text.push('\n');
        Ok(text)
    }

    fn from_line(line: &[u8]) -> Option<Self> {
        let line: Line = serde_json::from_slice(line).ok()?;
        Some(Self {
            serial: line.serial,
            id: SpiffeId::parse(&line.id).ok()?,
            root: line.root,
            sequence: line.sequence,
            not_after: UNIX_EPOCH.checked_add(Duration::from_secs(line.not_after))?,
        })
    }
}

/// Keeps what was issued until it has ended.
///
/// # Contract
/// - When `record` has returned, the record survives a power cut. The certificate is handed out only then; when it fails, the
///   certificate is withheld.
/// - `load` gives every record that was kept and has not ended at `now`; of one whose `record` was not answered it may give it
///   or not.
/// - Calls may come at the same time. `record` is cancel safe: a dropped call leaves a whole record or none.
///
/// Ready-made: [`DirectoryRecords`]; `MemoryRecords` (feature `test-util`).
#[async_trait]
pub trait IssuedRecords: fmt::Debug + Send + Sync {
    /// Keeps one record.
    ///
    /// # Errors
    /// When it could not be kept for sure.
    async fn record(&self, record: &IssuedRecord) -> Result<(), StoreError>;

    /// What has not ended yet.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn load(&self, now: SystemTime) -> Result<Vec<IssuedRecord>, StoreError>;
}

#[cfg(feature = "test-util")]
pub use memory::MemoryRecords;

#[cfg(feature = "test-util")]
mod memory {
    use std::{
        sync::{Mutex, PoisonError},
        time::SystemTime,
    };

    use async_trait::async_trait;

    use super::{IssuedRecord, IssuedRecords, StoreError};

    /// Keeps records in memory, for tests.
    #[derive(Debug, Default)]
    pub struct MemoryRecords {
        all: Mutex<Vec<IssuedRecord>>,
    }

    #[async_trait]
    impl IssuedRecords for MemoryRecords {
        async fn record(&self, record: &IssuedRecord) -> Result<(), StoreError> {
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(record.clone());
            Ok(())
        }

        async fn load(&self, now: SystemTime) -> Result<Vec<IssuedRecord>, StoreError> {
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|r| now < r.not_after);
            Ok(all.clone())
        }
    }
}
