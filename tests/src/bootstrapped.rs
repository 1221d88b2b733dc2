//! An Envoy with a bootstrap file of the test's own.

use std::{fs, net::SocketAddr, process::Command, time::Duration};

use serde_json::Value;

use crate::{
    peer,
    process::{self, Process},
    wait,
};

/// How long Envoy may take to be up on a busy machine.
const UP: Duration = Duration::from_secs(30);

/// A running Envoy; killed when dropped.
#[derive(Debug)]
pub struct Bootstrapped {
    process: Process,
    admin: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Bootstrapped {
    /// Starts Envoy and waits until its admin port, which the bootstrap file must open, answers.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(bootstrap: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (config, admin) = (folder.path().join("envoy.json"), folder.path().join("admin"));
        fs::write(&config, bootstrap.to_string()).expect("the bootstrap file can be written");
        let mut command = Command::new(peer::envoy());
        command.arg("-c").arg(&config).arg("--admin-address-path").arg(&admin);
        command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
        let mut process = Process::start(&mut command, &folder.path().join("log"));
        let admin = wait::until("Envoy's admin port is open", UP, || {
            assert!(process.ended().is_none(), "Envoy ended: {}", process.output());
            fs::read_to_string(&admin).ok()?.trim().parse().ok()
        });
        Self { process, admin, _folder: folder }
    }

    /// What the admin port answers, as JSON.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn admin(&self, path: &str) -> Value {
        let answer = process::get(self.admin, "admin", path, &[]);
        answer.unwrap_or_else(|e| panic!("{path}: {e}\n{}", self.process.output())).json()
    }

    /// A counter or gauge; 0 if it was never touched.
    #[must_use]
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.admin(&format!("/stats?format=json&filter=^{}$", name.replace('.', "\\.")));
        let found = stats["stats"].as_array().into_iter().flatten().find(|s| s["name"] == name);
        found.and_then(|s| s["value"].as_u64()).unwrap_or(0)
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
    serde_json::json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}
