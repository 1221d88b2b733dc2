//! What a command reads: files, folders and, as `-`, the standard input.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use mesh_config::{LoadResult, load_path_and};

/// Most that is read of the standard input: more than a file may have, so that its limit is the one that is told.
const MAX_INPUT: u64 = 256 << 20;

/// What was read.
pub(super) struct Input {
    pub(super) loaded: LoadResult,
    stdin: Option<Vec<u8>>,
}

impl Input {
    /// Reads all of `paths`.
    pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let is_stdin = |path: &Path| path == Path::new("-");
        let stdin = paths.iter().any(|path| is_stdin(path)).then(stdin).transpose()?;
        let files = paths.iter().filter(|path| !is_stdin(path));
        let loaded = load_path_and(files, stdin.iter().map(|text| ("-", text.as_slice())))?;
        Ok(Self { loaded, stdin })
    }

    /// The text of a file, to show lines of it.
    pub(super) fn text_of(&self, file: &str) -> Option<String> {
        match &self.stdin {
            Some(text) if file == "-" => String::from_utf8(text.clone()).ok(),
            _ => std::fs::read_to_string(file).ok(),
        }
    }
}

fn stdin() -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::io::stdin().lock().take(MAX_INPUT).read_to_end(&mut text).context("the standard input cannot be read")?;
    Ok(text)
}
