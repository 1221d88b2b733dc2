//! From a client to the view it gets.

use std::{fmt, net::SocketAddr, ops::Deref, sync::Arc};

use async_trait::async_trait;

use super::View;
use crate::Node;

/// Who asks for a view.
#[derive(Debug, Clone)]
pub struct Attach {
    /// Who the client says it is.
    pub node: Node,
    /// Who it has proven to be: the URI of its certificate, if it gave one.
    pub identity: Option<String>,
    /// Where it connects from, if known.
    pub peer_addr: Option<SocketAddr>,
}

/// Why a client gets no view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It may not. Sent as `PERMISSION_DENIED`: it should not try again unchanged.
    #[error("{0}")]
    Denied(String),
    /// It must say who it is. Sent as `UNAUTHENTICATED`.
    #[error("{0}")]
    Unauthenticated(String),
    /// Not now. Sent as `UNAVAILABLE`: it should try again.
    #[error("{0}")]
    NotReady(String),
}

/// A view in use by one stream. The view's producer may drop it when the last handle is gone.
pub struct ViewHandle {
    view: Arc<View>,
    // After the view, so that it runs when the view is let go of.
    on_drop: OnDrop,
}

#[derive(Default)]
struct OnDrop(Option<Box<dyn FnOnce() + Send + Sync>>);

impl ViewHandle {
    /// A handle.
    #[must_use]
    pub fn new(view: Arc<View>) -> Self {
        Self { view, on_drop: OnDrop::default() }
    }

    /// Calls `f` when the stream has let go of the view. It must not block.
    #[must_use]
    pub fn on_drop(mut self, f: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.on_drop = OnDrop(Some(Box::new(f)));
        self
    }

    /// The view.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }
}

impl Deref for ViewHandle {
    type Target = Arc<View>;

    fn deref(&self) -> &Arc<View> {
        &self.view
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

impl fmt::Debug for ViewHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewHandle").field("view", &self.view).finish_non_exhaustive()
    }
}

/// Decides which view a client gets. This is the seam between the server and whoever makes resources.
///
/// # Contract
/// - [`ViewSource::attach`] is called once per stream, after the client was authorised, with the node of its first
///   request. Many calls run at the same time.
/// - The view may be empty or incomplete and be filled later, but a client then sees it grow. To be whole from the start,
///   fill it before returning.
/// - It may wait (for configuration to arrive); the client waits with it. If the client goes away the future is dropped
///   at an await point.
/// - The handle is kept until the stream ends.
#[async_trait]
pub trait ViewSource: Send + Sync + 'static {
    /// The view for this client.
    ///
    /// # Errors
    /// [`Refusal`]: the stream ends with the reason.
    async fn attach(&self, request: &Attach) -> Result<ViewHandle, Refusal>;
}

/// The same view for every client.
#[derive(Debug, Clone)]
pub struct SingleView(pub Arc<View>);

#[async_trait]
impl ViewSource for SingleView {
    async fn attach(&self, _request: &Attach) -> Result<ViewHandle, Refusal> {
        Ok(ViewHandle::new(self.0.clone()))
    }
}
