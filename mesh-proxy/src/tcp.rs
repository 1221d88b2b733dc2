//! The TCP proxy (`envoy.filters.network.tcp_proxy`): a connection carried to a host of a cluster.

pub(crate) mod copy;
mod session;
mod tunnel;

use std::{rc::Rc, sync::Arc};

use self::session::Session;
use crate::{
    access_log::AccessLog,
    drain::DrainWatch,
    filter::ConnectionInfo,
    listener::io::ServerIo,
    model::TcpProxy,
    stats::{Counter, Gauge, Stats},
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
        let active = self.stats.cx_active.hold();
        Session::new(self.clone(), info).run(io, drain).await;
        drop(active);
    }

    /// A cluster of the configuration, by weight.
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
