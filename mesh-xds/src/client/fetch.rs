//! One name, on demand: whether it exists, and what it is.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    Client,
    shared::{Core, Shared},
};
use crate::{
    Resource, ResourceKey, ResourceName, TypeUrl,
    protocol::client::{Update, Verdict},
};

/// Why a fetch gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No server has answered in time. In SotW this is how most types say that a name does not exist ("Knowing when a
    /// requested resource does not exist").
    #[error("{name} was not answered within {after:?}")]
    Unanswered {
        /// The name.
        name: ResourceName,
        /// The time it was given.
        after: Duration,
    },
    /// It exists, and whoever watches the type has refused it.
    #[error("{name} was refused: {message}")]
    Rejected {
        /// The name.
        name: ResourceName,
        /// Why.
        message: String,
    },
    /// More names than [`ClientConfig::max_fetches`](super::ClientConfig::max_fetches) wait for an answer.
    #[error("{limit} names wait for an answer already")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The client has ended.
    #[error("the client has ended")]
    Ended,
}

/// What became of a name.
#[derive(Debug, Clone)]
enum Outcome {
    Found(Resource),
    Absent,
    Rejected(String),
}

/// Names that are waited for.
#[derive(Debug)]
pub(super) struct Fetches {
    limit: usize,
    next_id: u64,
    waiting: HashMap<ResourceKey, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    keep: Keep,
    answers: HashMap<u64, oneshot::Sender<Outcome>>,
}

/// What becomes of the subscription when the name is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// The watch has asked for it as well.
    Always,
    /// The watch gets it, if there is a watch and the name exists.
    IfFound,
    /// The watch had it and dropped it meanwhile.
    Never,
}

impl Client {
    /// Asks for one name and waits until it is known to exist or not: `None` if the server says that it does not.
    /// `timeout` of zero waits for ever.
    ///
    /// - If the type is watched, the resource is told to the watch as an update as well, and is found when the watch has
    ///   accepted it; the name then stays subscribed there. If not, the client accepts it by itself and drops the
    ///   subscription again.
    /// - A name that does not exist, or was not answered, is not kept subscribed, so that asking for many leaves nothing
    ///   behind.
    /// - A type first asked for in this way never becomes a subscription to everything.
    ///
    /// Cancel safe: dropping the future drops the subscription, unless a watch has asked for the name too.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch_one(
        &self,
        type_url: TypeUrl,
        name: impl Into<ResourceName>,
        timeout: Duration,
    ) -> Result<Option<Resource>, FetchError> {
        let key = ResourceKey { type_url, name: name.into() };
        let shared = self.handle.shared.clone();
        let (id, answer) = shared.change(|core| core.fetch(&key, Instant::now()))?;
        let guard = Guard { shared, key, id };
        let overdue = async {
            match timeout.is_zero() {
                true => std::future::pending().await,
                false => tokio::time::sleep(timeout).await,
            }
        };
        let name = || guard.key.name.clone();
        tokio::select! {
            biased;
            outcome = answer => match outcome {
                Ok(Outcome::Found(resource)) => Ok(Some(resource)),
                Ok(Outcome::Absent) => Ok(None),
                Ok(Outcome::Rejected(message)) => Err(FetchError::Rejected { name: name(), message }),
                Err(_) => Err(FetchError::Ended),
            },
            () = guard.shared.stop.cancelled() => Err(FetchError::Ended),
            () = overdue => Err(FetchError::Unanswered { name: name(), after: timeout }),
        }
    }
}

/// Takes a fetch back when it ends, however it ends.
struct Guard {
    shared: Arc<Shared>,
    key: ResourceKey,
    id: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.change(|core| core.end_fetch(&self.key, self.id));
    }
}

impl Fetches {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, next_id: 0, waiting: HashMap::new() }
    }

    /// The watch of the type asks for `name`.
    pub(super) fn watch_wants(&mut self, key: &ResourceKey) {
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.keep = Keep::Always;
        }
    }

    /// The watch of the type drops `name`. Whether the subscription must stay for a fetch.
    pub(super) fn watch_drops(&mut self, key: &ResourceKey) -> bool {
        let Some(waiting) = self.waiting.get_mut(key) else { return false };
        waiting.keep = Keep::Never;
        true
    }

    /// The watch of the type has ended: names that must stay.
    pub(super) fn watch_ends(&mut self, type_url: &TypeUrl) -> Vec<ResourceName> {
        let of_type = self.waiting.iter_mut().filter(|(key, _)| key.type_url == *type_url);
        of_type
            .map(|(key, waiting)| {
                waiting.keep = Keep::IfFound;
                key.name.clone()
            })
            .collect()
    }

    /// Tells those who wait what an update said. Gives the names of whose subscription is not needed any more.
    pub(super) fn settle(&mut self, update: &Update, verdict: &Verdict, watched: bool) -> Vec<ResourceName> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let mut over = Vec::new();
        let found = update.added.iter().map(|r| (r.name(), outcome(r, verdict)));
        for (name, outcome) in found.chain(update.removed.iter().map(|n| (n, Outcome::Absent))) {
            let key = ResourceKey { type_url: update.type_url.clone(), name: name.clone() };
            let Some(waiting) = self.waiting.remove(&key) else { continue };
            let wanted = match waiting.keep {
                Keep::Always => true,
                Keep::IfFound => watched && !matches!(outcome, Outcome::Absent),
                Keep::Never => false,
            };
            if !wanted {
                over.push(name.clone());
            }
            for answer in waiting.answers.into_values() {
                // An error: it is not waited for any more.
                _ = answer.send(outcome.clone());
            }
        }
        over
    }
}

fn outcome(resource: &Resource, verdict: &Verdict) -> Outcome {
    match verdict {
        Verdict::Rejected { message, resources } if resources.is_empty() || resources.contains(resource.name()) => {
            Outcome::Rejected(message.clone())
        }
        _ => Outcome::Found(resource.clone()),
    }
}

impl Core {
    fn fetch(&mut self, key: &ResourceKey, now: Instant) -> Result<(u64, oneshot::Receiver<Outcome>), FetchError> {
        let fetches = &mut self.fetches;
        if !fetches.waiting.contains_key(key) && fetches.waiting.len() >= fetches.limit {
            return Err(FetchError::TooMany { limit: fetches.limit });
        }
        fetches.next_id += 1;
        let id = fetches.next_id;
        let (sender, answer) = oneshot::channel();
        let is_first = match fetches.waiting.entry(key.clone()) {
            Entry::Occupied(mut waiting) => {
                waiting.get_mut().answers.insert(id, sender);
                false
            }
            Entry::Vacant(vacant) => {
                let keep =
                    if self.state.is_subscribed(&key.type_url, &key.name) { Keep::Always } else { Keep::IfFound };
                vacant.insert(Waiting { keep, answers: HashMap::from([(id, sender)]) });
                true
            }
        };
        if is_first {
            self.state.subscribe(&key.type_url, [key.name.clone()], now);
        }
        Ok((id, answer))
    }

    fn end_fetch(&mut self, key: &ResourceKey, id: u64) {
        let Entry::Occupied(mut waiting) = self.fetches.waiting.entry(key.clone()) else { return };
        waiting.get_mut().answers.remove(&id);
        if waiting.get().answers.is_empty() && waiting.remove().keep != Keep::Always {
            self.state.unsubscribe(&key.type_url, [key.name.clone()]);
        }
    }
}
