//! The future that makes a client work: connect, talk, wait, again; to the first server that can be reached.

use std::{sync::Arc, time::Instant};

use futures::{
    FutureExt, StreamExt,
    future::{AbortHandle, Abortable, BoxFuture},
    stream::FuturesUnordered,
};
use mesh_xds_api::envoy::config::core::v3::Node as NodeMessage;
use tonic::transport::Channel;
use tracing::{info, warn};

use super::{
    ClientConfig, Connect, Connection, channel,
    probe::{Probe, probe},
    servers::Servers,
    session::{Ended, talk},
    shared::Shared,
    snapshot::Keeper,
    storing,
    stream::{self, Duplex},
};

/// Makes a [`Client`](super::Client) work.
#[must_use = "a client does nothing before its driver runs"]
pub struct Driver {
    shared: Arc<Shared>,
    node: NodeMessage,
    /// In order of preference. Never empty.
    servers: Vec<Arc<dyn Connect>>,
    config: ClientConfig,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("node", &self.node.id)
            .field("servers", &self.servers.len())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What is done with the server in use.
enum Main<'a> {
    /// It waits for its next attempt.
    Waiting,
    Connecting(BoxFuture<'a, Result<Channel, String>>),
    Talking(BoxFuture<'a, Ended>),
}

/// What happened.
enum Step {
    Connected(Channel),
    /// The server in use is lost.
    Ended(Ended),
    /// A server before it was tried.
    Probed(usize, Box<Result<Probe, String>>),
    /// A time has come, or subscriptions have changed.
    Look,
}

/// Attempts at servers before the one in use.
#[derive(Default)]
struct Probes<'a> {
    running: FuturesUnordered<BoxFuture<'a, (usize, Result<Probe, String>)>>,
    handles: Vec<(usize, AbortHandle)>,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        node: NodeMessage,
        servers: Vec<Arc<dyn Connect>>,
        config: ClientConfig,
    ) -> Self {
        Self { shared, node, servers, config }
    }

