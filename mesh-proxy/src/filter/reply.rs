use ::http::{HeaderMap, StatusCode};
use bytes::Bytes;

use super::ResponseFlags;

/// An answer made by the proxy itself.
#[derive(Clone, Debug)]
pub struct LocalReply {
    /// Status. A gRPC request is answered with status 200 and the gRPC code it maps to.
    pub status: StatusCode,
    /// Body; `text/plain` unless `headers` say otherwise.
    pub body: Bytes,
    /// Headers added to the answer.
    pub headers: HeaderMap,
    /// `%RESPONSE_CODE_DETAILS%`, as Envoy spells it.
    pub details: std::borrow::Cow<'static, str>,
    /// Flags added to the stream.
    pub flags: ResponseFlags,
    /// gRPC code sent instead of the one the status maps to.
    pub grpc_status: Option<u16>,
}

impl LocalReply {
    /// A reply with `status`, `body` and `details` (in Envoy's spelling, such as `rbac_access_denied_matched_policy[none]`).
    pub fn new(status: StatusCode, details: impl Into<std::borrow::Cow<'static, str>>, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
            headers: HeaderMap::new(),
            details: details.into(),
            flags: ResponseFlags::NONE,
            grpc_status: None,
        }
    }

    /// The same with `flags`.
    #[must_use]
    pub fn with_flags(mut self, flags: ResponseFlags) -> Self {
        self.flags = flags;
        self
    }
}
