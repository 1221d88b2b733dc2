//! [`RotatingJwtSigner`]: JWT signing keys that overlap.
//!
//! ```text
//!  key 1   signs ───────────────────────────────┐ kept until the last token has ended ┐ gone
//!  key 2             published ── publish_ahead ─┴ signs ──────────────────────────────────────
//! ```
//!
//! So a verifier that reads the key set at least every [`JwtRotationConfig::publish_ahead`] never meets a token whose key it
//! does not know.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
};
use zeroize::Zeroizing;

use super::{IssueJwtError, JwtIssuer, JwtRequest, JwtSigner, JwtSignerConfig, JwtSignerError, create};
use crate::{
    clock::{Clock, Now},
    issuer::store::{CaStore, StoreError, StoreItem},
    spiffe::{JwtBundle, JwtSvid, PrivateKey},
};

const PREFIX: &str = "mesh-ca JWT keys: ";
/// Clocks of verifiers may be this late when a key goes.
const LEEWAY: Duration = Duration::from_secs(120);
/// The clocks are looked at this often at least.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The pause after a step that failed.
const RETRY: Duration = Duration::from_secs(5);
/// Keys kept at most: with the shortest lifetimes allowed, three are.
const MAX_KEYS: usize = 16;

/// When JWT signing keys change. A plain value; values out of range are brought into it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwtRotationConfig {
    /// How long a key signs. Default 30 days; at least twice [`publish_ahead`](Self::publish_ahead), and at least the longest
    /// life of a token.
    pub key_lifetime: Duration,
    /// How long a key is published before it signs: longer than verifiers keep a key set. Default one hour; at least a second.
    pub publish_ahead: Duration,
}

impl Default for JwtRotationConfig {
    fn default() -> Self {
        Self { key_lifetime: Duration::from_secs(30 * 24 * 3600), publish_ahead: Duration::from_secs(3600) }
    }
}

/// A step, stored first and then made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A new key is published.
    Publish,
    /// The published key signs; the one before is kept for its tokens.
    Promote,
    /// A key goes whose last token has ended.
    Drop,
}

/// Which key does what since when: no key material, no IO.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Schedule {
    /// Since when the first key signs.
    signs_since: SystemTime,
    /// Since when the second key is published, if there is a next one.
    next_since: Option<SystemTime>,
    /// Until when the keys after that are kept, in their order.
    old_until: Vec<SystemTime>,
}

impl Schedule {
    fn new(now: SystemTime) -> Self {
        Self { signs_since: now, next_since: None, old_until: Vec::new() }
    }

    fn keys(&self) -> usize {
        1 + usize::from(self.next_since.is_some()) + self.old_until.len()
    }

    /// What is due, or how long nothing is.
    fn decide(&self, config: &JwtRotationConfig, now: SystemTime) -> Result<Step, Duration> {
        let rest = |at: SystemTime| at.duration_since(now).unwrap_or_default();
        let turn = match self.next_since {
            Some(since) => (Step::Promote, rest(since + config.publish_ahead)),
            None => (Step::Publish, rest(self.signs_since + config.key_lifetime.saturating_sub(config.publish_ahead))),
        };
        let drop = self.old_until.iter().map(|until| rest(*until)).min().map(|rest| (Step::Drop, rest));
        let (step, rest) = drop.into_iter().chain([turn]).min_by_key(|(_, rest)| *rest).unwrap_or(turn);
        if rest.is_zero() { Ok(step) } else { Err(rest) }
    }
}

/// The schedule with its keys: the one that signs first, then the next one, then the old ones.
#[derive(Clone)]
struct Keys {
    schedule: Schedule,
    keys: Vec<Arc<PrivateKey>>,
}

impl Keys {
    fn encode(&self) -> Result<Zeroizing<String>, StoreError> {
        let header = serde_json::to_string(&self.schedule).map_err(|e| StoreError::Other(e.to_string()))?;
        let mut text = Zeroizing::new(String::with_capacity(16 * 1024));
        text.push_str(PREFIX);
        text.push_str(&header);
        text.push('\n');
        self.keys.iter().for_each(|key| text.push_str(&key.to_pem()));
        Ok(text)
    }

