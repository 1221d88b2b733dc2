//! A source that reads a folder of files and follows its changes.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use notify::{RecursiveMode, Watcher as _};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout_at},
};

use super::{ConfigSource, DirectoryScanner, Event, HealthHandle, HealthRecorder, ObjectChange, ScanError};

/// When a [`DirectorySource`] looks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectoryOptions {
    /// How long files must be left alone before they are read; 30 ms by default. Short values show changes sooner,
    /// long ones read files less often while they are written.
    pub quiet: Duration,
    /// The longest delay of a reading while files keep changing; 100 ms by default.
    pub longest_delay: Duration,
    /// How often files are looked at without being told of a change (network file systems tell nothing); 5 s by default.
    pub rescan: Duration,
    /// As `rescan`, when the system cannot tell of changes at all; 250 ms by default.
    pub poll: Duration,
}

impl Default for DirectoryOptions {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(30),
            longest_delay: Duration::from_millis(100),
            rescan: Duration::from_secs(5),
            poll: Duration::from_millis(250),
        }
    }
}

/// A source that reads the files of some folders, with all folders below, and follows their changes.
///
/// See [`DirectoryScanner`] for which files count. Half-written files, atomic renames, editors' temporary files and the
/// links of Kubernetes volumes are all one change that shows within about a tenth of a second. A path that does not
/// exist is an [`Event::Failed`]; it is tried again.
///
/// Must be polled within a tokio runtime with time enabled; reading is done on the blocking pool.
#[derive(Debug)]
pub struct DirectorySource {
    paths: Vec<PathBuf>,
    options: DirectoryOptions,
    /// Absent while a reading is under way.
    scanner: Option<DirectoryScanner>,
    reading: Option<JoinHandle<Reading>>,
    watcher: Watcher,
    /// When the next reading is due; `None` when nothing happened.
    due: Option<Due>,
    next_rescan: Instant,
    whole: bool,
    failing: bool,
    health: HealthRecorder,
}

type Reading = (DirectoryScanner, Result<Vec<ObjectChange>, ScanError>);

#[derive(Clone, Copy, Debug)]
struct Due {
    at: Instant,
    latest: Instant,
}

impl DirectorySource {
    /// A source for some folders (or files) with the default options.
    #[must_use]
    pub fn new(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self::with_options(paths, DirectoryOptions::default())
    }

    /// A source for some folders (or files).
    #[must_use]
    pub fn with_options(paths: impl IntoIterator<Item = impl Into<PathBuf>>, options: DirectoryOptions) -> Self {
        let paths: Vec<PathBuf> = paths.into_iter().map(Into::into).collect();
        let now = Instant::now();
        Self {
            scanner: Some(DirectoryScanner::new(paths.clone())),
            watcher: Watcher::new(),
            reading: None,
            due: Some(Due { at: now, latest: now }),
            next_rescan: now,
            whole: false,
            failing: false,
            health: HealthRecorder::new(),
            paths,
            options,
        }
    }

    /// Waits until a reading is due. Cancel safe: what it learns is kept.
    async fn wait(&mut self) {
        loop {
            let Some(due) = self.due else {
                let told = timeout_at(self.next_rescan, self.watcher.changed()).await;
                let now = Instant::now();
                let at = if told.is_ok() { now + self.options.quiet } else { now };
                self.due = Some(Due { at, latest: now + self.options.longest_delay });
                continue;
            };
            if timeout_at(due.at, self.watcher.changed()).await.is_err() {
                return;
            }
            if due.at >= due.latest {
                sleep_until(due.at).await;
                return;
            }
            let at = (Instant::now() + self.options.quiet).min(due.latest);
            self.due = Some(Due { at, ..due });
        }
    }

    /// Reads the files on the blocking pool. Cancel safe: the reading goes on and is taken up again.
    async fn read(&mut self) -> Result<Vec<ObjectChange>, ScanError> {
        if self.reading.is_none() {
            // Watch before reading: a change after the reading is then told.
            let watching = self.watcher.watch(&self.paths);
            self.next_rescan = Instant::now() + if watching { self.options.rescan } else { self.options.poll };
            let mut scanner = self.scanner.take().unwrap_or_else(|| DirectoryScanner::new(self.paths.clone()));
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let result = scanner.scan();
                (scanner, result)
            }));
        }
        let Some(reading) = &mut self.reading else { return Ok(Vec::new()) };
        let done = reading.await;
        self.reading = None;
        self.due = None;
        match done {
            Ok((scanner, result)) => {
                self.scanner = Some(scanner);
                result
            }
            Err(error) => {
                // The reading panicked or the runtime ends: begin anew with the whole set.
                self.whole = false;
                let path = self.paths.first().cloned().unwrap_or_default();
                Err(ScanError { path, source: io::Error::other(error) })
            }
        }
    }
}

