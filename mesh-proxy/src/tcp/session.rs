//! One connection that the TCP proxy carries.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    TcpChain,
    copy::{self, Ended, Moved},
    tunnel::Tunnel,
};
use crate::{
    access_log::LogContext,
    balancer::PickContext,
    cluster::{Host, Outcome},
    dial::OnBehalf,
    drain::{DrainWatch, Phase},
    filter::{ConnectionInfo, ResponseFlags, StreamInfo},
    listener::io::ServerIo,
    rt::BareSocket,
    upstream::{LocalCluster, UpstreamStream},
};

/// One carried connection. Dropping it writes the logs.
pub(super) struct Session {
    info: StreamInfo,
    chain: Rc<TcpChain>,
    counts: Rc<Counts>,
    opened: bool,
}

/// Bytes moved so far.
#[derive(Default)]
struct Counts {
    received: Cell<u64>,
    sent: Cell<u64>,
}

/// Where a connection goes on.
enum Upstream {
    Host(Box<UpstreamStream>),
    Tunnel(Box<Tunnel>),
}

/// Nothing more is to be done for a connection; its facts say why.
struct Over;

impl Session {
    pub(super) fn new(chain: Rc<TcpChain>, connection: Arc<ConnectionInfo>) -> Self {
        let metadata = connection.dynamic_metadata.as_ref().map(|metadata| Box::new((**metadata).clone()));
        let mut info = StreamInfo::new(connection, Instant::now(), SystemTime::now());
        info.dynamic_metadata = metadata;
        Self { info, chain, counts: Rc::default(), opened: false }
    }

