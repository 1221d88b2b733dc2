use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    IstioMetrics,
    labels::{Facts, Labels, Protocol},
};
use crate::{
    filter::{ResponseFlags, StreamInfo},
    model::{HeaderView, Metadata},
    route::is_grpc,
    stats::{Counter, Histogram},
};

/// Label sets remembered by a worker; beyond it everything is forgotten and looked up again.
const MAX_REMEMBERED: usize = 4096;

/// The metrics as one worker uses them: series are looked up when a set of labels is first seen, and remembered.
#[derive(Debug)]
pub struct LocalIstioMetrics {
    metrics: IstioMetrics,
    http: RefCell<HashMap<u64, (Key, Rc<HttpSeries>)>>,
    tcp: RefCell<HashMap<u64, (Key, Rc<TcpSeries>)>>,
}

#[derive(Debug)]
struct HttpSeries {
    requests: Counter,
    duration: Histogram,
    request_bytes: Histogram,
    response_bytes: Histogram,
}

#[derive(Debug)]
struct TcpSeries {
    opened: Counter,
    closed: Counter,
    sent: Counter,
    received: Counter,
}

impl LocalIstioMetrics {
    pub(super) fn new(metrics: IstioMetrics) -> Self {
        Self { metrics, http: RefCell::default(), tcp: RefCell::default() }
    }

    /// Records a request that is over. Does nothing for a listener without a traffic direction.
    pub fn record_http(&self, info: &StreamInfo, request: &HeaderView<'_>) {
        let Some(inbound) = info.connection.inbound else { return };
        let protocol = if is_grpc(request.headers) { Protocol::Grpc } else { Protocol::Http };
        let facts = Facts { info, inbound, host: without_port(request.authority), protocol };
        let series = lookup(&self.http, &facts, || self.http_series(&facts));
        series.requests.inc();
        if let Some(duration) = info.timings.duration() {
            series.duration.record_ms(duration);
        }
        series.request_bytes.record(info.bytes_received);
        series.response_bytes.record(info.bytes_sent);
    }

    /// Counts a connection that was opened.
    pub fn tcp_opened(&self, info: &StreamInfo) {
        if let Some(series) = self.tcp_series(info) {
            series.opened.inc();
        }
    }

    /// Counts bytes since the last call: `received` from the client, `sent` to it.
    pub fn tcp_bytes(&self, info: &StreamInfo, received: u64, sent: u64) {
        if let Some(series) = self.tcp_series(info) {
            series.received.add(received);
            series.sent.add(sent);
        }
    }

    /// Counts a connection that is over.
    pub fn tcp_closed(&self, info: &StreamInfo) {
        if let Some(series) = self.tcp_series(info) {
            series.closed.inc();
        }
    }

    fn labels(&self, facts: &Facts<'_>) -> Labels {
        self.metrics.admit(facts.labels(&self.metrics.0.facts))
    }

    fn http_series(&self, facts: &Facts<'_>) -> HttpSeries {
        let labels = self.labels(facts);
        let stats = &self.metrics.0.stats;
        HttpSeries {
            requests: stats.labelled_counter("istio_requests_total", labels.clone()),
            duration: stats.labelled_histogram("istio_request_duration_milliseconds", labels.clone()),
            request_bytes: stats.labelled_histogram("istio_request_bytes", labels.clone()),
            response_bytes: stats.labelled_histogram("istio_response_bytes", labels),
        }
    }

    fn tcp_series(&self, info: &StreamInfo) -> Option<Rc<TcpSeries>> {
        let inbound = info.connection.inbound?;
        let facts = Facts { info, inbound, host: "", protocol: Protocol::Tcp };
        Some(lookup(&self.tcp, &facts, || {
            let labels = self.labels(&facts);
            let counter = |family| self.metrics.0.stats.labelled_counter(family, labels.clone());
            TcpSeries {
                opened: counter("istio_tcp_connections_opened_total"),
                closed: counter("istio_tcp_connections_closed_total"),
                sent: counter("istio_tcp_sent_bytes_total"),
                received: counter("istio_tcp_received_bytes_total"),
            }
        }))
    }
}

fn lookup<S>(map: &RefCell<HashMap<u64, (Key, Rc<S>)>>, facts: &Facts<'_>, make: impl FnOnce() -> S) -> Rc<S> {
    let mut map = map.borrow_mut();
    let hash = Key::hash(facts);
    if let Some((key, series)) = map.get(&hash)
        && key.is_of(facts)
    {
        return series.clone();
    }
    if map.len() >= MAX_REMEMBERED {
        map.clear();
    }
    let series = Rc::new(make());
    map.insert(hash, (Key::new(facts), series.clone()));
    series
}

/// Everything that labels are made of. Metadata is compared by identity: it is kept here, so its address is not reused.
#[derive(Debug)]
struct Key {
    inbound: bool,
    protocol: Protocol,
    status: Option<u16>,
    grpc_status: Option<u16>,
    flags: ResponseFlags,
    mutual: bool,
    cluster: Option<Arc<str>>,
    cluster_metadata: Option<Metadata>,
    upstream_metadata: Option<Metadata>,
    principals: (String, String),
    host: String,
}

impl Key {
    fn new(facts: &Facts<'_>) -> Self {
        let (info, principals) = (facts.info, facts.principals());
        Self {
            inbound: facts.inbound,
            protocol: facts.protocol,
            status: info.status,
            grpc_status: info.grpc_status,
            flags: info.flags,
            mutual: facts.mutual(),
            cluster: info.cluster.clone(),
            cluster_metadata: info.cluster_metadata.clone(),
            upstream_metadata: info.upstream_metadata.clone(),
            principals: (principals.0.to_owned(), principals.1.to_owned()),
            host: facts.fallback_host().to_owned(),
        }
    }

    fn is_of(&self, facts: &Facts<'_>) -> bool {
        let (info, principals) = (facts.info, facts.principals());
        self.inbound == facts.inbound
            && self.protocol == facts.protocol
            && self.status == info.status
            && self.grpc_status == info.grpc_status
            && self.flags == info.flags
            && self.mutual == facts.mutual()
            && self.cluster == info.cluster
            && address(self.cluster_metadata.as_ref()) == address(info.cluster_metadata.as_ref())
            && address(self.upstream_metadata.as_ref()) == address(info.upstream_metadata.as_ref())
            && (self.principals.0.as_str(), self.principals.1.as_str()) == principals
            && self.host == facts.fallback_host()
    }

    fn hash(facts: &Facts<'_>) -> u64 {
        let info = facts.info;
        let (peer, own) = facts.principals();
        let mut hash = u64::from(info.status.unwrap_or(0)) << 32 | u64::from(info.grpc_status.unwrap_or(0)) << 8;
        hash ^= u64::from(facts.inbound) | u64::from(facts.mutual()) << 1;
        for text in [info.cluster.as_deref().unwrap_or_default(), peer, own, facts.fallback_host()] {
            hash = xxh3_64_with_seed(text.as_bytes(), hash);
        }
        let addresses = [address(info.cluster_metadata.as_ref()), address(info.upstream_metadata.as_ref())];
        for address in addresses {
            hash = xxh3_64_with_seed(&address.to_ne_bytes(), hash);
        }
        hash
    }
}

fn address(metadata: Option<&Metadata>) -> usize {
    metadata.map_or(0, |metadata| Arc::as_ptr(metadata).addr())
}

/// `host` of `host:port`; an IPv6 address keeps its brackets.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => authority,
    }
}
