//! `mesh proxy` and Envoy, started from the same bootstrap.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    envoy::socket_address,
    peer,
    process::{self, Process},
    wait,
};

/// Whose data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `mesh proxy`.
    Mesh,
    /// Envoy.
    Envoy,
}

/// A running data plane with one worker; killed when dropped.
#[derive(Debug)]
pub struct DataPlane {
    process: Process,
    admin: SocketAddr,
    _folder: tempfile::TempDir,
}

impl DataPlane {
    /// Starts it, and waits until its admin port answers.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(kind: Kind, bootstrap: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (config, admin) = (folder.path().join("bootstrap.json"), folder.path().join("admin"));
        fs::write(&config, bootstrap.to_string()).expect("the bootstrap file can be written");
        let mut command = match kind {
            Kind::Mesh => {
                let mut command = Command::new(peer::mesh());
                command.arg("proxy");
                command
            }
            Kind::Envoy => {
                let mut command = Command::new(peer::envoy());
                command.args(["--disable-hot-restart", "--log-level", "warning"]);
                command
            }
        };
        command.args(["--concurrency", "1", "-c"]).arg(&config).arg("--admin-address-path").arg(&admin);
        let mut process = Process::start(&mut command, &folder.path().join("log"));
        let admin = wait::until("the admin port is open", Duration::from_secs(30), || {
            assert!(process.ended().is_none(), "{kind:?} ended: {}", process.output());
            fs::read_to_string(&admin).ok()?.trim().parse().ok()
        });
        Self { process, admin, _folder: folder }
    }

    /// Where the listener is bound.
    ///
    /// # Panics
    /// If it is not within some seconds.
    #[must_use]
    pub fn listener(&self, name: &str) -> SocketAddr {
        wait::until(&format!("listener {name}"), Duration::from_secs(10), || {
            let listeners = process::get(self.admin, "admin", "/listeners?format=json", &[]).ok()?.json();
            let mut all = listeners["listener_statuses"].as_array()?.iter();
            let address = &all.find(|l| l["name"] == name)?["local_address"]["socket_address"];
            let port = u16::try_from(address["port_value"].as_u64()?).ok().filter(|port| *port > 0)?;
            Some((Ipv4Addr::LOCALHOST, port).into())
        })
    }

    /// A counter or gauge; 0 if it was never touched.
    #[must_use]
    pub fn stat(&self, name: &str) -> u64 {
        let path = format!("/stats?filter=^{}$", name.replace('.', "\\."));
        let stats = process::get(self.admin, "admin", &path, &[]).map(|a| a.body).unwrap_or_default();
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok();
        stats.lines().find_map(value).unwrap_or(0)
    }

    /// Resident memory in KiB.
    ///
    /// # Panics
    /// If the process is gone.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }
}

/// A bootstrap with a listener `l` whose connection manager forwards everything to `upstream`. `edit` changes the manager.
#[must_use]
pub fn forwarding(upstream: SocketAddr, edit: impl FnOnce(&mut Value)) -> Value {
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "t",
        "route_config": { "virtual_hosts": [{
            "name": "v", "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "c", "timeout": "10s" } }],
        }] },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
        }],
    });
    edit(&mut manager);
    json!({
        "admin": { "address": socket_address((Ipv4Addr::LOCALHOST, 0).into()) },
        "static_resources": {
            "listeners": [{
                "name": "l",
                "address": socket_address((Ipv4Addr::LOCALHOST, 0).into()),
                "filter_chains": [{ "filters": [{
                    "name": "envoy.filters.network.http_connection_manager", "typed_config": manager,
                }] }],
            }],
            "clusters": [{
                "name": "c", "type": "STATIC", "connect_timeout": "2s",
                "load_assignment": { "cluster_name": "c", "endpoints": [{ "lb_endpoints": [
                    { "endpoint": { "address": socket_address(upstream) } },
                ] }] },
            }],
        },
    })
}
