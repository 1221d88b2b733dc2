//! One stream: requests in, pushes out, over the protocol core.

use std::{error::Error, sync::Arc, time::Instant};

use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tonic::{Code as GrpcCode, Status as Code};
use tracing::{info, warn};

use super::{
    ConnectionHandle, Inner, PeerInfo, StreamEvent, StreamInfo,
    admission::{self, Starting},
    age,
    budget::{Leaving, Turn},
    fetch::set_type,
    incoming::Asked,
    limits::RequestRate,
    metrics::{Converging, add},
    status::Entry,
    tell::{tell, to_stream_event},
};
use crate::{
    Node, TypeUrl,
    protocol::{Push, Request, Variant, server::ServerStream},
    store::{Attach, Follower, Refusal, ViewHandle},
};

/// Pushes handed to the transport that it has not taken yet.
pub(super) const PUSH_QUEUE: usize = 2;

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

/// What every stream of a service has in common.
pub(super) struct Kind {
    pub(super) variant: Variant,
    /// The only type of a per-type service.
    pub(super) only: Option<TypeUrl>,
    pub(super) leaving: Leaving,
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
    leaving: Leaving,
    /// When the stream has reached its age.
    end: Option<Instant>,
    /// Until the first answer is made.
    starting: Option<Starting>,
    _view: ViewHandle,
}

/// Counts an open stream.
struct Open(Arc<Inner>);

impl Open {
    fn new(inner: &Arc<Inner>) -> Result<Self, Code> {
        use std::sync::atomic::Ordering::Relaxed;
        let open = inner.metrics.streams_open.fetch_add(1, Relaxed);
        let counted = Self(inner.clone());
        if open >= inner.limits.max_streams {
            return Err(Code::resource_exhausted("too many streams; try another server"));
        }
        add(&inner.metrics.streams_total, 1);
        Ok(counted)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.streams_open.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Serves one stream to its end.
pub(super) async fn run(
    inner: Arc<Inner>,
    kind: Kind,
    peer: PeerInfo,
    requests: impl Stream<Item = Incoming> + Send + 'static,
    pushes: mpsc::Sender<Result<Push, Code>>,
) {
    let (leaving, connection) = (kind.leaving.clone(), peer.connection.clone());
    let outcome = tokio::select! {
        () = pushes.closed() => return,
        outcome = admit_and_serve(inner.clone(), kind, peer, requests, &pushes) => outcome,
    };
    if let Err(code) = outcome {
        // Behind what is on its way already. A client that does not read does not get the reason either.
        let _ = tokio::time::timeout(inner.limits.pushes.write_timeout, pushes.send(Err(code))).await;
    }
    drop(pushes);
    see_off(&inner, &leaving, &connection).await;
}

/// The stream has ended, but not what is on its way to a client that may not read.
async fn see_off(inner: &Inner, leaving: &Leaving, connection: &ConnectionHandle) {
    while let Some(by) = leaving.due() {
        if by <= clock() {
            add(&inner.metrics.write_timeouts, 1);
            connection.close();
            return;
        }
        sleep_until(Some(by)).await;
    }
}

async fn admit_and_serve(
    inner: Arc<Inner>,
    kind: Kind,
    peer: PeerInfo,
    requests: impl Stream<Item = Incoming> + Send + 'static,
    pushes: &mpsc::Sender<Result<Push, Code>>,
) -> Result<(), Code> {
    // Who it is nobody knows before the first request.
    let variant = kind.variant;
    let turned_away = |code| refuse(&inner, &stream_info(&inner, variant, &peer, Node::default()), code);
    let _open = Open::new(&inner).map_err(turned_away)?;
    let mut requests = Box::pin(requests);
    let admitting = async {
        let first = tokio::time::timeout(inner.limits.first_request_timeout, requests.next());
        let (node, request) = match first.await {
            Err(_) => return Err(turned_away(Code::deadline_exceeded("no request came"))),
            Ok(None) => return Ok(None),
            Ok(Some(Ok(first))) => first,
            Ok(Some(Err(code))) => return Err(bad_message(&inner, &code).map_or(code, turned_away)),
        };
        let session = Session::admit(&inner, kind, peer.clone(), node.unwrap_or_default()).await?;
        Ok(Some((session, request)))
    };
    let admitted = tokio::select! {
        biased;
        () = inner.stop.cancelled() => Err(turned_away(Code::unavailable(STOPPED))),
        admitted = admitting => admitted,
    };
    let Some((mut session, request)) = admitted? else { return Ok(()) };
    let _registered = inner.status.register(session.entry.clone());
    let ending = Ending { entry: session.entry.clone(), inner: inner.clone(), reason: "the client went away".into() };
    tell(&inner, &session.entry.info, &StreamEvent::Connected);
    session.serve(request, requests, pushes, ending).await
}

/// Tells the end of a stream, however it comes.
struct Ending {
    inner: Arc<Inner>,
    entry: Arc<Entry>,
    reason: String,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let info = &self.entry.info;
        let reason = std::mem::take(&mut self.reason);
        info!(node = info.node.id().as_str(), stream = info.id, reason, "xDS stream closed");
        self.inner.observer.observe(info, &StreamEvent::Disconnected { reason });
    }
}

impl Session {
    async fn admit(inner: &Arc<Inner>, kind: Kind, peer: PeerInfo, node: Node) -> Result<Self, Code> {
        let Admitted { info, view, starting } = admit(inner, kind.variant, &peer, node).await?;
        info!(node = info.node.id().as_str(), stream = info.id, variant = kind.variant.as_str(), peer = ?info.peer_addr,
            identity = info.identity.as_deref(), "xDS stream opened");
        let seed = inner.nonce_seed.wrapping_add(info.id);
        let core = ServerStream::new(kind.variant, seed, inner.limits.stream.clone())
            .with_sharing(view.sharing().clone())
            .with_ttl(info.node.has_feature(TTL_FEATURE));
        let entry =
            Arc::new(Entry { info, core: Mutex::new(core), view: view.view().clone(), refused: Mutex::default() });
        Ok(Self {
            inner: inner.clone(),
            entry,
            follower: Follower::new(view.view()),
            only: kind.only,
            rate: RequestRate::new(inner.limits.max_requests_per_second, clock()),
            converging: Converging::default(),
            pending: None,
            turn: Turn::Come(None),
            connection: peer.connection,
            leaving: kind.leaving,
            starting,
            end: age::end(&inner.limits, clock(), rand::random()),
            _view: view,
        })
    }

