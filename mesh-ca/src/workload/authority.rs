//! [`AuthorityRepair`]: callers that name the socket in `:authority` are understood.
//!
//! Over a Unix socket there is no host to name. gRPC's C core sends the percent-encoded path for it (`tmp%2Fapi.sock`), Java
//! the path itself; RFC 9113 section 8.3.1 allows neither, and the `h2` crate ends such streams with `PROTOCOL_ERROR`. Nobody
//! here looks at the value, so its bad bytes are replaced before `h2` sees them: byte for byte, which leaves all lengths, and
//! so the compression of headers, as they are.

/// What every HTTP/2 connection begins with (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length, type, flags and stream of a frame (RFC 9113 section 4.1).
const FRAME_HEADER: usize = 9;

/// The largest frame without other agreement (RFC 9113 section 4.2). Larger ones pass as they are.
const MAX_FRAME: usize = 16 * 1024;

const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Follows the frames of one connection.
#[derive(Debug)]
pub(super) struct AuthorityRepair {
    state: State,
    /// The start of the connection, the header of a frame, or a whole HEADERS frame, as far as it has come.
    pending: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Preface,
    Header,
    /// So many bytes of another frame.
    Pass(usize),
    /// A HEADERS frame with this length in all.
    Headers(usize),
    /// Not HTTP/2: whatever comes.
    Foreign,
}

impl AuthorityRepair {
    pub(super) fn new() -> Self {
        Self { state: State::Preface, pending: Vec::new() }
    }

    /// Takes what has arrived; adds what may be passed on to `out`. At most one frame is kept back.
    pub(super) fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !input.is_empty() {
            match self.state {
                State::Foreign => {
                    out.extend_from_slice(input);
                    return;
                }
                State::Preface => {
                    if self.collect(&mut input, PREFACE.len()) {
                        self.state = if self.pending == PREFACE { State::Header } else { State::Foreign };
                        out.append(&mut self.pending);
                    }
                }
                State::Header => {
                    if self.collect(&mut input, FRAME_HEADER) {
                        self.state = self.begin(out);
                    }
                }
                State::Pass(left) => {
                    let (now, later) = input.split_at(left.min(input.len()));
                    out.extend_from_slice(now);
                    input = later;
                    self.state = after(left - now.len());
                }
                State::Headers(length) => {
                    if self.collect(&mut input, length) {
                        repair(&mut self.pending);
                        out.append(&mut self.pending);
                        self.state = State::Header;
                    }
                }
            }
        }
    }

    /// Moves bytes until so many are pending; whether they are.
    fn collect(&mut self, input: &mut &[u8], wanted: usize) -> bool {
        let missing = wanted.saturating_sub(self.pending.len()).min(input.len());
        let (now, later) = input.split_at(missing);
        self.pending.extend_from_slice(now);
        *input = later;
        self.pending.len() >= wanted
    }

    /// What the header of a frame, which is pending, leads to.
    fn begin(&mut self, out: &mut Vec<u8>) -> State {
        let length = self.pending[..3].iter().fold(0, |sum, b| sum << 8 | usize::from(*b));
        if self.pending[3] == HEADERS && (1..=MAX_FRAME).contains(&length) {
            return State::Headers(FRAME_HEADER + length);
        }
        out.append(&mut self.pending);
        after(length)
    }
}

fn after(left: usize) -> State {
    if left == 0 { State::Header } else { State::Pass(left) }
}

/// Repairs the field block of a HEADERS frame (RFC 9113 section 6.2). What cannot be read stays as it is: `h2` will say so.
fn repair(frame: &mut [u8]) {
    let (header, payload) = frame.split_at_mut(FRAME_HEADER);
    let flags = header[4];
    let (mut start, mut end) = (0, payload.len());
    if flags & PADDED != 0 {
        start += 1;
        end = end.saturating_sub(usize::from(payload[0]));
    }
    if flags & PRIORITY != 0 {
        start += 5;
    }
    if let Some(block) = payload.get_mut(start..end) {
        repair_block(block);
    }
}

