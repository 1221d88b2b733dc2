//! One stream: requests in, pushes out, over the protocol core.

use std::{sync::Arc, time::Instant};

use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tonic::Status as Code;
use tracing::{info, warn};

use super::{
    Inner, PeerInfo, StreamEvent, StreamInfo,
    limits::RequestRate,
    metrics::add,
    status::Entry,
    tell::{tell, to_stream_event},
};
use crate::{
    Node, TypeUrl,
    protocol::{
        Push, Request, Variant,
        server::{ResourceSet, ServerStream},
    },
    store::{Attach, Changes, Refusal, ViewHandle, ViewWatcher},
};

/// Pushes handed to the transport that it has not taken yet.
pub(super) const PUSH_QUEUE: usize = 2;

/// What a client sends: the node, on the first request at least, and the request.
pub(super) type Incoming = Result<(Option<Node>, Request), Code>;

/// What every stream of a service has in common.
pub(super) struct Kind {
    pub(super) variant: Variant,
    /// The only type of a per-type service.
    pub(super) only: Option<TypeUrl>,
}

/// An accepted stream.
struct Session {
    inner: Arc<Inner>,
    entry: Arc<Entry>,
    watcher: ViewWatcher,
    only: Option<TypeUrl>,
    rate: RequestRate,
    /// A push the transport has no room for yet, and since when.
    pending: Option<(Push, Instant)>,
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
            add(&inner.metrics.streams_refused, 1);
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
    let stop = inner.stop.clone();
    let outcome = tokio::select! {
        () = stop.cancelled() => Err(Code::unavailable("the server is shutting down")),
        () = pushes.closed() => return,
        outcome = admit_and_serve(inner, kind, peer, requests, &pushes) => outcome,
    };
    if let Err(code) = outcome {
        // A client that does not read does not get the reason either.
        let _ = pushes.try_send(Err(code));
    }
}

async fn admit_and_serve(
    inner: Arc<Inner>,
    kind: Kind,
    peer: PeerInfo,
    requests: impl Stream<Item = Incoming> + Send + 'static,
    pushes: &mpsc::Sender<Result<Push, Code>>,
) -> Result<(), Code> {
    let _open = Open::new(&inner)?;
    let mut requests = Box::pin(requests);
    let first = tokio::time::timeout(inner.limits.first_request_timeout, requests.next());
    let (node, request) = match first.await {
        Err(_) => return Err(Code::deadline_exceeded("no request came")),
        Ok(None) => return Ok(()),
        Ok(Some(first)) => first?,
    };
    let mut session = Session::admit(&inner, kind, peer, node.unwrap_or_default()).await?;
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
        let stopped = self.inner.stop.is_cancelled();
        let reason = if stopped { "the server is shutting down".into() } else { std::mem::take(&mut self.reason) };
        info!(node = %info.node.id(), stream = info.id, %reason, "xDS stream closed");
        self.inner.observer.observe(info, &StreamEvent::Disconnected { reason });
    }
}

impl Session {
    async fn admit(inner: &Arc<Inner>, kind: Kind, peer: PeerInfo, node: Node) -> Result<Self, Code> {
        if node.id().as_str().len() > inner.limits.stream.max_name_bytes {
            add(&inner.metrics.streams_refused, 1);
            return Err(Code::invalid_argument("node.id is too long"));
        }
        let mut info = StreamInfo {
            id: inner.stream_id(),
            node,
            identity: None,
            peer_addr: peer.remote_addr,
            variant: kind.variant,
            connected_at: std::time::SystemTime::now(),
        };
        let admitted = async {
            info.identity = inner.authorizer.authorize(&peer, &info.node).await?;
            let attach = Attach { node: info.node.clone(), identity: info.identity.clone(), peer_addr: info.peer_addr };
            inner.source.attach(&attach).await
        };
        let view = match admitted.await {
            Ok(view) => view,
            Err(refusal) => return Err(refuse(inner, &info, &refusal)),
        };
        info!(node = %info.node.id(), stream = info.id, variant = kind.variant.as_str(), peer = ?info.peer_addr,
            identity = info.identity.as_deref(), "xDS stream opened");
        let seed = inner.nonce_seed.wrapping_add(info.id);
        let core = ServerStream::new(kind.variant, seed, inner.limits.stream.clone());
        let entry = Arc::new(Entry { info, core: Mutex::new(core), view: view.view().clone() });
        Ok(Self {
            inner: inner.clone(),
            entry,
            watcher: view.watch(),
            only: kind.only,
            rate: RequestRate::new(inner.limits.max_requests_per_second, Instant::now()),
            pending: None,
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
                ending.reason = code.message().to_owned();
                return Err(code);
            }
            let timers = self.advance();
            tokio::select! {
                permit = pushes.reserve(), if self.pending.is_some() => {
                    if let (Ok(permit), Some((push, _))) = (permit, self.pending.take()) {
                        permit.send(Ok(push));
                    }
                }
                request = requests.next(), if timers.blocked_until.is_none() => match request {
                    Some(Ok((_, request))) => next = Some(request),
                    Some(Err(code)) => {
                        ending.reason = code.message().to_owned();
                        return Ok(());
                    }
                    None => {
                        ending.reason = "the client closed the stream".into();
                        return Ok(());
                    }
                },
                () = self.watcher.changed() => {}
                () = sleep_until(timers.core), if timers.core.is_some() => {}
                () = sleep_until(timers.blocked_until), if timers.blocked_until.is_some() => self.rate.refill(Instant::now()),
                () = sleep_until(timers.write_by), if timers.write_by.is_some() => {
                    add(&self.inner.metrics.write_timeouts, 1);
                    ending.reason = "the client does not read".into();
                    return Err(Code::deadline_exceeded("a push could not be written in time"));
                }
            }
        }
    }

