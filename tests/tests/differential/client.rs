//! A client that sends what is asked for, odd or not, and keeps its connections.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Uri};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    case::{Case, NAME, Payload},
    outcome::Outcome,
    proxies::Side,
};

/// Longer than any answer takes.
const LIMIT: Duration = Duration::from_secs(10);

/// Connections to one proxy.
pub(crate) struct Client {
    side: Side,
    listeners: [Connections; 2],
}

/// Connections to one listener.
struct Connections {
    address: SocketAddr,
    http1: Option<Http1>,
    http2: Option<h2::client::SendRequest<Bytes>>,
}

type Answer = Result<Outcome, Box<dyn std::error::Error + Send + Sync>>;

impl Client {
    pub(crate) fn new(side: Side, listeners: [SocketAddr; 2]) -> Self {
        Self { side, listeners: listeners.map(|address| Connections { address, http1: None, http2: None }) }
    }

    /// The answer; `status` 0 and a word about it if there is none.
    pub(crate) async fn send(&mut self, case: &Case) -> Outcome {
        let name = case.name(self.side);
        let connections = &mut self.listeners[case.listener as usize];
        let answer = async {
            if case.http2 {
                connections.send_http2(case, &name).await
            } else {
                connections.send_http1(case, &name).await
            }
        };
        match tokio::time::timeout(LIMIT, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => {
                connections.close();
                Outcome::failed(&reset_reason(&*error))
            }
            Err(_) => {
                connections.close();
                Outcome::failed("no answer in time")
            }
        }
    }
}

impl Connections {
    fn close(&mut self) {
        (self.http1, self.http2) = (None, None);
    }

    async fn send_http1(&mut self, case: &Case, name: &str) -> Answer {
        let mut connection = match self.http1.take() {
            Some(connection) => connection,
            None => Http1 { stream: TcpStream::connect(self.address).await?, bytes: Vec::new(), used: false },
        };
        let used = std::mem::replace(&mut connection.used, true);
        let sent = connection.stream.write_all(&http1_bytes(case, name)).await;
        let answer = match sent {
            Ok(()) => connection.read(&case.method).await,
            Err(error) => Err(error.into()),
        };
        match answer {
            Ok((outcome, keep)) => {
                self.http1 = keep.then_some(connection);
                Ok(outcome)
            }
            // Closed between two requests: every client must be ready for that (RFC 9112, section 9.3.1).
            Err(_) if used && connection.bytes.is_empty() => Box::pin(self.send_http1(case, name)).await,
            Err(error) => Err(error),
        }
    }

    async fn send_http2(&mut self, case: &Case, name: &str) -> Answer {
        let sender = match self.http2.take() {
            Some(sender) => sender,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                let (sender, connection) = h2::client::handshake(stream).await?;
                tokio::spawn(connection);
                sender
            }
        };
        let mut sender = sender.ready().await?;
        let uri = Uri::builder().scheme("http").authority(case.host.as_str()).path_and_query(case.path.as_str());
        let mut request =
            Request::builder().method(case.method.as_str()).uri(uri.build()?).version(http::Version::HTTP_2);
        request = request.header(NAME, name);
        for (name, value) in &case.headers {
            request = request.header(name, value);
        }
        let (body, sized) = match &case.body {
            Payload::None => (None, false),
            Payload::Sized(body) => (Some(body), true),
            Payload::Streamed(body) => (Some(body), false),
        };
        if let Some(body) = body.filter(|_| sized) {
            request = request.header("content-length", body.len());
        }
        let (response, mut send) = sender.send_request(request.body(())?, body.is_none())?;
        if let Some(body) = body {
            send.send_data(Bytes::from(body.clone().into_bytes()), true)?;
        }
        self.http2 = Some(sender);
        let (parts, mut body) = response.await?.into_parts();
        let mut bytes = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            bytes.extend_from_slice(&chunk);
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in parts.headers.iter().chain(&trailers) {
            headers.entry(name.to_string()).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
        }
        Ok(Outcome::new(parts.status.as_u16(), headers, bytes))
    }
}

fn http1_bytes(case: &Case, name: &str) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\nhost: {}\r\n", case.method, case.path, case.host);
    text.push_str(&format!("{NAME}: {name}\r\n"));
    for (header, value) in &case.headers {
        text.push_str(&format!("{header}: {value}\r\n"));
    }
    match &case.body {
        Payload::None => text.push_str("\r\n"),
        Payload::Sized(body) => text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len())),
        Payload::Streamed(body) => {
            text.push_str("transfer-encoding: chunked\r\n\r\n");
            let (one, two) = body.split_at(body.len() / 2);
            for chunk in [one, two].into_iter().filter(|c| !c.is_empty()) {
                text.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
            }
            text.push_str("0\r\n\r\n");
        }
    }
    text.into_bytes()
}

/// The part of an error that both proxies should agree on.
fn reset_reason(error: &(dyn std::error::Error + 'static)) -> String {
    let reason = error.downcast_ref::<h2::Error>().and_then(h2::Error::reason);
    reason.map_or_else(|| "connection ended".to_owned(), |reason| format!("reset: {reason:?}"))
}

/// An HTTP/1.1 connection.
struct Http1 {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// It has carried a request before.
    used: bool,
}

impl Http1 {
    /// The next answer, and whether the connection may be used again.
    async fn read(&mut self, method: &str) -> Result<(Outcome, bool), Box<dyn std::error::Error + Send + Sync>> {
        let (status, headers) = loop {
            let end = loop {
                match find(&self.bytes, b"\r\n\r\n") {
                    Some(end) => break end,
                    None => self.more().await?,
                }
            };
            let head = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
            self.bytes.drain(..end + 4);
            let mut lines = head.split("\r\n");
            let status: u16 = lines.next().and_then(|l| l.split(' ').nth(1)).ok_or("no status line")?.parse()?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for line in lines {
                let (name, value) = line.split_once(':').ok_or("no header")?;
                headers.entry(name.to_lowercase()).or_default().push(value.trim().to_owned());
            }
            break (status, headers);
        };
        let one = |name: &str| headers.get(name).map(|v| v.join(","));
        let keep = one("connection").is_none_or(|c| !c.contains("close"));
        let chunked = one("transfer-encoding").is_some_and(|c| c.contains("chunked"));
        let body = if method == "HEAD" || matches!(status, 204 | 304) {
            Vec::new()
        } else if chunked {
            self.chunks().await?
        } else if let Some(length) = one("content-length") {
            self.take(length.parse()?).await?
        } else {
            while self.more().await.is_ok() {}
            std::mem::take(&mut self.bytes)
        };
        Ok((Outcome::new(status, headers, body), keep))
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match find(&self.bytes, b"\r\n") {
                    Some(end) => break end,
                    None => self.more().await?,
                }
            };
            let size = usize::from_str_radix(std::str::from_utf8(&self.bytes[..end])?, 16)?;
            self.bytes.drain(..end + 2);
            let chunk = self.take(size).await?;
            self.take(2).await?;
            if size == 0 {
                return Ok(body);
            }
            body.extend(chunk);
        }
    }

    async fn take(&mut self, count: usize) -> std::io::Result<Vec<u8>> {
        while self.bytes.len() < count {
            self.more().await?;
        }
        Ok(self.bytes.drain(..count).collect())
    }

    async fn more(&mut self) -> std::io::Result<()> {
        match self.stream.read_buf(&mut self.bytes).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}
