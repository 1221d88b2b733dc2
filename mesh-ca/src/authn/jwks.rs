//! [`JwksSource`]: an issuer's JWK Set, kept fresh in the background.

mod location;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::{
    jwt_key::JwtKey,
    key_source::{JwtKeySource, KeysUnavailable},
};
use crate::{
    clock::Clock,
    refresh::{PollAction, Schedule, ScheduleConfig},
};

pub use location::{JwksError, JwksLocation};

/// How a key set is kept fresh.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct JwksConfig {
    /// How often to look when the server does not say by `Cache-Control`. Default 5 minutes.
    pub default_interval: Duration,
    /// Looking more often than this is not done, whatever the server says; a file is looked at this often. Default 10
    /// seconds; at least 1.
    pub min_interval: Duration,
    /// A longer `max-age` counts as this one. Default 1 hour.
    pub max_interval: Duration,
    /// The first pause after a failure; later ones double up to `default_interval`. Default 1 second.
    pub retry_initial: Duration,
    /// How far intervals are shortened at random. Default 0.1; from 0 to 0.5.
    pub jitter: f64,
    /// Least time between two looks because of a key id that is not known. Default 5 seconds.
    pub unknown_key_interval: Duration,
    /// How long keys are believed while the issuer cannot be reached. Default 1 day.
    pub max_age: Duration,
    /// How long a look may take, discovery and redirects included; also how long a call waits for the first keys. Default
    /// 5 seconds.
    pub fetch_timeout: Duration,
}

impl Default for JwksConfig {
    fn default() -> Self {
        Self {
            default_interval: Duration::from_secs(300),
            min_interval: Duration::from_secs(10),
            max_interval: Duration::from_secs(3600),
            retry_initial: Duration::from_secs(1),
            jitter: 0.1,
            unknown_key_interval: Duration::from_secs(5),
            max_age: Duration::from_secs(24 * 3600),
            fetch_timeout: Duration::from_secs(5),
        }
    }
}

impl JwksConfig {
    fn schedule(&self) -> ScheduleConfig {
        ScheduleConfig {
            default_interval: self.default_interval,
            min_interval: self.min_interval,
            max_interval: self.max_interval,
            retry_initial: self.retry_initial,
            patient: false,
            jitter: self.jitter,
            max_age: Some(self.max_age),
        }
    }
}

/// How a key set is, for health and metrics.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct JwksState {
    /// The keys in force; `None` before the first ones, and when the last ones are too old.
    pub keys: Option<Arc<[JwtKey]>>,
    /// When they were last confirmed.
    pub confirmed_at: Option<SystemTime>,
    /// Looks so far, good or not.
    pub looks: u64,
    /// Why the last look failed.
    pub last_error: Option<Arc<str>>,
    last_look: Option<Instant>,
}

/// Follows an issuer's keys for as long as this value lives.
///
/// - In the background: as often as the server says by `Cache-Control`, within bounds.
/// - When a token names an unknown key: at once, but not more often than [`JwksConfig::unknown_key_interval`]; calls that
///   need it at the same time share one look.
/// - While the issuer cannot be reached, or publishes what cannot be read, the last keys stay for [`JwksConfig::max_age`].
#[derive(Debug)]
pub struct JwksSource {
    states: watch::Receiver<Arc<JwksState>>,
    look: Arc<Notify>,
    config: JwksConfig,
    clock: Arc<dyn Clock>,
    task: JoinHandle<()>,
}

impl JwksSource {
    /// Starts a task on the current tokio runtime.
    pub fn spawn(location: JwksLocation, config: JwksConfig, clock: Arc<dyn Clock>) -> Self {
        let (publish, states) = watch::channel(Arc::new(JwksState::default()));
        let look = Arc::new(Notify::new());
        let follower = Follower {
            schedule: Schedule::new(config.schedule(), rand::random()),
            location,
            timeout: config.fetch_timeout,
            clock: Arc::clone(&clock),
            publish,
        };
        let task = tokio::spawn(follower.run(Arc::clone(&look)));
        Self { states, look, config, clock, task }
    }

    /// How it is now.
    pub fn state(&self) -> Arc<JwksState> {
        Arc::clone(&self.states.borrow())
    }

    /// Waits for the next look to end, within bounds.
    async fn next_look(&self, looks: u64) -> Option<Arc<JwksState>> {
        let mut states = self.states.clone();
        let next = states.wait_for(|s| s.looks > looks);
        // The look itself is bounded; this is for one that had to wait for another.
        let state = tokio::time::timeout(self.config.fetch_timeout * 2, next).await.ok()?.ok()?;
        Some(Arc::clone(&state))
    }
}

impl Drop for JwksSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl JwtKeySource for JwksSource {
    async fn keys(&self) -> Result<Arc<[JwtKey]>, KeysUnavailable> {
        let mut state = self.state();
        if state.looks == 0 {
            state = self.next_look(0).await.unwrap_or(state);
        }
        let why = || state.last_error.as_deref().unwrap_or("the issuer has not answered yet").to_owned();
        state.keys.clone().ok_or_else(|| KeysUnavailable(why()))
    }

    async fn newer_than(&self, keys: &Arc<[JwtKey]>) -> Option<Arc<[JwtKey]>> {
        let others = |state: &JwksState| state.keys.clone().filter(|k| !Arc::ptr_eq(k, keys));
        let state = self.state();
        if let Some(newer) = others(&state) {
            return Some(newer);
        }
        let since = |then| self.clock.now().monotonic.saturating_duration_since(then);
        if state.last_look.is_some_and(|then| since(then) < self.config.unknown_key_interval) {
            return None;
        }
        self.look.notify_one();
        others(&*self.next_look(state.looks).await?)
    }
}

struct Follower {
    schedule: Schedule,
    location: JwksLocation,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    publish: watch::Sender<Arc<JwksState>>,
}

impl Follower {
    async fn run(mut self, look: Arc<Notify>) {
        loop {
            match self.schedule.poll(self.clock.now()) {
                PollAction::Fetch => {
                    let outcome = self.location.fetch(self.timeout, &self.clock).await;
                    self.finish(outcome);
                }
                PollAction::Wait(wait) => tokio::select! {
                    () = self.clock.sleep(wait) => self.expire(),
                    () = look.notified() => self.schedule.poll_now(),
                },
            }
        }
    }

    fn finish(&mut self, outcome: Result<(Vec<JwtKey>, Option<Duration>), JwksError>) {
        let now = self.clock.now();
        match &outcome {
            Ok((_, fresh_for)) => self.schedule.confirmed(now, *fresh_for),
            Err(error) => {
                tracing::warn!(location = %self.location, %error, "token keys stay as they are");
                self.schedule.failed(now);
            }
        }
        let (confirmed_at, too_old) = (self.schedule.confirmed_at(), self.schedule.is_too_old(now));
        self.publish.send_modify(|state| {
            let state = Arc::make_mut(state);
            match outcome {
                Ok((keys, _)) => (state.keys, state.last_error) = (Some(keys.into()), None),
                Err(error) => state.last_error = Some(error.to_string().into()),
            }
            if too_old {
                state.keys = None;
            }
            state.confirmed_at = confirmed_at;
            state.looks += 1;
            state.last_look = Some(now.monotonic);
        });
    }

    fn expire(&self) {
        let too_old = self.schedule.is_too_old(self.clock.now());
        self.publish.send_if_modified(|state| {
            let ends = too_old && state.keys.is_some();
            if ends {
                Arc::make_mut(state).keys = None;
            }
            ends
        });
    }
}
