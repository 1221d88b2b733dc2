use std::{future::Future, io, sync::Arc};

use axum::{Router, extract::State, http::Request, response::Response};
use tokio::net::TcpListener;

use super::{AdminState, ServerInfo, handler};
use crate::stats::Stats;

/// The administration interface of one proxy. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    pub(super) stats: Stats,
    pub(super) state: Arc<dyn AdminState>,
    pub(super) info: Arc<ServerInfo>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Admin({})", self.info.version)
    }
}

impl Admin {
    /// An interface that shows `stats` and what `state` tells.
    pub fn new(stats: Stats, state: Arc<dyn AdminState>, info: ServerInfo) -> Self {
        Self { stats, state, info: Arc::new(info) }
    }

    /// The interface as a router, to be served elsewhere or nested.
    pub fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    /// Serves on `listener` until `shutdown` is ready; requests under way are answered.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        axum::serve(listener, self.router()).with_graceful_shutdown(shutdown).await
    }
}

async fn answer(State(admin): State<Admin>, request: Request<axum::body::Body>) -> Response {
    handler::answer(&admin, request.method(), request.uri())
}
