//! The files of a set as they are at one moment.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use super::{CaFile, PluggedInError};
use crate::spiffe::MAX_CRL_BYTES;

/// Most bytes of a file that holds certificates or the key.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Contents, and a digest that tells whether they have changed.
pub(super) struct FileSet {
    contents: Vec<(CaFile, Option<Zeroizing<Vec<u8>>>)>,
    digest: Vec<u8>,
}

impl FileSet {
    /// Reads all files where blocking is allowed.
    pub(super) async fn read(folder: PathBuf) -> Result<Self, PluggedInError> {
        let place = folder.clone();
        tokio::task::spawn_blocking(move || Self::read_now(&folder)).await.unwrap_or_else(|e| {
            Err(PluggedInError::Read { path: place, source: io::Error::other(format!("file work ended early: {e}")) })
        })
    }

    fn read_now(folder: &Path) -> Result<Self, PluggedInError> {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut contents = Vec::with_capacity(CaFile::ALL.len());
        for file in CaFile::ALL {
            let content = content(&folder.join(file.name()), file)?;
            // The length goes first, so that bytes cannot move from one file to the next unseen.
            let length = content.as_ref().map_or(u64::MAX, |c| c.len() as u64);
            hash.update(&length.to_be_bytes());
            hash.update(content.as_deref().map_or(&[], Vec::as_slice));
            contents.push((file, content));
        }
        Ok(Self { contents, digest: hash.finish().as_ref().to_vec() })
    }

    /// What a file holds; `None` when it is absent.
    pub(super) fn get(&self, wanted: CaFile) -> Option<&[u8]> {
        let (_, content) = self.contents.iter().find(|(file, _)| *file == wanted)?;
        content.as_deref().map(Vec::as_slice)
    }

    pub(super) fn digest(&self) -> &[u8] {
        &self.digest
    }
}

fn content(path: &Path, file: CaFile) -> Result<Option<Zeroizing<Vec<u8>>>, PluggedInError> {
    let failed = |source| PluggedInError::Read { path: path.to_owned(), source };
    let opened = match File::open(path) {
        Ok(opened) => opened,
        Err(e) if e.kind() == io::ErrorKind::NotFound && file.is_optional() => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let limit = match file {
        CaFile::Crl => 2 * MAX_CRL_BYTES as u64,
        _ => MAX_FILE_BYTES,
    };
    let size = opened.metadata().map_err(failed)?.len();
    // Room for everything from the start: growing would leave copies of the key behind.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(size.min(limit)).unwrap_or(0) + 1));
    opened.take(limit + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > limit {
        return Err(PluggedInError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(Some(content))
}
