//! A source that reads a URL.

mod fetch;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::Uri;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use self::fetch::{FetchError, Fetched, Validators};
use super::{
    ConfigSource, Event, HealthHandle, HealthRecorder,
    scan::{FileState, View},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::SourceLocation,
    parse::{MAX_FILE_BYTES, parse_bytes},
};

/// How an [`HttpSource`] reads.
#[derive(Clone)]
#[non_exhaustive]
pub struct HttpOptions {
    /// How long after a reading the next one begins; 30 s by default.
    pub interval: Duration,
    /// By which share of the interval a reading may come earlier or later, so that many readers do not come at once; 0.1
    /// by default. Between 0 and 1.
    pub jitter: f64,
    /// Chance, from 0 up to but not including 1; of the operating system by default.
    pub chance: fn() -> f64,
    /// How long a reading may take as a whole; 10 s by default.
    pub timeout: Duration,
    /// The largest answer that is read, in bytes; [`MAX_FILE_BYTES`] by default, and at most.
    pub max_bytes: usize,
    /// TLS for `https`: whom to trust, and who to be. Without it, such a URL is refused.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The value of the `Authorization` header, if one is sent. Not shown in debug output.
    pub authorization: Option<http::HeaderValue>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            jitter: 0.1,
            chance: system_chance,
            timeout: Duration::from_secs(10),
            max_bytes: MAX_FILE_BYTES,
            tls: None,
            authorization: None,
        }
    }
}

impl fmt::Debug for HttpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpOptions")
            .field("interval", &self.interval)
            .field("jitter", &self.jitter)
            .field("timeout", &self.timeout)
            .field("max_bytes", &self.max_bytes)
            .field("tls", &self.tls.is_some())
            .field("authorization", &self.authorization.is_some())
            .finish_non_exhaustive()
    }
}

/// Keys of hash maps are made of the system's chance.
fn system_chance() -> f64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    // 53 bits are what a float holds exactly.
    (RandomState::new().build_hasher().finish() >> 11) as f64 / (1_u64 << 53) as f64
}

/// A URL that an [`HttpSource`] cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It is no absolute URL.
    #[error("{0:?} is not a URL")]
    Malformed(String),
    /// Its scheme is neither `http` nor `https`.
    #[error("{0:?} is not of http or https")]
    Scheme(String),
    /// It is of `https`, and no TLS is given.
    #[error("{0:?} needs TLS, and none is given")]
    NoTls(String),
    /// Jitter is not between 0 and 1, or the size limit is larger than files may be.
    #[error("{0}")]
    Option(&'static str),
}

/// A source that reads the objects at a URL, again and again.
///
/// The text is YAML or JSON as in a file, with the limits of files. What the server says to know the text again by (`ETag`,
/// else `Last-Modified`; RFC 9110, section 13) is sent back, so that a text that did not change is neither sent nor read.
/// An answer other than 200 or 304, one that is too large or too late, or a server that is not there, is an
/// [`Event::Failed`]: what was told last stays. Redirections are not followed: the URL says where configuration comes from.
///
/// Must be polled within a tokio runtime with time and network enabled.
#[derive(Debug)]
pub struct HttpSource {
    uri: Uri,
    name: Arc<str>,
    options: HttpOptions,
    /// The reading under way, which is given up when the source is dropped.
    reading: Option<Reading>,
    due: Instant,
    known: Validators,
    text: FileState,
    told: View,
    whole: bool,
    failing: bool,
    health: HealthRecorder,
}

#[derive(Debug)]
struct Reading(JoinHandle<Result<Fetched, FetchError>>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl HttpSource {
    /// A source for a URL.
    ///
    /// # Errors
    ///
    /// When the URL or an option cannot be used.
    pub fn new(url: &str, options: HttpOptions) -> Result<Self, InvalidUrl> {
        let uri: Uri = url.parse().map_err(|_| InvalidUrl::Malformed(url.to_owned()))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(InvalidUrl::Malformed(url.to_owned()));
        }
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") if options.tls.is_some() => {}
            Some("https") => return Err(InvalidUrl::NoTls(url.to_owned())),
            _ => return Err(InvalidUrl::Scheme(url.to_owned())),
        }
        if !(0.0..=1.0).contains(&options.jitter) {
            return Err(InvalidUrl::Option("the jitter must be between 0 and 1"));
        }
        if options.max_bytes > MAX_FILE_BYTES {
            return Err(InvalidUrl::Option("the size limit must be at most that of files"));
        }
        Ok(Self {
            name: url.into(),
            uri,
            options,
            reading: None,
            due: Instant::now(),
            known: Validators::default(),
            text: FileState::default(),
            told: View::default(),
            whole: false,
            failing: false,
            health: HealthRecorder::new(),
        })
    }

    /// Reads once. Cancel safe: the reading goes on and is taken up again.
    async fn read(&mut self) -> Result<Fetched, FetchError> {
        if self.reading.is_none() {
            sleep_until(self.due).await;
        }
        let reading = self.reading.get_or_insert_with(|| {
            let (uri, options, known) = (self.uri.clone(), self.options.clone(), self.known.clone());
            Reading(tokio::spawn(async move {
                let limit = options.timeout;
                let fetched = tokio::time::timeout(limit, fetch::fetch(&uri, &options, &known)).await;
                fetched.unwrap_or(Err(FetchError::Late(limit)))
            }))
        });
        let read = (&mut reading.0).await;
        self.reading = None;
        self.due = Instant::now() + self.pause();
        read.unwrap_or(Err(FetchError::GivenUp))
    }

    fn pause(&self) -> Duration {
        let share = 1.0 + self.options.jitter * (2.0 * (self.options.chance)() - 1.0);
        self.options.interval.mul_f64(share)
    }

    /// Takes an answer; what it tells.
    fn take(&mut self, fetched: Fetched) -> Option<Event> {
        let recovered = std::mem::take(&mut self.failing);
        if let Fetched::Text { text, known } = fetched {
            self.known = known;
            self.text.take(parse_bytes(&self.name, &text));
        }
        let view = View::of([(Arc::clone(&self.name), &self.text)]);
        let changes = self.told.changes(&view);
        self.told = view;
        if !std::mem::replace(&mut self.whole, true) {
            return Some(Event::Snapshot(changes));
        }
        (recovered || !changes.is_empty()).then_some(Event::Changes(changes))
    }
}

#[async_trait]
impl ConfigSource for HttpSource {
    async fn next(&mut self) -> Option<Event> {
        loop {
            match self.read().await {
                Ok(fetched) => {
                    self.health.read_well();
                    if let Some(event) = self.take(fetched) {
                        return Some(event);
                    }
                }
                Err(error) => {
                    self.health.failed(error.to_string());
                    if !std::mem::replace(&mut self.failing, true) {
                        let location = SourceLocation { file: Arc::clone(&self.name), ..SourceLocation::default() };
                        let found = Diagnostic::at(Code::UnreadableFile, &location, &[&error]);
                        return Some(Event::Failed(vec![found.with_help("what was read last stays in force")]));
                    }
                }
            }
        }
    }

    fn health(&self) -> HealthHandle {
        self.health.handle()
    }
}
