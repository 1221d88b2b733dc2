//! Reading and writing the last good resources beside the stream.

use std::time::{Instant, SystemTime};

use tracing::{info, warn};

use super::{
    shared::Shared,
    snapshot::{SnapshotError, Write},
};

/// Reads what was kept. What is wrong with it is said, and it is ignored.
pub(super) async fn load(shared: &Shared) {
    let Some(read) = shared.with(|core| core.keeper.as_ref().map(|k| k.reader())) else { return };
    match tokio::task::spawn_blocking(move || read(SystemTime::now())).await {
        Ok(Ok(loaded)) => {
            let resources = loaded.resources();
            shared.with(|core| {
                if let Some(keeper) = &mut core.keeper {
                    keeper.loaded(loaded, Instant::now());
                }
            });
            shared.tell(|s| s.last_good.resources = resources);
        }
        Ok(Err(error)) => fail(shared, &error),
        Err(_shutting_down) => {}
    }
}

/// Writes when it is due. Does not end.
pub(super) async fn store(shared: &Shared) {
    loop {
        let due = shared.with(|core| core.keeper.as_ref().and_then(|k| k.poll_timeout()));
        tokio::select! {
            () = shared.judged.notified() => {}
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                let write = shared.with(|core| {
                    let keeper = core.keeper.as_mut()?;
                    keeper.write(&core.state, Instant::now(), SystemTime::now())
                });
                if let Some(write) = write {
                    save(shared, write).await;
                }
            }
        }
    }
}

/// Writes what has changed since the last time.
pub(super) async fn finish(shared: &Shared) {
    let write =
        shared.with(|core| core.keeper.as_mut().and_then(|keeper| keeper.last_write(&core.state, SystemTime::now())));
    if let Some(write) = write {
        save(shared, write).await;
    }
}

async fn save(shared: &Shared, write: Write) {
    let resources = write.resources();
    match tokio::task::spawn_blocking(move || write.run()).await {
        Ok(Ok(())) => {
            info!(resources, "last good resources written");
            shared.tell(|s| {
                s.last_good.saved = Some(SystemTime::now());
                s.last_good.saves += 1;
                s.last_good.resources = resources;
                s.last_good.error = None;
            });
        }
        Ok(Err(error)) => {
            shared.with(|core| core.keeper.iter_mut().for_each(|k| k.failed(Instant::now())));
            fail(shared, &error);
        }
        Err(_shutting_down) => {}
    }
}

fn fail(shared: &Shared, error: &SnapshotError) {
    let text = super::channel::chain(error);
    warn!(error = %text, "the last good resources cannot be used");
    shared.tell(|s| s.last_good.error = Some(text));
}
