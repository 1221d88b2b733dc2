//! Drives a store from a source.

use tokio::sync::watch;

use crate::{
    source::ConfigSource,
    store::{State, Store, StoreOptions},
};

/// Follows a source in a task of its own and gives its newest [`State`].
///
/// The receiver holds an empty state (not ready) until the source has told something. The task ends when the last
/// receiver is dropped or the source ends; then the last state stays. Must be called within a tokio runtime.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use mesh_config::{MemorySource, Object, ObjectMeta, StoreOptions, model::Service};
///
/// let (handle, source) = MemorySource::new();
/// handle.apply(Object::new(ObjectMeta { name: "reviews".into(), ..ObjectMeta::default() }, Service::default()));
/// let mut states = mesh_config::watch(source, StoreOptions::default());
/// let state = states.wait_for(|state| state.ready).await.unwrap();
/// assert!(state.snapshot.find::<Service>("default", "reviews").is_some());
/// # });
/// ```
pub fn watch(source: impl ConfigSource + 'static, options: StoreOptions) -> watch::Receiver<State> {
    let (sender, receiver) = watch::channel(State::default());
    tokio::spawn(follow(source, Store::new(options), sender));
    receiver
}

/// Follows a source until it ends or nobody listens any more, and gives the newest state to `states`.
///
/// Cancel safe: nothing is held outside of `source` and `store`, both of which end with the call.
pub async fn follow(mut source: impl ConfigSource, mut store: Store, states: watch::Sender<State>) {
    loop {
        let event = tokio::select! {
            event = source.next() => event,
            () = states.closed() => return,
        };
        let Some(event) = event else { return };
        let state = store.apply(event);
        for finding in state.diagnostics.iter() {
            tracing::debug!(%finding, "configuration");
        }
        states.send_replace(state);
    }
}
