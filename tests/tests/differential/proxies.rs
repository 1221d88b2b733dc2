//! mesh and Envoy, started with the same file.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use mesh_tests::{
    peer,
    process::{self, Process},
    wait,
};

/// How long a proxy may take to be up on a busy machine.
const UP: Duration = Duration::from_secs(30);
/// How long the last lines of a log may take.
const LOGGED: Duration = Duration::from_secs(5);

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Mesh,
    Envoy,
}

impl Side {
    pub(crate) const BOTH: [Side; 2] = [Side::Mesh, Side::Envoy];

    pub(crate) fn letter(self) -> char {
        match self {
            Side::Mesh => 'm',
            Side::Envoy => 'e',
        }
    }
}

/// Both, running; killed when dropped.
pub(crate) struct Proxies {
    running: [Running; 2],
    _folder: tempfile::TempDir,
}

struct Running {
    process: Process,
    listeners: [SocketAddr; 2],
}

impl Proxies {
    pub(crate) fn start(yaml: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("bootstrap.yaml");
        fs::write(&file, yaml).expect("the bootstrap file can be written");
        let mut mesh = Command::new(peer::mesh());
        mesh.args(["proxy", "--concurrency", "1", "-c"]).arg(&file);
        let mut envoy = Command::new(peer::envoy());
        envoy.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
        envoy.args(["--file-flush-interval-msec", "50", "-c"]).arg(&file);
        let running = [Running::start("mesh", mesh, folder.path()), Running::start("envoy", envoy, folder.path())];
        Self { running, _folder: folder }
    }

    /// Where the listeners of one proxy are.
    pub(crate) fn addresses(&self, side: Side) -> [SocketAddr; 2] {
        self.running[side as usize].listeners
    }

    /// Log lines by the name of the request; waits until there are `expected`, or for some seconds.
    pub(crate) fn log(&self, side: Side, expected: usize) -> HashMap<String, Log> {
        let end = Instant::now() + LOGGED;
        loop {
            let output = self.running[side as usize].process.output();
            let lines: HashMap<_, _> = output.lines().filter_map(Log::parse).collect();
            if lines.len() >= expected || Instant::now() > end {
                return lines;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Running {
    fn start(name: &str, mut command: Command, folder: &Path) -> Self {
        let admin_file = folder.join(format!("{name}.admin"));
        command.arg("--admin-address-path").arg(&admin_file);
        let mut process = Process::start(&mut command, &folder.join(format!("{name}.log")));
        let listeners = wait::until(&format!("{name} listens"), UP, || {
            assert!(process.ended().is_none(), "{name} ended: {}", process.output());
            let admin: SocketAddr = fs::read_to_string(&admin_file).ok()?.trim().parse().ok()?;
            let ready = process::get(admin, "admin", "/ready", &[]).ok()?;
            let listeners = process::get(admin, "admin", "/listeners", &[]).ok()?;
            let listener = |name| listeners.body.lines().find_map(|l| l.strip_prefix(name)?.parse().ok());
            Some([listener("front::")?, listener("other::")?]).filter(|_| ready.status == 200)
        });
        Self { process, listeners }
    }
}

/// The fields of a log line, as `bootstrap.yaml` has them.
#[derive(Clone, Debug)]
pub(crate) struct Log(Vec<String>);

/// Names of the fields.
pub(crate) const FIELDS: [&str; 9] =
    ["code", "flags", "details", "route", "cluster", "host", "attempts", "received", "sent"];

impl Log {
    fn parse(line: &str) -> Option<(String, Self)> {
        let mut fields = line.strip_prefix("LOG\t")?.split('\t').map(str::to_owned);
        let name = fields.next()?;
        Some((name, Self(fields.collect())))
    }

    /// Name and value.
    pub(crate) fn fields(self) -> Vec<(&'static str, String)> {
        FIELDS.into_iter().zip(self.0).collect()
    }
}
