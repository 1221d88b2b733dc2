//! Clients on other gRPC stacks that are told what to do line by line, such as `peers/foreign_client.py`.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::peer;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running client; killed when dropped.
#[derive(Debug)]
pub struct ForeignClient {
    child: Child,
    asks: ChildStdin,
    answers: mpsc::Receiver<String>,
}

impl ForeignClient {
    /// A client of `address` that trusts the roots in a PEM file.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(address: SocketAddr, roots: &Path) -> Self {
        let mut command = Command::new(peer::python());
        command.arg(peer::script("foreign_client.py")).arg(address.to_string()).arg(roots);
        // What the gRPC library itself has to say about connections that we break on purpose.
        command.env("GRPC_VERBOSITY", "NONE");
        Self::spawn(&mut command)
    }

    /// The client that `command` starts.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let asks = child.stdin.take().expect("a pipe");
        let (sender, answers) = mpsc::channel();
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        // Ends with the client's output.
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, asks, answers }
    }

    /// Does what the script's page lists, and gives its answer.
    ///
    /// # Panics
    /// If the client has ended, or takes longer than a minute.
    pub fn ask(&mut self, ask: &Value) -> Value {
        writeln!(self.asks, "{ask}").expect("the client reads");
        self.next(&ask.to_string())
    }

    /// The line that the client prints unasked: `what` is said if there is none.
    ///
    /// # Panics
    /// If the client has ended, or takes longer than a minute.
    pub fn next(&mut self, what: &str) -> Value {
        let line = self.answers.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{what}: no answer: {e}"));
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{what}: {e} in {line:?}"))
    }
}

impl Drop for ForeignClient {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
