//! A running `mesh control-plane`, and questions to it.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;

use crate::{
    peer,
    process::{self, Answer, Process},
    wait,
};

/// A control plane with a configuration folder of its own; killed when dropped.
#[derive(Debug)]
pub struct ControlPlane {
    process: Process,
    folder: tempfile::TempDir,
    /// xDS and certificate service.
    pub listen: SocketAddr,
    /// Metrics and debug pages.
    pub admin: SocketAddr,
}

impl ControlPlane {
    /// Starts one with files of configuration, and waits until it is up.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let dir = folder.path();
        fs::create_dir(dir.join("config")).expect("a folder can be made");
        for (name, content) in files {
            fs::write(dir.join("config").join(name), content).expect("the configuration can be written");
        }
        let addresses = dir.join("addresses.json");
        let mut command = Command::new(peer::mesh());
        command.args(["control-plane", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"]);
        command.arg(dir.join("config")).arg("--state").arg(dir.join("state")).arg("--addresses-path").arg(&addresses);
        let mut process = Process::start(&mut command, &dir.join("log"));
        let facts: Value = wait::until("the control plane is up", Duration::from_secs(20), || {
            assert!(process.ended().is_none(), "{}", process.output());
            serde_json::from_str(&fs::read_to_string(&addresses).ok()?).ok()
        });
        let address = |name: &str| facts[name].as_str().and_then(|a| a.parse().ok()).expect("an address");
        let (listen, admin) = (address("listen"), address("admin"));
        Self { process, folder, listen, admin }
    }

    /// The folder of everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the certificate authority.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The roots, in a file.
    ///
    /// # Panics
    /// If they cannot be had.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        let path = self.folder.path().join("roots.pem");
        fs::write(&path, mesh(&["ca", "root", "--state"], &self.state())).expect("the roots can be written");
        path
    }

    /// Writes a file of configuration.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn configure(&self, name: &str, content: &str) {
        fs::write(self.folder.path().join("config").join(name), content).expect("the configuration can be written");
    }

    /// What the admin port answers.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        process::get(self.admin, "admin", path, &[]).unwrap_or_else(|e| panic!("{path}: {e}\n{}", self.log()))
    }

    /// Every counter and gauge, by name with labels.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        let lines = self.get("/metrics").body;
        lines
            .lines()
            .filter_map(|l| l.rsplit_once(' '))
            .filter_map(|(n, v)| Some((n.into(), v.parse().ok()?)))
            .collect()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }
}

/// A token of the authority in `state` for a service account of the namespace `default`.
///
/// # Panics
/// If it cannot be had.
#[must_use]
pub fn token(state: &Path, account: &str) -> String {
    mesh(&["ca", "token", "--service-account", account, "--state"], state).trim().to_owned()
}

/// What `mesh ARGS PATH` prints.
fn mesh(args: &[&str], path: &Path) -> String {
    let out = Command::new(peer::mesh()).args(args).arg(path).output().expect("mesh runs");
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}