    /// Runs until the client's last handle is dropped or [`Client::shutdown`](super::Client::shutdown) is called.
    /// Dropping the future ends the stream; watches then get no more events.
    pub async fn run(self) {
        let stop = self.shared.stop.clone();
        storing::load(&self.shared).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.serve() => {}
            () = storing::store(&self.shared) => {}
        }
        storing::finish(&self.shared).await;
        self.shared.tell(|s| s.connection = Connection::Closed);
    }

    async fn serve(&self) {
        let mut servers = Servers::new(self.servers.len(), &self.config.backoff, Instant::now());
        let (mut main, mut probes) = (Main::Waiting, Probes::default());
        loop {
            if !matches!(main, Main::Talking(_)) && self.falls_back(&mut servers) {
                main = Main::Waiting;
            }
            while let Some(index) = servers.start(Instant::now()) {
                if index == servers.current() {
                    self.shared.tell(|s| s.connection = Connection::Connecting);
                    main = Main::Connecting(channel::open(self.servers[index].clone(), self.config.channel()).boxed());
                } else {
                    probes.start(index, self.probe(index));
                }
            }
            match self.step(&mut main, &mut probes, &servers).await {
                Step::Connected(channel) => main = Main::Talking(self.talk(channel, servers.current())),
                Step::Ended(ended) => {
                    main = Main::Waiting;
                    self.lost(&mut servers, ended);
                }
                Step::Probed(index, result) => match *result {
                    Ok(probe) => {
                        servers.answered(index, Instant::now());
                        probes.stop_from(index);
                        main = Main::Talking(self.take_up(index, probe));
                    }
                    Err(reason) => {
                        servers.ended(index, false, Instant::now(), &mut rand::rng());
                        self.shared.tell(|s| s.fail(index, reason));
                        self.note_reach(&servers);
                    }
                },
                Step::Look => {}
            }
        }
    }

    /// gRFC A71: goes on to the next server if this one has failed and something is subscribed that nobody has answered.
    fn falls_back(&self, servers: &mut Servers) -> bool {
        let now = Instant::now();
        let lacking = self.shared.with(|core| {
            core.deliver(now);
            core.state.lacks_answers()
        });
        let before = servers.current();
        if !servers.fall_back(lacking, now) {
            return false;
        }
        let server = servers.current();
        warn!(node = %self.node.id, from = before, to = server, "xDS server not reached; falling back to the next");
        self.shared.tell(|s| s.use_server(server));
        true
    }

    async fn step(&self, main: &mut Main<'_>, probes: &mut Probes<'_>, servers: &Servers) -> Step {
        let talking = matches!(main, Main::Talking(_));
        // While a stream is open it keeps the times of watches, and is woken for their changes.
        let due = servers.next_due();
        let deadline = match talking {
            true => due,
            false => due.into_iter().chain(self.shared.with(|core| core.state.poll_timeout())).min(),
        };
        let next = async {
            match main {
                Main::Waiting => std::future::pending().await,
                Main::Connecting(opening) => match opening.await {
                    Ok(channel) => Step::Connected(channel),
                    Err(reason) => Step::Ended(Ended { reason, answered: false }),
                },
                Main::Talking(talk) => Step::Ended(talk.await),
            }
        };
        tokio::select! {
            step = next => step,
            (index, result) = probes.next() => Step::Probed(index, Box::new(result)),
            () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => Step::Look,
            () = self.shared.wake.notified(), if !talking => Step::Look,
        }
    }

    fn talk(&self, channel: Channel, index: usize) -> BoxFuture<'_, Ended> {
        let stream = stream::open(channel, &self.config, self.node.clone());
        self.shared.with(|core| core.state.connected_to(index as u64));
        self.talk_on(stream, index, false)
    }

    async fn probe(&self, index: usize) -> (usize, Result<Probe, String>) {
        let connect = self.servers[index].clone();
        (index, probe(&self.shared, connect, &self.config, self.node.clone(), index).await)
    }

    /// A server that stands before the one in use is back.
    fn take_up(&self, index: usize, probe: Probe) -> BoxFuture<'_, Ended> {
        info!(node = %self.node.id, server = index, "xDS server answers again; returning to it");
        let (stream, answered) = probe.adopt(&self.shared, &self.config, self.node.clone(), index);
        self.shared.tell(|s| s.use_server(index));
        self.talk_on(stream, index, answered)
    }

    fn talk_on(&self, stream: Duplex, index: usize, answered: bool) -> BoxFuture<'_, Ended> {
        self.shared.tell(|s| {
            s.connection = Connection::Connected { since: Instant::now() };
            s.streams += 1;
        });
        info!(node = %self.node.id, server = index, variant = self.config.variant.as_str(), "xDS stream opened");
        talk(&self.shared, stream, answered).boxed()
    }

    fn lost(&self, servers: &mut Servers, ended: Ended) {
        self.shared.with(|core| core.state.disconnected());
        let (index, now) = (servers.current(), Instant::now());
        let wait = servers.ended(index, ended.answered, now, &mut rand::rng());
        warn!(node = %self.node.id, server = index, reason = %ended.reason, ?wait, "xDS stream ended; trying again");
        self.shared.tell(|s| {
            s.connection = Connection::Waiting { until: now + wait };
            s.fail(index, ended.reason);
        });
        self.note_reach(servers);
    }

    /// Watches are given the last good resources if there is nobody else to give them any.
    fn note_reach(&self, servers: &Servers) {
        if servers.all_failed() {
            self.shared.with(|core| core.keeper.iter_mut().for_each(Keeper::out_of_reach));
        }
    }
}

impl<'a> Probes<'a> {
    fn start(&mut self, index: usize, probe: impl Future<Output = (usize, Result<Probe, String>)> + Send + 'a) {
        let (handle, registration) = AbortHandle::new_pair();
        self.handles.retain(|(i, _)| *i != index);
        self.handles.push((index, handle));
        let probe = Abortable::new(probe, registration);
        let stopped = "it is not wanted any more".to_owned();
        self.running.push(async move { probe.await.unwrap_or_else(|_| (usize::MAX, Err(stopped))) }.boxed());
    }

    /// Stops attempts at `index` and what is behind it.
    fn stop_from(&mut self, index: usize) {
        self.handles.retain(|(i, handle)| {
            let stays = *i < index;
            if !stays {
                handle.abort();
            }
            stays
        });
    }

    /// The next that ends by itself. Cancel safe.
    async fn next(&mut self) -> (usize, Result<Probe, String>) {
        loop {
            match self.running.next().await {
                Some((usize::MAX, _)) => {}
                Some(ended) => return ended,
                None => std::future::pending().await,
            }
        }
    }
}
