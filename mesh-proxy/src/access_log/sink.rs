use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use super::AccessLogError;
use crate::{
    model::AccessLogSink,
    stats::{Counter, Stats},
};

/// Most bytes that wait for the writer, for each sink.
const BUFFER_LIMIT: usize = 4 << 20;
/// Bytes from which the writer does not wait for more.
const WRITE_SIZE: usize = 64 << 10;
/// How long lines may wait to be written together.
const WRITE_DELAY: Duration = Duration::from_millis(100);

/// The sinks of access logs and the thread that writes to them. Cheap to clone; clones are the same sinks.
///
/// Logs of the same file share one sink. When the last clone is dropped, what waits is written and the thread ends.
#[derive(Clone, Debug)]
pub struct LogSinks(Arc<Owner>);

#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told when there is work for the writer.
    work: Condvar,
    /// Told when the writer has finished a round.
    written: Condvar,
    counters: Counters,
}

#[derive(Debug)]
struct Counters {
    dropped: Counter,
    completed: Counter,
    failed: Counter,
    reopen_failed: Counter,
}

#[derive(Debug, Default)]
struct State {
    sinks: Vec<Slot>,
    pending: bool,
    hurry: bool,
    reopen: bool,
    closed: bool,
    /// Rounds begun and finished by the writer; a flush waits for one begun after it.
    begun: u64,
    finished: u64,
}

#[derive(Debug)]
struct Slot {
    target: AccessLogSink,
    /// Kept by the [`Sink`]s of this slot; the slot goes when they are gone.
    users: Arc<()>,
    id: u64,
    buffer: Vec<u8>,
    file: Option<Arc<File>>,
}

impl LogSinks {
    /// No sink yet; the thread starts with the first one.
    #[must_use]
    pub fn new(stats: &Stats) -> Self {
        let counters = Counters {
            dropped: stats.counter("access_log.dropped"),
            completed: stats.counter("filesystem.write_completed"),
            failed: stats.counter("filesystem.write_failed"),
            reopen_failed: stats.counter("filesystem.reopen_failed"),
        };
        let shared = Shared { state: Mutex::default(), work: Condvar::new(), written: Condvar::new(), counters };
        Self(Arc::new(Owner { shared: Arc::new(shared), writer: Mutex::default() }))
    }

    /// Opens every file again under its name, as log rotation wants after it moved the old ones away (`SIGUSR1`,
    /// `/reopen_logs`). Lines already given go to the old file. A file that cannot be opened stays as it is, and is
    /// counted.
    pub fn reopen(&self) {
        self.0.shared.state.lock().reopen = true;
        self.flush();
    }

    /// Waits until every line given so far is written.
    pub fn flush(&self) {
        let mut state = self.0.shared.state.lock();
        if state.closed || self.0.writer.lock().is_none() {
            return;
        }
        let target = state.begun + 1;
        state.pending = true;
        state.hurry = true;
        self.0.shared.work.notify_one();
        while state.finished < target {
            self.0.shared.written.wait(&mut state);
        }
    }

    pub(super) fn open(&self, target: &AccessLogSink) -> Result<Sink, AccessLogError> {
        self.start().map_err(AccessLogError::Thread)?;
        let target = normalise(target);
        let mut state = self.0.shared.state.lock();
        if let Some(slot) = state.sinks.iter().find(|slot| slot.target == target) {
            return Ok(Sink { shared: self.0.shared.clone(), id: slot.id, _user: slot.users.clone() });
        }
        let file = match &target {
            AccessLogSink::File(path) => Some(Arc::new(
                append(path).map_err(|source| AccessLogError::Open { path: path.display().to_string(), source })?,
            )),
            AccessLogSink::Stdout | AccessLogSink::Stderr => None,
        };
        let id = state.sinks.last().map_or(0, |slot| slot.id + 1);
        let users = Arc::new(());
        state.sinks.push(Slot { target, users: users.clone(), id, buffer: Vec::new(), file });
        Ok(Sink { shared: self.0.shared.clone(), id, _user: users })
    }

