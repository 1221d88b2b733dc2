//! [`FolderSink`]: a folder for each service account.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{CredentialSet, CredentialSink, ServiceAccount, SinkError, Stored};

const CHAIN: &str = "cert-chain.pem";
const KEY: &str = "key.pem";
const ROOTS: &str = "root-cert.pem";
const FILES: [&str; 3] = [CHAIN, KEY, ROOTS];

/// The link to the set in force, as Kubernetes names it in volumes of Secrets.
const CURRENT: &str = "..data";
/// What sets and links that are not in force yet begin with.
const MADE: &str = "..set-";

/// More is no certificate chain, key or bundle.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Writes `DIRECTORY/NAMESPACE/ACCOUNT/` with Citadel's files: `cert-chain.pem`, `key.pem` (mode 0600) and `root-cert.pem`.
///
/// As in volumes that Kubernetes mounts, the three are links into one folder, `..data`, which is itself a link that changes
/// to a new set in one step. Who reads all three through `..data`, opened once, never sees parts of two sets; programs that
/// watch for a move (Envoy's `watched_directory`) see one. Folders are made with mode 0700.
#[derive(Debug, Clone)]
pub struct FolderSink {
    directory: PathBuf,
}

impl FolderSink {
    /// Uses a folder; makes it when it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, SinkError> {
        let directory = directory.into();
        make_folder(&directory)?;
        Ok(Self { directory })
    }

    /// Where the files of an account are.
    pub fn path(&self, account: &ServiceAccount) -> PathBuf {
        self.directory.join(account.namespace()).join(account.name())
    }

    /// Runs file work where blocking is allowed.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
    ) -> Result<T, SinkError> {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|e| Err(SinkError::Other(format!("file work ended early: {e}"))))
    }
}

#[async_trait]
impl CredentialSink for FolderSink {
    async fn list(&self) -> Result<Vec<ServiceAccount>, SinkError> {
        let directory = self.directory.clone();
        self.run(move || list(&directory)).await
    }

    async fn load(&self, account: &ServiceAccount) -> Result<Stored, SinkError> {
        let folder = self.path(account);
        self.run(move || load(&folder)).await
    }

    async fn store(&self, account: &ServiceAccount, set: &CredentialSet) -> Result<(), SinkError> {
        let (folder, set) = (self.path(account), set.clone());
        self.run(move || store(&folder, &set)).await
    }

    async fn remove(&self, account: &ServiceAccount) -> Result<(), SinkError> {
        let folder = self.path(account);
        self.run(move || remove(&folder)).await
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SinkError {
    let path = path.to_owned();
    move |source| SinkError::Io { action, path, source }
}

fn make_folder(path: &Path) -> Result<(), SinkError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make folder", path))
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_symlink())
}

/// The folders in a folder whose names can be those of a namespace or account.
fn names(folder: &Path) -> Result<Vec<String>, SinkError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let entry = entry.map_err(failed("list", folder))?;
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

fn list(directory: &Path) -> Result<Vec<ServiceAccount>, SinkError> {
    let mut found = Vec::new();
    for namespace in names(directory)? {
        for name in names(&directory.join(&namespace))? {
            let Ok(account) = ServiceAccount::new(&namespace, &name) else { continue };
            if is_link(&directory.join(&namespace).join(&name).join(CURRENT)) {
                found.push(account);
            }
        }
    }
    Ok(found)
}

fn load(folder: &Path) -> Result<Stored, SinkError> {
    // Read once: from here on it is one set, whatever is written meanwhile. A set is removed only after the next one is in
    // force, so one that is gone while we read it means that there is a newer one.
    for _ in 0..16 {
        let target = match fs::read_link(folder.join(CURRENT)) {
            Ok(target) => target,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Stored::Absent),
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
                return Ok(Stored::Damaged(format!("{CURRENT} is no link")));
            }
            Err(e) => return Err(failed("read link", &folder.join(CURRENT))(e)),
        };
        let stored = load_set(folder, &target)?;
        let newer = fs::read_link(folder.join(CURRENT)).is_ok_and(|now| now != target);
        if !matches!(stored, Stored::Damaged(_)) || !newer {
            return Ok(stored);
        }
    }
    Ok(Stored::Damaged("it changes without end".into()))
}

