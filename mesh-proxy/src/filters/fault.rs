//! Faults on purpose. Source: `envoy/extensions/filters/http/fault/v3/fault.proto`.

pub(super) mod parse;

use std::{any::Any, fmt, sync::Arc, time::Duration};

use ::http::{HeaderMap, StatusCode};
use mesh_xds_api::any::Any as ProtoAny;

use crate::{
    filter::{
        FactoryError, FilterContext, Flow, HttpFilter, HttpFilterFactory, HttpStream, LocalReply, Outcome,
        ResponseFlags,
    },
    model::{HeaderMatcher, RuntimeFraction},
    stats::{Counter, Gauge, GaugeHold},
};

/// Where the filter's chance comes from.
pub trait Chance: Send + Sync + 'static {
    /// A number, all values equally likely. Called by workers at the same time; must not block.
    fn random(&self) -> u64;
}

/// Chance from the thread's random generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomChance;

impl Chance for RandomChance {
    fn random(&self) -> u64 {
        rand::random()
    }
}

/// Makes the HTTP filter `envoy.filters.http.fault`.
///
/// A request that the conditions admit is delayed, aborted, or both, each for its share of requests. Where the
/// configuration says so (`header_delay`, `header_abort`), clients choose by `x-envoy-fault-delay-request` (milliseconds),
/// `x-envoy-fault-abort-request` (status) and `x-envoy-fault-abort-grpc-request`, and lower the share with
/// `x-envoy-fault-delay-request-percentage` and `x-envoy-fault-abort-request-percentage`. A route's own configuration
/// replaces the filter's, but for the limit of active faults, which is the most specific one counted over the whole filter.
///
/// Statistics: `http.PREFIX.fault.delays_injected`, `aborts_injected`, `faults_overflow`, `active_faults`.
#[derive(Clone)]
pub struct Fault(Arc<dyn Chance>);

impl Fault {
    /// With this chance.
    pub fn new(chance: impl Chance) -> Self {
        Self(Arc::new(chance))
    }
}

impl Default for Fault {
    fn default() -> Self {
        Self::new(RandomChance)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fault")
    }
}

impl HttpFilterFactory for Fault {
    fn type_urls(&self) -> &[&'static str] {
        &["type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"]
    }

    fn filter(&self, config: &ProtoAny, context: &FilterContext<'_>) -> Result<Arc<dyn HttpFilter>, FactoryError> {
        let name = |name: &str| format!("{}fault.{name}", context.stat_prefix);
        Ok(Arc::new(FaultFilter {
            config: parse::config(config)?,
            chance: self.0.clone(),
            counters: Counters {
                delays: context.stats.counter(&name("delays_injected")),
                aborts: context.stats.counter(&name("aborts_injected")),
                overflow: context.stats.counter(&name("faults_overflow")),
                active: context.stats.gauge(&name("active_faults")),
            },
        }))
    }

    fn route_config(&self, config: &ProtoAny) -> Result<Arc<dyn Any + Send + Sync>, FactoryError> {
        Ok(Arc::new(parse::config(config)?))
    }
}

#[derive(Debug)]
struct Config {
    delay: Option<(Delay, RuntimeFraction)>,
    abort: Option<(Abort, RuntimeFraction)>,
    /// Only requests to this cluster; empty = to any.
    upstream_cluster: String,
    headers: Vec<HeaderMatcher>,
    /// Only requests from these nodes (`x-envoy-downstream-service-node`); empty = from any.
    downstream_nodes: Vec<String>,
    max_active: Option<u64>,
}

