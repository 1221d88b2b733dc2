//! How many connections filter chains may have (`envoy.filters.network.connection_limit`). Source:
//! `envoy/extensions/filters/network/connection_limit/v3/connection_limit.proto`.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use mesh_xds_api::{
    any::Any as ProtoAny, envoy::extensions::filters::network::connection_limit::v3::ConnectionLimit as ProtoLimit,
};

use super::proto::{VALUES, at, refuse, unpack};
use crate::{
    config::{Audit, value},
    filter::{ConnectionInfo, FactoryError, FilterContext, NetworkFilter, NetworkFilterFactory, NetworkFlow},
    stats::{Counter, Gauge},
    supported,
};

supported! {
    /// Connection limits.
    static LIMITS =
    envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit {
        carried: stat_prefix, max_connections, delay, runtime_enabled;
    }
    envoy.config.core.v3.RuntimeFeatureFlag {
        carried: default_value;
        irrelevant: runtime_key = "there is no runtime that could set it: the default holds";
    }
}
pub(super) static AUDIT: Audit = Audit::new(&[LIMITS, VALUES]);

/// Makes the network filter `envoy.filters.network.connection_limit`.
///
/// A connection beyond `max_connections` is closed, after `delay` if one is set: a client that comes back at once is held
/// up that long. The connections of one filter chain count over all workers; those that were refused do not count.
/// Statistics: `connection_limit.PREFIX.active_connections` and `limited_connections`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionLimit;

impl NetworkFilterFactory for ConnectionLimit {
    fn type_urls(&self) -> &[&'static str] {
        &["type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit"]
    }

    fn filter(&self, config: &ProtoAny, context: &FilterContext<'_>) -> Result<Arc<dyn NetworkFilter>, FactoryError> {
        let config: ProtoLimit = unpack(config, &AUDIT)?;
        if config.stat_prefix.is_empty() {
            return Ok(refuse("stat_prefix", "is required")?);
        }
        let Some(max @ 1..) = config.max_connections else {
            return Ok(refuse("max_connections", "must be greater than zero")?);
        };
        let delay = config.delay.as_ref().map(value::duration).transpose();
        let prefix = format!("connection_limit.{}.", config.stat_prefix);
        Ok(Arc::new(Limit {
            enabled: config.runtime_enabled.and_then(|flag| flag.default_value).unwrap_or(true),
            max,
            delay: at(delay, "delay")?.unwrap_or_default(),
            open: Arc::default(),
            active: context.stats.gauge(&format!("{prefix}active_connections")),
            limited: context.stats.counter(&format!("{prefix}limited_connections")),
        }))
    }
}

struct Limit {
    enabled: bool,
    max: u64,
    delay: Duration,
    open: Arc<AtomicU64>,
    active: Gauge,
    limited: Counter,
}

/// One connection that counts.
struct Counted {
    open: Arc<AtomicU64>,
    active: Gauge,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
        self.active.dec();
    }
}

impl NetworkFilter for Limit {
    fn on_connection(&self, _: &ConnectionInfo) -> NetworkFlow {
        if !self.enabled {
            return NetworkFlow::Continue;
        }
        let room = self.open.fetch_update(Relaxed, Relaxed, |open| (open < self.max).then_some(open + 1));
        if room.is_ok() {
            self.active.inc();
            let counted: Box<dyn Any> = Box::new(Counted { open: self.open.clone(), active: self.active.clone() });
            return NetworkFlow::Hold(counted);
        }
        self.limited.inc();
        if self.delay.is_zero() {
            return NetworkFlow::Close("connection_limit".into());
        }
        let pause = tokio::time::sleep(self.delay);
        NetworkFlow::Wait(Box::pin(async move {
            pause.await;
            false
        }))
    }
}

#[cfg(test)]
mod tests {
    use mesh_xds_api::json;
    use serde_json::json;

    use super::*;
    use crate::{access_log::tests::connection, stats::Stats};

    fn filter(stats: &Stats, mut config: serde_json::Value) -> Result<Arc<dyn NetworkFilter>, FactoryError> {
        config["@type"] = ConnectionLimit.type_urls()[0].into();
        let config = json::any_from_value(&config).unwrap();
        ConnectionLimit.filter(&config, &FilterContext { stats, stat_prefix: "" })
    }

    #[tokio::test]
    async fn refuses_what_is_too_much_and_lets_it_wait() {
        let stats = Stats::default();
        let limit = filter(&stats, json!({"stat_prefix": "s", "max_connections": 1, "delay": "0.020s"})).unwrap();
        let NetworkFlow::Hold(first) = limit.on_connection(&connection()) else { panic!("admitted") };
        let NetworkFlow::Wait(refused) = limit.on_connection(&connection()) else { panic!("held up") };
        let start = std::time::Instant::now();
        assert!(!refused.await);
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert_eq!(stats.counter("connection_limit.s.limited_connections").value(), 1);
        assert_eq!(stats.gauge("connection_limit.s.active_connections").value(), 1);
        drop(first);
        assert_eq!(stats.gauge("connection_limit.s.active_connections").value(), 0);
        assert!(matches!(limit.on_connection(&connection()), NetworkFlow::Hold(_)));
    }

    #[test]
    fn without_delay_it_closes_and_it_can_be_off() {
        let stats = Stats::default();
        let config = json!({"stat_prefix": "s", "max_connections": 1});
        let limit = filter(&stats, config.clone()).unwrap();
        let _first = limit.on_connection(&connection());
        assert!(matches!(limit.on_connection(&connection()), NetworkFlow::Close(_)));
        let mut off = config;
        off["runtime_enabled"] = json!({"default_value": false, "runtime_key": "k"});
        let off = filter(&stats, off).unwrap();
        assert!((0..3).all(|_| matches!(off.on_connection(&connection()), NetworkFlow::Continue)));
    }

    #[test]
    fn what_is_refused() {
        let stats = Stats::default();
        for (config, path) in [
            (json!({"max_connections": 1}), "stat_prefix"),
            (json!({"stat_prefix": "s"}), "max_connections"),
            (json!({"stat_prefix": "s", "max_connections": 0}), "max_connections"),
            (json!({"stat_prefix": "s", "max_connections": 1, "delay": "-1s"}), "delay"),
        ] {
            assert_eq!(filter(&stats, config.clone()).err().unwrap().path, path, "{config}");
        }
    }
}
