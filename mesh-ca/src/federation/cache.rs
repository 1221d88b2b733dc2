//! [`BundleCache`]: the last bundles, over a restart.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use crate::{
    issuer::{StoreError, store::Folder},
    spiffe::{DocumentError, SpiffeBundle, TrustDomain},
};

/// Why what is kept cannot be used, or nothing be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The folder refused.
    #[error("bundle cache: {0}")]
    Store(#[from] StoreError),
    /// What is kept is no bundle.
    #[error("bundle cache: {path}: {reason}; remove the file to start anew", path = .path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: DocumentError,
    },
}

/// Keeps the newest bundle of each foreign trust domain in a folder, as the document `TRUST_DOMAIN.json`
/// (SPIFFE_Federation.md section 4.2). The time of the file is when the endpoint confirmed it last.
///
/// A kept bundle counts from the start on, with its sequence number. To accept an older one, or to begin again after the
/// foreign trust domain has lost all its keys, remove the file.
#[derive(Debug, Clone)]
pub struct BundleCache {
    folder: Folder,
}

impl BundleCache {
    /// Uses a folder; makes it when it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, CacheError> {
        Ok(Self { folder: Folder::open(directory.into())? })
    }

    /// The bundle that is kept and when it was confirmed.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub async fn load(&self, trust_domain: &TrustDomain) -> Result<Option<(SpiffeBundle, SystemTime)>, CacheError> {
        let name = file_name(trust_domain);
        let path = self.folder.path(&name);
        let read = self.folder.run(move |folder| {
            let text = folder.read(&name, false)?;
            Ok(text.map(|text| (text, fs::metadata(folder.path(&name)).and_then(|m| m.modified()))))
        });
        let Some((text, modified)) = read.await? else { return Ok(None) };
        let bundle = SpiffeBundle::from_jwks(trust_domain.clone(), &text)
            .map_err(|reason| CacheError::Document { path, reason })?;
        Ok(Some((bundle, modified.unwrap_or(SystemTime::UNIX_EPOCH))))
    }

    /// Keeps a bundle in place of the one before.
    ///
    /// # Errors
    /// When it cannot be written; the one before is then untouched.
    pub async fn save(&self, bundle: &SpiffeBundle, confirmed: SystemTime) -> Result<(), CacheError> {
        let (name, text) = (file_name(bundle.trust_domain()), bundle.to_jwks());
        let write = self.folder.run(move |folder| {
            folder.write_over(&name, text.as_bytes(), false)?;
            let path = folder.path(&name);
            let dated = fs::File::options().write(true).open(&path).and_then(|f| f.set_modified(whole(confirmed)));
            dated.map_err(|source| StoreError::Io { action: "date", path, source })
        });
        Ok(write.await?)
    }
}

/// Every character of a trust domain may stand in a file name, and none starts a path.
fn file_name(trust_domain: &TrustDomain) -> String {
    format!("{trust_domain}.json")
}

/// Not every file system keeps parts of seconds.
fn whole(time: SystemTime) -> SystemTime {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
