//! A running example of mesh-xds that is told what to do on its standard input.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use serde_json::Value;

use crate::peer;

/// Longer than an example takes for a line of output that should come.
const LIMIT: Duration = Duration::from_secs(20);

/// A running example; killed when dropped.
#[derive(Debug)]
pub struct Example {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Example {
    /// Starts an example whose first argument is the address to listen at, and waits until it does.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn start(name: &str, more: &[&str]) -> Self {
        let mut command = Command::new(peer::example(name));
        command.arg("127.0.0.1:0").args(more).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let (input, output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut example = Self { child, input, lines, address: ([0, 0, 0, 0], 0).into() };
        let line = example.line("listening on ");
        example.address = line.trim_start_matches("listening on ").parse().expect("an address");
        example
    }

    /// Tells it something.
    ///
    /// # Panics
    /// If it has ended.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the example reads");
    }

    /// The next line of its output that contains `text`.
    ///
    /// # Panics
    /// If none comes.
    pub fn line(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(LIMIT).unwrap_or_else(|e| panic!("no line with {text:?}: {e}"));
            if line.contains(text) {
                return line;
            }
        }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The source text of an example of mesh-xds.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn source(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mesh-xds/examples");
    fs::read_to_string(folder.join(name).with_extension("rs")).expect("the example is there")
}

/// The YAML in the header of an example.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn yaml(name: &str) -> Value {
    let source = source(name);
    let header =
        source.lines().map_while(|line| line.strip_prefix("//!")).map(|line| line.strip_prefix(' ').unwrap_or(line));
    let mut block = header.skip_while(|line| *line != "```yaml").skip(1).take_while(|line| *line != "```").peekable();
    assert!(block.peek().is_some(), "{name} has no YAML in its header");
    let text: String = block.flat_map(|line| [line, "\n"]).collect();
    mesh_xds_api::json::value_from_yaml(&text).unwrap_or_else(|e| panic!("{e} in {text}"))
}
