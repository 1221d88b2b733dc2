//! The proxy under measurement: a process, and what `/proc` says of it.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::net::TcpStream;

/// Clock ticks in a second, as `/proc` counts them on every Linux that Rust supports.
const TICKS: f64 = 100.0;

/// A running proxy; ended when dropped.
pub(crate) struct Proxy(Child);

impl Proxy {
    /// Starts `binary ARGS CONFIG` (`ARGS` end with what announces the file), on the last core if `taskset` is there.
    pub(crate) fn start(binary: &Path, args: &[&str], config: &Path) -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut command = if cores > 1 && Path::new("/usr/bin/taskset").exists() {
            let mut command = Command::new("taskset");
            command.args(["-c", &(cores - 1).to_string()]).arg(binary);
            command
        } else {
            Command::new(binary)
        };
        command.args(args).arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().with_context(|| format!("cannot start {}", binary.display()))?))
    }

    /// User and system seconds so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).context("the proxy has ended")?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).context("unreadable /proc stat");
        Ok((ticks(11)? + ticks(12)?) / TICKS)
    }

    /// Resident memory.
    pub(crate) fn rss_mib(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).context("the proxy has ended")?;
        let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().split(' ').next()?.parse::<f64>().ok());
        Ok(kib.context("no VmRSS")? / 1024.0)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `port` accepts connections.
pub(crate) async fn wait_for(port: u16) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
        anyhow::ensure!(Instant::now() < end, "port {port} did not open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A port that was free a moment ago: both proxies must be told one before they start.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
