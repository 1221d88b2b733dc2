//! The framing of HTTP/1 requests, followed byte by byte (RFC 9112, sections 2, 6 and 7).
//!
//! ```text
//!            ┌───────────────────────────────┐
//!            ▼                               │
//!   Head ─▸ Body(n) ──────────────────────▸ Head
//!     ├──▸ Size ─▸ Data(n) ─▸ Size … Trailers┘
//!     └──▸ Opaque                (CONNECT, Upgrade: what follows is no HTTP)
//! ```
//!
//! The codec drops one of `content-length` and `transfer-encoding` silently when both are there, and takes repeated
//! lengths for one. Here such a head is a [`Violation`]. Of a request's head only lines that say where it ends are looked at.

use http::StatusCode;

use super::super::headers::trim_ows;

/// Longest part of a line that is kept: enough for each name and value that is looked at.
const KEPT: usize = 64;

/// Why a head is refused. Named as Envoy's response code details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::http) enum Violation {
    /// Both `content-length` and `transfer-encoding` (RFC 9112, section 6.3, rule 3).
    LengthAndEncoding = 1,
    /// More than one `content-length`, or one that is no number.
    Length,
    /// `transfer-encoding` is anything but one `chunked`.
    Encoding,
    /// A body on a `CONNECT` request.
    Body,
    /// A line that is folded.
    Codec,
    /// A fragment in the target, which is no part of one (RFC 9112, section 3.2).
    Fragment,
}

impl Violation {
    /// Of a byte that [`as_u8`](Self::as_u8) gave; `None` for 0.
    pub(in crate::http) fn from_u8(byte: u8) -> Option<Self> {
        [Self::LengthAndEncoding, Self::Length, Self::Encoding, Self::Body, Self::Codec, Self::Fragment]
            .into_iter()
            .find(|v| *v as u8 == byte)
    }

    /// `%RESPONSE_CODE_DETAILS%`.
    pub(in crate::http) fn details(self) -> &'static str {
        match self {
            Violation::LengthAndEncoding => "http1.content_length_and_chunked_not_allowed",
            Violation::Length => "http1.invalid_content_length",
            Violation::Encoding => "http1.invalid_transfer_encoding",
            Violation::Body => "http1.body_disallowed",
            Violation::Codec => "http1.codec_error",
            Violation::Fragment => "path_normalization_failed",
        }
    }

    /// The answer to it.
    pub(in crate::http) fn status(self) -> StatusCode {
        match self {
            Violation::Encoding => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// What the bytes of one read meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Seen {
    /// Nothing to object to.
    Fine,
    /// The head that ends after this many bytes is refused; nothing after it is to be read.
    Refused(Violation, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Body(u64),
    Size(u64),
    SizeRest(u64),
    Data(u64),
    DataEnd,
    Trailers,
    Opaque,
}

/// Follows the requests of one connection.
#[derive(Debug)]
pub(in crate::http) struct Framing {
    state: State,
    /// `content-length` beside `chunked` is let through, the length ignored (`allow_chunked_length`).
    allow_chunked_length: bool,
    line: Vec<u8>,
    /// The line is longer than what is kept of it.
    cut: bool,
    head: Head,
    heads: u32,
}

/// What the lines of a head have said so far.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    lines: u32,
    length: Option<u64>,
    chunked: bool,
    connect: bool,
    upgrade: bool,
    /// There is a fragment in the first line, which may be longer than what is kept of it.
    fragment: bool,
    refused: Option<Violation>,
}

impl Framing {
    /// At the start of a connection.
    pub(in crate::http) fn new(allow_chunked_length: bool) -> Self {
        Self { state: State::Head, allow_chunked_length, line: Vec::new(), cut: false, head: Head::default(), heads: 0 }
    }

    /// Heads that were complete.
    pub(in crate::http) fn heads(&self) -> u32 {
        self.heads
    }

    /// A head has begun and is not complete.
    pub(in crate::http) fn is_in_head(&self) -> bool {
        self.state == State::Head && (self.head.lines > 0 || !self.line.is_empty())
    }

    /// What follows is not HTTP.
    pub(in crate::http) fn is_opaque(&self) -> bool {
        self.state == State::Opaque
    }

    /// Follows `bytes`, which came next.
    pub(in crate::http) fn feed(&mut self, bytes: &[u8]) -> Seen {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match self.state {
                State::Opaque => return Seen::Fine,
                State::Head => match self.head_line(rest) {
                    Ok(n) => n,
                    Err((violation, n)) => return Seen::Refused(violation, at + n),
                },
                State::Trailers => self.trailer_line(rest),
                State::Body(left) => self.skip(left, rest.len(), State::Body, State::Head),
                State::Data(left) => self.skip(left, rest.len(), State::Data, State::DataEnd),
                State::DataEnd => self.until_newline(rest, State::Size(0)),
                State::SizeRest(size) => self.until_newline(rest, after_size(size)),
                State::Size(size) => {
                    self.size_digit(size, rest[0]);
                    1
                }
            };
        }
        Seen::Fine
    }

    fn skip(&mut self, left: u64, here: usize, stay: fn(u64) -> State, then: State) -> usize {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(here);
        let left = left - n as u64;
        self.state = if left == 0 { then } else { stay(left) };
        n
    }

    fn until_newline(&mut self, rest: &[u8], then: State) -> usize {
        match rest.iter().position(|b| *b == b'\n') {
            Some(end) => {
                self.state = then;
                end + 1
            }
            None => rest.len(),
        }
    }

    /// The codec refuses sizes that are too large or malformed, and ends the connection: none is refused here.
    fn size_digit(&mut self, size: u64, byte: u8) {
        self.state = match char::from(byte).to_digit(16) {
            Some(digit) => State::Size(size.saturating_mul(16).saturating_add(u64::from(digit))),
            None if byte == b'\n' => after_size(size),
            None => State::SizeRest(size),
        };
    }

    fn trailer_line(&mut self, rest: &[u8]) -> usize {
        let Some(end) = rest.iter().position(|b| *b == b'\n') else {
            self.keep(rest);
            return rest.len();
        };
        self.keep(&rest[..end]);
        if matches!(&*self.line, b"" | b"\r") {
            self.state = State::Head;
        }
        self.line.clear();
        self.cut = false;
        end + 1
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = KEPT - self.line.len();
        self.cut |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    fn head_line(&mut self, rest: &[u8]) -> Result<usize, (Violation, usize)> {
        let end = rest.iter().position(|b| *b == b'\n');
        let here = &rest[..end.unwrap_or(rest.len())];
        self.head.fragment |= self.head.lines == 0 && here.contains(&b'#');
        let Some(end) = end else {
            self.keep(here);
            return Ok(rest.len());
        };
        let n = end + 1;
        if self.line.is_empty() {
            // The usual case: the line is whole, and needs no copy. No more of it is looked at than if it came in parts.
            self.head.read(&here[..end.min(KEPT)], end > KEPT);
            if here.strip_suffix(b"\r").unwrap_or(here).is_empty() {
                return self.head_ends().map(|()| n).map_err(|v| (v, n));
            }
            return Ok(n);
        }
        self.keep(here);
        let line = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.cut);
        self.head.read(&line, cut);
        let empty = line.strip_suffix(b"\r").unwrap_or(&line).is_empty();
        self.line = line;
        self.line.clear();
        if empty {
            return self.head_ends().map(|()| n).map_err(|v| (v, n));
        }
        Ok(n)
    }

    fn head_ends(&mut self) -> Result<(), Violation> {
        if self.head.lines == 0 {
            // Empty lines before a request are to be ignored (RFC 9112, section 2.2).
            return Ok(());
        }
        let head = std::mem::take(&mut self.head);
        self.heads = self.heads.wrapping_add(1);
        if let Some(violation) = head.refused {
            return Err(violation);
        }
        if head.chunked && head.length.is_some() && !self.allow_chunked_length {
            return Err(Violation::LengthAndEncoding);
        }
        let has_body = head.chunked || head.length.is_some_and(|n| n > 0);
        if head.connect && has_body {
            return Err(Violation::Body);
        }
        // An upgrade that comes with a body is none: it is read as the body that it says it is.
        self.state = match head.length {
            _ if head.connect || (head.upgrade && !has_body) => State::Opaque,
            _ if head.chunked => State::Size(0),
            Some(length) if length > 0 => State::Body(length),
            _ => State::Head,
        };
        Ok(())
    }
}