    async fn serve(
        &mut self,
        first: Request,
        mut requests: impl Stream<Item = Incoming> + Unpin,
        pushes: &mpsc::Sender<Result<Push, Code>>,
        mut ending: Ending,
    ) -> Result<(), Code> {
        let mut next = Some(first);
        loop {
            if let Some(request) = next.take()
                && let Err(code) = self.take(request)
            {
                ending.reason = VIOLATED.into();
                return Err(code);
            }
            let timers = self.advance();
            if timers.lost_track {
                ending.reason = LOST.into();
                return Err(self.leave(pushes, LOST).await);
            }
            self.starting = None;
            let inner = self.inner.clone();
            tokio::select! {
                () = inner.stop.cancelled() => {
                    ending.reason = STOPPED.into();
                    return Err(self.leave(pushes, STOPPED).await);
                }
                () = sleep_until(self.end), if self.end.is_some() => {
                    add(&self.inner.metrics.streams_aged, 1);
                    ending.reason = AGED.into();
                    return Err(self.leave(pushes, AGED).await);
                }
                () = self.turn.come(), if self.turn.is_waiting() => self.start_leaving(),
                permit = pushes.reserve(), if self.pending.is_some() && !timers.turn_waits => {
                    if let (Ok(permit), Some((push, by))) = (permit, self.pending.take()) {
                        self.leaving.push(by, self.turn.take());
                        permit.send(Ok(push));
                    }
                }
                request = requests.next(), if timers.blocked_until.is_none() => match request {
                    Some(Ok((_, request))) => next = Some(request),
                    Some(Err(code)) => return self.unread(code, &mut ending),
                    None => {
                        ending.reason = "the client closed the stream".into();
                        return Ok(());
                    }
                },
                () = self.follower.changed(timers.removals_wait) => self.converging.changed(clock()),
                () = sleep_until(timers.lag), if timers.lag.is_some() => {}
                () = sleep_until(timers.core), if timers.core.is_some() => {}
                () = sleep_until(timers.blocked_until), if timers.blocked_until.is_some() => self.rate.refill(clock()),
                () = sleep_until(timers.write_by), if timers.write_by.is_some() => {
                    // What was due when the wait began may have left meanwhile.
                    if self.write_by().is_none_or(|by| by > clock()) {
                        continue;
                    }
                    ending.reason = "the client does not read".into();
                    return Err(self.give_up());
                }
            }
        }
    }

    /// The push that was made may go: from now on it is the client's to read.
    fn start_leaving(&mut self) {
        if let Some((push, by)) = &mut self.pending {
            *by = self.inner.limits.pushes.due(push.content.bytes, clock());
        }
    }

    /// By when the client must have read more.
    fn write_by(&self) -> Option<Instant> {
        let pending = self.pending.as_ref().filter(|_| !self.turn.is_waiting()).map(|(_, by)| *by);
        pending.into_iter().chain(self.leaving.due()).min()
    }

    /// The client does not read: gives back what was written for it, which cannot be had otherwise.
    fn give_up(&self) -> Code {
        add(&self.inner.metrics.write_timeouts, 1);
        self.leaving.end();
        self.connection.close();
        Code::deadline_exceeded("a push could not be written in time")
    }

