//! Watches, and the updates they give.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::shared::{Handle, Shared, Taken};
use crate::{
    Resource, ResourceName, TypeUrl,
    protocol::{
        Subscription,
        client::{Source, Update as Inner, Verdict},
    },
};

/// Follows one type. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Watch {
    handle: Arc<Handle>,
    type_url: TypeUrl,
    id: u64,
    ready: Arc<Notify>,
}

/// Changes the names of a [`Watch`]. Cheap to clone. Keeps neither the watch nor the client alive.
#[derive(Debug, Clone)]
pub struct Subscriber {
    shared: Arc<Shared>,
    type_url: TypeUrl,
    watch: u64,
}

/// What a watch tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum WatchEvent {
    /// Resources changed. Must be answered.
    Update(Update),
    /// The server has not answered within the watch's time. It may still; nothing changes by itself.
    Overdue {
        /// The wildcard was not answered.
        wildcard: bool,
        /// Names that were not answered.
        names: Vec<ResourceName>,
    },
}

/// A change of resources, to be accepted or rejected. Dropping it rejects it: the server is told that it was dropped.
#[derive(Debug)]
pub struct Update {
    inner: Inner,
    /// Taken when answered.
    shared: Option<Arc<Shared>>,
}

/// Why an update is refused. Becomes the message of the NACK.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejection {
    message: String,
    resources: Vec<(ResourceName, String)>,
}

impl Watch {
    pub(super) fn new(
        handle: Arc<Handle>,
        type_url: TypeUrl,
        subscription: Subscription,
        fetch_timeout: Duration,
    ) -> Self {
        let timeout = Some(fetch_timeout).filter(|t| !t.is_zero());
        let (id, ready) = handle.shared.change(|core| {
            let slot = core.open_slot(&type_url);
            core.state.watch(&type_url, subscription, timeout, Instant::now());
            slot
        });
        Self { handle, type_url, id, ready }
    }

    /// The type watched.
    #[must_use]
    pub fn type_url(&self) -> &TypeUrl {
        &self.type_url
    }

    /// The next event. `None`: the client has ended, or another watch of the type has taken the place of this one.
    ///
    /// Cancel safe: an event is taken only when it is returned.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        let shared = self.handle.shared.clone();
        loop {
            match shared.with(|core| core.take(&self.type_url, self.id)) {
                Taken::Update(inner) => {
                    return Some(WatchEvent::Update(Update { inner, shared: Some(shared) }));
                }
                Taken::Overdue(o) => return Some(WatchEvent::Overdue { wildcard: o.wildcard, names: o.names }),
                Taken::Replaced => return None,
                Taken::Nothing => {}
            }
            tokio::select! {
                () = self.ready.notified() => {}
                () = shared.stop.cancelled() => return None,
            }
        }
    }

    /// Adds names. One that is subscribed already is asked for again, and answered again.
    ///
    /// Each name is answered by an update in which it is added or removed, or else told in [`WatchEvent::Overdue`] when
    /// the watch's time has passed. In SotW the latter is how most names that do not exist are told.
    pub fn subscribe<N: Into<ResourceName>>(&self, names: impl IntoIterator<Item = N>) {
        self.subscriber().subscribe(names);
    }

    /// Drops names. What was told of them is no longer kept up to date; no update says so.
    pub fn unsubscribe<N: Into<ResourceName>>(&self, names: impl IntoIterator<Item = N>) {
        self.subscriber().unsubscribe(names);
    }

    /// A handle to change the watch's names from elsewhere, while a task waits for its events.
    #[must_use]
    pub fn subscriber(&self) -> Subscriber {
        Subscriber { shared: self.handle.shared.clone(), type_url: self.type_url.clone(), watch: self.id }
    }
}

impl Subscriber {
    /// As [`Watch::subscribe`]. Without effect when the watch has ended.
    pub fn subscribe<N: Into<ResourceName>>(&self, names: impl IntoIterator<Item = N>) {
        let names: Vec<ResourceName> = names.into_iter().map(Into::into).collect();
        self.shared.change(|core| core.subscribe(&self.type_url, self.watch, names));
    }

    /// As [`Watch::unsubscribe`]. Without effect when the watch has ended.
    pub fn unsubscribe<N: Into<ResourceName>>(&self, names: impl IntoIterator<Item = N>) {
        let names: Vec<ResourceName> = names.into_iter().map(Into::into).collect();
        self.shared.change(|core| core.unsubscribe(&self.type_url, self.watch, names));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.handle.shared.change(|core| core.close_slot(&self.type_url, Some(self.id)));
    }
}

impl Update {
    /// The type.
    #[must_use]
    pub fn type_url(&self) -> &TypeUrl {
        &self.inner.type_url
    }

    /// Who says so.
    #[must_use]
    pub fn source(&self) -> Source {
        self.inner.source
    }

    /// Resources that are new or changed.
    #[must_use]
    pub fn added(&self) -> &[Resource] {
        &self.inner.added
    }

    /// Names that do not exist, or no longer.
    #[must_use]
    pub fn removed(&self) -> &[ResourceName] {
        &self.inner.removed
    }

    /// Says that the update is in force.
    pub fn accept(self) {
        self.answer(Verdict::Accepted);
    }

    /// Says that the update, or the resources named in `rejection`, are refused. If it names any, the rest of the update
    /// is taken to be in force; if it names none, nothing of it is.
    pub fn reject(self, rejection: Rejection) {
        self.answer(rejection.into_verdict());
    }

    fn answer(mut self, verdict: Verdict) {
        if let Some(shared) = self.shared.take() {
            shared.answer(&self.inner, verdict);
        }
    }
}

impl Drop for Update {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.answer(&self.inner, dropped());
        }
    }
}

/// The verdict on an update nobody answered.
pub(super) fn dropped() -> Verdict {
    Verdict::Rejected { message: "the update was dropped unanswered".into(), resources: Vec::new() }
}

impl Rejection {
    /// Refuses the whole update.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), resources: Vec::new() }
    }

    /// Refuses one resource, and keeps the rest of the update.
    #[must_use]
    pub fn resource(mut self, name: impl Into<ResourceName>, reason: impl Into<String>) -> Self {
        self.resources.push((name.into(), reason.into()));
        self
    }

    fn into_verdict(self) -> Verdict {
        let details = self.resources.iter().map(|(name, reason)| format!("{name}: {reason}"));
        let head = Some(self.message).filter(|m| !m.is_empty());
        let message = head.into_iter().chain(details).collect::<Vec<_>>().join("; ");
        Verdict::Rejected { message, resources: self.resources.into_iter().map(|(name, _)| name).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejection_names_resources() {
        let rejection = Rejection::new("2 of 3 refused").resource("a", "no port").resource("b", "no name");
        let Verdict::Rejected { message, resources } = rejection.into_verdict() else { panic!() };
        assert_eq!(message, "2 of 3 refused; a: no port; b: no name");
        assert_eq!(resources, ["a", "b"].map(ResourceName::from));
    }
}
