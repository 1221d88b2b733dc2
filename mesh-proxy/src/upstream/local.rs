use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use http::Version;

use super::{
    HttpSender,
    pool::{HostPool, Protocol},
};
use crate::{
    balancer::{HostPicker, PickContext, PickError},
    cluster::{BreakerKind, BreakerPermit, ClusterHandle, Host, Outcome, Overflow},
    dial::{Alpn, ConnectError, OnBehalf, UpstreamConnInfo, UpstreamStream, dial},
    filter::ConnectionInfo,
    model::{ClusterKind, HttpProtocol},
};

/// Most original destinations that a worker remembers.
const MAX_ORIGINALS: usize = 4096;

/// A cluster as one worker uses it.
#[derive(Debug)]
pub(crate) struct LocalCluster {
    handle: Arc<ClusterHandle>,
    picker: RefCell<HostPicker>,
    seen: Cell<u64>,
    pools: RefCell<HashMap<PoolKey, Rc<HostPool>, BuildHasherDefault<IdHasher>>>,
    /// Pools of hosts that are told the client, by the client and its destination too.
    proxied: RefCell<HashMap<(PoolKey, SocketAddr, SocketAddr), Rc<HostPool>>>,
    originals: RefCell<HashMap<SocketAddr, Weak<Host>>>,
    /// Ids of the hosts, where a change of them closes connections.
    members: RefCell<Option<Vec<u64>>>,
    closed: Cell<bool>,
}

/// A host's id and the protocol, in one number.
type PoolKey = u64;

fn pool_key(host: &Host, protocol: Protocol) -> PoolKey {
    (host.state.id() << 2) | protocol as u64
}

/// Spreads ids, which are unique already.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// An admitted request; dropping it makes room in the circuit breakers.
#[derive(Debug)]
pub(crate) struct RequestPermit {
    _request: BreakerPermit,
    _retry: Option<BreakerPermit>,
}

impl LocalCluster {
    pub(super) fn new(handle: Arc<ClusterHandle>, seed: u64) -> Rc<Self> {
        let config = handle.config();
        let picker = HostPicker::new(config.lb.clone(), config.panic_threshold, config.locality_weighted, seed);
        let this = Self {
            picker: RefCell::new(picker),
            // Never a generation: the first pick takes the hosts over.
            seen: Cell::new(u64::MAX),
            pools: RefCell::default(),
            proxied: RefCell::default(),
            originals: RefCell::default(),
            members: RefCell::default(),
            closed: Cell::new(false),
            handle,
        };
        Rc::new(this)
    }

    /// The cluster that all workers share.
    pub(crate) fn handle(&self) -> &Arc<ClusterHandle> {
        &self.handle
    }

    /// A host for a request or connection.
    pub(crate) fn pick(&self, cx: &PickContext<'_>) -> Result<Arc<Host>, PickError> {
        let stats = self.handle.stats();
        let picked = if matches!(self.handle.config().kind, ClusterKind::OriginalDst { .. }) {
            self.original(cx)
        } else {
            self.refresh();
            self.picker.borrow_mut().pick(cx).map(|(host, panic)| {
                if panic {
                    stats.lb_healthy_panic.inc();
                }
                host.clone()
            })
        };
        if picked.is_err() {
            stats.upstream_cx_none_healthy.inc();
        }
        picked
    }

    fn original(&self, cx: &PickContext<'_>) -> Result<Arc<Host>, PickError> {
        let destination = cx.original_dst.ok_or(PickError::NoOriginalDestination)?;
        if let Some(host) = self.originals.borrow().get(&destination).and_then(Weak::upgrade) {
            return Ok(host);
        }
        let host = self.handle.original(destination).ok_or(PickError::NoHealthyHost)?;
        let mut originals = self.originals.borrow_mut();
        if originals.len() >= MAX_ORIGINALS {
            originals.retain(|_, host| host.strong_count() > 0);
        }
        originals.insert(destination, Arc::downgrade(&host));
        Ok(host)
    }

