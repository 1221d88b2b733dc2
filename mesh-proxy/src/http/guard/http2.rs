//! What a client may make a server do with HTTP/2 frames that ask for nothing (RFC 9113, section 10.5).
//!
//! The limits are those of Envoy's `Http2ProtocolOptions`, counted over the life of a connection:
//!
//! - DATA, HEADERS and CONTINUATION frames without payload, one after another (CVE-2019-9518);
//! - PRIORITY frames, per stream opened (CVE-2019-9513);
//! - WINDOW_UPDATE frames, per DATA frame sent (CVE-2019-9511, CVE-2019-9517);
//! - RST_STREAM frames, a burst and a rate (CVE-2023-44487).
//!
//! PING and SETTINGS need no count: the codec keeps one unsent answer to each and reads no further until it is sent
//! (CVE-2019-9512, CVE-2019-9515). Neither do CONTINUATION frames, whose number the codec bounds by the size of a header list.

mod frames;

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

pub(super) use frames::Frames;
use frames::{CONTINUATION, DATA, END_STREAM, FrameHead, HEADERS, PRIORITY, RST_STREAM, WINDOW_UPDATE};

use crate::model::Http2Limits;

/// Frames of WINDOW_UPDATE that are always allowed, as in Envoy.
const FREE_WINDOW_UPDATES: u64 = 5;

/// Which limit was passed. Named as Envoy's response code details and statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum Flood {
    /// Frames without payload.
    #[error("http2.inbound_empty_frames_flood")]
    EmptyFrames,
    /// PRIORITY.
    #[error("http2.inbound_priority_frames_flood")]
    Priority,
    /// WINDOW_UPDATE.
    #[error("http2.inbound_window_update_frames_flood")]
    WindowUpdate,
    /// RST_STREAM.
    #[error("http2.inbound_reset_frames_flood")]
    Resets,
}

/// Counts the frames of one connection.
#[derive(Debug)]
pub(in crate::http) struct FloodWatch {
    limits: Http2Limits,
    streams: u64,
    last_stream: u32,
    empty: u32,
    priorities: u64,
    window_updates: u64,
    data_sent: u64,
    resets: Bucket,
    /// Streams whose answer is not written to its end.
    open: HashSet<u32>,
    /// When a part of an answer was last written, or a stream opened.
    moved: Instant,
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    tokens: u64,
    filled: Instant,
}

impl FloodWatch {
    /// For a connection that begins now.
    pub(in crate::http) fn new(limits: Http2Limits, now: Instant) -> Self {
        Self {
            limits,
            streams: 0,
            last_stream: 0,
            empty: 0,
            priorities: 0,
            window_updates: 0,
            data_sent: 0,
            resets: Bucket { tokens: limits.reset_burst, filled: now },
            open: HashSet::new(),
            moved: now,
        }
    }

    /// Streams whose answer is not written to its end.
    pub(in crate::http) fn open(&self) -> usize {
        self.open.len()
    }

    /// When a part of an answer was last written, or a stream opened.
    pub(in crate::http) fn moved(&self) -> Instant {
        self.moved
    }

    /// A frame was sent to the client.
    pub(in crate::http) fn sent(&mut self, frame: FrameHead, now: Instant) {
        if frame.kind == DATA {
            self.data_sent += 1;
            self.moved = now;
        }
        let ends = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
        if ends || frame.kind == RST_STREAM {
            self.open.remove(&frame.stream);
        }
    }

    /// A frame came from the client.
    ///
    /// # Errors
    /// The limit that it passes; the connection is to be closed.
    pub(in crate::http) fn received(&mut self, frame: FrameHead, now: Instant) -> Result<(), Flood> {
        match frame.kind {
            DATA | HEADERS | CONTINUATION => self.payload(frame, now),
            PRIORITY => {
                self.priorities += 1;
                let allowed = u64::from(self.limits.priority_per_stream).saturating_mul(1 + self.streams);
                check(self.priorities <= allowed, Flood::Priority)
            }
            WINDOW_UPDATE => {
                self.window_updates += 1;
                let per_data = u64::from(self.limits.window_updates_per_data).saturating_mul(self.data_sent);
                let allowed = FREE_WINDOW_UPDATES.saturating_add(2 * self.streams.saturating_add(per_data));
                check(self.window_updates <= allowed, Flood::WindowUpdate)
            }
            RST_STREAM => {
                self.open.remove(&frame.stream);
                check(self.resets.take(&self.limits, now), Flood::Resets)
            }
            _ => Ok(()),
        }
    }

    fn payload(&mut self, frame: FrameHead, now: Instant) -> Result<(), Flood> {
        if frame.kind == HEADERS && frame.stream > self.last_stream {
            self.last_stream = frame.stream;
            self.streams += 1;
            self.open.insert(frame.stream);
            self.moved = now;
        }
        self.empty = if frame.is_empty() && frame.flags & END_STREAM == 0 { self.empty + 1 } else { 0 };
        check(self.empty <= self.limits.empty_frames, Flood::EmptyFrames)
    }
}

fn check(fine: bool, flood: Flood) -> Result<(), Flood> {
    if fine { Ok(()) } else { Err(flood) }
}

impl Bucket {
    fn take(&mut self, limits: &Http2Limits, now: Instant) -> bool {
        if self.tokens == 0 {
            self.fill(limits, now);
        }
        match self.tokens.checked_sub(1) {
            Some(rest) => {
                self.tokens = rest;
                true
            }
            None => false,
        }
    }

    fn fill(&mut self, limits: &Http2Limits, now: Instant) {
        let each = Duration::from_secs(1).as_nanos() / u128::from(limits.reset_rate.max(1));
        let elapsed = now.saturating_duration_since(self.filled).as_nanos();
        let fresh = u64::try_from(elapsed / each.max(1)).unwrap_or(u64::MAX).min(limits.reset_burst);
        if limits.reset_rate > 0 && fresh > 0 {
            self.tokens = fresh;
            self.filled = now;
        }
    }
}

#[cfg(test)]
mod tests;
