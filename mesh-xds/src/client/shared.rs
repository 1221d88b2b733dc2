//! What handles, watches and the driver share: the protocol core and a slot per watch, under one short lock.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{ClientConfig, ClientStatus, fetch::Fetches, snapshot::Keeper};
use crate::{
    ResourceKey, ResourceName, TypeUrl,
    protocol::client::{ClientState, Overdue, Update, Verdict},
};

#[derive(Debug)]
pub(super) struct Shared {
    core: Mutex<Core>,
    /// Tells the driver that the core has something to send.
    pub(super) wake: Notify,
    /// Tells who writes the last good resources that something was judged.
    pub(super) judged: Notify,
    pub(super) stop: CancellationToken,
    pub(super) status: watch::Sender<ClientStatus>,
    initial_fetch_timeout: Duration,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) state: ClientState,
    pub(super) fetches: Fetches,
    /// If the last good resources are to be kept.
    pub(super) keeper: Option<Keeper>,
    slots: HashMap<TypeUrl, Slot>,
    next_watch: u64,
}

/// Where a watch finds its events: one update and one notice at most.
#[derive(Debug)]
struct Slot {
    watch: u64,
    ready: Arc<Notify>,
    update: Option<Update>,
    overdue: Option<Overdue>,
}

/// What a watch finds in its slot.
pub(super) enum Taken {
    Update(Update),
    Overdue(Overdue),
    Nothing,
    /// Another watch of the type has taken its place.
    Replaced,
}

/// Ends the client when the last one is dropped.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    pub(super) fn new(state: ClientState, config: &ClientConfig, keeper: Option<Keeper>) -> Self {
        Self {
            core: Mutex::new(Core {
                state,
                fetches: Fetches::new(config.max_fetches),
                keeper,
                slots: HashMap::new(),
                next_watch: 0,
            }),
            wake: Notify::new(),
            judged: Notify::new(),
            stop: CancellationToken::new(),
            status: watch::Sender::new(ClientStatus::default()),
            initial_fetch_timeout: config.initial_fetch_timeout,
        }
    }

    pub(super) fn initial_fetch_timeout(&self) -> Duration {
        self.initial_fetch_timeout
    }

    /// Changes the core and wakes the driver.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Core) -> T) -> T {
        let result = change(&mut self.core.lock());
        self.wake.notify_one();
        result
    }

    /// Changes the core from within the driver.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Core) -> T) -> T {
        f(&mut self.core.lock())
    }

    /// Changes the status, and brings it up to date. Who follows it is told of changes only.
    pub(super) fn tell(&self, change: impl FnOnce(&mut ClientStatus)) {
        let types = self.with(|core| core.state.status().map(|(t, s)| (t.clone(), s)).collect());
        self.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            status.types = types;
            *status != before
        });
    }

    pub(super) fn answer(&self, update: &Update, verdict: Verdict) {
        self.change(|core| core.answer(update, verdict));
        self.judged.notify_one();
    }
}

impl Core {
    /// Makes a slot for a watch of `type_url`, instead of an earlier one.
    pub(super) fn open_slot(&mut self, type_url: &TypeUrl) -> (u64, Arc<Notify>) {
        self.close_slot(type_url, None);
        self.next_watch += 1;
        let ready = Arc::new(Notify::new());
        let slot = Slot { watch: self.next_watch, ready: ready.clone(), update: None, overdue: None };
        self.slots.insert(type_url.clone(), slot);
        (self.next_watch, ready)
    }

    /// Takes the slot away, if it is `watch`'s (or anybody's), and with it the subscription.
    pub(super) fn close_slot(&mut self, type_url: &TypeUrl, watch: Option<u64>) {
        let Some(slot) = self.slots.get(type_url) else { return };
        if watch.is_some_and(|w| w != slot.watch) {
            return;
        }
        if let Some(slot) = self.slots.remove(type_url) {
            slot.ready.notify_one();
            if let Some(update) = slot.update {
                self.answer(&update, super::watch::dropped());
            }
        }
        self.state.unwatch(type_url);
        let fetched = self.fetches.watch_ends(type_url);
        self.state.subscribe(type_url, fetched, Instant::now());
    }

    /// A consumer's verdict.
    fn answer(&mut self, update: &Update, verdict: Verdict) {
        if !self.state.answer(&update.type_url, update.id, verdict.clone()) {
            return;
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.judged(update, &verdict, Instant::now());
        }
        let watched = self.slots.contains_key(&update.type_url);
        let over = self.fetches.settle(update, &verdict, watched);
        self.state.unsubscribe(&update.type_url, over);
    }

    /// Adds names to the subscription of `watch`.
    pub(super) fn subscribe(&mut self, type_url: &TypeUrl, watch: u64, names: Vec<ResourceName>) {
        if self.is_open(type_url, watch) {
            for name in &names {
                self.fetches.watch_wants(&ResourceKey { type_url: type_url.clone(), name: name.clone() });
            }
            self.state.subscribe(type_url, names, Instant::now());
        }
    }

    /// Drops names from the subscription of `watch`.
    pub(super) fn unsubscribe(&mut self, type_url: &TypeUrl, watch: u64, mut names: Vec<ResourceName>) {
        if self.is_open(type_url, watch) {
            names.retain(|name| {
                !self.fetches.watch_drops(&ResourceKey { type_url: type_url.clone(), name: name.clone() })
            });
            self.state.unsubscribe(type_url, names);
        }
    }

    pub(super) fn take(&mut self, type_url: &TypeUrl, watch: u64) -> Taken {
        let Some(slot) = self.slots.get_mut(type_url).filter(|s| s.watch == watch) else { return Taken::Replaced };
        if let Some(update) = slot.update.take() {
            return Taken::Update(update);
        }
        slot.overdue.take().map_or(Taken::Nothing, Taken::Overdue)
    }

    /// Whether the slot is still `watch`'s.
    fn is_open(&self, type_url: &TypeUrl, watch: u64) -> bool {
        self.slots.get(type_url).is_some_and(|s| s.watch == watch)
    }

    /// Puts what the protocol core has for its consumers into their slots.
    pub(super) fn deliver(&mut self, now: Instant) {
        self.state.handle_timeout(now);
        if let Some(keeper) = &self.keeper {
            keeper.offer(&mut self.state, SystemTime::now());
        }
        while let Some(update) = self.state.poll_update() {
            match self.slots.get_mut(&update.type_url) {
                Some(slot) => {
                    slot.update = Some(update);
                    slot.ready.notify_one();
                }
                // Nobody watches any more, or it was only fetched: let the server go on.
                None => self.answer(&update, Verdict::Accepted),
            }
        }
        while let Some(overdue) = self.state.poll_overdue(now) {
            let Some(slot) = self.slots.get_mut(&overdue.type_url) else { continue };
            match &mut slot.overdue {
                Some(told) => {
                    told.wildcard |= overdue.wildcard;
                    told.names.extend(overdue.names);
                    told.names.sort();
                    told.names.dedup();
                }
                none => *none = Some(overdue),
            }
            slot.ready.notify_one();
        }
    }
}