    /// Takes over hosts and their health if they changed. Connections to hosts that are gone are closed, free ones to
    /// ejected hosts too.
    fn refresh(&self) {
        let generation = self.handle.generation();
        if self.seen.replace(generation) == generation {
            return;
        }
        let hosts = self.handle.hosts();
        self.picker.borrow_mut().update(&hosts);
        let current: HashMap<u64, bool> = hosts.all().map(|host| (host.state.id(), host.state.is_ejected())).collect();
        if matches!(self.handle.config().kind, ClusterKind::OriginalDst { .. }) {
            return;
        }
        if self.handle.config().close_connections_on_set_change && self.members_changed(&current) {
            return self.close_pools();
        }
        let mut gone = Vec::new();
        let mut stays = |pool: &Rc<HostPool>| match current.get(&pool.host.state.id()) {
            Some(ejected) => {
                if *ejected {
                    pool.close_idle();
                }
                true
            }
            None => {
                gone.push(pool.clone());
                false
            }
        };
        self.pools.borrow_mut().retain(|_, pool| stays(pool));
        self.proxied.borrow_mut().retain(|_, pool| stays(pool));
        for pool in gone {
            pool.close();
        }
    }

    /// Whether hosts came or went since the last call; the first one sees no change.
    fn members_changed(&self, current: &HashMap<u64, bool>) -> bool {
        let mut members: Vec<u64> = current.keys().copied().collect();
        members.sort_unstable();
        let before = self.members.replace(Some(members));
        before.is_some() && before != *self.members.borrow()
    }

    /// Asks the circuit breakers for one more request; `retry` for one that is a retry.
    pub(crate) fn admit_request(&self, high: bool, retry: bool) -> Result<RequestPermit, Overflow> {
        let breakers = self.handle.breakers();
        let stats = self.handle.stats();
        let retry = match retry.then(|| breakers.try_take(high, BreakerKind::Retries)).transpose() {
            Ok(retry) => retry,
            Err(overflow) => {
                stats.upstream_rq_retry_overflow.inc();
                return Err(overflow);
            }
        };
        match breakers.try_take(high, BreakerKind::Requests) {
            Ok(request) => Ok(RequestPermit { _request: request, _retry: retry }),
            Err(overflow) => {
                stats.upstream_rq_pending_overflow.inc();
                Err(overflow)
            }
        }
    }

    /// A connection to `host` for one HTTP request: a free one of the pool, else one that is waited for. `downstream` is
    /// the client's version, for clusters that follow it. Cancel safe.
    pub(crate) async fn http(
        &self,
        host: &Arc<Host>,
        downstream: Option<Version>,
        high: bool,
    ) -> Result<HttpSender, ConnectError> {
        let pool = self.pool(host, self.protocol(host, downstream));
        match pool.checkout() {
            Some(sender) => Ok(sender),
            None => pool.wait(high).await,
        }
    }

    /// As [`http`](Self::http), for the client of `connection`: a host that is told who the client is gets connections
    /// that are that client's alone.
    pub(crate) async fn http_for(
        &self,
        connection: &ConnectionInfo,
        host: &Arc<Host>,
        downstream: Option<Version>,
        high: bool,
    ) -> Result<HttpSender, ConnectError> {
        if host.socket.of(self.handle.config()).proxy_header().is_none() {
            return self.http(host, downstream, high).await;
        }
        let pool = self.proxied_pool(host, self.protocol(host, downstream), OnBehalf::of(connection));
        match pool.checkout() {
            Some(sender) => Ok(sender),
            None => pool.wait(high).await,
        }
    }

    fn proxied_pool(&self, host: &Arc<Host>, protocol: Protocol, behalf: OnBehalf) -> Rc<HostPool> {
        let (client, destination) = behalf.addresses;
        let key = (pool_key(host, protocol), client, destination);
        if let Some(pool) = self.proxied.borrow().get(&key) {
            return pool.clone();
        }
        let pool = HostPool::new(self.handle.clone(), host.clone(), protocol, Some(Arc::new(behalf)));
        if self.closed.get() {
            pool.close();
        } else {
            self.proxied.borrow_mut().insert(key, pool.clone());
        }
        pool
    }

