//! The TCP proxy (`envoy.filters.network.tcp_proxy`): a connection carried to a host of a cluster.

pub(crate) mod copy;

use std::{
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use copy::{Ended, Moved};

use crate::{
    access_log::{AccessLog, LogContext},
    balancer::PickContext,
    cluster::{Host, Outcome},
    drain::{DrainWatch, Phase},
    filter::{ConnectionInfo, ResponseFlags, StreamInfo},
    listener::io::ServerIo,
    model::TcpProxy,
    stats::{Counter, Gauge, Stats},
    upstream::{LocalCluster, UpstreamStream},
    worker::WorkerContext,
};

/// A TCP proxy in force on one worker.
pub(crate) struct TcpChain {
    model: Arc<TcpProxy>,
    worker: Rc<WorkerContext>,
    logs: Vec<Arc<AccessLog>>,
    stats: TcpStats,
}

/// `tcp.PREFIX.*`.
struct TcpStats {
    cx_total: Counter,
    cx_active: Gauge,
    rx_bytes: Counter,
    tx_bytes: Counter,
    no_route: Counter,
    idle_timeout: Counter,
    max_duration: Counter,
}

impl TcpStats {
    fn new(stats: &Stats, prefix: &str) -> Self {
        let counter = |name: &str| stats.counter(&format!("tcp.{prefix}.{name}"));
        Self {
            cx_total: counter("downstream_cx_total"),
            cx_active: stats.gauge(&format!("tcp.{prefix}.downstream_cx_active")),
            rx_bytes: counter("downstream_cx_rx_bytes_total"),
            tx_bytes: counter("downstream_cx_tx_bytes_total"),
            no_route: counter("downstream_cx_no_route"),
            idle_timeout: counter("idle_timeout"),
            max_duration: counter("max_downstream_connection_duration"),
        }
    }
}

impl TcpChain {
    /// For `model`.
    pub(crate) fn new(model: Arc<TcpProxy>, worker: &Rc<WorkerContext>) -> Rc<Self> {
        Rc::new(Self {
            logs: worker.access_logs(&model.access_log),
            stats: TcpStats::new(&worker.stats, &model.stat_prefix),
            worker: worker.clone(),
            model,
        })
    }

    /// Carries `io` until it ends.
    pub(crate) async fn serve(self: Rc<Self>, info: Arc<ConnectionInfo>, io: ServerIo, drain: DrainWatch) {
        self.stats.cx_total.inc();
        let _active = self.stats.cx_active.hold();
        let mut session =
            Session { info: StreamInfo::new(info, Instant::now(), SystemTime::now()), chain: self, opened: false };
        session.run(io, drain).await;
    }

    fn cluster(&self) -> Option<&str> {
        let total: u64 = self.model.clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut at = if total == 0 { 0 } else { self.worker.random() % total };
        for (name, weight) in &self.model.clusters {
            match at.checked_sub(u64::from(*weight)) {
                Some(rest) => at = rest,
                None => return Some(name),
            }
        }
        self.model.clusters.first().map(|(name, _)| name.as_str())
    }
}

/// One carried connection. Dropping it writes the logs.
struct Session {
    info: StreamInfo,
    chain: Rc<TcpChain>,
    opened: bool,
}

impl Session {
    async fn run(&mut self, io: ServerIo, drain: DrainWatch) {
        let chain = self.chain.clone();
        let Some(cluster) = chain.cluster().and_then(|name| chain.worker.upstreams.cluster(name)) else {
            chain.stats.no_route.inc();
            return self.fail(ResponseFlags::NO_CLUSTER, "cluster_not_found");
        };
        let config = cluster.handle().config();
        self.info.cluster = Some(config.name.clone());
        self.info.cluster_metadata = Some(config.metadata.clone());
        let Some(upstream) = self.connect(&cluster).await else { return };
        self.note_opened();
        self.carry(io, upstream, drain).await;
    }

    /// Connects to a host, as often as the configuration allows.
    async fn connect(&mut self, cluster: &Rc<LocalCluster>) -> Option<UpstreamStream> {
        let chain = self.chain.clone();
        while self.info.attempts < chain.model.max_connect_attempts.max(1) {
            self.info.attempts += 1;
            let pick =
                PickContext { original_dst: self.info.connection.original_destination(), ..PickContext::default() };
            let Ok(host) = cluster.pick(&pick) else {
                self.fail(ResponseFlags::NO_HEALTHY_UPSTREAM, "no_healthy_upstream");
                return None;
            };
            self.note_host(&host);
            match cluster.tcp(&host).await {
                Ok((upstream, info)) => {
                    cluster.report(&host, Outcome::Connected, chain.worker.random());
                    self.info.upstream_tls = info.tls;
                    self.info.upstream_local = info.local;
                    return Some(upstream);
                }
                Err(e) => {
                    cluster.report(&host, Outcome::ConnectFailed, chain.worker.random());
                    self.info.upstream_failure = Some(e.to_string().into());
                    self.info.flags.insert(ResponseFlags::UPSTREAM_CONNECTION_FAILURE);
                }
            }
        }
        self.info.flags.insert(ResponseFlags::UPSTREAM_RETRY_LIMIT);
        None
    }

    fn note_host(&mut self, host: &Arc<Host>) {
        self.info.upstream_host = Some(host.name.clone());
        self.info.upstream_metadata = Some(host.metadata.clone());
    }

    async fn carry(&mut self, io: ServerIo, upstream: UpstreamStream, mut drain: DrainWatch) {
        let chain = self.chain.clone();
        let stats = &chain.stats;
        let idle = (!chain.model.idle_timeout.is_zero()).then_some(chain.model.idle_timeout);
        let life = chain.model.max_downstream_duration;
        let copy = copy::both(io, upstream, idle, |moved| match moved {
            Moved::Forward(n) => {
                self.info.bytes_received += n as u64;
                stats.rx_bytes.add(n as u64);
            }
            Moved::Back(n) => {
                self.info.bytes_sent += n as u64;
                stats.tx_bytes.add(n as u64);
            }
        });
        let expiry = async {
            match life {
                Some(life) => tokio::time::sleep(life).await,
                None => std::future::pending().await,
            }
        };
        let ended: Option<Ended> = tokio::select! {
            ended = copy => Some(ended),
            () = expiry => {
                stats.max_duration.inc();
                None
            }
            () = drain.reached(Phase::Ended) => None,
        };
        match ended {
            Some(Ended::Idle) => {
                stats.idle_timeout.inc();
                self.info.flags.insert(ResponseFlags::STREAM_IDLE_TIMEOUT);
            }
            Some(Ended::Failed(e)) => tracing::debug!(error = %e, "carried connection ended"),
            Some(Ended::Closed) => {}
            None => self.info.flags.insert(ResponseFlags::DURATION_TIMEOUT),
        }
    }

    fn fail(&mut self, flag: ResponseFlags, details: &'static str) {
        self.info.flags.insert(flag);
        self.info.details = Some(details.into());
    }

    fn note_opened(&mut self) {
        self.opened = true;
        if let Some(istio) = &self.chain.worker.istio {
            istio.tcp_opened(&self.info);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.info.timings.end = Some(Instant::now());
        let context = LogContext { info: &self.info, request: None, response: None, trailers: None };
        for log in &self.chain.logs {
            log.log(&context);
        }
        if let Some(istio) = &self.chain.worker.istio
            && self.opened
        {
            istio.tcp_bytes(&self.info, self.info.bytes_received, self.info.bytes_sent);
            istio.tcp_closed(&self.info);
        }
    }
}
