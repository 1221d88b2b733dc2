//! A client of gRPC's own, in its process. What it can be asked is in `peers/grpc_core.py`.

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use mesh_tests::{client::ForeignClient, peer, wait};
use serde_json::{Value, json};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The method that backends answer with their name.
pub(crate) const WHO: &str = "/echo.Echo/Who";

/// gRPC's implementations of xDS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Implementation {
    /// The C core, in Python.
    Core,
    /// JavaScript.
    Node,
    /// Go.
    Go,
}

/// A running process with xDS.
pub(crate) struct Grpc {
    implementation: Implementation,
    process: ForeignClient,
    /// Port of its CSDS.
    pub(crate) csds: u16,
}

/// How calls ended.
#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct Calls {
    /// By the name that the backend answered.
    pub(crate) answers: BTreeMap<String, u32>,
    /// By code and message.
    pub(crate) errors: BTreeMap<String, u32>,
}

impl Implementation {
    fn command(self) -> Command {
        match self {
            Self::Core => {
                let mut command = Command::new(peer::python());
                command.arg(peer::script("grpc_core.py"));
                command
            }
            Self::Node => {
                let mut command = Command::new("node");
                command.arg(peer::script("grpc_node.js")).env("NODE_PATH", peer::node_modules());
                command
            }
            Self::Go => Command::new(peer::grpc_go()),
        }
    }

    /// Starts a process with the bootstrap of a file.
    pub(crate) fn start(self, bootstrap: &Path) -> Grpc {
        let mut command = self.command();
        // What the library itself has to say about connections that are broken on purpose.
        command.env("GRPC_VERBOSITY", "NONE").env("GRPC_GO_LOG_SEVERITY_LEVEL", "none");
        let mut process = ForeignClient::spawn(command.env("GRPC_XDS_BOOTSTRAP", bootstrap));
        let csds = process.next("its port")["csds"].as_u64().and_then(|p| p.try_into().ok()).expect("a port");
        Grpc { implementation: self, process, csds }
    }
}

impl Grpc {
    /// Opens the channel of this name.
    pub(crate) fn open(&mut self, channel: &str, target: &str) {
        self.process.ask(&json!({"do": "open", "channel": channel, "target": target}));
    }

    /// Calls on a channel.
    pub(crate) fn calls(&mut self, channel: &str, count: u32) -> Calls {
        self.ask(&json!({"channel": channel, "method": WHO, "count": count, "seconds": 20}))
    }

    /// A call of a method with headers: the name answered, or the error.
    pub(crate) fn call(&mut self, channel: &str, method: &str, headers: &Value) -> Result<String, String> {
        let ask = json!({"channel": channel, "method": method, "headers": headers, "seconds": 20});
        let mut calls = self.ask(&ask);
        calls.answers.pop_first().map(|(name, _)| name).ok_or_else(|| calls.errors.pop_first().expect("one call").0)
    }

    fn ask(&mut self, ask: &Value) -> Calls {
        let mut ask = ask.clone();
        ask["do"] = "call".into();
        serde_json::from_value(self.process.ask(&ask)).expect("counts")
    }

    /// Waits until calls on a channel are answered by `names`, by each of them and by nobody else.
    pub(crate) fn reaches(&mut self, channel: &str, names: &[&str]) {
        let mut last = Calls::default();
        let mut check = || {
            last = self.calls(channel, 4 * names.len() as u32);
            (last.errors.is_empty() && last.answers.keys().eq(names)).then_some(())
        };
        let end = std::time::Instant::now() + PATIENCE;
        while check().is_none() {
            assert!(std::time::Instant::now() < end, "{channel} reaches {names:?}: not in time; last {last:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a call on a channel fails, and gives the error.
    pub(crate) fn fails(&mut self, channel: &str) -> String {
        wait::until(&format!("{channel} fails"), PATIENCE, || self.call(channel, WHO, &json!({})).err())
    }

    /// Calls on a channel from now on, one after another.
    pub(crate) fn flow(&mut self, channel: &str) {
        self.process.ask(&json!({"do": "flow", "channel": channel, "method": WHO}));
    }

    /// Ends [`Grpc::flow`].
    pub(crate) fn stop(&mut self) -> Calls {
        let mut calls: Calls = serde_json::from_value(self.process.ask(&json!({"do": "stop"}))).expect("counts");
        if self.implementation == Implementation::Go {
            // grpc-go 1.84 takes new routes into use before the picker that knows their cluster. A cluster that the server
            // removed too early would have another message.
            calls.errors.retain(|error, _| !error.starts_with("UNAVAILABLE: unknown cluster selected for RPC"));
        }
        calls
    }

    /// Starts an xDS-enabled server that answers `name`, and gives its address.
    pub(crate) fn serve(&mut self, name: &str) -> String {
        let answer = self.process.ask(&json!({"do": "serve", "name": name}));
        answer["address"].as_str().expect("an address").to_owned()
    }
}

impl Calls {
    /// There were some, and all were answered.
    pub(crate) fn assert_unbroken(&self) {
        assert!(self.errors.is_empty() && !self.answers.is_empty(), "{self:?}");
    }
}