    fn protocol(&self, host: &Host, downstream: Option<Version>) -> Protocol {
        match self.handle.config().protocol {
            HttpProtocol::Http1 => Protocol::Http1,
            HttpProtocol::Http2 => Protocol::Http2,
            HttpProtocol::Downstream if downstream == Some(Version::HTTP_2) => Protocol::Http2,
            HttpProtocol::Downstream => Protocol::Http1,
            // Without TLS there is no ALPN.
            HttpProtocol::Auto if self.handle.tls(host.socket).is_none() => Protocol::Http1,
            HttpProtocol::Auto => Protocol::Auto,
        }
    }

    fn pool(&self, host: &Arc<Host>, protocol: Protocol) -> Rc<HostPool> {
        let key = pool_key(host, protocol);
        if let Some(pool) = self.pools.borrow().get(&key) {
            return pool.clone();
        }
        let pool = HostPool::new(self.handle.clone(), host.clone(), protocol, None);
        if self.closed.get() {
            // A request that outlived its cluster: its connection is not kept.
            pool.close();
        } else {
            self.pools.borrow_mut().insert(key, pool.clone());
        }
        pool
    }

    /// A connection to `host` of its own, for the client `behalf`. Counts as a request of the host while it is open.
    pub(crate) async fn tcp(
        &self,
        host: &Arc<Host>,
        behalf: Option<&OnBehalf>,
    ) -> Result<(UpstreamStream, UpstreamConnInfo), ConnectError> {
        let permit = match self.handle.breakers().try_take(false, BreakerKind::Connections) {
            Ok(permit) => permit,
            Err(overflow) => {
                self.handle.stats().upstream_cx_overflow.inc();
                return Err(overflow.into());
            }
        };
        let (mut stream, info) = dial(&self.handle, host, Alpn::None, permit, behalf).await?;
        stream.count_as_request();
        Ok((stream, info))
    }

    /// Tells how a request or connection ended: counts, and may eject the host. `random` is for the jitter of the
    /// ejection time.
    pub(crate) fn report(&self, host: &Arc<Host>, outcome: Outcome, random: u64) {
        if let Outcome::Status(status) = outcome {
            self.handle.stats().response(status);
        }
        // The clock is only needed where an ejection may follow.
        if self.handle.config().outlier.is_some() {
            self.handle.report(host, outcome, Instant::now(), random);
        } else {
            self.handle.count(host, outcome);
        }
    }

    /// Finishes what is under way and keeps nothing.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.close_pools();
    }

    fn close_pools(&self) {
        let pools: Vec<_> = self.pools.borrow_mut().drain().map(|(_, pool)| pool).collect();
        let proxied: Vec<_> = self.proxied.borrow_mut().drain().map(|(_, pool)| pool).collect();
        for pool in pools.into_iter().chain(proxied) {
            pool.close();
        }
    }

    /// Closes idle connections, forgets empty pools. Returns the idle timeout if there are pools with one.
    pub(super) fn sweep(&self, now: Instant) -> Option<Duration> {
        self.refresh();
        let pools: Vec<_> = self.pools.borrow().values().chain(self.proxied.borrow().values()).cloned().collect();
        let empty: Vec<_> = pools.into_iter().filter(|pool| pool.sweep(now)).collect();
        let stays = |pool: &Rc<HostPool>| !empty.iter().any(|e| Rc::ptr_eq(e, pool));
        let (mut pools, mut proxied) = (self.pools.borrow_mut(), self.proxied.borrow_mut());
        pools.retain(|_, pool| stays(pool));
        proxied.retain(|_, pool| stays(pool));
        let options = &self.handle.config().pool;
        let times = [Some(options.idle_timeout).filter(|t| !t.is_zero()), options.max_connection_duration];
        if pools.is_empty() && proxied.is_empty() { None } else { times.into_iter().flatten().min() }
    }
}
