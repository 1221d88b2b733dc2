//! A server under measurement: a process pinned to a core, and what `/proc` says of it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Clock ticks in a second, as `/proc` counts them on every Linux that Rust supports.
const TICKS: f64 = 100.0;
/// How long a server may take to start; one with 100 000 clusters makes them first.
const START: Duration = Duration::from_secs(60);

/// A running server; ended when dropped.
pub(crate) struct Server {
    child: Child,
    ads: u16,
    control: u16,
}

impl Server {
    /// Starts `binary` on the last core, as its only worker, and waits until it serves.
    pub(crate) async fn start(binary: &Path, clusters: usize, endpoints: usize) -> anyhow::Result<Self> {
        let (ads, control) = (free_port()?, free_port()?);
        let mut command = match last_core() {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        let flags = [("clusters", clusters), ("endpoints", endpoints), ("port", ads.into()), ("http", control.into())];
        for (flag, value) in flags {
            command.arg(format!("--{flag}")).arg(value.to_string());
        }
        command.env("GOMAXPROCS", "1").stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let server = Self { child, ads, control };
        for port in [ads, control] {
            server.wait_for(port).await?;
        }
        Ok(server)
    }

    async fn wait_for(&self, port: u16) -> anyhow::Result<()> {
        let end = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            anyhow::ensure!(Instant::now() < end, "port {port} did not open");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub(crate) fn ads(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ads).into()
    }

    /// `POST path` on the control port.
    pub(crate) async fn post(&self, path: &str) -> anyhow::Result<()> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.control)).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = http::Request::post(path).header("host", "localhost").body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        anyhow::ensure!(status.is_success(), "POST {path} was answered {status}");
        Ok(())
    }

    /// User and system time so far, of all threads, in milliseconds.
    pub(crate) fn cpu_ms(&self) -> anyhow::Result<f64> {
        match self.scheduler_ms() {
            Some(ms) => Ok(ms),
            None => self.ticks_ms(),
        }
    }

    /// To the nanosecond, where the kernel tells (`CONFIG_SCHED_DEBUG`).
    fn scheduler_ms(&self) -> Option<f64> {
        let mut sum = 0.0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()? {
            let sched = fs::read_to_string(task.ok()?.path().join("sched")).ok()?;
            let line = sched.lines().find(|l| l.starts_with("se.sum_exec_runtime"))?;
            sum += line.rsplit(':').next()?.trim().parse::<f64>().ok()?;
        }
        Some(sum)
    }

    /// Whether every thread waits for something to happen. One that is ready to run and gets no core does not.
    pub(crate) fn waits(&self) -> bool {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.child.id())) else { return true };
        let stats = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
        stats.into_iter().all(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('R')))
    }

    fn ticks_ms(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).context("the server has ended")?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).context("unreadable /proc stat");
        Ok((ticks(11)? + ticks(12)?) / TICKS * 1e3)
    }

    /// Resident memory.
    pub(crate) fn rss_mib(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).context("the server has ended")?;
        let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().split(' ').next()?.parse::<f64>().ok());
        Ok(kib.context("no VmRSS")? / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago: the servers must be told one before they start.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn last_core() -> Option<usize> {
    // Not `available_parallelism`: this process has pinned itself by now.
    let online = fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
    let last = online.trim().rsplit([',', '-']).next()?.parse().ok()?;
    (last > 0 && Path::new("/usr/bin/taskset").exists()).then_some(last)
}

/// Keeps this process on the first core, and lets it and its children open as many sockets as its hard limit
/// permits.
pub(crate) fn settle_down() {
    let pid = std::process::id().to_string();
    let run = |program: &str, args: &[&str]| {
        // Without these tools the figures are worse, and with many subscribers connecting fails and says so.
        let _ = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    };
    if last_core().is_some() {
        run("taskset", &["-cp", "0", &pid]);
    }
    if let Some(hard) = hard_limit() {
        run("prlimit", &["--pid", &pid, &format!("--nofile={hard}:{hard}")]);
    }
}

fn hard_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|l| l.strip_prefix("Max open files")?.split_whitespace().nth(1)?.parse().ok())
}

/// The peer, built by Go into `folder`.
pub(crate) fn build_peer(go: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/go-control-plane");
    let binary = std::path::absolute(folder.join("go-control-plane-server"))?;
    let how = "install Go 1.24 or newer (https://go.dev/dl) and put it on PATH, or set MESH_GO, or leave it out: --servers mesh";
    let status = Command::new(go).current_dir(&source).args(["build", "-o"]).arg(&binary).arg(".").status();
    let status = status.with_context(|| format!("cannot run {}: {how}", go.display()))?;
    anyhow::ensure!(status.success(), "go build in {} failed: it needs its modules; {how}", source.display());
    Ok(binary)
}
