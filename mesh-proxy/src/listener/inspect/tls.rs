//! SNI and ALPN of a TLS ClientHello (RFC 8446, section 4.1.2), which may be spread over several records.

use super::Verdict;

/// Longest record (RFC 8446, section 5.1).
const LONGEST_RECORD: usize = 16 * 1024;

/// What a ClientHello says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClientHello {
    /// Host name of the server_name extension, lower case.
    pub(super) server_name: Option<String>,
    /// ALPN offered, in order.
    pub(super) alpn: Vec<Vec<u8>>,
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A ClientHello.
    Hello(ClientHello),
    /// A ClientHello of more than the allowed length.
    TooLong,
    /// No ClientHello, or one that cannot be read.
    Other,
}

/// Looks for a ClientHello of at most `longest` bytes at the start of `bytes`.
pub(super) fn parse(bytes: &[u8], longest: usize) -> Verdict<Seen> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        let wanted = length(&message);
        if message.first().is_some_and(|t| *t != 1) {
            return Verdict::Done(Seen::Other);
        }
        if wanted > longest {
            return Verdict::Done(Seen::TooLong);
        }
        if message.len() >= 4 && message.len() >= wanted {
            return Verdict::Done(hello(&message[4..wanted]).map_or(Seen::Other, Seen::Hello));
        }
        // Record header: type 22, version 3.x, length.
        match rest {
            [22, 3, _, high, low, body @ ..] => {
                let size = usize::from(*high) << 8 | usize::from(*low);
                if size == 0 || size > LONGEST_RECORD {
                    return Verdict::Done(Seen::Other);
                }
                message.extend_from_slice(&body[..size.min(body.len())]);
                if body.len() < size {
                    return match message.first() {
                        Some(1) if length(&message) > longest => Verdict::Done(Seen::TooLong),
                        Some(1) | None => Verdict::More,
                        Some(_) => Verdict::Done(Seen::Other),
                    };
                }
                rest = &body[size..];
            }
            [] | [22] | [22, 3] | [22, 3, _] | [22, 3, _, _] => return Verdict::More,
            _ => return Verdict::Done(Seen::Other),
        }
    }
}

/// Length of a handshake message, its header included, as far as that is known.
fn length(message: &[u8]) -> usize {
    match message.get(1..4) {
        Some(l) => 4 + (usize::from(l[0]) << 16 | usize::from(l[1]) << 8 | usize::from(l[2])),
        None => 4,
    }
}

/// Takes lengths and slices off the front; `None` when the input is too short.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn number(&mut self, width: usize) -> Option<usize> {
        Some(self.take(width)?.iter().fold(0, |n, b| n << 8 | usize::from(*b)))
    }

    fn prefixed(&mut self, width: usize) -> Option<Reader<'a>> {
        let n = self.number(width)?;
        self.take(n).map(Reader)
    }
}

fn hello(body: &[u8]) -> Option<ClientHello> {
    let mut found = ClientHello::default();
    let mut r = Reader(body);
    r.take(2 + 32)?;
    r.prefixed(1)?;
    r.prefixed(2)?;
    r.prefixed(1)?;
    if r.0.is_empty() {
        return Some(found);
    }
    let mut extensions = r.prefixed(2)?;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let mut data = extensions.prefixed(2)?;
        match kind {
            0 => {
                let mut names = data.prefixed(2)?;
                if names.number(1)? == 0 {
                    let name = std::str::from_utf8(names.prefixed(2)?.0).ok()?;
                    found.server_name = Some(name.to_ascii_lowercase());
                }
            }
            16 => {
                let mut protocols = data.prefixed(2)?;
                while !protocols.0.is_empty() {
                    found.alpn.push(protocols.prefixed(1)?.0.to_vec());
                }
            }
            _ => {}
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::{Seen, Verdict};

    /// With the usual limit.
    fn parse(bytes: &[u8]) -> Verdict<Seen> {
        super::parse(bytes, 16 * 1024)
    }

    /// A ClientHello for `Example.com` with ALPN h2 and http/1.1, cut into records of `size` bytes.
    fn records(size: usize) -> Vec<u8> {
        let mut extensions = vec![0, 0, 0, 16, 0, 14, 0, 0, 11];
        extensions.extend(b"Example.com");
        extensions.extend([0, 16, 0, 14, 0, 12, 2]);
        extensions.extend(b"h2");
        extensions.push(8);
        extensions.extend(b"http/1.1");
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
        let mut message = vec![1, 0];
        message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        message.extend(body);
        let record = |chunk: &[u8]| {
            let mut r = vec![22, 3, 1];
            r.extend(u16::try_from(chunk.len()).unwrap().to_be_bytes());
            r.extend(chunk);
            r
        };
        message.chunks(size).flat_map(record).collect()
    }

    #[test]
    fn whole_and_in_pieces() {
        for size in [1, 3, 50, 1000] {
            let bytes = records(size);
            for n in 0..bytes.len() {
                assert_eq!(parse(&bytes[..n]), Verdict::More, "{size} {n}");
            }
            let Verdict::Done(Seen::Hello(hello)) = parse(&bytes) else { panic!("no hello") };
            assert_eq!(hello.server_name.as_deref(), Some("example.com"));
            assert_eq!(hello.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        }
    }

    #[test]
    fn other_bytes_are_not_tls() {
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Verdict::Done(Seen::Other));
        assert_eq!(parse(&[22, 3, 1, 0, 4, 2, 0, 0, 0]), Verdict::Done(Seen::Other));
        assert_eq!(parse(&[22, 3, 1, 0, 0]), Verdict::Done(Seen::Other));
        assert_eq!(parse(&[22, 3, 1, 0, 6, 1, 0, 0, 2, 3, 3]), Verdict::Done(Seen::Other), "cut short inside");
    }

    #[test]
    fn a_long_hello_is_known_from_its_length() {
        let bytes = records(1000);
        let hello = bytes.len() - 5;
        assert!(matches!(super::parse(&bytes, hello), Verdict::Done(Seen::Hello(_))));
        for n in 9..bytes.len() {
            assert_eq!(super::parse(&bytes[..n], hello - 1), Verdict::Done(Seen::TooLong), "{n}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..100) {
            parse(&bytes);
            let mut damaged = records(40);
            for (i, b) in bytes.iter().enumerate().take(8) {
                let at = (cut + i * 13) % damaged.len();
                damaged[at] = *b;
            }
            parse(&damaged);
        }
    }
}
