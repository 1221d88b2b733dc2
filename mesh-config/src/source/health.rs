//! How a source is: readiness, age, trouble.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// How a source is at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceHealth {
    /// Whether it has been read as a whole since it began.
    pub ready: bool,
    /// When it was last read without an error, changed or not.
    pub last_read: Option<SystemTime>,
    /// What went wrong last, and when; it may be over.
    pub last_error: Option<(SystemTime, String)>,
}

impl SourceHealth {
    /// Whether the last reading failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.last_error.as_ref().is_some_and(|(at, _)| self.last_read.is_none_or(|read| read < *at))
    }

    /// How old what it told may be at `now`; `None` when nothing was ever read.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        // A clock that was set back makes nothing older.
        self.last_read.map(|read| now.duration_since(read).unwrap_or_default())
    }
}

/// Shows how a source is, wherever the source has gone. Cheap to clone.
#[derive(Clone, Default)]
pub struct HealthHandle {
    own: Arc<Mutex<SourceHealth>>,
    /// Of a source that is made of others.
    parts: Arc<[HealthHandle]>,
}

impl HealthHandle {
    /// The health of a source that is made of others: ready when all are, as old as the oldest, with the newest error.
    #[must_use]
    pub fn of_parts(parts: impl IntoIterator<Item = Self>) -> Self {
        Self { own: Arc::default(), parts: parts.into_iter().collect() }
    }

    /// How the source is.
    #[must_use]
    pub fn now(&self) -> SourceHealth {
        if self.parts.is_empty() {
            return self.own.lock().unwrap_or_else(PoisonError::into_inner).clone();
        }
        let parts: Vec<_> = self.parts.iter().map(Self::now).collect();
        SourceHealth {
            ready: parts.iter().all(|part| part.ready),
            last_read: parts.iter().map(|part| part.last_read).min().flatten(),
            last_error: parts.into_iter().filter_map(|part| part.last_error).max(),
        }
    }
}

impl fmt::Debug for HealthHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.now().fmt(f)
    }
}

/// Where a source writes down how it is.
#[derive(Debug, Default)]
pub struct HealthRecorder(HealthHandle);

impl HealthRecorder {
    /// Of a source that has not been read.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The source has been read as a whole, just now.
    pub fn read_well(&self) {
        self.change(|health| {
            health.ready = true;
            health.last_read = Some(SystemTime::now());
        });
    }

    /// The source could not be read, just now.
    pub fn failed(&self, why: impl Into<String>) {
        let why = why.into();
        self.change(|health| health.last_error = Some((SystemTime::now(), why)));
    }

    /// What shows it to others.
    #[must_use]
    pub fn handle(&self) -> HealthHandle {
        self.0.clone()
    }

    fn change(&self, change: impl FnOnce(&mut SourceHealth)) {
        change(&mut self.0.own.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_parts_are_as_ready_as_all_and_as_old_as_the_oldest() {
        let (one, two) = (HealthRecorder::new(), HealthRecorder::new());
        let both = HealthHandle::of_parts([one.handle(), two.handle()]);
        one.read_well();
        assert_eq!((both.now().ready, both.now().last_read), (false, None));
        two.failed("gone");
        assert!(two.handle().now().is_failing() && both.now().is_failing());
        two.read_well();
        let now = both.now();
        assert!(now.ready && now.last_read == one.handle().now().last_read);
        let later = now.last_read.unwrap() + Duration::from_secs(3);
        assert_eq!(now.age(later), Some(Duration::from_secs(3)));
        assert_eq!(now.age(SystemTime::UNIX_EPOCH), Some(Duration::ZERO));
    }
}
