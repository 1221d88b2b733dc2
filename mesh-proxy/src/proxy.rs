//! The proxy put together: workers, control side and administration interface.
//!
//! ```text
//!   control thread: configuration ─▸ snapshots ─▸ (watch) ─▸ worker 0 .. n-1
//!                   admin ◂── statistics, snapshots, bound addresses
//! ```

mod builder;
mod handle;
mod plane;

use std::{collections::HashSet, future::Future, io, pin::Pin, sync::Arc, thread::JoinHandle, time::Duration};

pub use builder::ProxyBuilder;
use handle::Inner;
pub use handle::ProxyHandle;
pub(crate) use plane::DataPlane;
use tokio::sync::oneshot;

use crate::{
    admin::{Admin, ServerInfo},
    config::{Bootstrap, Rejection},
};

/// A proxy cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// A static resource does not fit the others.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The administration interface has no socket.
    #[error("admin: cannot listen on {address}: {source}; choose another address or port 0")]
    Admin {
        /// Address asked for.
        address: String,
        /// Cause.
        source: io::Error,
    },
    /// A static listener has no socket; the text says which, why, and what to do.
    #[error("{0}")]
    Listener(String),
    /// A thread cannot be made.
    #[error("cannot start a thread: {0}; check the process's limits")]
    Thread(#[source] io::Error),
    /// A worker ended by itself. This is a defect.
    #[error("a worker ended before it was told to; the log says why")]
    Worker,
}

/// A proxy, built and not yet running.
pub struct Proxy {
    handle: ProxyHandle,
    admin: Option<std::net::TcpListener>,
    control: Pin<Box<dyn Future<Output = ()> + Send>>,
    info: ServerInfo,
    static_listeners: HashSet<String>,
    shutdown_time: Duration,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl Proxy {
    /// A builder for a proxy that starts from `bootstrap`.
    #[must_use]
    pub fn builder(bootstrap: Bootstrap) -> ProxyBuilder {
        ProxyBuilder::new(bootstrap)
    }

    /// A handle, valid before, while and after it runs.
    #[must_use]
    pub fn handle(&self) -> ProxyHandle {
        self.handle.clone()
    }

    /// Runs until `shutdown` is ready or [`ProxyHandle::shut_down`] is called; then stops accepting, finishes what is
    /// under way (at most the [shutdown time](ProxyBuilder::shutdown_time)) and returns.
    ///
    /// Runs on threads of its own; the calling runtime only waits. Dropping the future ends the proxy without grace.
    ///
    /// # Errors
    /// A thread cannot be made, a static listener cannot be bound, or a worker ended by itself.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ProxyError> {
        let Proxy { handle, admin, control, info, static_listeners, shutdown_time } = self;
        let inner = handle.inner.clone();
        let concurrency = info.concurrency;
        let admin = admin.map(|listener| (listener, Admin::new(handle.stats().clone(), Arc::new(handle), info)));
        let _control = ControlThread::start(control, admin).map_err(ProxyError::Thread)?;
        let snapshots = inner.control.snapshots();
        let (shared, commands) = (inner.shared.clone(), inner.commands.clone());
        let plane = DataPlane::start(concurrency, shared, &snapshots, commands, seed()).map_err(ProxyError::Thread)?;
        let served = async {
            go_live(&inner, &plane, &static_listeners).await?;
            plane.ended().await;
            Err(ProxyError::Worker)
        };
        let result = tokio::select! {
            () = shutdown => Ok(()),
            () = inner.quit.notified() => Ok(()),
            failed = served => failed,
        };
        inner.live.send_replace(false);
        plane.shut_down(if result.is_ok() { shutdown_time } else { Duration::ZERO }).await;
        inner.shared.sinks.flush();
        result
    }
}

/// A seed for choices of the workers, another one at each start.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

/// Waits for the first configuration on every worker.
async fn go_live(inner: &Inner, plane: &DataPlane, static_listeners: &HashSet<String>) -> Result<(), ProxyError> {
    let mut ready = inner.control.ready();
    if ready.wait_for(|ready| *ready).await.is_err() {
        return Err(ProxyError::Worker);
    }
    let version = inner.control.snapshots().borrow().version;
    if !plane.applied(version).await {
        return Err(ProxyError::Worker);
    }
    let failures = inner.shared.bind_failures();
    if let Some((_, why)) = failures.into_iter().find(|(name, _)| static_listeners.contains(name)) {
        return Err(ProxyError::Listener(why));
    }
    inner.live.send_replace(true);
    Ok(())
}

/// The thread that everything but requests runs on. Ends when it is dropped.
struct ControlThread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ControlThread {
    fn start(
        control: Pin<Box<dyn Future<Output = ()> + Send>>,
        admin: Option<(std::net::TcpListener, Admin)>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("control".into()).spawn(move || {
            runtime.block_on(async move {
                if let Some((listener, admin)) = admin {
                    tokio::spawn(serve_admin(listener, admin));
                }
                tokio::select! {
                    () = control => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for ControlThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control thread ended by a panic");
        }
    }
}

async fn serve_admin(listener: std::net::TcpListener, admin: Admin) {
    let served = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => admin.serve(listener, std::future::pending()).await,
        Err(e) => Err(e),
    };
    if let Err(e) = served {
        tracing::error!(error = %e, "the administration interface ended");
    }
}

#[cfg(test)]
mod tests;
