//! Reading and replacing the file. Blocking.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{LastGood, Snapshot, SnapshotError, TypeSnapshot, format};

/// What the file holds that `node` may use at `now`. `None`: there is no file.
pub(super) fn read(config: &LastGood, node: &str, now: SystemTime) -> Result<Option<Snapshot>, SnapshotError> {
    let failed = |source| SnapshotError::Io { path: config.path.clone(), source };
    let file = match File::open(&config.path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(config.max_bytes as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > config.max_bytes {
        let bytes = fs::metadata(&config.path).map_or(bytes.len() as u64, |m| m.len());
        return Err(SnapshotError::TooLarge { bytes, limit: config.max_bytes });
    }
    let mut snapshot = format::decode(bytes.into())?;
    if snapshot.node != node {
        return Err(SnapshotError::OtherNode { found: snapshot.node, expected: node.to_owned() });
    }
    snapshot.types.retain(|t| config.keeps(&t.type_url));
    let youngest = snapshot.types.iter().map(|t: &TypeSnapshot| t.age(now)).min();
    snapshot.types.retain(|t| t.age(now) <= config.max_age);
    match youngest {
        Some(age) if snapshot.types.is_empty() => Err(SnapshotError::TooOld { age, limit: config.max_age }),
        _ => Ok(Some(snapshot)),
    }
}

/// Replaces the file. Whoever reads it finds the old one or the new one.
pub(super) fn write(config: &LastGood, snapshot: &Snapshot) -> Result<(), SnapshotError> {
    let bytes = format::encode(snapshot, config.max_bytes)?;
    let beside = beside(&config.path);
    let written = write_beside(&beside, &bytes)
        .and_then(|()| fs::rename(&beside, &config.path))
        .and_then(|()| sync_folder(&config.path));
    written.map_err(|source| {
        // It may not exist; that it cannot be removed says nothing new.
        _ = fs::remove_file(&beside);
        SnapshotError::Io { path: config.path.clone(), source }
    })
}

/// In the same folder: a file is renamed at once only within a file system.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Left by a process that ended while it wrote. Made anew, so that its rights are these.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A rename survives a crash once its folder is synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
