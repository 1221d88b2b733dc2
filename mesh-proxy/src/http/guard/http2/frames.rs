//! Where the frames of a stream of bytes begin (RFC 9113, section 4.1).

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

const HEAD: usize = 9;
/// Bytes of the connection preface, which stands before a client's first frame.
const PREFACE: usize = 24;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct FrameHead {
    pub(super) len: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// Bytes of padding, with the one that says so.
    pub(super) padding: u32,
}

impl FrameHead {
    /// It carries nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.len <= self.padding
    }
}

/// Follows the frames of one direction.
#[derive(Debug)]
pub(in crate::http) struct Frames {
    /// Bytes to pass over before the next head.
    skip: usize,
    head: [u8; HEAD + 1],
    have: usize,
    /// The last frame is of a field block, and whether it ends the block.
    block: Option<bool>,
}

impl Frames {
    /// From a client, from its preface on.
    pub(in crate::http) fn of_client() -> Self {
        Self { skip: PREFACE, head: [0; HEAD + 1], have: 0, block: None }
    }

    /// From a server.
    pub(in crate::http) fn of_server() -> Self {
        Self { skip: 0, ..Self::of_client() }
    }

    /// A field block has begun and is not complete (RFC 9113, section 4.3).
    pub(in crate::http) fn is_in_field_block(&self) -> bool {
        self.block.is_some_and(|ends| !ends || self.skip > 0)
    }

    /// Calls `each` for each frame whose head is complete with `bytes`, until it fails.
    ///
    /// # Errors
    /// That of `each`.
    pub(in crate::http) fn walk<E>(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(FrameHead) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return Ok(());
            }
            let wanted = self.wanted();
            let taken = (wanted - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            // The flags may have come just now, and ask for one byte more.
            if self.have == self.wanted() {
                let frame = self.frame();
                self.skip = frame.len as usize - (self.have - HEAD);
                self.have = 0;
                let of_block = matches!(frame.kind, HEADERS | CONTINUATION);
                self.block = of_block.then_some(frame.flags & END_HEADERS != 0);
                each(frame)?;
            }
        }
    }

    /// Bytes of the head, and one more where the payload begins with the length of its padding.
    fn wanted(&self) -> usize {
        let padded = self.have >= HEAD && matches!(self.head[3], DATA | HEADERS) && self.head[4] & PADDED != 0;
        HEAD + usize::from(padded && self.head[..3] != [0; 3])
    }

    fn frame(&self) -> FrameHead {
        let h = &self.head;
        FrameHead {
            len: u32::from_be_bytes([0, h[0], h[1], h[2]]),
            kind: h[3],
            flags: h[4],
            stream: u32::from_be_bytes([h[5] & 0x7f, h[6], h[7], h[8]]),
            padding: if self.have > HEAD { u32::from(h[HEAD]) + 1 } else { 0 },
        }
    }
}
