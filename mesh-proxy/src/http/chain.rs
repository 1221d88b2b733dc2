//! A connection manager in force on one worker.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use super::{replies::Replies, stats::HttpStats, stream::Stream, target::view};
use crate::{
    access_log::{AccessLog, LogContext},
    model::{HttpConnectionManager, LocalReplies, RouteSource},
    route::Routes,
    state::Snapshot,
    worker::WorkerContext,
};

/// An HTTP connection manager with what it needs at hand.
pub(crate) struct HttpChain {
    pub(super) model: Arc<HttpConnectionManager>,
    pub(super) worker: Rc<WorkerContext>,
    pub(super) stats: HttpStats,
    /// Someone looks at the request's headers after they went upstream, whatever its route.
    pub(super) keeps_request: bool,
    /// Logs look at the response's headers after they went to the client.
    pub(super) keeps_response: bool,
    /// Request bytes kept for retries.
    pub(super) buffer_limit: usize,
    routes: RefCell<Option<Arc<Routes>>>,
    logs: Vec<Arc<AccessLog>>,
    /// How answers of the proxy itself look.
    pub(super) replies: Option<Replies>,
}

impl HttpChain {
    /// For `model`, with the routes of the worker's present snapshot.
    pub(crate) fn new(model: Arc<HttpConnectionManager>, buffer_limit: u32, worker: &Rc<WorkerContext>) -> Rc<Self> {
        let logs = worker.access_logs(&model.access_log);
        let keeps_response = !logs.is_empty();
        let keeps_request = keeps_response
            || !model.filters.is_empty()
            || model.always_set_request_id_in_response
            || model.local_replies.is_some();
        let routes = match &model.routes {
            RouteSource::Inline(table) => Some(worker.compiled_routes(table)),
            RouteSource::Rds { name, .. } => worker.snapshot().routes.get(name.as_str()).cloned(),
        };
        Rc::new(Self {
            stats: HttpStats::new(&worker.stats, &model.stat_prefix),
            worker: worker.clone(),
            keeps_request,
            keeps_response,
            buffer_limit: buffer_limit as usize,
            routes: RefCell::new(routes),
            logs,
            replies: model.local_replies.as_deref().and_then(compile_replies),
            model,
        })
    }

    /// Takes the routes of a new snapshot; the last good ones stay if it has none.
    pub(crate) fn update(&self, snapshot: &Snapshot) {
        if let RouteSource::Rds { name, .. } = &self.model.routes
            && let Some(routes) = snapshot.routes.get(name.as_str())
        {
            *self.routes.borrow_mut() = Some(routes.clone());
        }
    }

    /// The route table; `None` before its first version arrived.
    pub(super) fn routes(&self) -> Option<Arc<Routes>> {
        self.routes.borrow().clone()
    }

    /// Writes the access logs of a stream that begins, if that is asked for.
    pub(super) fn log_begin(&self, stream: &Stream) {
        if !self.model.log_new_requests {
            return;
        }
        let request = Some(view(&stream.request));
        let context = LogContext { info: &stream.info, request, response: None, trailers: None };
        for log in &self.logs {
            log.log(&context);
        }
    }

    /// Writes the access logs and metrics of a stream that is over.
    pub(super) fn log(&self, stream: &Stream) {
        if !self.logs.is_empty() {
            let context = LogContext {
                info: &stream.info,
                request: Some(view(&stream.request)),
                response: stream.response.as_deref(),
                trailers: stream.trailers.as_deref(),
            };
            for log in &self.logs {
                log.log(&context);
            }
        }
        if let Some(istio) = &self.worker.istio
            && stream.info.connection.inbound.is_some()
        {
            istio.record_http(&stream.info, &view(&stream.request));
        }
    }
}

/// The configuration was checked when it was taken; what fails here all the same is reported and left out.
fn compile_replies(replies: &LocalReplies) -> Option<Replies> {
    match Replies::compile(replies) {
        Ok(replies) => Some(replies),
        Err(e) => {
            tracing::error!(error = %e, "local_reply_config is off");
            None
        }
    }
}
