//! The administration interface, as Envoy's: <https://www.envoyproxy.io/docs/envoy/latest/operations/admin>.
//!
//! | path | what it gives |
//! |---|---|
//! | `/ready` | 200 `LIVE`, or 503 and the state |
//! | `/server_info` | version, state, uptime, node |
//! | `/stats`, `/stats?format=json`, `/stats/prometheus` | statistics; `usedonly`, `filter=REGEX`, `type=KIND` |
//! | `/config_dump` | configuration in force, warming and refused; `resource=FIELD`, `name_regex=REGEX`, `include_eds` |
//! | `/clusters`, `/listeners` | what runs now; `format=json` |
//! | `/certs` | certificates and when they end |
//! | `POST /logging?level=LEVEL` | log level |
//! | `POST /drain_listeners`, `POST /quitquitquit`, `POST /reopen_logs` | drain, end, open log files again |
//!
//! What changes something wants `POST`; `GET` gets 405. There is no authentication, so the address should be one that only
//! this machine reaches. What is shown comes from an [`AdminState`]. Private keys are shown as `[redacted]`.

mod certs;
mod clusters;
mod dump;
mod handler;
mod listeners;
mod redact;
mod server;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub use dump::{ConfigDump, ResourceDump, ResourceError, ResourceVersion, TypeDump};
pub use listeners::ListenerStatus;
use mesh_xds_api::envoy::config::core::v3::Node;
use serde_json::Value;
pub use server::Admin;

use crate::{cluster::ClusterHandle, model::Secret};

/// What the administration interface shows, and what it can set off.
///
/// Methods are called on the control thread for each request and must not block. They give what is there at that time;
/// nothing is kept between calls.
pub trait AdminState: Send + Sync + 'static {
    /// Where the proxy is in its life.
    fn server_state(&self) -> ServerState;

    /// Every resource, as it came.
    fn config(&self) -> ConfigDump;

    /// Clusters in force.
    fn clusters(&self) -> Vec<ClusterStatus>;

    /// Listeners in force, with the addresses they are bound to.
    fn listeners(&self) -> Vec<ListenerStatus>;

    /// Certificates and roots in force.
    fn secrets(&self) -> Vec<Arc<Secret>>;

    /// Begins to drain listeners.
    fn drain_listeners(&self, request: DrainRequest);

    /// Ends the process, gracefully.
    fn quit(&self);

    /// Opens log files again under their names.
    fn reopen_logs(&self);

    /// Sets the log level, or only tells it.
    ///
    /// # Errors
    /// Why the level cannot be set. The default: there is no handle to the log of this process.
    fn log_level(&self, level: Option<&str>) -> Result<String, String> {
        let _ = level;
        Err("the log level of this process is fixed: it was started without a handle to change it".to_owned())
    }
}

/// Where a proxy is in its life (`envoy.admin.v3.ServerInfo.State`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Serving.
    Live,
    /// Shutting down.
    Draining,
    /// Waiting for clusters.
    PreInitializing,
    /// Waiting for listeners.
    Initializing,
}

impl ServerState {
    /// Envoy's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ServerState::Live => "LIVE",
            ServerState::Draining => "DRAINING",
            ServerState::PreInitializing => "PRE_INITIALIZING",
            ServerState::Initializing => "INITIALIZING",
        }
    }
}

/// A cluster to show.
#[derive(Clone, Debug)]
pub struct ClusterStatus {
    /// The cluster.
    pub handle: Arc<ClusterHandle>,
    /// It came by CDS.
    pub added_via_api: bool,
}

/// What `/drain_listeners` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainRequest {
    /// Listeners stop only when the drain time is over (`graceful`).
    pub graceful: bool,
    /// Listeners do not close after draining (`skip_exit`).
    pub skip_exit: bool,
    /// Only inbound listeners (`inboundonly`).
    pub inbound_only: bool,
}

/// Facts for `/server_info` that do not change.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// Version text, such as `mesh-proxy/0.1.0`.
    pub version: String,
    /// When the proxy started.
    pub started: Instant,
    /// Workers.
    pub concurrency: usize,
    /// Time listeners have to drain.
    pub drain_time: Duration,
    /// The node.
    pub node: Node,
}

impl ServerInfo {
    fn json(&self, state: ServerState, now: Instant) -> Value {
        let uptime = format!("{}s", now.saturating_duration_since(self.started).as_secs());
        serde_json::json!({
            "version": self.version,
            "state": state.as_str(),
            "uptime_current_epoch": uptime,
            "uptime_all_epochs": uptime,
            "hot_restart_version": "disabled",
            "command_line_options": {
                "concurrency": self.concurrency,
                "drain_time": format!("{}s", self.drain_time.as_secs()),
                "mode": "Serve",
                "disable_hot_restart": true,
            },
            "node": mesh_xds_api::json::to_value(&self.node),
        })
    }
}

#[cfg(test)]
mod tests;
