//! A running `mesh demo`, and questions to it.

use std::{
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

/// How long a demo may take to be up, in a debug build on a busy machine.
const UP: Duration = Duration::from_secs(90);

/// A running demo; killed when dropped.
#[derive(Debug)]
pub struct Demo {
    process: Process,
    folder: tempfile::TempDir,
    facts: Value,
}

impl Demo {
    /// Starts `mesh demo ARGS` and waits until traffic flows.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let log = folder.path().join("demo.log");
        let mut command = Command::new(peer::mesh());
        command.args(["demo", "--output", "json", "--dir"]).arg(folder.path()).args(args);
        let mut process = Process::start(&mut command, &log);
        let path = folder.path().join("demo.json");
        let facts = wait::until("the demo is up", UP, || {
            if let Some(status) = process.ended() {
                panic!("the demo ended with {status}: {}\n{}", process.output(), logs(folder.path()));
            }
            serde_json::from_str(&fs::read_to_string(&path).ok()?).ok()
        });
        Self { process, folder, facts }
    }

    /// The folder of configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// The folder of everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces a file of the configuration folder, as an editor does: a new file, renamed over the old one.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, content: &str) {
        let path = self.config().join(name);
        let temporary = self.config().join(format!(".{name}.swp"));
        fs::write(&temporary, content)
            .and_then(|()| fs::rename(&temporary, &path))
            .expect("the configuration can be written");
    }

    /// A file of the configuration folder.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.config().join(name)).expect("the configuration can be read")
    }

    /// An address from `demo.json`: of `workload`, in `role` (`outbound`, `admin`, `status`, `app`).
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn address(&self, workload: &str, role: &str) -> SocketAddr {
        let text = self.facts["workloads"][workload][role].as_str();
        text.and_then(|t| t.parse().ok()).unwrap_or_else(|| panic!("no {role} of {workload} in {}", self.facts))
    }

    /// Starts a gateway (a sidecar of type router with Istio's ingress label) beside the demo, and gives its address.
    ///
    /// # Panics
    /// If it is not ready in time.
    #[must_use]
    pub fn gateway(&self) -> (Process, std::net::IpAddr) {
        // The demo's own workloads are 127.N.1.11 and up.
        let std::net::IpAddr::V4(any) = self.address("traffic-v1", "admin").ip() else { panic!("the demo is on IPv4") };
        let [a, b, c, _] = any.octets();
        let ip = std::net::IpAddr::from([a, b, c, 200]);
        let dir = self.folder();
        let token = Command::new(peer::mesh())
            .args(["ca", "token", "--service-account", "gateway", "--state"])
            .arg(dir.join("state"))
            .output();
        fs::write(dir.join("tokens/gateway"), token.expect("mesh runs").stdout).expect("the token can be written");
        let mut command = Command::new(peer::mesh());
        command.args([
            "sidecar",
            "--router",
            "--name",
            "gateway-1",
            "--service-account",
            "gateway",
            "--labels",
            "istio=ingressgateway",
        ]);
        command.args([
            "--ip",
            &ip.to_string(),
            "--control-plane",
            self.facts["control_plane"].as_str().expect("an address"),
        ]);
        command.args([
            "--admin",
            &SocketAddr::new(ip, 15000).to_string(),
            "--status",
            &SocketAddr::new(ip, 15021).to_string(),
        ]);
        command.arg("--root-cert").arg(dir.join("root-cert.pem")).arg("--token").arg(dir.join("tokens/gateway"));
        let gateway = Process::start(command.arg("--state").arg(dir.join("gateway")), &dir.join("log/gateway.log"));
        wait::until("the gateway is ready", Duration::from_secs(20), || {
            process::get((ip, 15021).into(), "status", "/healthz/ready", &[]).ok().filter(|a| a.status == 200)
        });
        (gateway, ip)
    }

    /// The control plane's admin address.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn control_plane_admin(&self) -> SocketAddr {
        self.facts["control_plane_admin"]
            .as_str()
            .and_then(|t| t.parse().ok())
            .expect("demo.json names the admin address")
    }

    /// Process id of `control-plane` or a workload's sidecar, as it was at the start.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn process_id(&self, name: &str) -> u64 {
        self.facts["processes"][name].as_u64().unwrap_or_else(|| panic!("no process {name} in {}", self.facts))
    }

    /// What `workload`'s application gets when it calls `service`.
    ///
    /// # Panics
    /// If there is no answer at all.
    #[must_use]
    pub fn call(&self, workload: &str, service: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        process::get(self.address(workload, "outbound"), &format!("{service}:9080"), path, headers)
            .unwrap_or_else(|e| panic!("{workload} calls {service}: {e}\n{}", logs(self.folder.path())))
    }

    /// Which version of `reviews` answers `productpage`, `None` if none does.
    #[must_use]
    pub fn reviews_version(&self, headers: &[(&str, &str)]) -> Option<String> {
        let answer = self.call("productpage-v1", "reviews", "/reviews/0", headers);
        if answer.status != 200 { None } else { answer.json()["version"].as_str().map(str::to_owned) }
    }

    /// The control plane's findings.
    #[must_use]
    pub fn findings(&self) -> Vec<Value> {
        process::get(self.control_plane_admin(), "admin", "/debug/configz", &[])
            .ok()
            .and_then(|a| a.json()["diagnostics"].as_array().cloned())
            .unwrap_or_default()
    }

    /// Waits for the end of a demo with `--duration`, and gives its summary and exit code.
    ///
    /// # Panics
    /// If it does not end, or prints no summary.
    #[must_use]
    pub fn finish(mut self, limit: Duration) -> (Value, i32) {
        let status = self.process.wait(limit);
        let output = self.process.output();
        let start = output.find("\n{").map_or(0, |at| at + 1);
        let summary = serde_json::from_str(&output[start..]);
        let summary =
            summary.unwrap_or_else(|e| panic!("no summary ({e}), {status}: {output}\n{}", logs(self.folder.path())));
        (summary, status.code().unwrap_or(-1))
    }

    /// Ends of all logs, for messages.
    #[must_use]
    pub fn logs(&self) -> String {
        logs(self.folder.path())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if self.process.ended().is_none() {
            // Asked to end, it ends its own processes too.
            self.process.signal("TERM");
            let end = std::time::Instant::now() + Duration::from_secs(30);
            while self.process.ended().is_none() && std::time::Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn logs(folder: &Path) -> String {
    let mut out = String::new();
    for entry in fs::read_dir(folder.join("log")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(15)..];
        out.push_str(&format!("--- {}\n{}\n", entry.file_name().to_string_lossy(), tail.join("\n")));
    }
    out
}
