//! One stream: requests in, pushes out, over the protocol core.

mod admit;

use std::{borrow::Cow, sync::Arc, time::Instant};

use futures::{StreamExt, stream::BoxStream};
use parking_lot::Mutex;
use tonic::Status as Code;
use tracing::{info, warn};

pub(super) use self::admit::{Admitted, admit, refusal_code};
use self::admit::{Open, admit_first, bad_message};
use super::{
    ConnectionHandle, Inner, PeerInfo, StreamEvent,
    admission::Starting,
    age,
    budget::Turn,
    fetch::set_type,
    incoming::Asked,
    limits::RequestRate,
    metrics::{Converging, add},
    outbox::Outbox,
    status::{Entry, Registered},
    tell::{tell, to_stream_event},
};
use crate::{
    Node, TypeUrl,
    protocol::{Push, Request, Variant, server::ServerStream},
    store::{Follower, ViewHandle},
};

/// The client feature by which a client says that it knows of times to live.
const TTL_FEATURE: &str = "xds.config.supports-resource-ttl";
/// Why streams end that are to begin again, elsewhere perhaps.
pub(super) const STOPPED: &str = "the server is shutting down";
const LOST: &str = "more was removed than is remembered for this stream; connect again and say what is held";
pub(super) const AGED: &str = "the stream has reached its age; connect again";

/// Why a stream has ended whose client was told more, and the log too.
const VIOLATED: &str = "protocol violated";

/// The next request, or why there is none.
pub(super) type Incoming = Result<Asked, Code>;

/// A stream that was opened.
pub(super) struct Newcomer {
    pub(super) variant: Variant,
    /// The only type of a per-type service.
    pub(super) only: Option<TypeUrl>,
    pub(super) peer: PeerInfo,
}

/// An accepted stream.
struct Session {
    inner: Arc<Inner>,
    entry: Arc<Entry>,
    follower: Follower,
    only: Option<TypeUrl>,
    rate: RequestRate,
    converging: Converging,
    /// A push the transport has no room for yet, and by when it must have left.
    pending: Option<(Push, Instant)>,
    /// Whether that push may go yet.
    turn: Turn,
    connection: ConnectionHandle,
    /// When the stream has reached its age.
    end: Option<Instant>,
    /// Until the first answer is made.
    starting: Option<Starting>,
    ending: Ending,
    _registered: Registered,
    _open: Open,
    _view: ViewHandle,
}

/// Serves one stream to its end. There are as many of these machines as streams: what a running one does not need is boxed,
/// and goes when it has been used.
pub(super) async fn run(
    inner: Arc<Inner>,
    newcomer: Box<Newcomer>,
    requests: BoxStream<'static, Incoming>,
    outbox: Outbox,
) {
    let connection = newcomer.peer.connection.clone();
    let outcome = tokio::select! {
        () = outbox.gone() => return,
        outcome = admit_and_serve(&inner, newcomer, requests, &outbox) => outcome,
    };
    Box::pin(end(&inner, outcome, outbox, connection)).await;
}

async fn end(inner: &Inner, outcome: Result<(), Code>, outbox: Outbox, connection: ConnectionHandle) {
    if let Err(code) = outcome {
        // Behind what is on its way already. A client that does not read does not get the reason either.
        if tokio::time::timeout(inner.limits.pushes.write_timeout, outbox.room()).await.is_ok() {
            outbox.fail(code);
        }
    }
    outbox.close();
    see_off(inner, &outbox, &connection).await;
}

/// The stream has ended, but not what is on its way to a client that may not read.
async fn see_off(inner: &Inner, outbox: &Outbox, connection: &ConnectionHandle) {
    while let Some(by) = outbox.due() {
        if by <= clock() {
            add(&inner.metrics.write_timeouts, 1);
            connection.close();
            return;
        }
        sleep_until(Some(by)).await;
    }
}

async fn admit_and_serve(
    inner: &Arc<Inner>,
    newcomer: Box<Newcomer>,
    mut requests: BoxStream<'static, Incoming>,
    outbox: &Outbox,
) -> Result<(), Code> {
    let admitted = Box::pin(admit_first(inner, newcomer, &mut requests)).await;
    let Some(session) = admitted? else { return Ok(()) };
    session.serve(requests, outbox).await
}

/// Tells the end of a stream, however it comes.
struct Ending {
    inner: Arc<Inner>,
    entry: Arc<Entry>,
    reason: Cow<'static, str>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let info = &self.entry.info;
        let reason = std::mem::take(&mut self.reason).into_owned();
        info!(node = info.node.id().as_str(), stream = info.id, reason, "xDS stream closed");
        self.inner.observer.observe(info, &StreamEvent::Disconnected { reason });
    }
}

