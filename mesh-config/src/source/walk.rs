//! Finds the files of folders.

use std::{
    collections::{BTreeSet, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    diagnostic::{Code, Diagnostic},
    model::SourceLocation,
};

/// The most files that a folder may hold.
const MAX_FILES: usize = 100_000;
/// How deep folders may nest.
const MAX_FOLDERS: usize = 32;

/// A path cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
#[non_exhaustive]
pub struct ScanError {
    /// The path.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl ScanError {
    pub(super) fn new(path: &Path, source: io::Error) -> Self {
        Self { path: path.to_owned(), source }
    }

    /// The error as a finding.
    #[must_use]
    pub fn diagnostic(&self) -> Diagnostic {
        let location = SourceLocation { file: self.path.to_string_lossy().into(), ..SourceLocation::default() };
        Diagnostic::at(Code::UnreadableFile, &location, &[&self.source])
            .with_help("check that the path exists and may be read")
    }
}

/// The files of some paths, and what below them could not be read.
pub(crate) fn list_files(paths: &[PathBuf]) -> Result<(BTreeSet<PathBuf>, Vec<ScanError>), ScanError> {
    Walk::all(paths).map(|walk| (walk.files, walk.errors))
}

/// Finds files.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) files: BTreeSet<PathBuf>,
    pub(super) errors: Vec<ScanError>,
    visited: HashSet<PathBuf>,
}

impl Walk {
    /// Finds the files of all paths; fails when one of the paths themselves cannot be read.
    pub(super) fn all(paths: &[PathBuf]) -> Result<Self, ScanError> {
        let mut walk = Self::default();
        for path in paths {
            let metadata = fs::metadata(path).map_err(|error| ScanError::new(path, error))?;
            if metadata.is_dir() {
                walk.folder(path, 0).map_err(|error| ScanError::new(path, error))?;
            } else {
                walk.files.insert(path.clone());
            }
        }
        Ok(walk)
    }

    fn folder(&mut self, path: &Path, depth: usize) -> io::Result<()> {
        // Links may lead back; each folder is read once.
        if depth > MAX_FOLDERS || !self.visited.insert(fs::canonicalize(path)?) {
            return Ok(());
        }
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
            if hidden {
                continue;
            }
            // A link that leads nowhere, or a file that went away since, is no file.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_dir() {
                if let Err(error) = self.folder(&path, depth + 1) {
                    self.errors.push(ScanError::new(&path, error));
                }
            } else if is_configuration(&path) {
                if self.files.len() >= MAX_FILES {
                    return Err(io::Error::other(format!("there are more than {MAX_FILES} files")));
                }
                self.files.insert(path);
            }
        }
        Ok(())
    }

    /// Whether the path lies in a folder that could not be read, so that its file may still be there.
    pub(super) fn is_unreadable(&self, path: &Path) -> bool {
        self.errors.iter().any(|error| path.starts_with(&error.path) && error.source.kind() != io::ErrorKind::NotFound)
    }
}

fn is_configuration(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}
