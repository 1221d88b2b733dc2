//! An Envoy that follows files of resources, and says of each version whether it takes it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use mesh_xds_api::{any::Any, envoy::service::discovery::v3::DiscoveryResponse};
use prost::Message as _;

use crate::{
    peer,
    process::{self, Process},
    wait,
};

const LIMIT: Duration = Duration::from_secs(10);

/// A file of resources that Envoy follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// The file, without its ending.
    pub file: &'static str,
    /// How the names of its counters begin.
    pub stats: &'static str,
}

/// Envoy, with a folder of files; killed when dropped.
#[derive(Debug)]
pub struct FileEnvoy {
    process: Process,
    folder: tempfile::TempDir,
    admin: SocketAddr,
}

impl FileEnvoy {
    /// Starts Envoy over files in `folder` that hold `resources`, and waits for its word on each. It follows `cds` and
    /// `lds` by itself, the others by what they say.
    ///
    /// # Panics
    /// If it does not come up, or refuses one of them.
    #[must_use]
    pub fn start(resources: &[(Followed, Vec<Any>)], folder: tempfile::TempDir) -> Self {
        let dir = folder.path().to_owned();
        for (followed, resources) in resources {
            write(&path(&dir, *followed), resources);
        }
        let source = |name: &str| {
            let path = dir.join(format!("{name}.pb"));
            serde_json::json!({"resource_api_version": "V3", "path_config_source": {"path": path}})
        };
        let bootstrap = serde_json::json!({
            "node": {"id": "files", "cluster": "files"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "dynamic_resources": {"cds_config": source("cds"), "lds_config": source("lds")},
        });
        fs::write(dir.join("bootstrap.json"), bootstrap.to_string()).expect("the folder can be written");
        let admin = dir.join("admin");
        let mut command = Command::new(peer::envoy());
        command.arg("-c").arg(dir.join("bootstrap.json")).arg("--admin-address-path").arg(&admin);
        command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
        let mut process = Process::start(&mut command, &dir.join("log"));
        let admin = wait::until("Envoy is up", Duration::from_secs(30), || {
            assert!(process.ended().is_none(), "{}", process.output());
            fs::read_to_string(&admin).ok()?.trim().parse().ok()
        });
        let envoy = Self { process, folder, admin };
        for (followed, _) in resources {
            assert_eq!(envoy.settled(*followed, 0), (1, 0), "{}: {}", followed.file, envoy.process.output());
        }
        envoy
    }

    /// The path of a followed file.
    #[must_use]
    pub fn path(&self, followed: Followed) -> PathBuf {
        path(self.folder.path(), followed)
    }

    /// Offers another version. `Err` holds the reason for which Envoy refuses it.
    ///
    /// # Errors
    /// What Envoy says.
    ///
    /// # Panics
    /// If Envoy says nothing, or has ended.
    pub fn offer(&mut self, followed: Followed, resources: &[Any]) -> Result<(), String> {
        let (before, logged) = (self.attempts(followed), self.process.output().len());
        write(&self.path(followed), resources);
        let refused = self.settled(followed, before.0 + before.1).1 > before.1;
        assert!(self.process.ended().is_none(), "{}", self.process.output());
        if refused { Err(self.process.output()[logged..].to_owned()) } else { Ok(()) }
    }

    /// Versions taken and refused, once there were more than `before`.
    fn settled(&self, followed: Followed, before: u64) -> (u64, u64) {
        let end = Instant::now() + LIMIT;
        loop {
            let now = self.attempts(followed);
            if now.0 + now.1 > before {
                return now;
            }
            assert!(Instant::now() < end, "Envoy says nothing about {}\n{}", followed.file, self.process.output());
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn attempts(&self, followed: Followed) -> (u64, u64) {
        let path = format!("/stats?filter=^{}\\.update_", followed.stats.replace('.', "\\."));
        let stats = process::get(self.admin, "admin", &path, &[]).map(|a| a.body).unwrap_or_default();
        let count = |name: &str| -> u64 {
            let name = format!("{}.update_{name}: ", followed.stats);
            stats.lines().find_map(|l| l.strip_prefix(&name)?.parse().ok()).unwrap_or_default()
        };
        (count("success"), count("rejected") + count("failure"))
    }
}

fn path(folder: &Path, followed: Followed) -> PathBuf {
    folder.join(format!("{}.pb", followed.file))
}

/// Envoy looks at a file when another takes its place.
fn write(path: &Path, resources: &[Any]) {
    let response = DiscoveryResponse { resources: resources.to_vec(), ..Default::default() };
    let next = path.with_extension("next");
    fs::write(&next, response.encode_to_vec()).expect("the folder can be written");
    fs::rename(&next, path).expect("the folder can be written");
}
