//! [`DirectoryJoinTokens`]: join tokens in a folder.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{JoinTokenRecord, JoinTokenState, JoinTokenStore};
use crate::{
    issuer::{StoreError, store::Folder},
    spiffe::SpiffeId,
};

const UNUSED: &str = "token";
const USED: &str = "used";

/// Keeps each token as a file, `HANDLE.token`, which becomes `HANDLE.used` with its use: one rename, which the file system
/// gives to exactly one caller, synced before the caller is let in. Only the owner can read them.
#[derive(Debug, Clone)]
pub struct DirectoryJoinTokens {
    folder: Folder,
}

/// A file's content.
#[derive(Serialize, Deserialize)]
struct Kept {
    digest: [u8; 32],
    id: String,
    /// Seconds since 1970.
    expires: u64,
}

impl DirectoryJoinTokens {
    /// Uses a folder; makes it (mode 0700) when it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Ok(Self { folder: Folder::open(directory.into())? })
    }
}

fn file(handle: &str, state: &str) -> String {
    format!("{handle}.{state}")
}

/// A handle that can be a file name: one of ours always is.
fn checked(handle: &str) -> Result<String, StoreError> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if (1..=64).contains(&handle.len()) && handle.bytes().all(fine) {
        return Ok(handle.to_owned());
    }
    Err(StoreError::Other("not the handle of a join token".into()))
}

fn read(folder: &Folder, handle: &str, state: &str) -> Result<Option<JoinTokenRecord>, StoreError> {
    let name = file(handle, state);
    let Some(text) = folder.read(&name, true)? else { return Ok(None) };
    let damaged = || StoreError::Other(format!("{} is damaged; remove it", folder.path(&name).display()));
    let kept: Kept = serde_json::from_slice(&text).map_err(|_| damaged())?;
    let id = SpiffeId::parse(&kept.id).map_err(|_| damaged())?;
    let expires = UNIX_EPOCH.checked_add(Duration::from_secs(kept.expires)).ok_or_else(damaged)?;
    Ok(Some(JoinTokenRecord::new(handle, kept.digest, id, expires)))
}

#[async_trait]
impl JoinTokenStore for DirectoryJoinTokens {
    async fn put(&self, record: &JoinTokenRecord) -> Result<(), StoreError> {
        let name = file(&checked(&record.handle)?, UNUSED);
        let expires = record.expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let kept = Kept { digest: record.digest, id: record.id.to_string(), expires };
        let text = serde_json::to_vec(&kept).map_err(|e| StoreError::Other(e.to_string()))?;
        self.folder.run(move |folder| folder.write_new(&name, &text, true)).await
    }

    async fn find(&self, handle: &str) -> Result<JoinTokenState, StoreError> {
        let handle = checked(handle)?;
        let find = move |folder: &Folder| {
            if let Some(record) = read(folder, &handle, UNUSED)? {
                return Ok(JoinTokenState::Unused(record));
            }
            let used = folder.path(&file(&handle, USED)).exists();
            Ok(if used { JoinTokenState::Used } else { JoinTokenState::Unknown })
        };
        self.folder.run(find).await
    }

    async fn mark_used(&self, handle: &str) -> Result<bool, StoreError> {
        let handle = checked(handle)?;
        self.folder.run(move |folder| folder.rename(&file(&handle, UNUSED), &file(&handle, USED))).await
    }

    async fn forget_ended(&self, now: SystemTime) -> Result<usize, StoreError> {
        self.folder
            .run(move |folder| {
                let mut left = 0;
                for name in folder.names()? {
                    let Some((handle, state @ (UNUSED | USED))) = name.rsplit_once('.') else { continue };
                    // One that is gone meanwhile, or damaged, is not in the way of the others.
                    match read(folder, handle, state) {
                        Ok(Some(record)) if record.expires <= now => folder.remove(&name)?,
                        Ok(None) => {}
                        _ => left += 1,
                    }
                }
                Ok(left)
            })
            .await
    }
}
