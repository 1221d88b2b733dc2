use std::{any::Any, fmt, future::Future, pin::Pin, sync::Arc};

use ::http::{request, response};

use super::{LocalReply, StreamInfo};
use crate::model::{FilterConfigs, HeaderView, Route};

/// A filter of the HTTP connection manager.
///
/// Phases, in the order they are called for one stream:
///
/// 1. [`on_request`](Self::on_request), once, filters in configuration order, when the request headers are there and a
///    route was looked up.
/// 2. [`on_response`](Self::on_response), once, in reverse order, for the final response headers, from upstream or local.
///    A filter whose `on_request` was not reached is not called.
/// 3. [`on_end`](Self::on_end), once, for every filter whose `on_request` was called, also when the client went away.
///
/// All are called on the worker that owns the connection and must not block. A filter that has to wait returns
/// [`Flow::Wait`]; its future may be dropped at any time (the client went away), so it must be cancel safe.
pub trait HttpFilter: Send + Sync + 'static {
    /// The request may be changed, answered, or held.
    fn on_request(&self, stream: &mut HttpStream<'_>) -> Flow {
        let _ = stream;
        Flow::Continue
    }

    /// The response may be changed, replaced ([`Flow::Respond`]), or held.
    fn on_response(&self, stream: &mut HttpStream<'_>) -> Flow {
        let _ = stream;
        Flow::Continue
    }

    /// The stream is over; `info` is complete.
    fn on_end(&self, info: &StreamInfo) {
        let _ = info;
    }
}

/// What a filter decided.
pub enum Flow {
    /// Go on with the next filter.
    Continue,
    /// Answer here; later filters and the upstream do not see the request.
    Respond(Box<LocalReply>),
    /// Hold the stream until the future is ready.
    Wait(Pin<Box<dyn Future<Output = Outcome>>>),
}

/// What became of a wait.
pub enum Outcome {
    /// Go on with the next filter.
    Continue,
    /// Answer here.
    Respond(Box<LocalReply>),
    /// Change the stream, then do as the closure says.
    Apply(Box<dyn FnOnce(&mut HttpStream<'_>) -> Flow>),
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flow::Continue => f.write_str("Continue"),
            Flow::Respond(reply) => write!(f, "Respond({reply:?})"),
            Flow::Wait(_) => f.write_str("Wait"),
        }
    }
}

/// One request and its response, as a filter sees them.
pub struct HttpStream<'a> {
    /// Request line and headers. Changing the path or headers does not pick another route unless
    /// [`clear_route`](Self::clear_route) is called.
    pub request: &'a mut request::Parts,
    /// Response line and headers; `None` before the response phase.
    pub response: Option<&'a mut response::Parts>,
    /// What is known of the stream.
    pub info: &'a mut StreamInfo,
    /// The request has no body.
    pub end_of_stream: bool,
    /// Filter's own state in this stream.
    pub state: &'a mut Option<Box<dyn Any>>,
    /// Name of the filter in the configuration.
    pub name: &'a str,
    /// Per-route configurations, most specific first (weighted cluster, route, virtual host, table).
    pub route_configs: &'a [FilterConfigs],
    /// The route is looked up again after this filter.
    pub route_cleared: bool,
}

impl HttpStream<'_> {
    /// The chosen route.
    #[must_use]
    pub fn route(&self) -> Option<&Arc<Route>> {
        self.info.route.as_ref()
    }

    /// This filter's most specific per-route configuration, if any, as made by its factory's `parse_route`.
    #[must_use]
    pub fn route_config<T: Any>(&self) -> Option<&T> {
        self.route_configs.iter().find_map(|configs| configs.get(self.name)?.downcast_ref())
    }

    /// The request as conditions on headers see it: authority and scheme whichever way the protocol carries them.
    #[must_use]
    pub fn header_view(&self) -> HeaderView<'_> {
        let headers = &self.request.headers;
        let uri = &self.request.uri;
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        HeaderView {
            method: self.request.method.as_str(),
            path: uri.path_and_query().map_or("", |path| path.as_str()),
            authority: uri.authority().map(|authority| authority.as_str()).or_else(|| text("host")).unwrap_or_default(),
            scheme: uri.scheme_str().or_else(|| text("x-forwarded-proto")).unwrap_or("http"),
            headers,
        }
    }

    /// This filter's own state in this stream, made when first asked for.
    pub fn state_or_default<T: Any + Default>(&mut self) -> &mut T {
        if !self.state.as_ref().is_some_and(|s| s.is::<T>()) {
            *self.state = Some(Box::new(T::default()));
        }
        // Invariant: a T was put there just above.
        self.state.as_mut().and_then(|s| s.downcast_mut()).expect("state holds a T")
    }

    /// The route is looked up again with the changed request before the next filter runs.
    pub fn clear_route(&mut self) {
        self.route_cleared = true;
    }
}