impl Session {
    async fn admit(inner: &Arc<Inner>, newcomer: &Newcomer, node: Node, open: Open) -> Result<Box<Self>, Code> {
        let Newcomer { variant, only, peer } = newcomer;
        let Admitted { info, view, starting } = admit(inner, *variant, peer, node).await?;
        info!(node = info.node.id().as_str(), stream = info.id, variant = variant.as_str(), peer = ?info.peer_addr,
            identity = info.identity.as_deref(), "xDS stream opened");
        let seed = inner.nonce_seed.wrapping_add(info.id);
        let core = ServerStream::new(*variant, seed, inner.stream_limits.clone())
            .with_sharing(view.sharing().clone())
            .with_ttl(info.node.has_feature(TTL_FEATURE));
        let entry =
            Arc::new(Entry { info, core: Mutex::new(core), view: view.view().clone(), refused: Mutex::default() });
        let registered = inner.status.register(entry.clone());
        let ending =
            Ending { entry: entry.clone(), inner: inner.clone(), reason: Cow::Borrowed("the client went away") };
        tell(inner, &entry.info, &StreamEvent::Connected);
        Ok(Box::new(Self {
            inner: inner.clone(),
            entry,
            follower: Follower::new(view.view()),
            only: only.clone(),
            rate: RequestRate::new(inner.limits.max_requests_per_second, clock()),
            converging: Converging::default(),
            pending: None,
            turn: Turn::Come(None),
            connection: peer.connection.clone(),
            starting,
            end: age::end(&inner.limits, clock(), rand::random()),
            ending,
            _registered: registered,
            _open: open,
            _view: view,
        }))
    }

    async fn serve(
        mut self: Box<Self>,
        mut requests: BoxStream<'static, Incoming>,
        outbox: &Outbox,
    ) -> Result<(), Code> {
        loop {
            let waits = self.advance(outbox);
            if waits.lost_track {
                return Err(self.leave(outbox, LOST).await);
            }
            self.starting = None;
            let inner = self.inner.clone();
            let timer = waits.timer(self.end);
            tokio::select! {
                // What ends a stream comes first: a client that asks all the time is no reason to go on.
                biased;
                () = inner.stop.cancelled() => return Err(self.leave(outbox, STOPPED).await),
                () = sleep_until(timer), if timer.is_some() => {
                    let now = clock();
                    if self.end.is_some_and(|end| end <= now) {
                        add(&self.inner.metrics.streams_aged, 1);
                        return Err(self.leave(outbox, AGED).await);
                    }
                    // What was due when the wait began may have left meanwhile.
                    if self.write_by(outbox).is_some_and(|by| by <= now) {
                        return Err(self.give_up(outbox));
                    }
                    self.rate.refill(now);
                }
                () = self.turn.come(), if waits.turn => self.start_leaving(),
                () = outbox.room(), if self.pending.is_some() && !waits.turn => self.hand_over(outbox),
                request = requests.next(), if waits.blocked_until.is_none() => match request {
                    Some(Ok((_, request))) => self.take(request)?,
                    Some(Err(code)) => return self.unread(code),
                    None => {
                        self.ending.reason = "the client closed the stream".into();
                        return Ok(());
                    }
                },
                () = self.follower.changed(waits.removals) => self.converging.changed(clock()),
            }
        }
    }

    /// The push that was made may go: from now on it is the client's to read.
    fn start_leaving(&mut self) {
        if let Some((push, by)) = &mut self.pending {
            *by = self.inner.limits.pushes.due(push.content.bytes, clock());
        }
    }

    /// There is room for the push that was made.
    fn hand_over(&mut self, outbox: &Outbox) {
        if let Some((push, by)) = self.pending.take() {
            outbox.push(push, by, self.turn.take());
        }
    }

    /// By when the client must have read more.
    fn write_by(&self, outbox: &Outbox) -> Option<Instant> {
        let pending = self.pending.as_ref().filter(|_| !self.turn.is_waiting()).map(|(_, by)| *by);
        pending.into_iter().chain(outbox.due()).min()
    }

    /// The client does not read: gives back what was written for it, which cannot be had otherwise.
    fn give_up(&mut self, outbox: &Outbox) -> Code {
        add(&self.inner.metrics.write_timeouts, 1);
        self.ending.reason = "the client does not read".into();
        outbox.abandon();
        self.connection.close();
        Code::deadline_exceeded("a push could not be written in time")
    }