    /// A single key, as [`JwtSigner`] keeps it, is one that signs from now on.
    fn decode(stored: &[u8], now: SystemTime) -> Result<Self, JwtSignerError> {
        let damaged = |reason: String| JwtSignerError::Damaged { reason };
        let first = stored.split(|b| *b == b'\n').next().unwrap_or_default();
        let schedule = match first.strip_prefix(PREFIX.as_bytes()) {
            Some(json) => serde_json::from_slice(json).map_err(|e| damaged(format!("its first line: {e}")))?,
            None => Schedule::new(now),
        };
        let keys = PrivateKey::all_from_pem(stored).map_err(|e| damaged(e.to_string()))?;
        if keys.len() != schedule.keys() {
            return Err(damaged(format!("it holds {} keys instead of {}", keys.len(), schedule.keys())));
        }
        Ok(Self { schedule, keys: keys.into_iter().map(Arc::new).collect() })
    }

    /// After a step at the time `now`; `new` is for [`Step::Publish`].
    fn after(&self, step: Step, new: Option<PrivateKey>, max_lifetime: Duration, now: SystemTime) -> Self {
        let mut next = self.clone();
        let schedule = &mut next.schedule;
        match step {
            Step::Publish => {
                next.keys.splice(1..1, new.map(Arc::new));
                schedule.next_since = Some(now);
            }
            Step::Promote => {
                let old = next.keys.remove(0);
                next.keys.insert(1, old);
                schedule.next_since = None;
                schedule.signs_since = now;
                schedule.old_until.insert(0, now + max_lifetime + LEEWAY);
            }
            Step::Drop => {
                let olds = schedule.keys() - schedule.old_until.len();
                let keep: Vec<bool> = schedule.old_until.iter().map(|until| now < *until).collect();
                let mut at = 0;
                next.keys.retain(|_| {
                    at += 1;
                    at <= olds || keep.get(at - 1 - olds).copied().unwrap_or(false)
                });
                schedule.old_until.retain(|until| now < *until);
            }
        }
        next
    }

    fn signer(&self, config: &JwtSignerConfig, clock: &Arc<dyn Clock>) -> Result<JwtSigner, JwtSignerError> {
        let (active, others) = self.keys.split_first().ok_or(JwtSignerError::Damaged { reason: "no key".into() })?;
        JwtSigner::with_others(active, others.iter().map(|k| &**k), config.clone(), Arc::clone(clock))
    }
}

struct Change {
    keys: Keys,
    /// Both clocks at the last step in this process: a wall clock that is set forward ends no waiting.
    anchor: Now,
}

/// A [`JwtIssuer`] whose signing key changes: each new key is published before it signs, each old one stays published until
/// its last token has ended. Keys and schedule are one item of the store ([`StoreItem::JwtKey`]), written before a step is made.
///
/// What [`JwtSigner`] has stored is taken over.
pub struct RotatingJwtSigner {
    config: JwtSignerConfig,
    rotation: JwtRotationConfig,
    store: Arc<dyn CaStore>,
    clock: Arc<dyn Clock>,
    signer: ArcSwap<JwtSigner>,
    change: Mutex<Change>,
    published: watch::Sender<Arc<JwtBundle>>,
}

