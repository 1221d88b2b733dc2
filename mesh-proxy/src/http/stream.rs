//! One request and its answer, from the first header to the last log line.

use std::{any::Any, rc::Rc, time::Instant};

use http::{HeaderMap, HeaderValue, request};
use smallvec::SmallVec;

use super::{
    chain::HttpChain, connection::Connection, download::Transfer, local_reply::grpc_status, premature, upload::Upload,
};
use crate::{
    filter::{ResponseFlags, StreamInfo},
    upstream::RequestPermit,
};

/// What a filter remembers between calls of one stream.
pub(super) type FilterState = Option<Box<dyn Any>>;

/// A stream. When it is dropped it is over: filters, logs and statistics are told, whatever the reason.
pub(super) struct Stream {
    /// Filter chain that serves it.
    pub(super) chain: Rc<HttpChain>,
    /// Connection it is on.
    pub(super) connection: Rc<Connection>,
    /// Facts.
    pub(super) info: StreamInfo,
    /// Request line and headers, as filters made them.
    pub(super) request: request::Parts,
    /// Request body, if there is one.
    pub(super) upload: Option<Rc<Upload>>,
    /// State of the filters.
    pub(super) states: SmallVec<[FilterState; 2]>,
    /// Filters that have seen the request.
    pub(super) reached: usize,
    /// Response headers, kept for logs.
    pub(super) response: Option<Box<HeaderMap>>,
    /// Response trailers, kept for logs.
    pub(super) trailers: Option<Box<HeaderMap>>,
    /// Cookies made here, for the response.
    pub(super) cookies: SmallVec<[HeaderValue; 1]>,
    /// The client is internal: it may steer retries and timeouts.
    pub(super) internal: bool,
    /// Response body on its way.
    pub(super) transfer: Transfer,
    /// The request is gRPC.
    pub(super) grpc: bool,
    /// Trailers of the answer do not go on.
    pub(super) drops_trailers: bool,
    /// The answer was sent whole.
    pub(super) complete: bool,
    /// The last attempt ran out of time.
    pub(super) timed_out: bool,
    /// The request's and the retry's place in the circuit breakers.
    pub(super) admitted: [Option<RequestPermit>; 2],
}

impl Stream {
    /// A stream that begins now.
    pub(super) fn begin(connection: Rc<Connection>, request: request::Parts, info: StreamInfo) -> Box<Self> {
        let chain = connection.chain.clone();
        connection.stream_begins();
        chain.stats.request_begins(request.version);
        let transfer = Transfer::none(info.timings.start);
        Box::new(Self {
            chain,
            connection,
            info,
            request,
            upload: None,
            states: SmallVec::new(),
            reached: 0,
            response: None,
            trailers: None,
            cookies: SmallVec::new(),
            internal: false,
            transfer,
            grpc: false,
            drops_trailers: false,
            complete: false,
            timed_out: false,
            admitted: [None, None],
        })
    }

    /// Remembers response trailers.
    pub(super) fn note_trailers(&mut self, trailers: &HeaderMap) {
        if self.grpc
            && let Some(status) = grpc_status(trailers)
        {
            self.info.grpc_status = Some(status);
        }
        if self.chain.keeps_response {
            self.trailers = Some(Box::new(trailers.clone()));
        }
    }

    fn finish(&mut self) {
        let now = Instant::now();
        let info = &mut self.info;
        info.timings.end = Some(now);
        if let Some(upload) = &self.upload {
            info.bytes_received = upload.bytes();
            info.timings.request_end = upload.ended();
        }
        if !self.complete && info.flags.is_empty() {
            info.flags.insert(ResponseFlags::DOWNSTREAM_TERMINATION);
            info.details = Some("downstream_remote_disconnect".into());
            info.status = info.status.or(Some(0));
        }
        let chain = &self.chain;
        let premature = !self.complete
            && info.status.is_none_or(|status| status == 0)
            && now.saturating_duration_since(info.timings.start) <= premature::SHORT;
        for entry in &chain.model.filters[..self.reached] {
            entry.filter.on_end(info);
        }
        chain.stats.request_ends(info, self.complete);
        chain.log(self);
        self.connection.stream_ends(now, premature);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.finish();
    }
}
