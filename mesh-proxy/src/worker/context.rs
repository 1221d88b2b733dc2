//! What everything on a worker has at hand.

use std::{
    cell::{Ref, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};

use super::Shared;
use crate::{
    access_log::{AccessLog, Formatter, LogContext, LogSinks, Missing},
    balancer::Rng,
    istio::{IstioMetrics, LocalIstioMetrics},
    model::{AccessLogConfig, RouteTable},
    route::Routes,
    state::Snapshot,
    stats::Stats,
    tls::SecretStore,
    upstream::Upstreams,
};

/// Most compiled header formats kept; beyond, they are compiled anew.
const MAX_FORMATS: usize = 4096;

/// The worker's own things and handles to the shared ones. Never crosses threads.
pub(crate) struct WorkerContext {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stats: Stats,
    pub(crate) sinks: LogSinks,
    pub(crate) secrets: SecretStore,
    pub(crate) istio: Option<LocalIstioMetrics>,
    pub(crate) upstreams: Rc<Upstreams>,
    snapshot: RefCell<Arc<Snapshot>>,
    random: RefCell<Rng>,
    headers: Formats,
    texts: Formats,
}

/// Formats compiled on first use.
#[derive(Default)]
struct Formats(RefCell<HashMap<String, Option<Rc<Formatter>>>>);

impl Formats {
    fn format(&self, format: &str, missing: Missing, cx: &LogContext<'_>) -> String {
        let mut formats = self.0.borrow_mut();
        if formats.len() >= MAX_FORMATS {
            formats.clear();
        }
        let formatter = match formats.get(format) {
            Some(formatter) => formatter.clone(),
            None => {
                let formatter = Formatter::compile(format, missing).ok().map(Rc::new);
                formats.insert(format.to_owned(), formatter.clone());
                formatter
            }
        };
        drop(formats);
        formatter.map_or_else(String::new, |f| f.format(cx))
    }
}

impl WorkerContext {
    pub(super) fn new(shared: Arc<Shared>, upstreams: Rc<Upstreams>, snapshot: Arc<Snapshot>, seed: u64) -> Rc<Self> {
        Rc::new(Self {
            stats: shared.stats.clone(),
            sinks: shared.sinks.clone(),
            secrets: shared.secrets.clone(),
            istio: shared.istio.as_ref().map(IstioMetrics::local),
            upstreams,
            snapshot: RefCell::new(snapshot),
            random: RefCell::new(Rng::new(seed)),
            headers: Formats::default(),
            texts: Formats::default(),
            shared,
        })
    }

    /// The configuration in force.
    pub(crate) fn snapshot(&self) -> Ref<'_, Arc<Snapshot>> {
        self.snapshot.borrow()
    }

    pub(super) fn set_snapshot(&self, snapshot: Arc<Snapshot>) {
        *self.snapshot.borrow_mut() = snapshot;
    }

    /// 64 random bits; not for secrets.
    pub(crate) fn random(&self) -> u64 {
        self.random.borrow_mut().next_u64()
    }

    /// The access logs of a configuration. One that cannot be opened is reported and left out.
    pub(crate) fn access_logs(&self, configs: &[AccessLogConfig]) -> Vec<Arc<AccessLog>> {
        let open = |config: &AccessLogConfig| match AccessLog::new(config, &self.sinks) {
            Ok(log) => Some(Arc::new(log)),
            Err(e) => {
                tracing::error!(error = %e, "access log is off");
                None
            }
        };
        configs.iter().filter_map(open).collect()
    }

    /// Routes given in place, compiled once for all workers.
    pub(crate) fn compiled_routes(&self, table: &Arc<RouteTable>) -> Arc<Routes> {
        self.shared.compiled_routes(table)
    }

    /// A header value with command operators; empty if the format cannot be compiled (it was checked before).
    pub(crate) fn format_header(&self, format: &str, cx: &LogContext<'_>) -> String {
        self.headers.format(format, Missing::Empty, cx)
    }

    /// As [`format_header`](Self::format_header), with a dash for what is missing, as logs have it.
    pub(crate) fn format_text(&self, format: &str, cx: &LogContext<'_>) -> String {
        self.texts.format(format, Missing::Dash, cx)
    }
}