/// Walks the fields of a block (RFC 7541 section 6). `None` when it ends in the middle of one.
fn repair_block(block: &mut [u8]) -> Option<()> {
    let mut at = 0;
    while at < block.len() {
        let (prefix, literal) = match block[at] {
            b if b & 0x80 != 0 => (7, false),
            b if b & 0xc0 == 0x40 => (6, true),
            b if b & 0xe0 == 0x20 => (5, false),
            _ => (4, true),
        };
        let index = integer(block, &mut at, prefix)?;
        if !literal {
            continue;
        }
        // Index 1 of the static table is `:authority`.
        let authority = match index {
            0 => {
                let (name, huffman) = string(block, &mut at)?;
                !huffman && block.get(name)? == b":authority"
            }
            index => index == 1,
        };
        let (value, huffman) = string(block, &mut at)?;
        // The clients that send a path do not compress it.
        if authority && !huffman {
            let bad = |b: &&mut u8| !b.is_ascii_alphanumeric() && !b"-._~:[]".contains(*b);
            block.get_mut(value)?.iter_mut().filter(bad).for_each(|b| *b = b'-');
        }
    }
    Some(())
}

/// RFC 7541 section 5.1. Nothing in a frame needs more than 28 bits.
fn integer(block: &[u8], at: &mut usize, prefix: u32) -> Option<usize> {
    let mask = (1usize << prefix) - 1;
    let mut value = usize::from(*block.get(*at)?) & mask;
    *at += 1;
    if value < mask {
        return Some(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = *block.get(*at)?;
        *at += 1;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The place of a string (RFC 7541 section 5.2), and whether it is compressed.
fn string(block: &[u8], at: &mut usize) -> Option<(std::ops::Range<usize>, bool)> {
    let huffman = *block.get(*at)? & 0x80 != 0;
    let length = integer(block, at, 7)?;
    let start = *at;
    *at = start.checked_add(length).filter(|end| *end <= block.len())?;
    Some((start..*at, huffman))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::{AuthorityRepair, PREFACE};

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn through(parts: &[&[u8]]) -> Vec<u8> {
        let (mut repair, mut out) = (AuthorityRepair::new(), Vec::new());
        parts.iter().for_each(|p| repair.push(p, &mut out));
        out
    }

    /// A block as gRPC's C core sends it: literal name, then two indexed fields.
    fn block(name: &[u8], authority: &[u8]) -> Vec<u8> {
        let length = [u8::try_from(authority.len()).unwrap()];
        [b"\x40\x05:path\x04/a%b", name, &length, authority, b"\x83\x86\x40\x02te\x04%/%/"].concat()
    }

    #[test]
    fn paths_become_names_and_nothing_else_changes() {
        for name in [&b"\x40\x0a:authority"[..], b"\x00\x0a:authority", b"\x41", b"\x01", b"\x11"] {
            let before = block(name, b"/tmp%2Fa.sock:1");
            let after = block(name, b"-tmp-2Fa.sock:1");
            let shapes = [(0x4, before.clone(), after.clone())];
            let padded = |b: &[u8]| [&[3], b, &[0, 0, 0]].concat();
            let with_priority = |b: &[u8]| [&[0, 0, 0, 0, 16], b].concat();
            let more = [(0xc, padded(&before), padded(&after)), (0x24, with_priority(&before), with_priority(&after))];
            for (flags, before, after) in shapes.into_iter().chain(more) {
                let settings = frame(4, 0, &[]);
                let data = frame(0, 1, b"\x41\x03a%b");
                let sent = [PREFACE, &settings[..], &frame(1, flags, &before), &data].concat();
                let wanted = [PREFACE, &settings[..], &frame(1, flags, &after), &data].concat();
                assert_eq!(through(&[&sent]), wanted, "{name:?} {flags}");
                let bytes: Vec<&[u8]> = sent.chunks(1).collect();
                assert_eq!(through(&bytes), wanted, "byte by byte");
            }
        }
        let compressed = [PREFACE, &frame(1, 4, b"\x41\x82%/")[..]].concat();
        assert_eq!(through(&[&compressed]), compressed);
        let http1 = b"GET /a%2Fb HTTP/1.1\r\nhost: a%b\r\n\r\n".repeat(3);
        assert_eq!(through(&[&http1]), http1);
    }

    proptest! {
        /// Whatever comes, as many bytes go on as arrived but for one frame, and how they were cut plays no part.
        #[test]
        fn bytes_are_kept(frames in prop::collection::vec((0u8..10, any::<u8>(), prop::collection::vec(any::<u8>(), 0..60)), 0..6), cut in 1usize..40) {
            let all: Vec<u8> = frames.iter().flat_map(|(kind, flags, payload)| frame(*kind, *flags, payload)).collect();
            let sent = [&PREFACE[..], &all].concat();
            let whole = through(&[&sent]);
            prop_assert_eq!(whole.len(), sent.len());
            prop_assert_eq!(through(&sent.chunks(cut).collect::<Vec<_>>()), whole);
        }
    }
}