fn load_set(folder: &Path, target: &Path) -> Result<Stored, SinkError> {
    for name in FILES {
        if fs::read_link(folder.join(name)).ok() != Some(Path::new(CURRENT).join(name)) {
            return Ok(Stored::Damaged(format!("{name} is not the link that was made")));
        }
    }
    let mut texts = Vec::with_capacity(FILES.len());
    for name in FILES {
        match read(&folder.join(target).join(name), name == KEY)? {
            Ok(text) => texts.push(text),
            Err(what) => return Ok(Stored::Damaged(format!("{name} {what}"))),
        }
    }
    let [chain, key, roots] = &texts[..] else { return Ok(Stored::Absent) };
    Ok(Stored::Held(CredentialSet::new(chain.as_str(), key.clone(), roots.as_str())))
}

/// A file, or what is wrong with it.
fn read(path: &Path, secret: bool) -> Result<Result<Zeroizing<String>, String>, SinkError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Err("is missing".into())),
        Err(e) => return Err(failed("open", path)(e)),
    };
    let about = file.metadata().map_err(failed("look at", path))?;
    if !about.is_file() {
        return Ok(Err("is no file".into()));
    }
    if secret && about.mode() & 0o077 != 0 {
        return Ok(Err(format!("can be read by others (mode {:o})", about.mode() & 0o7777)));
    }
    if about.len() > MAX_FILE_BYTES {
        return Ok(Err("is too large".into()));
    }
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(about.len()).unwrap_or(0) + 1));
    match file.take(MAX_FILE_BYTES).read_to_string(&mut text) {
        Ok(_) => Ok(Ok(text)),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Ok(Err("is no text".into())),
        Err(e) => Err(failed("read", path)(e)),
    }
}

fn store(folder: &Path, set: &CredentialSet) -> Result<(), SinkError> {
    make_folder(folder)?;
    let made = format!("{MADE}{:016x}", rand::random::<u64>());
    write_set(&folder.join(&made), set)?;
    clear(folder, CURRENT)?;
    point(folder, CURRENT, Path::new(&made))?;
    for name in FILES {
        let target = Path::new(CURRENT).join(name);
        if fs::read_link(folder.join(name)).ok().as_ref() != Some(&target) {
            clear(folder, name)?;
            point(folder, name, &target)?;
        }
    }
    sync(folder)?;
    // The folder of the namespace may be new too.
    folder.parent().map_or(Ok(()), sync)?;
    remove_made(folder, Some(&made))
}

fn write_set(set_folder: &Path, set: &CredentialSet) -> Result<(), SinkError> {
    make_folder(set_folder)?;
    for (name, text, mode) in
        [(CHAIN, set.chain.as_str(), 0o644), (KEY, set.key.as_str(), 0o600), (ROOTS, set.roots.as_str(), 0o644)]
    {
        let path = set_folder.join(name);
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(failed("write", &path))?;
    }
    sync(set_folder)
}

/// Makes room for a link: a file of somebody else in its place is what is repaired here; a folder is not ours to remove.
fn clear(folder: &Path, name: &str) -> Result<(), SinkError> {
    let path = folder.join(name);
    match fs::symlink_metadata(&path) {
        Ok(about) if about.is_dir() => Err(SinkError::InTheWay(path)),
        _ => Ok(()),
    }
}

/// Puts a link in place of what is there, in one step.
fn point(folder: &Path, name: &str, target: &Path) -> Result<(), SinkError> {
    let path = folder.join(name);
    let staged = folder.join(format!("{MADE}{:016x}.link", rand::random::<u64>()));
    symlink(target, &staged).map_err(failed("link", &staged))?;
    fs::rename(&staged, &path).map_err(|e| {
        let _ = fs::remove_file(&staged);
        failed("replace", &path)(e)
    })
}

fn sync(folder: &Path) -> Result<(), SinkError> {
    File::open(folder).and_then(|d| d.sync_all()).map_err(failed("sync", folder))
}

/// Removes sets and links that are not in force: of earlier writes, whole or cut off.
fn remove_made(folder: &Path, keep: Option<&str>) -> Result<(), SinkError> {
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let name = entry.map_err(failed("list", folder))?.file_name();
        let Some(name) = name.to_str().filter(|n| n.starts_with(MADE) && Some(*n) != keep) else { continue };
        let path = folder.join(name);
        let removed = if path.is_dir() && !is_link(&path) { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &path)(e)),
            _ => {}
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<(), SinkError> {
    for name in FILES.into_iter().chain([CURRENT]) {
        let path = folder.join(name);
        if is_link(&path) {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    if !folder.exists() {
        return Ok(());
    }
    remove_made(folder, None)?;
    // What others have put there keeps the folder.
    let _ = fs::remove_dir(folder);
    if let Some(namespace) = folder.parent() {
        let _ = fs::remove_dir(namespace);
    }
    Ok(())
}
