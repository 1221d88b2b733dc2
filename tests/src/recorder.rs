//! An HTTP/1.1 server that keeps what it was sent, byte by byte, and reads it as strictly as the standard allows: a request
//! that a proxy wrote in a way that could be read otherwise shows as [`Recorded::malformed`].

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nrecorded\n";

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Request line.
    pub line: String,
    /// Header lines in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body, without its framing.
    pub body: Vec<u8>,
    /// Why it is no proper request.
    pub malformed: Option<String>,
}

/// The server. Its threads end with their connections.
#[derive(Debug, Clone)]
pub struct Recorder {
    /// Where it listens.
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Recorded>>>,
}

impl Recorder {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let recorder = Self { address, requests };
        let serving = recorder.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(stream));
            }
        });
        recorder
    }

    /// The requests so far.
    ///
    /// # Panics
    /// If a thread of it has panicked.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.requests.lock().expect("nobody panics with it").clone()
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        while let Some(request) = read(&mut stream, &mut bytes) {
            let malformed = request.malformed.is_some();
            self.requests.lock().expect("nobody panics with it").push(request);
            if malformed || stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    }
}

/// The next request; `None` if the connection ends before one is complete.
fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Recorded> {
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        more(stream, bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    bytes.drain(..end + 4);
    let mut request = parse_head(&head);
    if request.malformed.is_some() {
        return Some(request);
    }
    let value = |name: &str| -> Vec<String> {
        request.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect()
    };
    let (lengths, codings) = (value("content-length"), value("transfer-encoding"));
    match (&*lengths, &*codings) {
        ([], []) => {}
        ([length], []) => match length.parse() {
            Ok(length) => request.body = take(stream, bytes, length)?,
            Err(_) => request.malformed = Some(format!("content-length {length:?}")),
        },
        ([], [coding]) if coding == "chunked" => match chunked(stream, bytes)? {
            Ok(body) => request.body = body,
            Err(why) => request.malformed = Some(why),
        },
        _ => request.malformed = Some(format!("framing {lengths:?} {codings:?}")),
    }
    Some(request)
}

fn parse_head(head: &str) -> Recorded {
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let mut malformed = (line.split(' ').count() != 3).then(|| "request line".to_owned());
    let mut headers = Vec::new();
    for text in lines {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let token =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !token || text.bytes().any(|b| b < b' ' && b != b'\t' || b == 0x7f) {
            malformed = Some(format!("header line {text:?}"));
        }
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if line.bytes().any(|b| b < b' ') {
        malformed = Some("request line".to_owned());
    }
    Recorded { line, headers, body: Vec::new(), malformed }
}

fn chunked(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Result<Vec<u8>, String>> {
    let mut body = Vec::new();
    loop {
        let line = crlf_line(stream, bytes)?;
        let Ok(size) = usize::from_str_radix(&line, 16) else { return Some(Err(format!("chunk size {line:?}"))) };
        if size == 0 {
            while !crlf_line(stream, bytes)?.is_empty() {}
            return Some(Ok(body));
        }
        body.extend(take(stream, bytes, size)?);
        if take(stream, bytes, 2)? != b"\r\n" {
            return Some(Err("chunk end".to_owned()));
        }
    }
}

fn crlf_line(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(at) = bytes.windows(2).position(|w| w == b"\r\n") {
            let line = bytes.drain(..at + 2).collect::<Vec<_>>();
            return Some(String::from_utf8_lossy(&line[..at]).into_owned());
        }
        more(stream, bytes)?;
    }
}

fn take(stream: &mut TcpStream, bytes: &mut Vec<u8>, n: usize) -> Option<Vec<u8>> {
    while bytes.len() < n {
        more(stream, bytes)?;
    }
    Some(bytes.drain(..n).collect())
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 4096];
    let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
    bytes.extend_from_slice(&buffer[..n]);
    Some(())
}