    fn start(&self) -> io::Result<()> {
        let mut writer = self.0.writer.lock();
        if writer.is_none() {
            let shared = self.0.shared.clone();
            *writer = Some(std::thread::Builder::new().name("access-log".into()).spawn(move || shared.write())?);
        }
        Ok(())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.work.notify_one();
        if let Some(writer) = self.writer.get_mut().take() {
            // A writer that panicked has nothing left to write.
            let _ = writer.join();
        }
    }
}

/// Where one access log writes.
#[derive(Debug)]
pub(super) struct Sink {
    shared: Arc<Shared>,
    id: u64,
    _user: Arc<()>,
}

impl Sink {
    /// Hands `line` to the writer, or drops it if too much waits.
    pub(super) fn append(&self, line: &[u8]) {
        let mut state = self.shared.state.lock();
        let closed = state.closed;
        let Ok(index) = state.sinks.binary_search_by_key(&self.id, |slot| slot.id) else { return };
        let buffer = &mut state.sinks[index].buffer;
        if closed || buffer.len() + line.len() > BUFFER_LIMIT {
            drop(state);
            self.shared.counters.dropped.inc();
            return;
        }
        buffer.extend_from_slice(line);
        let hurry = buffer.len() >= WRITE_SIZE && !state.hurry;
        let wake = hurry || !state.pending;
        state.pending = true;
        state.hurry |= hurry;
        drop(state);
        if wake {
            self.shared.work.notify_one();
        }
    }
}

impl Shared {
    /// The writer: waits for the first line, then a little for more, writes outside the lock, and again.
    fn write(&self) {
        let mut state = self.state.lock();
        loop {
            while !state.pending && !state.closed {
                self.work.wait(&mut state);
            }
            if !state.hurry && !state.closed {
                self.work.wait_for(&mut state, WRITE_DELAY);
            }
            let last = state.closed;
            state.begun += 1;
            state.pending = false;
            state.hurry = false;
            let reopen = std::mem::take(&mut state.reopen);
            state.sinks.retain(|slot| Arc::strong_count(&slot.users) > 1 || !slot.buffer.is_empty());
            let jobs: Vec<_> = state
                .sinks
                .iter_mut()
                .map(|slot| (slot.id, slot.target.clone(), std::mem::take(&mut slot.buffer), slot.file.clone()))
                .collect();
            parking_lot::MutexGuard::unlocked(&mut state, || self.write_all(&jobs));
            if reopen {
                self.reopen(&mut state);
            }
            for (id, _, mut buffer, _) in jobs {
                if let Ok(index) = state.sinks.binary_search_by_key(&id, |slot| slot.id)
                    && state.sinks[index].buffer.capacity() == 0
                {
                    buffer.clear();
                    state.sinks[index].buffer = buffer;
                }
            }
            state.finished = state.begun;
            self.written.notify_all();
            if last {
                return;
            }
        }
    }

    #[allow(clippy::type_complexity)] // the parts of a slot, taken out of the lock
    fn write_all(&self, jobs: &[(u64, AccessLogSink, Vec<u8>, Option<Arc<File>>)]) {
        for (_, target, buffer, file) in jobs.iter().filter(|(_, _, buffer, _)| !buffer.is_empty()) {
            let result = match (target, file) {
                (AccessLogSink::Stderr, _) => io::stderr().write_all(buffer),
                (_, Some(file)) => (&**file).write_all(buffer),
                (_, None) => {
                    let mut out = io::stdout().lock();
                    out.write_all(buffer).and_then(|()| out.flush())
                }
            };
            match result {
                Ok(()) => self.counters.completed.inc(),
                Err(_) => self.counters.failed.inc(),
            }
        }
    }

    fn reopen(&self, state: &mut State) {
        for slot in &mut state.sinks {
            if let AccessLogSink::File(path) = &slot.target {
                match append(path) {
                    Ok(file) => slot.file = Some(Arc::new(file)),
                    Err(_) => self.counters.reopen_failed.inc(),
                }
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// `/dev/stdout` is a name that may not be openable (a socket), so the stream itself is used.
fn normalise(target: &AccessLogSink) -> AccessLogSink {
    match target {
        AccessLogSink::File(path) if path == Path::new("/dev/stdout") => AccessLogSink::Stdout,
        AccessLogSink::File(path) if path == Path::new("/dev/stderr") => AccessLogSink::Stderr,
        other => other.clone(),
    }
}