#[derive(Debug)]
enum Delay {
    Fixed(Duration),
    Header,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Abort {
    Http(StatusCode),
    Grpc(u16),
    Header,
}

#[derive(Clone, Debug)]
struct Counters {
    delays: Counter,
    aborts: Counter,
    overflow: Counter,
    active: Gauge,
}

struct FaultFilter {
    config: Config,
    chance: Arc<dyn Chance>,
    counters: Counters,
}

/// Kept in the stream while a fault is in force.
struct Active(#[allow(dead_code)] GaugeHold); // held for its drop

impl HttpFilter for FaultFilter {
    fn on_request(&self, stream: &mut HttpStream<'_>) -> Flow {
        let config = stream.route_config::<Config>().unwrap_or(&self.config);
        if (config.delay.is_none() && config.abort.is_none()) || !config.admits(stream) {
            return Flow::Continue;
        }
        let headers = &stream.request.headers;
        let delay = config.delay(headers).filter(|(_, share)| self.strikes(*share)).map(|(delay, _)| delay);
        let abort = config.abort(headers).filter(|(_, share)| self.strikes(*share)).map(|(abort, _)| abort);
        if delay.is_none() && abort.is_none() {
            return Flow::Continue;
        }
        if config.max_active.is_some_and(|max| self.counters.active.value() >= max) {
            self.counters.overflow.inc();
            return Flow::Continue;
        }
        *stream.state = Some(Box::new(Active(self.counters.active.hold())));
        let reply = abort.map(reply);
        match (delay, reply) {
            (Some(delay), reply) => self.wait(stream, delay, reply),
            (None, Some(reply)) => {
                self.counters.aborts.inc();
                Flow::Respond(Box::new(reply))
            }
            (None, None) => Flow::Continue,
        }
    }
}

impl FaultFilter {
    fn wait(&self, stream: &mut HttpStream<'_>, delay: Duration, reply: Option<LocalReply>) -> Flow {
        self.counters.delays.inc();
        stream.info.flags.insert(ResponseFlags::DELAY_INJECTED);
        let aborts = self.counters.aborts.clone();
        let active = stream.state.take();
        Flow::Wait(Box::pin(async move {
            tokio::time::sleep(delay).await;
            match reply {
                Some(reply) => {
                    aborts.inc();
                    Outcome::Respond(Box::new(reply))
                }
                None => {
                    drop(active);
                    Outcome::Continue
                }
            }
        }))
    }

    fn strikes(&self, share: RuntimeFraction) -> bool {
        share.numerator > 0
            && self
                .chance
                .random()
                .checked_rem(u64::from(share.denominator))
                .is_some_and(|n| n < u64::from(share.numerator))
    }
}

impl Config {
    fn admits(&self, stream: &HttpStream<'_>) -> bool {
        if !self.upstream_cluster.is_empty() && stream.info.cluster.as_deref() != Some(self.upstream_cluster.as_str()) {
            return false;
        }
        let view = stream.header_view();
        if !self.headers.iter().all(|matcher| matcher.matches(&view)) {
            return false;
        }
        let node = text(view.headers, "x-envoy-downstream-service-node");
        self.downstream_nodes.is_empty() || node.is_some_and(|node| self.downstream_nodes.iter().any(|n| n == node))
    }

    fn delay(&self, headers: &HeaderMap) -> Option<(Duration, RuntimeFraction)> {
        let (delay, share) = self.delay.as_ref()?;
        match delay {
            Delay::Fixed(delay) => Some((*delay, *share)),
            Delay::Header => {
                let millis = number(headers, "x-envoy-fault-delay-request")?;
                Some((
                    Duration::from_millis(millis),
                    lowered(*share, headers, "x-envoy-fault-delay-request-percentage"),
                ))
            }
        }
    }

    fn abort(&self, headers: &HeaderMap) -> Option<(Abort, RuntimeFraction)> {
        let (abort, share) = self.abort.as_ref()?;
        if *abort != Abort::Header {
            return Some((*abort, *share));
        }
        let share = lowered(*share, headers, "x-envoy-fault-abort-request-percentage");
        if let Some(status) = number(headers, "x-envoy-fault-abort-request") {
            let status = u16::try_from(status).ok().filter(|status| (200..600).contains(status))?;
            return Some((Abort::Http(StatusCode::from_u16(status).ok()?), share));
        }
        let code = number(headers, "x-envoy-fault-abort-grpc-request")?;
        Some((Abort::Grpc(u16::try_from(code).ok()?), share))
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

/// The share a client asks for, which may only be lower than the configured one.
fn lowered(share: RuntimeFraction, headers: &HeaderMap, name: &str) -> RuntimeFraction {
    let asked = number(headers, name).and_then(|n| u32::try_from(n).ok()).unwrap_or(share.numerator);
    RuntimeFraction { numerator: share.numerator.min(asked), ..share }
}

fn reply(abort: Abort) -> LocalReply {
    let (status, grpc) = match abort {
        Abort::Http(status) => (status, None),
        Abort::Grpc(code) => (StatusCode::OK, Some(code)),
        // Resolved into one of the others before.
        Abort::Header => (StatusCode::SERVICE_UNAVAILABLE, None),
    };
    let mut reply = LocalReply::new(status, "fault_filter_abort", "fault filter abort");
    reply.grpc_status = grpc;
    reply.with_flags(ResponseFlags::FAULT_INJECTED)
}

#[cfg(test)]
mod tests;
