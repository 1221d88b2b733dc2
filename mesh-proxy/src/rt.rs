//! Glue between hyper and a single-threaded worker.

use std::future::Future;

/// Runs hyper's tasks on the worker's own `LocalSet`; nothing crosses threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LocalExec;

impl<F> hyper::rt::Executor<F> for LocalExec
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