    /// Sends what has been made, and gives what the client is told then.
    async fn leave(&mut self, pushes: &mpsc::Sender<Result<Push, Code>>, reason: &str) -> Code {
        if let Some((push, by)) = self.pending.take() {
            self.leaving.push(by, self.turn.take());
            let _ = tokio::time::timeout_at(by.into(), pushes.send(Ok(push))).await;
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

    fn violation(&self, reason: &str) -> Code {
        self.violated(reason);
        Code::invalid_argument(reason)
    }

    fn violated(&self, reason: &str) {
        let info = &self.entry.info;
        add(&self.inner.metrics.violations, 1);
        warn!(node = info.node.id().as_str(), stream = info.id, reason, "xDS stream ended: protocol violated");
    }

    /// The end of a stream whose next request did not arrive whole.
    fn unread(&self, code: Code, ending: &mut Ending) -> Result<(), Code> {
        match bad_message(&self.inner, &code) {
            Some(told) => {
                self.violated(told.message());
                ending.reason = VIOLATED.into();
                Err(told)
            }
            None => {
                ending.reason = code.message().to_owned();
                Ok(())
            }
        }
    }

    /// Takes what changed into the core, and the next push out of it.
    fn advance(&mut self) -> Timers {
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
        Timers {
            // While a push waits for room the core is not asked, so that its timer must not fire.
            core: core_timer.filter(|_| self.pending.is_none()),
            lag: self.follower.deadline(max_hold),
            lost_track,
            removals_wait,
            blocked_until: self.rate.blocked_until(),
            turn_waits: self.turn.is_waiting(),
            write_by: self.write_by(),
        }
    }
}

/// When to look again although nothing happened.
struct Timers {
    core: Option<Instant>,
    /// When other streams stop waiting for this one.
    lag: Option<Instant>,
    /// The client must say what it holds.
    lost_track: bool,
    /// Removals wait for other streams.
    removals_wait: bool,
    blocked_until: Option<Instant>,
    /// A push waits for its turn.
    turn_waits: bool,
    write_by: Option<Instant>,
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

/// A client that was let in.
pub(super) struct Admitted {
    pub(super) info: StreamInfo,
    pub(super) view: ViewHandle,
    /// Its place, unless getting the view took too long for one.
    pub(super) starting: Option<Starting>,
}

/// Decides on a client by its first request. A refusal is logged, counted and told.
pub(super) async fn admit(inner: &Arc<Inner>, variant: Variant, peer: &PeerInfo, node: Node) -> Result<Admitted, Code> {
    if node.id().as_str().len() > inner.limits.stream.max_name_bytes {
        let info = stream_info(inner, variant, peer, Node::default());
        let limit = inner.limits.stream.max_name_bytes;
        let code = Code::invalid_argument(format!("node.id is too long, at most {limit} bytes are read"));
        return Err(refuse(inner, &info, code));
    }
    let mut info = stream_info(inner, variant, peer, node);
    let admitted = async {
        admission::welcome(inner)?;
        info.identity = inner.authorizer.authorize(peer, &info.node).await?;
        let attach = Attach { node: info.node.clone(), identity: info.identity.clone(), peer_addr: info.peer_addr };
        let starting = admission::enter(inner).await?;
        let (view, starting) = admission::keep(starting, inner.source.attach(&attach)).await;
        Ok((view?, starting))
    };
    match admitted.await {
        Ok((view, starting)) => Ok(Admitted { info, view, starting }),
        Err(refusal) => Err(refuse(inner, &info, refusal_code(&refusal))),
    }
}

fn stream_info(inner: &Inner, variant: Variant, peer: &PeerInfo, node: Node) -> StreamInfo {
    let connected_at = std::time::SystemTime::now();
    StreamInfo { id: inner.stream_id(), node, identity: None, peer_addr: peer.remote_addr, variant, connected_at }
}

/// Logs, counts and tells a refusal, and gives back what the client is told.
fn refuse(inner: &Inner, info: &StreamInfo, code: Code) -> Code {
    add(&inner.metrics.streams_refused, 1);
    let reason = code.message().to_owned();
    warn!(node = info.node.id().as_str(), peer = ?info.peer_addr, identity = info.identity.as_deref(), reason,
        "xDS stream refused");
    inner.observer.observe(info, &StreamEvent::Refused { reason });
    code
}

/// What a client is told whose message could not be read. `None` if it was the connection that failed.
fn bad_message(inner: &Inner, code: &Code) -> Option<Code> {
    match code.code() {
        // tonic says OUT_OF_RANGE, other gRPC stacks RESOURCE_EXHAUSTED.
        GrpcCode::OutOfRange | GrpcCode::ResourceExhausted => Some(Code::resource_exhausted(format!(
            "the request is too large, at most {} bytes are read",
            inner.limits.max_request_bytes
        ))),
        // A stream that is reset comes as INTERNAL too, with the reset as its cause: some clients end theirs so.
        GrpcCode::Internal | GrpcCode::InvalidArgument if code.source().is_none() => {
            Some(Code::invalid_argument(format!("the request cannot be read: {}", code.message())))
        }
        _ => None,
    }
}

/// What the client is told.
pub(super) fn refusal_code(refusal: &Refusal) -> Code {
    let reason = refusal.to_string();
    match refusal {
        Refusal::Denied(_) => Code::permission_denied(reason),
        Refusal::Unauthenticated(_) => Code::unauthenticated(reason),
        Refusal::NotReady(_) => Code::unavailable(reason),
    }
}

#[cfg(test)]
mod tests;