    /// Sends what has been made, and gives what the client is told then.
    async fn leave(&mut self, outbox: &Outbox, reason: &'static str) -> Code {
        self.ending.reason = reason.into();
        if let Some((_, by)) = self.pending
            && tokio::time::timeout_at(by.into(), outbox.room()).await.is_ok()
        {
            self.hand_over(outbox);
        }
        Code::unavailable(reason)
    }

    /// Takes a request into the core.
    fn take(&mut self, mut request: Request) -> Result<(), Code> {
        let now = clock();
        self.rate.take(now);
        add(&self.inner.metrics.requests, 1);
        set_type(&mut request, self.only.as_ref()).map_err(|code| self.violation(code.message()))?;
        let entry = self.entry.clone();
        let mut core = entry.core.lock();
        let handled = self.follower.read(&mut core, now, |core, ledger, _| core.handle(&request, ledger, now));
        handled.map_err(|violation| self.violation(&violation.to_string()))
    }

    fn violation(&mut self, reason: &str) -> Code {
        self.violated(reason);
        Code::invalid_argument(reason)
    }

    fn violated(&mut self, reason: &str) {
        self.ending.reason = VIOLATED.into();
        let info = &self.entry.info;
        add(&self.inner.metrics.violations, 1);
        warn!(node = info.node.id().as_str(), stream = info.id, reason, "xDS stream ended: protocol violated");
    }

    /// The end of a stream whose next request did not arrive whole.
    fn unread(&mut self, code: Code) -> Result<(), Code> {
        match bad_message(&self.inner, &code) {
            Some(told) => {
                self.violated(told.message());
                Err(told)
            }
            None => {
                self.ending.reason = code.message().to_owned().into();
                Ok(())
            }
        }
    }

    /// Takes what changed into the core, and the next push out of it.
    fn advance(&mut self, outbox: &Outbox) -> Waits {
        let now = clock();
        let entry = self.entry.clone();
        let idle = self.pending.is_none();
        let mut core = entry.core.lock();
        let (push, events) = self.follower.read(&mut core, now, |core, ledger, released| {
            let push = if idle { core.poll(ledger, released, now) } else { None };
            let events: Vec<StreamEvent> =
                std::iter::from_fn(|| core.poll_event()).map(|e| to_stream_event(e, ledger)).collect();
            (push, events)
        });
        let (core_timer, removals_wait) = (core.poll_timeout(), core.removals_wait());
        let lost_track = core.lost_track();
        let quiet = core.unanswered_since().is_none() && !removals_wait;
        drop(core);
        let max_hold = self.inner.limits.stream.max_hold;
        self.follower.give_up_if_due(max_hold, now);
        for event in &events {
            if let StreamEvent::Nacked(nack) = event {
                self.entry.note_refusal(&nack.type_url);
            }
            tell(&self.inner, &self.entry.info, event);
        }
        if push.is_none()
            && idle
            && quiet
            && let Some(took) = self.converging.settled(now)
        {
            self.inner.convergence.record(took.as_secs_f64());
        }
        if let Some(push) = push {
            self.converging.pushed();
            self.turn = Turn::of(&self.inner, &push.content);
            self.pending = Some((push, now));
            self.start_leaving();
        }
        Waits {
            // While a push waits for room the core is not asked, so that its timer must not fire.
            core: core_timer.filter(|_| self.pending.is_none()),
            lag: self.follower.deadline(max_hold),
            lost_track,
            removals: removals_wait,
            blocked_until: self.rate.blocked_until(),
            turn: self.turn.is_waiting(),
            write_by: self.write_by(outbox),
        }
    }
}

/// What a stream waits for.
struct Waits {
    core: Option<Instant>,
    /// When other streams stop waiting for this one.
    lag: Option<Instant>,
    /// The client must say what it holds.
    lost_track: bool,
    /// Removals wait for other streams.
    removals: bool,
    blocked_until: Option<Instant>,
    /// A push waits for its turn.
    turn: bool,
    write_by: Option<Instant>,
}

impl Waits {
    /// When to look again although nothing happened. One timer for all: there are as many as streams.
    fn timer(&self, end: Option<Instant>) -> Option<Instant> {
        [self.core, self.lag, self.blocked_until, self.write_by, end].into_iter().flatten().min()
    }
}

/// The runtime's clock, which a test may drive.
pub(super) fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(super) async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}

#[cfg(test)]
mod tests;
