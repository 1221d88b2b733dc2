//! [`Folder`]: files that are written whole or not at all.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use zeroize::Zeroizing;

use super::{MAX_ITEM_BYTES, StoreError};

/// A folder with files by name.
///
/// A write goes to a new file beside the target (mode 0600 when it is secret, else 0644), is synced, and then takes the
/// target's name in one step; the folder is synced too. Files of interrupted writes (`.tmp-*`) are harmless.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    directory: PathBuf,
}

/// The file that the CA locks.
const LOCK: &str = ".lock";

/// Tells apart the temporary files of one process.
static WRITES: AtomicU64 = AtomicU64::new(0);

impl Folder {
    /// Uses a folder; makes it (mode 0700, with its parents) when it is missing.
    pub(crate) fn open(directory: PathBuf) -> Result<Self, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|e| io_error("make folder", &directory, e))?;
        Ok(Self { directory })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Runs file work where blocking is allowed.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let folder = self.clone();
        tokio::task::spawn_blocking(move || work(&folder))
            .await
            .unwrap_or_else(|e| Err(StoreError::Other(format!("file work ended early: {e}"))))
    }

    /// What a file holds; `None` when it is absent. A secret that others can read is refused.
    pub(crate) fn read(&self, name: &str, secret: bool) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let path = self.path(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error("open", &path, e)),
        };
        // Asked of the open file, not of the name: it cannot change in between.
        let about = file.metadata().map_err(|e| io_error("look at", &path, e))?;
        let mode = about.mode() & 0o7777;
        if secret && mode & 0o077 != 0 {
            return Err(StoreError::Permissions { path, mode });
        }
        if about.len() > MAX_ITEM_BYTES {
            return Err(StoreError::TooLarge(path.display().to_string()));
        }
        let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0) + 1));
        file.take(MAX_ITEM_BYTES).read_to_end(&mut content).map_err(|e| io_error("read", &path, e))?;
        Ok(Some(content))
    }

    /// Writes a file that must not exist.
    pub(crate) fn write_new(&self, name: &str, content: &[u8], secret: bool) -> Result<(), StoreError> {
        let target = self.path(name);
        let staged = self.stage(name, content, secret)?;
        // A second name for the file is refused when the target exists: that makes this a test-and-set.
        let linked = fs::hard_link(&staged, &target);
        let _ = fs::remove_file(&staged);
        match linked {
            Ok(()) => self.sync(),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(StoreError::Exists(target.display().to_string())),
            Err(e) => Err(io_error("create", &target, e)),
        }
    }

    /// Writes a file, in place of an older one if there is one.
    pub(crate) fn write_over(&self, name: &str, content: &[u8], secret: bool) -> Result<(), StoreError> {
        let target = self.path(name);
        let staged = self.stage(name, content, secret)?;
        if let Err(e) = fs::rename(&staged, &target) {
            let _ = fs::remove_file(&staged);
            return Err(io_error("replace", &target, e));
        }
        self.sync()
    }

    /// Locks the file `.lock`, for as long as what is given back stays open. Who holds it stands in the file; that is for people
    /// only, what counts is the lock, which ends with its process.
    pub(in crate::issuer) fn lock(&self) -> Result<File, StoreError> {
        let path = self.path(LOCK);
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = options.map_err(|e| io_error("open", &path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who it is helps people; when it cannot be read, it is locked all the same.
                let _ = file.take(256).read_to_string(&mut holder);
                let holder = if holder.trim().is_empty() { "another process" } else { holder.trim() };
                return Err(StoreError::Locked {
                    place: self.directory.display().to_string(),
                    holder: holder.to_owned(),
                });
            }
            Err(TryLockError::Error(e)) => return Err(io_error("lock", &path, e)),
        }
        let program = std::env::args_os().next().unwrap_or_default();
        let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let holder = format!("process {} ({program})\n", std::process::id());
        let told = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
        told.map_err(|e| io_error("write", &path, e))?;
        Ok(file)
    }

    /// Removes a file; one that is absent is no error.
    pub(crate) fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path, e)),
            _ => self.sync(),
        }
    }

    /// Gives a file another name; `false` when it is absent. The file system gives `true` to one of several callers.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<bool, StoreError> {
        let path = self.path(from);
        match fs::rename(&path, self.path(to)) {
            Ok(()) => self.sync().map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(io_error("rename", &path, e)),
        }
    }

    /// The names of all files, those of interrupted writes left out.
    pub(crate) fn names(&self) -> Result<Vec<String>, StoreError> {
        let failed = |e| io_error("list", &self.directory, e);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            names.extend(name.into_string().ok().filter(|n| !n.starts_with('.')));
        }
        Ok(names)
    }

    /// Writes the temporary file and gives its name.
    fn stage(&self, name: &str, content: &[u8], secret: bool) -> Result<PathBuf, StoreError> {
        let n = WRITES.fetch_add(1, Ordering::Relaxed);
        let path = self.path(&format!(".tmp-{name}-{}-{n}", std::process::id()));
        let write = || -> io::Result<()> {
            // A leftover of an earlier process with our number is in nobody's use.
            let _ = fs::remove_file(&path);
            let mode = if secret { 0o600 } else { 0o644 };
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
            file.write_all(content)?;
            file.sync_all()
        };
        write().map_err(|e| io_error("write", &path, e))?;
        Ok(path)
    }

    fn sync(&self) -> Result<(), StoreError> {
        File::open(&self.directory).and_then(|d| d.sync_all()).map_err(|e| io_error("sync", &self.directory, e))
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { action, path: path.to_owned(), source }
}