    /// Carries `io` until it ends.
    pub(super) async fn run(mut self, io: ServerIo, mut drain: DrainWatch) {
        let chain = self.chain.clone();
        if chain.model.log_times.on_start {
            self.log();
        }
        let expiry = async {
            match chain.longest_life() {
                Some(life) => tokio::time::sleep(life).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.carry(io) => {}
            () = expiry => {
                chain.stats.max_duration.inc();
                self.info.flags.insert(ResponseFlags::DURATION_TIMEOUT);
            }
            () = drain.reached(Phase::Ended) => {}
        }
    }

    async fn carry(&mut self, mut io: ServerIo) -> Result<(), Over> {
        let chain = self.chain.clone();
        if let Some(most) = chain.model.early_data {
            self.first_bytes(&mut io, most).await?;
        }
        let name = chain.cluster_for(&self.info.connection);
        let Some(cluster) = name.and_then(|name| chain.worker.upstreams.cluster(name)) else {
            chain.stats.no_route.inc();
            return Err(self.fail(ResponseFlags::NO_CLUSTER, "cluster_not_found"));
        };
        let config = cluster.handle().config();
        self.info.cluster = Some(config.name.clone());
        self.info.cluster_metadata = Some(config.metadata.clone());
        let upstream = self.connect(&cluster).await?;
        self.note_opened();
        match upstream {
            Upstream::Host(stream) => self.copy(io, *stream).await,
            Upstream::Tunnel(tunnel) => {
                let _place = tunnel.body;
                self.copy(io, tunnel.io).await;
            }
        }
        Ok(())
    }

    /// Waits until the client has sent something.
    async fn first_bytes(&mut self, io: &mut ServerIo, most: u32) -> Result<(), Over> {
        if !io.head().is_empty() {
            return Ok(());
        }
        // To see a byte it must be read.
        let read = io.read_ahead(most.max(1) as usize);
        let idle = self.chain.model.idle_timeout;
        let read = if idle.is_zero() { Ok(read.await) } else { tokio::time::timeout(idle, read).await };
        match read {
            Ok(Ok(n)) if n > 0 => Ok(()),
            Ok(_) => Err(Over),
            Err(_) => {
                self.chain.stats.idle_timeout.inc();
                self.info.flags.insert(ResponseFlags::STREAM_IDLE_TIMEOUT);
                Err(Over)
            }
        }
    }

    /// Connects to a host, as often as the configuration allows.
    async fn connect(&mut self, cluster: &Rc<LocalCluster>) -> Result<Upstream, Over> {
        let chain = self.chain.clone();
        let behalf = chain.on_behalf(&self.info.connection);
        let hash = chain.model.hash_source_ip.then(|| source_hash(&self.info.connection));
        while self.info.attempts < chain.model.max_connect_attempts {
            if self.info.attempts > 0 {
                tokio::time::sleep(chain.pause(self.info.attempts)).await;
            }
            self.info.attempts += 1;
            let original_dst = self.info.connection.original_destination();
            let Ok(host) = cluster.pick(&PickContext { hash, original_dst, ..PickContext::default() }) else {
                return Err(self.fail(ResponseFlags::NO_HEALTHY_UPSTREAM, "no_healthy_upstream"));
            };
            self.note_host(&host);
            match self.open(cluster, &host, &behalf).await {
                Ok(upstream) => {
                    cluster.report(&host, Outcome::Connected, chain.worker.random());
                    return Ok(upstream);
                }
                Err(e) => {
                    cluster.report(&host, Outcome::ConnectFailed, chain.worker.random());
                    self.info.upstream_failure = Some(e.into());
                    self.info.flags.insert(ResponseFlags::UPSTREAM_CONNECTION_FAILURE);
                }
            }
        }
        self.info.flags.insert(ResponseFlags::UPSTREAM_RETRY_LIMIT);
        Err(Over)
    }

    /// A connection to the host, or through it; or why there is none, in words.
    async fn open(
        &mut self,
        cluster: &Rc<LocalCluster>,
        host: &Arc<Host>,
        behalf: &OnBehalf,
    ) -> Result<Upstream, String> {
        let chain = self.chain.clone();
        let Some(config) = &chain.model.tunnel else {
            let (stream, info) = cluster.tcp(host, Some(behalf)).await.map_err(|error| error.to_string())?;
            self.info.upstream_tls = info.tls;
            self.info.upstream_local = info.local;
            return Ok(Upstream::Host(Box::new(stream)));
        };
        let tunnel = chain.tunnel(config, cluster, host, &self.info).await.map_err(|error| error.to_string())?;
        self.info.upstream_tls = tunnel.info.tls.clone();
        self.info.upstream_local = tunnel.info.local;
        Ok(Upstream::Tunnel(Box::new(tunnel)))
    }

    fn note_host(&mut self, host: &Arc<Host>) {
        self.info.upstream_host = Some(host.name.clone());
        self.info.upstream_metadata = Some(host.metadata.clone());
    }

    async fn copy(&mut self, io: ServerIo, upstream: impl AsyncRead + AsyncWrite + BareSocket) {
        let chain = self.chain.clone();
        let (stats, counts) = (&chain.stats, self.counts.clone());
        let idle = (!chain.model.idle_timeout.is_zero()).then_some(chain.model.idle_timeout);
        let mut copy = std::pin::pin!(copy::both(io, upstream, idle, |moved| match moved {
            Moved::Forward(n) => {
                counts.received.set(counts.received.get() + n as u64);
                stats.rx_bytes.add(n as u64);
            }
            Moved::Back(n) => {
                counts.sent.set(counts.sent.get() + n as u64);
                stats.tx_bytes.add(n as u64);
            }
        }));
        let ended = match chain.model.log_times.interval {
            None => copy.await,
            Some(interval) => loop {
                match tokio::time::timeout(interval, &mut copy).await {
                    Ok(ended) => break ended,
                    Err(_) => self.log(),
                }
            },
        };
        match ended {
            Ended::Idle => {
                stats.idle_timeout.inc();
                self.info.flags.insert(ResponseFlags::STREAM_IDLE_TIMEOUT);
            }
            Ended::Failed(e) => tracing::debug!(error = %e, "carried connection ended"),
            Ended::Closed => {}
        }
    }

    fn fail(&mut self, flag: ResponseFlags, details: &'static str) -> Over {
        self.info.flags.insert(flag);
        self.info.details = Some(details.into());
        Over
    }

    fn note_opened(&mut self) {
        self.opened = true;
        if let Some(istio) = &self.chain.worker.istio {
            istio.tcp_opened(&self.info);
        }
        if self.chain.model.log_times.on_connected {
            self.log();
        }
    }

    fn log(&mut self) {
        self.info.bytes_received = self.counts.received.get();
        self.info.bytes_sent = self.counts.sent.get();
        let context = LogContext { info: &self.info, request: None, response: None, trailers: None };
        for log in &self.chain.logs {
            log.log(&context);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.info.timings.end = Some(Instant::now());
        self.log();
        if let Some(istio) = &self.chain.worker.istio
            && self.opened
        {
            istio.tcp_bytes(&self.info, self.info.bytes_received, self.info.bytes_sent);
            istio.tcp_closed(&self.info);
        }
    }
}

/// As Envoy's `source_ip` policy: of the address in its text form.
fn source_hash(connection: &ConnectionInfo) -> u64 {
    xxhash_rust::xxh64::xxh64(connection.remote.ip().to_string().as_bytes(), 0)
}

impl TcpChain {
    /// How long a new connection may live.
    fn longest_life(&self) -> Option<Duration> {
        let life = self.model.max_downstream_duration?;
        Some(life.saturating_add(life.mul_f64(self.model.duration_jitter * self.unit())))
    }

    /// Pause after the attempt with this number, from 1.
    fn pause(&self, attempt: u32) -> Duration {
        let Some((base, longest)) = self.model.backoff else { return Duration::ZERO };
        let doubled = base.saturating_mul(2u32.saturating_pow(attempt - 1));
        doubled.min(longest).mul_f64(self.unit())
    }

    /// Random, in `[0, 1)`.
    fn unit(&self) -> f64 {
        (self.worker.random() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Where a connection goes.
    fn cluster_for<'a>(&'a self, connection: &'a ConnectionInfo) -> Option<&'a str> {
        match connection.sni.as_deref() {
            Some(name) if self.model.sni_cluster && !name.is_empty() => Some(name),
            _ => self.cluster(),
        }
    }

    /// What a PROXY protocol header toward the host says.
    fn on_behalf(&self, connection: &ConnectionInfo) -> Arc<OnBehalf> {
        let mut behalf = OnBehalf::of(connection);
        behalf.add(&self.model.tlvs, self.model.tlv_merge);
        Arc::new(behalf)
    }
}
