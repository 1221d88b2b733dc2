//! Protocol options and rules of an HTTP connection manager, in groups.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use ipnet::IpNet;

use super::{AccessLogFilter, AccessLogFormat};
use crate::model::{HeaderEdit, StringMatcher};

/// `core.v3.Http1ProtocolOptions` toward clients.
#[derive(Clone, Debug, Default)]
pub struct Http1Options {
    /// HTTP/1.0 requests are served.
    pub accept_http_10: bool,
    /// `host` of an HTTP/1.0 request that has none; empty = such a request is refused.
    pub default_host_for_http_10: String,
    /// How header names are written.
    pub header_case: HeaderCase,
    /// Trailers pass, if the head announces them. Default false: they are dropped.
    pub trailers: bool,
    /// A request with both `content-length` and `transfer-encoding: chunked` is served, and its length dropped.
    pub allow_chunked_length: bool,
    /// Methods that are in no registry are served too.
    pub allow_custom_methods: bool,
    /// `upgrade` headers that are dropped.
    pub ignored_upgrades: Vec<StringMatcher>,
}

/// How header names are written in HTTP/1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderCase {
    /// In lower case.
    #[default]
    Lower,
    /// `Proper-Case-Words`.
    ProperWords,
    /// As they arrived, if they arrived over HTTP/1.
    Preserve,
}

/// Limits on HTTP/2 frames that ask for nothing (`core.v3.Http2ProtocolOptions`). The defaults are Envoy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Limits {
    /// DATA, HEADERS and CONTINUATION frames without payload, one after another. Default 1.
    pub empty_frames: u32,
    /// PRIORITY frames for each stream opened. Default 100.
    pub priority_per_stream: u32,
    /// WINDOW_UPDATE frames for each DATA frame sent. Default 10.
    pub window_updates_per_data: u32,
    /// RST_STREAM frames at once. Default 1000.
    pub reset_burst: u64,
    /// RST_STREAM frames per second after that. Default 33.
    pub reset_rate: u64,
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self {
            empty_frames: 1,
            priority_per_stream: 100,
            window_updates_per_data: 10,
            reset_burst: 1000,
            reset_rate: 33,
        }
    }
}

/// HTTP/2 PING frames that find out whether the peer is there (`core.v3.KeepaliveSettings`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Keepalive {
    /// Time between two.
    pub interval: Duration,
    /// The connection is closed if the answer takes longer.
    pub timeout: Duration,
    /// Up to so many percent are added to the interval, at random for each connection. Default 15.
    pub jitter_percent: f64,
}

impl Keepalive {
    /// The interval of one connection.
    #[must_use]
    pub fn jittered(&self, random: u64) -> Duration {
        let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
        self.interval.mul_f64(1.0 + share * self.jitter_percent / 100.0)
    }
}

/// What is done with request headers whose name has an underscore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// They pass.
    #[default]
    Allow,
    /// The request is refused.
    Reject,
    /// They are dropped.
    Drop,
}

/// What is done with `%2F` and `%5C` in paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// They stay.
    #[default]
    Keep,
    /// The request is refused.
    Reject,
    /// They become slashes, and the client is told to ask again so.
    UnescapeAndRedirect,
    /// They become slashes.
    UnescapeAndForward,
}

/// Which ports are removed from `host`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StripPort {
    /// None.
    #[default]
    None,
    /// The one that the listener has.
    Matching,
    /// Any.
    Any,
}

/// Which clients are internal (`internal_address_config`).
#[derive(Clone, Debug, Default)]
pub struct InternalAddresses {
    /// Those on Unix sockets.
    pub unix_sockets: bool,
    /// Those in these ranges.
    pub ranges: Vec<IpNet>,
}

/// A way to find the client's address (`original_ip_detection_extensions`).
#[derive(Clone, Debug)]
pub enum IpDetection {
    /// `x-forwarded-for`.
    Xff {
        /// Entries from the end that are passed over.
        trusted_hops: u32,
        /// Entries from the end that are passed over while they are in these ranges; empty = `trusted_hops` counts.
        trusted_ranges: Vec<IpNet>,
        /// The connection's peer is not appended.
        skip_append: bool,
    },
    /// A header with one address.
    Header {
        /// Its name.
        name: HeaderName,
        /// The address may count as internal.
        trusted: bool,
        /// Answer to a request whose header is missing or no address; `None` = the next way is tried.
        reject: Option<StatusCode>,
    },
}

/// How answers of the proxy itself look (`local_reply_config`).
#[derive(Clone, Debug, Default)]
pub struct LocalReplies {
    /// The first that matches changes the answer.
    pub mappers: Vec<ReplyMapper>,
    /// Format of the body of all; `None` = the text as it is.
    pub format: Option<ReplyFormat>,
}

/// `ResponseMapper`.
#[derive(Clone, Debug)]
pub struct ReplyMapper {
    /// Which answers.
    pub filter: AccessLogFilter,
    /// The new status.
    pub status: Option<StatusCode>,
    /// The new text, `%LOCAL_REPLY_BODY%` of the format.
    pub body: Option<bytes::Bytes>,
    /// Headers to set.
    pub headers: Vec<HeaderEdit>,
    /// Used instead of the common format.
    pub format: Option<ReplyFormat>,
}

/// The body of a local reply.
#[derive(Clone, Debug)]
pub struct ReplyFormat {
    /// The text.
    pub format: AccessLogFormat,
    /// `content-type`; `None` = `application/json` or `text/plain`.
    pub content_type: Option<HeaderValue>,
}