#[async_trait]
impl ConfigSource for DirectorySource {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.reading.is_none() {
                self.wait().await;
            }
            let read = self.read().await;
            match &read {
                Ok(_) => self.health.read_well(),
                Err(error) => self.health.failed(error.to_string()),
            }
            match read {
                Ok(changes) if !self.whole => {
                    (self.whole, self.failing) = (true, false);
                    return Some(Event::Snapshot(changes));
                }
                Ok(changes) => {
                    let recovered = std::mem::take(&mut self.failing);
                    if recovered || !changes.is_empty() {
                        return Some(Event::Changes(changes));
                    }
                }
                Err(error) => {
                    self.next_rescan = Instant::now() + self.options.poll;
                    if !std::mem::replace(&mut self.failing, true) {
                        return Some(Event::Failed(vec![error.diagnostic()]));
                    }
                }
            }
        }
    }

    fn health(&self) -> HealthHandle {
        self.health.handle()
    }
}

/// The system's notices of changes.
#[derive(Debug)]
struct Watcher {
    inner: Option<notify::RecommendedWatcher>,
    watched: Vec<PathBuf>,
    told: watch::Receiver<()>,
}

impl Watcher {
    fn new() -> Self {
        let (sender, told) = watch::channel(());
        // Reading files is itself an event; it must not lead to another reading.
        let notice = move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| event.kind.is_access()) {
                sender.send_replace(());
            }
        };
        let inner = notify::recommended_watcher(notice)
            .inspect_err(|error| tracing::warn!(%error, "cannot watch files; they are looked at periodically"))
            .ok();
        Self { inner, watched: Vec::new(), told }
    }

    /// Watches those paths that are not watched yet; whether all are.
    fn watch(&mut self, paths: &[PathBuf]) -> bool {
        let Some(inner) = &mut self.inner else { return false };
        // A folder that went away takes its watch with it.
        self.watched.retain(|path| path.exists());
        for path in paths.iter().filter(|path| path.exists()) {
            // A file is replaced by renaming, which only its folder is told of.
            let folder =
                if path.is_file() { path.parent().filter(|p| *p != Path::new("")) } else { Some(path.as_path()) };
            let folder = folder.unwrap_or(Path::new("."));
            let mode = if path.is_file() { RecursiveMode::NonRecursive } else { RecursiveMode::Recursive };
            if self.watched.contains(path) {
                continue;
            }
            match inner.watch(folder, mode) {
                Ok(()) => self.watched.push(path.clone()),
                Err(error) => tracing::warn!(path = %folder.display(), %error, "cannot watch; looked at periodically"),
            }
        }
        paths.iter().all(|path| self.watched.contains(path))
    }

    /// Waits for a notice; without a watcher for ever. Cancel safe.
    async fn changed(&mut self) {
        if self.told.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: NAME}\n";

    async fn next(source: &mut DirectorySource) -> Event {
        tokio::time::timeout(Duration::from_secs(10), source.next()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn waits_for_a_folder_and_follows_it() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("config");
        let mut source = DirectorySource::new([&inner]);
        assert!(matches!(next(&mut source).await, Event::Failed(found) if found.len() == 1));
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("a.yaml"), TEXT.replace("NAME", "a")).unwrap();
        assert!(matches!(next(&mut source).await, Event::Snapshot(changes) if changes.len() <= 1));
        std::fs::create_dir(inner.join("deep")).unwrap();
        std::fs::write(inner.join("deep/b.yaml"), TEXT.replace("NAME", "b")).unwrap();
        loop {
            let Event::Changes(changes) = next(&mut source).await else { panic!("expected changes") };
            if changes.iter().any(|change| matches!(change, ObjectChange::Applied(object) if object.name() == "b")) {
                return;
            }
        }
    }

    #[tokio::test]
    async fn a_change_is_told_soon() {
        let dir = tempfile::tempdir().unwrap();
        let mut source = DirectorySource::new([dir.path()]);
        assert!(matches!(next(&mut source).await, Event::Snapshot(_)));
        let start = std::time::Instant::now();
        std::fs::write(dir.path().join("a.yaml"), TEXT.replace("NAME", "a")).unwrap();
        assert!(matches!(next(&mut source).await, Event::Changes(changes) if changes.len() == 1));
        // Far below the periodic look, so it was the notice.
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    }
}
