//! [`JsonLinesAudit`]: records in a file, one JSON object per line.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::SystemTime,
};

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{AuditOutcome, AuditRecord, AuditSink};

/// Records that wait to be written at most; more are lost, and counted.
const QUEUE: usize = 8192;

/// Appends each record to a file as one line of JSON, by a thread of its own.
///
/// ```json
/// {"time":"2026-01-02T03:04:05.678Z","peer":"10.0.0.7:4711","proof":"jwt","caller":"system:serviceaccount:shop:web","outcome":"issued","id":"spiffe://cluster.local/ns/shop/sa/web","serial":"4c1f…","not_after":"2026-01-03T03:04:05Z"}
/// {"time":"2026-01-02T03:04:06.001Z","peer":"10.0.0.9:1234","proof":null,"caller":null,"outcome":"refused","code":"UNAUTHENTICATED","reason":"token refused: it is expired"}
/// ```
///
/// The file is made with mode 0600 when it is missing, synced when the queue is empty, and opened anew when it was moved
/// away, as log rotation does. Dropping the sink writes what waits. What could not be written is in
/// [`JsonLinesAudit::lost`].
pub struct JsonLinesAudit {
    queue: Option<SyncSender<Line>>,
    lost: Arc<AtomicU64>,
    writer: Option<JoinHandle<()>>,
    path: PathBuf,
}

/// A record as it is written.
#[derive(Serialize)]
struct Line {
    time: String,
    peer: Option<String>,
    proof: Option<&'static str>,
    caller: Option<String>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Outcome {
    Issued { id: String, serial: String, not_after: String },
    TokenIssued { id: String, audiences: Vec<String>, expires: String },
    Refused { code: &'static str, reason: String },
}

impl From<&AuditRecord> for Line {
    fn from(record: &AuditRecord) -> Self {
        let outcome = match &record.outcome {
            AuditOutcome::Issued { id, serial, not_after } => {
                Outcome::Issued { id: id.to_string(), serial: serial.clone(), not_after: text(*not_after) }
            }
            AuditOutcome::TokenIssued { id, audiences, expires } => {
                Outcome::TokenIssued { id: id.to_string(), audiences: audiences.clone(), expires: text(*expires) }
            }
            AuditOutcome::Refused { code, reason } => Outcome::Refused { code, reason: reason.clone() },
        };
        Self {
            time: text(record.time),
            peer: record.peer.map(|p| p.to_string()),
            proof: record.proof.map(|p| p.name()),
            caller: record.caller.clone(),
            outcome,
        }
    }
}

fn text(time: SystemTime) -> String {
    // Years above 9999 alone have no text.
    OffsetDateTime::from(time).format(&Rfc3339).unwrap_or_default()
}

impl JsonLinesAudit {
    /// Appends to the file at `path`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let mut file = Target::open(path.clone())?;
        let (queue, lines) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        let writer =
            std::thread::Builder::new().name("audit".into()).spawn(move || write(&mut file, &lines, &counter))?;
        Ok(Self { queue: Some(queue), lost, writer: Some(writer), path })
    }

    /// Records that were lost so far: the queue was full, or the file system refused.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

impl AuditSink for JsonLinesAudit {
    fn record(&self, record: &AuditRecord) {
        let taken = self.queue.as_ref().is_some_and(|q| q.try_send(Line::from(record)).is_ok());
        if !taken {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for JsonLinesAudit {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // It panics only if the system is out of memory; there is nobody left to tell.
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for JsonLinesAudit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLinesAudit").field("path", &self.path).field("lost", &self.lost()).finish_non_exhaustive()
    }
}

/// Writes what comes, in batches of what waits, until the sink is dropped.
fn write(file: &mut Target, lines: &Receiver<Line>, lost: &AtomicU64) {
    while let Ok(first) = lines.recv() {
        let mut batch = Vec::new();
        let mut count = 0;
        for line in std::iter::once(first).chain(lines.try_iter().take(QUEUE)) {
            // Texts, numbers and lists of texts: this cannot fail.
            if serde_json::to_writer(&mut batch, &line).is_ok() {
                batch.push(b'\n');
                count += 1;
            }
        }
        if let Err(error) = file.append(&batch) {
            lost.fetch_add(count, Relaxed);
            tracing::error!(%error, path = %file.path.display(), records = count, "audit records are lost");
        }
    }
}

struct Target {
    path: PathBuf,
    file: File,
}

impl Target {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = open(&path)?;
        Ok(Self { path, file })
    }

    fn append(&mut self, batch: &[u8]) -> io::Result<()> {
        let same = |there: &std::fs::Metadata, ours: &std::fs::Metadata| {
            (there.dev(), there.ino()) == (ours.dev(), ours.ino())
        };
        let ours = self.file.metadata()?;
        if !std::fs::metadata(&self.path).is_ok_and(|there| same(&there, &ours)) {
            self.file = open(&self.path)?;
        }
        self.file.write_all(batch)?;
        self.file.sync_data()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