    /// Takes a request into the core.
    fn take(&mut self, mut request: Request) -> Result<(), Code> {
        let now = Instant::now();
        self.rate.take(now);
        add(&self.inner.metrics.requests, 1);
        if let Some(only) = &self.only {
            if request.type_url.as_str().is_empty() {
                request.type_url = only.clone();
            } else if request.type_url != *only {
                let reason = format!("this service has {only}, not {}", request.type_url);
                return Err(self.violation(&reason));
            }
        }
        let entry = self.entry.clone();
        let handled = self.watcher.read(|changes, set| {
            let mut core = entry.core.lock();
            note(&mut core, &changes, set);
            core.handle(&request, set, now)
        });
        handled.map_err(|violation| self.violation(&violation.to_string()))
    }

    fn violation(&self, reason: &str) -> Code {
        let info = &self.entry.info;
        add(&self.inner.metrics.violations, 1);
        warn!(node = %info.node.id(), stream = info.id, reason, "xDS stream ended: protocol violated");
        Code::invalid_argument(reason)
    }

    /// Takes what changed into the core, and the next push out of it.
    fn advance(&mut self) -> Timers {
        let now = Instant::now();
        let entry = self.entry.clone();
        let idle = self.pending.is_none();
        let (push, core_timer, events) = self.watcher.read(|changes, set| {
            let mut core = entry.core.lock();
            note(&mut core, &changes, set);
            let push = if idle { core.poll(set, now) } else { None };
            let events: Vec<StreamEvent> =
                std::iter::from_fn(|| core.poll_event()).map(|e| to_stream_event(e, set)).collect();
            (push, core.poll_timeout(), events)
        });
        events.iter().for_each(|event| tell(&self.inner, &self.entry.info, event));
        if let Some(push) = push {
            self.pending = Some((push, now));
        }
        Timers {
            // While a push waits for room the core is not asked, so that its timer must not fire.
            core: core_timer.filter(|_| self.pending.is_none()),
            blocked_until: self.rate.blocked_until(),
            write_by: self.pending.as_ref().map(|(_, since)| *since + self.inner.limits.write_timeout),
        }
    }
}

/// When to look again although nothing happened.
struct Timers {
    core: Option<Instant>,
    blocked_until: Option<Instant>,
    write_by: Option<Instant>,
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}

fn refuse(inner: &Inner, info: &StreamInfo, refusal: &Refusal) -> Code {
    add(&inner.metrics.streams_refused, 1);
    let reason = refusal.to_string();
    warn!(node = %info.node.id(), peer = ?info.peer_addr, identity = info.identity.as_deref(), %reason,
        "xDS stream refused");
    inner.observer.observe(info, &StreamEvent::Refused { reason });
    refusal_code(refusal)
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

fn note(core: &mut ServerStream, changes: &Changes, set: &dyn ResourceSet) {
    match changes {
        Changes::Everything => core.note_all(set),
        Changes::Keys(keys) => {
            for key in keys {
                core.note_changes(set, &key.type_url, [&key.name]);
            }
        }
    }
}
