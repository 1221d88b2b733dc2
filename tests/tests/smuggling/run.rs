//! Sending cases, and what became of them.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use mesh_tests::recorder::{Recorded, Recorder};

/// How long a connection may be quiet before its answer is taken for complete.
const QUIET: Duration = Duration::from_millis(1200);

/// Headers that a proxy makes.
const MADE: &[&str] = &["x-request-id", "x-forwarded-proto", "x-envoy-expected-rq-timeout-ms", "x-envoy-internal"];

/// Bytes for one connection. Their paths begin with `/NAME/`.
#[derive(Debug)]
pub(crate) struct Case {
    /// Its name, also in its paths.
    pub(crate) name: &'static str,
    /// What is sent.
    pub(crate) bytes: Vec<u8>,
    /// Requests that may arrive.
    pub(crate) at_most: usize,
    /// It is HTTP/2.
    pub(crate) http2: bool,
}

/// What became of a case.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Statuses of the answers. Of HTTP/2: 0 for a stream that was reset.
    pub(crate) statuses: Vec<u16>,
    /// The connection was closed.
    pub(crate) closed: bool,
    /// What arrived, without headers that a proxy makes.
    pub(crate) requests: Vec<Recorded>,
}

impl Outcome {
    /// What must be the same for both.
    ///
    /// How HTTP/2 refuses is its implementation's choice: 400, a reset, or the end of the connection (RFC 9113, 8.1.1).
    pub(crate) fn summary(&self, case: &Case) -> String {
        if case.http2 && self.requests.is_empty() && self.statuses.iter().all(|s| matches!(s, 0 | 400)) {
            return "refused".to_owned();
        }
        let mut text = format!("{:?}{}", self.statuses, if self.closed { " closed" } else { "" });
        for r in &self.requests {
            let body = String::from_utf8_lossy(&r.body);
            text.push_str(&format!("\n         {} {:?} body {body:?}", r.line, r.headers));
        }
        text
    }
}

/// Sends all cases side by side.
pub(crate) fn all(proxy: SocketAddr, recorder: &Recorder, cases: &[Case]) -> Vec<Outcome> {
    let answers: Vec<_> = thread::scope(|scope| {
        let sent: Vec<_> = cases.iter().map(|case| scope.spawn(move || send(proxy, case))).collect();
        sent.into_iter().map(|thread| thread.join().expect("a client does not panic")).collect()
    });
    let mut requests = recorder.requests();
    let mut outcomes = Vec::new();
    for (case, (bytes, closed)) in cases.iter().zip(answers) {
        let mark = format!("/{}/", case.name);
        let (mine, others) = requests.into_iter().partition(|r| r.line.contains(&mark));
        requests = others;
        let statuses = if case.http2 { super::h2::statuses(&bytes) } else { statuses(&bytes) };
        outcomes.push(Outcome { statuses, closed, requests: clean(mine) });
    }
    assert_eq!(requests, [], "requests that belong to no case");
    outcomes
}

fn clean(mut requests: Vec<Recorded>) -> Vec<Recorded> {
    for request in &mut requests {
        request.headers.retain(|(name, _)| !MADE.contains(&name.as_str()));
        request.headers.sort();
    }
    requests
}

fn send(proxy: SocketAddr, case: &Case) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(proxy).expect("the proxy listens");
    stream.set_read_timeout(Some(QUIET)).expect("a timeout can be set");
    // The proxy may have closed the connection before it has all.
    let _ = stream.write_all(&case.bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 16384];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (answer, true),
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return (answer, true),
            Err(_) => return (answer, false),
        }
    }
}

fn statuses(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    let mut found: Vec<u16> = Vec::new();
    for part in text.split("HTTP/1.").skip(1) {
        found.extend(part.get(2..5).and_then(|code| code.parse::<u16>().ok()));
    }
    // 100 Continue comes or does not, as the body is wanted or there already.
    found.retain(|status| *status != 100);
    found
}
