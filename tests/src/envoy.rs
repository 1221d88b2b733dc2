//! A running Envoy that gets everything by xDS, and questions to it.

use std::{fs, net::SocketAddr, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::{
    peer,
    process::{self, Process},
    wait,
    xds::Transport,
};

/// How long Envoy may take to be up on a busy machine.
const UP: Duration = Duration::from_secs(30);

/// How Envoy is to be started.
#[derive(Debug, Clone)]
pub struct EnvoyConfig {
    /// Node id.
    pub node: String,
    /// The management server.
    pub xds: SocketAddr,
    /// How it asks there.
    pub transport: Transport,
}

/// A running Envoy; killed when dropped.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    node: String,
    admin: SocketAddr,
    _folder: tempfile::TempDir,
}

impl EnvoyConfig {
    /// A bootstrap file with nothing of its own but the management server, and a layer of runtime from it.
    #[must_use]
    pub fn bootstrap(&self) -> Value {
        let source = self.transport.source();
        let mut dynamic = json!({ "cds_config": source, "lds_config": source });
        if let Some(ads) = self.transport.ads_config() {
            dynamic["ads_config"] = ads;
        }
        json!({
            "node": { "id": self.node, "cluster": "tests" },
            "admin": { "address": socket_address(SocketAddr::from(([127, 0, 0, 1], 0))) },
            "dynamic_resources": dynamic,
            "layered_runtime": { "layers": [
                { "name": "rtds", "rtds_layer": { "name": "runtime", "rtds_config": source } },
            ] },
            "static_resources": { "clusters": [{
                "name": "xds",
                "type": "STATIC",
                "connect_timeout": "1s",
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": { "http2_protocol_options": {} },
                    },
                },
                "load_assignment": { "cluster_name": "xds", "endpoints": [{ "lb_endpoints": [
                    { "endpoint": { "address": socket_address(self.xds) } },
                ] }] },
            }] },
        })
    }

    /// Starts Envoy, and waits until its admin port answers.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(&self) -> Envoy {
        Envoy::start(&self.node, &self.bootstrap())
    }
}

impl Envoy {
    /// Starts Envoy with a bootstrap file, and waits until its admin port answers.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(node: &str, bootstrap: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (config, admin) = (folder.path().join("envoy.json"), folder.path().join("admin"));
        fs::write(&config, bootstrap.to_string()).expect("the bootstrap file can be written");
        let mut command = Command::new(peer::envoy());
        command.arg("-c").arg(&config).arg("--admin-address-path").arg(&admin);
        command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
        // A connection of an outdated listener is told with its next response, and ended after this time.
        command.args(["--drain-strategy", "immediate", "--drain-time-s", "2"]);
        let mut process = Process::start(&mut command, &folder.path().join("log"));
        let admin = wait::until("Envoy's admin port is open", UP, || {
            assert!(process.ended().is_none(), "Envoy ended: {}", process.output());
            fs::read_to_string(&admin).ok()?.trim().parse().ok()
        });
        Self { process, node: node.to_owned(), admin, _folder: folder }
    }

    /// Node id.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What the admin port answers, as JSON.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn admin(&self, path: &str) -> Value {
        let answer = process::get(self.admin, "admin", path, &[]);
        answer.unwrap_or_else(|e| panic!("{path}: {e}\n{}", self.log())).json()
    }

    /// A counter or gauge; 0 if it was never touched.
    #[must_use]
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.admin(&format!("/stats?format=json&filter=^{}$", name.replace('.', "\\.")));
        let found = stats["stats"].as_array().into_iter().flatten().find(|s| s["name"] == name);
        found.and_then(|s| s["value"].as_u64()).unwrap_or(0)
    }

    /// Every counter that ends with `suffix` and is not 0.
    #[must_use]
    pub fn stats_ending(&self, suffix: &str) -> Vec<(String, u64)> {
        let stats = self.admin(&format!("/stats?format=json&usedonly&filter={}$", suffix.replace('.', "\\.")));
        let pair = |s: &Value| Some((s["name"].as_str()?.to_owned(), s["value"].as_u64()?));
        stats["stats"].as_array().into_iter().flatten().filter_map(pair).filter(|(_, value)| *value > 0).collect()
    }

    /// The entries of a list of the configuration dump, such as `dynamic_active_clusters`. Empty if there is none.
    #[must_use]
    pub fn dump(&self, list: &str) -> Vec<Value> {
        self.admin(&format!("/config_dump?resource={list}"))["configs"].as_array().cloned().unwrap_or_default()
    }

    /// The names in a list of the configuration dump, sorted.
    #[must_use]
    pub fn names(&self, list: &str) -> Vec<String> {
        let name = |entry: &Value| {
            let inner = ["cluster", "route_config", "active_state", "endpoint_config", "ecds_filter"];
            let inner = inner.iter().map(|k| &entry[*k]).find(|v| !v.is_null()).unwrap_or(entry);
            let own = [&entry["name"], &inner["name"], &inner["cluster_name"]];
            own.into_iter().find_map(Value::as_str).map(str::to_owned)
        };
        let mut names: Vec<String> = self.dump(list).iter().filter_map(name).collect();
        names.sort();
        names
    }

    /// Where a listener that was configured with port 0 listens, if it does.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<SocketAddr> {
        let listeners = self.admin("/listeners?format=json");
        let mut all = listeners["listener_statuses"].as_array()?.iter();
        let address = &all.find(|l| l["name"] == name)?["local_address"]["socket_address"];
        let port = u16::try_from(address["port_value"].as_u64()?).ok()?;
        Some(SocketAddr::new(address["address"].as_str()?.parse().ok()?, port))
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }
}

/// Envoy's form of an address.
#[must_use]
pub fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}