fn after_size(size: u64) -> State {
    if size == 0 { State::Trailers } else { State::Data(size) }
}

impl Head {
    /// One line, without its line feed. `cut`: it was longer than what is kept.
    fn read(&mut self, line: &[u8], cut: bool) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return;
        }
        self.lines += 1;
        if self.lines == 1 {
            self.connect = line.starts_with(b"CONNECT ");
            if self.fragment {
                self.refuse(Violation::Fragment);
            }
            return;
        }
        match line[0] {
            b' ' | b'\t' => self.refuse(Violation::Codec),
            b'c' | b'C' => {
                if let Some(value) = value_of(line, b"content-length") {
                    self.content_length(value, cut);
                }
            }
            b't' | b'T' => {
                if let Some(value) = value_of(line, b"transfer-encoding") {
                    if cut || self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        self.refuse(Violation::Encoding);
                    }
                    self.chunked = true;
                }
            }
            b'u' | b'U' => {
                if let Some(value) = value_of(line, b"upgrade") {
                    self.upgrade |= !value.eq_ignore_ascii_case(b"h2c");
                }
            }
            _ => {}
        }
    }

    fn content_length(&mut self, value: &[u8], cut: bool) {
        let number = (!cut && !value.is_empty() && value.iter().all(u8::is_ascii_digit))
            .then(|| std::str::from_utf8(value).ok()?.parse::<u64>().ok())
            .flatten();
        if number.is_none() || self.length.is_some() {
            self.refuse(Violation::Length);
        }
        self.length = number.or(Some(0));
    }

    fn refuse(&mut self, violation: Violation) {
        self.refused.get_or_insert(violation);
    }
}

/// The value of the field if `line` is one of this name. A space before the colon is no reason not to look at it.
fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (head, rest) = line.split_at_checked(name.len())?;
    if !head.eq_ignore_ascii_case(name) {
        return None;
    }
    trim_ows(rest).strip_prefix(b":").map(trim_ows)
}

#[cfg(test)]
mod tests;