impl RotatingJwtSigner {
    /// Takes the keys from the store, or makes one and keeps it there.
    ///
    /// # Errors
    /// When the store fails or what it holds is damaged: nothing is overwritten.
    pub async fn open(
        store: Arc<dyn CaStore>,
        config: JwtSignerConfig,
        mut rotation: JwtRotationConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, JwtSignerError> {
        rotation.publish_ahead = rotation.publish_ahead.max(Duration::from_secs(1));
        let shortest = (rotation.publish_ahead * 2).max(config.max_lifetime);
        rotation.key_lifetime = rotation.key_lifetime.max(shortest);
        let stored = match store.load(StoreItem::JwtKey).await? {
            Some(stored) => stored,
            None => create(&*store, config.key_type).await?,
        };
        let now = clock.now();
        let keys = Keys::decode(&stored, now.wall)?;
        let signer = keys.signer(&config, &clock)?;
        if !stored.starts_with(PREFIX.as_bytes()) {
            // From now on the key's age is known.
            store.replace(StoreItem::JwtKey, keys.encode()?.as_bytes()).await?;
        }
        let published = watch::Sender::new(signer.jwt_bundle());
        let change = Mutex::new(Change { keys, anchor: now });
        Ok(Self { config, rotation, store, clock, signer: ArcSwap::from_pointee(signer), change, published })
    }

    /// A receiver of the key set in force and of all coming ones.
    pub fn subscribe(&self) -> watch::Receiver<Arc<JwtBundle>> {
        self.published.subscribe()
    }

    /// Publishes a new key now, which signs after [`JwtRotationConfig::publish_ahead`]. While one waits already, nothing is done.
    ///
    /// # Errors
    /// When the key cannot be made or stored.
    pub async fn rotate_now(&self) -> Result<(), JwtSignerError> {
        let mut change = self.change.lock().await;
        if change.keys.schedule.next_since.is_some() {
            return Ok(());
        }
        self.step(&mut change, Step::Publish).await
    }

    /// Does what is due, and gives the time until something is due again. [`RotatingJwtSigner::supervise`] calls it.
    ///
    /// # Errors
    /// When a step could not be made; it is due still.
    pub async fn tick(&self) -> Result<Duration, JwtSignerError> {
        let mut change = self.change.lock().await;
        for _ in 0..MAX_KEYS {
            match change.keys.schedule.decide(&self.rotation, self.judged_at(&change)) {
                Ok(step) => self.step(&mut change, step).await?,
                Err(rest) => return Ok(rest),
            }
        }
        Ok(Duration::ZERO)
    }

    /// Makes each step when it is due, for as long as the handle lives.
    pub fn supervise(self: &Arc<Self>) -> JwtSupervision {
        let signer = Arc::clone(self);
        let task = tokio::spawn(async move {
            loop {
                let wait = signer.tick().await.unwrap_or_else(|error| {
                    tracing::error!(%error, "a step of the JWT signing keys failed; trying again");
                    RETRY
                });
                signer.clock.sleep(wait.clamp(Duration::from_millis(1), LONGEST_WAIT)).await;
            }
        });
        JwtSupervision { task }
    }

    fn judged_at(&self, change: &Change) -> SystemTime {
        let now = self.clock.now();
        let passed = now.monotonic.saturating_duration_since(change.anchor.monotonic);
        now.wall.min(change.anchor.wall + passed)
    }

    async fn step(&self, change: &mut Change, step: Step) -> Result<(), JwtSignerError> {
        let now = self.clock.now();
        let new = match step {
            Step::Publish => {
                let kind = self.config.key_type;
                // RSA keys take long to make.
                let made = tokio::task::spawn_blocking(move || PrivateKey::generate(kind)).await;
                Some(made.map_err(|e| StoreError::Other(e.to_string()))??)
            }
            _ => None,
        };
        // A key goes when it may by both clocks; waiting begins by the wall clock.
        let at = if step == Step::Drop { self.judged_at(change) } else { now.wall };
        let next = change.keys.after(step, new, self.config.max_lifetime, at);
        let signer = next.signer(&self.config, &self.clock)?;
        self.store.replace(StoreItem::JwtKey, next.encode()?.as_bytes()).await?;
        let bundle = signer.jwt_bundle();
        tracing::info!(?step, keys = bundle.authorities().len(), "JWT signing keys");
        *change = Change { keys: next, anchor: now };
        self.signer.store(Arc::new(signer));
        self.published.send_replace(bundle);
        Ok(())
    }
}

#[async_trait]
impl JwtIssuer for RotatingJwtSigner {
    async fn issue_jwt(&self, request: JwtRequest) -> Result<JwtSvid, IssueJwtError> {
        let signer = self.signer.load_full();
        signer.issue_jwt(request).await
    }

    fn jwt_bundle(&self) -> Arc<JwtBundle> {
        self.signer.load().jwt_bundle()
    }
}

impl fmt::Debug for RotatingJwtSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RotatingJwtSigner")
            .field("config", &self.config)
            .field("rotation", &self.rotation)
            .field("bundle", &self.jwt_bundle())
            .finish_non_exhaustive()
    }
}

/// Keeps the keys of a [`RotatingJwtSigner`] changing until it is dropped.
#[derive(Debug)]
pub struct JwtSupervision {
    task: JoinHandle<()>,
}

impl Drop for JwtSupervision {
    fn drop(&mut self) {
        self.task.abort();
    }
}
