//! [`DirectoryStore`]: a CA in a folder.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{CaStore, MAX_ITEM_BYTES, StoreError, StoreItem};

/// Keeps each item as a file, see [`StoreItem::name`].
///
/// A write goes to a new file beside the target (mode 0600, or 0644 for public items), is synced, and then takes the
/// target's name in one step; the folder is synced too. Files of interrupted writes (`.tmp-*`) are harmless.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    directory: PathBuf,
}

/// Tells apart the temporary files of one process.
static WRITES: AtomicU64 = AtomicU64::new(0);

impl DirectoryStore {
    /// Uses a folder; makes it (mode 0700, with its parents) when it is missing.
    ///
    /// # Errors
    /// When it cannot be made or is not a folder.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let directory = directory.into();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|e| io_error("make folder", &directory, e))?;
        Ok(Self { directory })
    }

    /// Where an item is kept.
    pub fn path(&self, item: StoreItem) -> PathBuf {
        self.directory.join(item.name())
    }

    /// Runs file work where blocking is allowed.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(&store))
            .await
            .unwrap_or_else(|e| Err(StoreError::Other(format!("file work ended early: {e}"))))
    }

    fn read(&self, item: StoreItem) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let path = self.path(item);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error("open", &path, e)),
        };
        // Asked of the open file, not of the name: it cannot change in between.
        let about = file.metadata().map_err(|e| io_error("look at", &path, e))?;
        let mode = about.mode() & 0o7777;
        if item.is_secret() && mode & 0o077 != 0 {
            return Err(StoreError::Permissions { path, mode });
        }
        if about.len() > MAX_ITEM_BYTES {
            return Err(StoreError::TooLarge(path.display().to_string()));
        }
        let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0) + 1));
        file.take(MAX_ITEM_BYTES).read_to_end(&mut content).map_err(|e| io_error("read", &path, e))?;
        Ok(Some(content))
    }

    /// Writes the temporary file and gives its name.
    fn stage(&self, item: StoreItem, content: &[u8]) -> Result<PathBuf, StoreError> {
        let n = WRITES.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!(".tmp-{}-{}-{n}", item.name(), std::process::id()));
        let write = || -> io::Result<()> {
            // A leftover of an earlier process with our number is in nobody's use.
            let _ = fs::remove_file(&path);
            let mode = if item.is_secret() { 0o600 } else { 0o644 };
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
            file.write_all(content)?;
            file.sync_all()
        };
        write().map_err(|e| io_error("write", &path, e))?;
        Ok(path)
    }

    fn write_new(&self, item: StoreItem, content: &[u8]) -> Result<(), StoreError> {
        let target = self.path(item);
        let staged = self.stage(item, content)?;
        // A second name for the file is refused when the target exists: that makes this a test-and-set.
        let linked = fs::hard_link(&staged, &target);
        let _ = fs::remove_file(&staged);
        match linked {
            Ok(()) => self.sync(),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(StoreError::Exists(target.display().to_string())),
            Err(e) => Err(io_error("create", &target, e)),
        }
    }

    fn write_over(&self, item: StoreItem, content: &[u8]) -> Result<(), StoreError> {
        let target = self.path(item);
        let staged = self.stage(item, content)?;
        if let Err(e) = fs::rename(&staged, &target) {
            let _ = fs::remove_file(&staged);
            return Err(io_error("replace", &target, e));
        }
        self.sync()
    }

    fn sync(&self) -> Result<(), StoreError> {
        File::open(&self.directory).and_then(|d| d.sync_all()).map_err(|e| io_error("sync", &self.directory, e))
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { action, path: path.to_owned(), source }
}

#[async_trait]
impl CaStore for DirectoryStore {
    async fn load(&self, item: StoreItem) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.run(move |s| s.read(item)).await
    }

    async fn create(&self, item: StoreItem, content: &[u8]) -> Result<(), StoreError> {
        let content = Zeroizing::new(content.to_vec());
        self.run(move |s| s.write_new(item, &content)).await
    }

    async fn replace(&self, item: StoreItem, content: &[u8]) -> Result<(), StoreError> {
        let content = Zeroizing::new(content.to_vec());
        self.run(move |s| s.write_over(item, &content)).await
    }
}
