//! [`DirectoryRecords`]: a log file that is synced before a certificate leaves.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    mem,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex as Guarded, PoisonError},
    time::SystemTime,
};

use async_trait::async_trait;
use tokio::sync::{Mutex, oneshot};

use super::{IssuedRecord, IssuedRecords};
use crate::{clock::Clock, issuer::store::StoreError};

/// Most records that are kept: at 24 hours of life and half of it to renew, five million workloads.
pub const MAX_RECORDS: usize = 10_000_000;
/// Growth after which ended records are dropped, beside doubling.
const SMALLEST_GROWTH: u64 = 1024 * 1024;
const FILE: &str = "issued.log";

type Told = oneshot::Sender<Result<(), String>>;

/// Appends each record to `issued.log`, one line of JSON, mode 0600. Records that come while another one is synced share the
/// next sync. Records that have ended are dropped from time to time, by writing a new file that takes the place of the old one.
///
/// A line that a crash has cut is dropped when the file is opened: its certificate was not handed out. A second process must
/// not write to the same folder: see [`CaStore::lock`](crate::issuer::CaStore::lock).
#[derive(Debug)]
pub struct DirectoryRecords {
    clock: Arc<dyn Clock>,
    waiting: Arc<Guarded<Batch>>,
    log: Arc<Mutex<Log>>,
    path: PathBuf,
}

#[derive(Debug, Default)]
struct Batch {
    lines: Vec<u8>,
    told: Vec<Told>,
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    length: u64,
    compact_at: u64,
}

impl DirectoryRecords {
    /// Opens the log in a folder that exists, or starts one; drops what has ended.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub async fn open(folder: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let path = folder.into().join(FILE);
        let (place, now) = (path.clone(), clock.now().wall);
        let log = blocking(move || Log::open(place, now)).await?;
        Ok(Self { clock, waiting: Arc::default(), log: Arc::new(Mutex::new(log)), path })
    }
}

#[async_trait]
impl IssuedRecords for DirectoryRecords {
    async fn record(&self, record: &IssuedRecord) -> Result<(), StoreError> {
        let (told, mut outcome) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.lines.extend_from_slice(record.to_line()?.as_bytes());
            waiting.told.push(told);
        }
        let failed = |reason: String| StoreError::Other(format!("{}: {reason}", self.path.display()));
        let mut log = Arc::clone(&self.log).lock_owned().await;
        // Whoever had the file before may have written this record too.
        if let Ok(done) = outcome.try_recv() {
            return done.map_err(failed);
        }
        let batch = mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let now = self.clock.now().wall;
        // The file belongs to this work until it is done, also when nobody waits for it any more.
        let work = tokio::task::spawn_blocking(move || {
            let done = log.append(&batch.lines, now).map_err(|e| e.to_string());
            for told in batch.told {
                // Who asked may have gone.
                let _ = told.send(done.clone());
            }
        });
        work.await.map_err(|e| failed(e.to_string()))?;
        outcome.await.unwrap_or_else(|_| Err("the write was not answered".into())).map_err(failed)
    }

    async fn load(&self, now: SystemTime) -> Result<Vec<IssuedRecord>, StoreError> {
        let log = Arc::clone(&self.log).lock_owned().await;
        blocking(move || read(&log.path, now)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(StoreError::Other(format!("file work ended early: {e}"))))
}

impl Log {
    fn open(path: PathBuf, now: SystemTime) -> Result<Self, StoreError> {
        let live = read(&path, now)?;
        rewrite(&path, &live)
    }

    fn append(&mut self, lines: &[u8], now: SystemTime) -> Result<(), StoreError> {
        if self.length >= self.compact_at {
            *self = rewrite(&self.path, &read(&self.path, now)?)?;
        }
        let written = self.file.write_all(lines).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // What was half written must not stand before the next record.
            let _ = self.file.set_len(self.length);
            return Err(io_error("write", &self.path, source));
        }
        self.length += lines.len() as u64;
        Ok(())
    }
}

/// Writes just these records, in one step.
fn rewrite(path: &Path, live: &[IssuedRecord]) -> Result<Log, StoreError> {
    let staged = path.with_extension("log.tmp");
    let mut content = Vec::new();
    for record in live {
        content.extend_from_slice(record.to_line()?.as_bytes());
    }
    let open =
        |path: &Path, new: bool| OpenOptions::new().append(true).create(new).truncate(false).mode(0o600).open(path);
    let write = || -> io::Result<File> {
        match fs::remove_file(&staged) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = open(&staged, true)?;
        file.write_all(&content)?;
        file.sync_all()?;
        fs::rename(&staged, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(file)
    };
    let file = write().map_err(|e| io_error("write", path, e))?;
    let length = content.len() as u64;
    Ok(Log { path: path.to_owned(), file, length, compact_at: length.saturating_mul(2).max(length + SMALLEST_GROWTH) })
}

/// What the file holds and has not ended. The last line counts only when it is whole.
fn read(path: &Path, now: SystemTime) -> Result<Vec<IssuedRecord>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error("open", path, e)),
    };
    let (mut reader, mut line, mut live, mut damaged) = (BufReader::new(file), Vec::new(), Vec::new(), 0);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(|e| io_error("read", path, e))? == 0 {
            break;
        }
        match IssuedRecord::from_line(&line).filter(|_| line.ends_with(b"\n")) {
            Some(record) if now < record.not_after => live.push(record),
            Some(_) => {}
            None => damaged += 1,
        }
        if live.len() > MAX_RECORDS {
            return Err(StoreError::TooLarge(path.display().to_string()));
        }
    }
    if damaged > 0 {
        tracing::warn!(path = %path.display(), lines = damaged, "records of issued certificates are damaged and passed over");
    }
    Ok(live)
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { action, path: path.to_owned(), source }
}
