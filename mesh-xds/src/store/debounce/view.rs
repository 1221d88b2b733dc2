//! A view whose changes are gathered.

use std::sync::Arc;

use indexmap::IndexMap;
use parking_lot::Mutex;

use super::{DebounceConfig, DebounceStats, Debouncer};
use crate::{
    ResourceKey, TypeUrl,
    store::{Batch, Changed, View, batch::Step},
};

/// Writes to a view: what changes often is gathered, what must not wait is not. Cheap to clone; clones gather together.
///
/// Resources of urgent types ([`TypeUrl::ENDPOINT`] if nothing else is said) take effect at once, the rest when it has
/// settled, as a whole. A removal always waits: what still refers to the removed is among the rest. What waits is bounded by
/// the number of names. When the last clone is dropped, what waits takes effect.
#[derive(Debug, Clone)]
pub struct DebouncedView {
    gathered: Arc<Gathered>,
    debouncer: Debouncer,
    urgent: Vec<TypeUrl>,
}

#[derive(Debug)]
struct Gathered {
    view: Arc<View>,
    /// What waits. Locked while it is applied, so that nothing overtakes it.
    steps: Mutex<Steps>,
}

/// The last word on each name.
type Steps = IndexMap<ResourceKey, Step>;

impl DebouncedView {
    /// Writes to `view`. To be called within a tokio runtime.
    #[must_use]
    pub fn new(view: Arc<View>, config: DebounceConfig) -> Self {
        let gathered = Arc::new(Gathered { view, steps: Mutex::default() });
        let flushed = gathered.clone();
        let debouncer = Debouncer::spawn(config, move || flushed.apply());
        Self { gathered, debouncer, urgent: vec![TypeUrl::ENDPOINT] }
    }

    /// The types that do not wait.
    #[must_use]
    pub fn with_urgent(mut self, types: impl IntoIterator<Item = TypeUrl>) -> Self {
        self.urgent = types.into_iter().collect();
        self
    }

    /// The view.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.gathered.view
    }

    /// Takes `batch`, and gives what of it took effect at once.
    pub fn update(&self, batch: Batch) -> Changed {
        let mut waiting = self.gathered.steps.lock();
        let mut urgent = Steps::new();
        let mut more = false;
        for step in batch.steps {
            let key = key_of(&step);
            // The last word on a name counts, here or there.
            waiting.shift_remove(&key);
            urgent.shift_remove(&key);
            if matches!(step, Step::Put(_)) && self.urgent.contains(&key.type_url) {
                urgent.insert(key, step);
            } else {
                waiting.insert(key, step);
                more = true;
            }
        }
        if more {
            self.debouncer.mark();
        }
        self.gathered.view.update(batch_of(&mut urgent))
    }

    /// Lets everything take effect now.
    pub fn flush(&self) {
        self.gathered.apply();
    }

    /// How changes have been gathered so far.
    #[must_use]
    pub fn stats(&self) -> DebounceStats {
        self.debouncer.stats()
    }
}

impl Gathered {
    fn apply(&self) {
        let mut waiting = self.steps.lock();
        let batch = batch_of(&mut waiting);
        if !batch.is_empty() {
            self.view.update(batch);
        }
    }
}

fn batch_of(steps: &mut Steps) -> Batch {
    Batch { steps: steps.drain(..).map(|(_, step)| step).collect() }
}

fn key_of(step: &Step) -> ResourceKey {
    match step {
        Step::Put(resource) => resource.key(),
        Step::Remove(key) => key.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mesh_xds_api::google::protobuf::Any;

    use super::*;
    use crate::Resource;

    fn resource(type_url: &TypeUrl, name: &str, value: u8) -> Resource {
        Resource::new(name, Any { type_url: type_url.as_str().into(), value: vec![value].into() })
    }

    fn names(view: &View) -> Vec<String> {
        view.snapshot().into_keys().map(|key| format!("{} {}", key.type_url.short().unwrap(), key.name)).collect()
    }

    async fn settle() {
        tokio::time::sleep(Duration::from_millis(150)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn endpoints_are_there_at_once_and_the_rest_together() {
        let writer = DebouncedView::new(View::unchecked(), DebounceConfig::default());
        let both = Batch::new().put(resource(&TypeUrl::CLUSTER, "a", 1)).put(resource(&TypeUrl::ENDPOINT, "a", 1));
        assert_eq!(writer.update(both).put.len(), 1);
        assert_eq!(names(writer.view()), ["EDS a"]);
        writer.update(Batch::new().put(resource(&TypeUrl::LISTENER, "l", 1)));
        settle().await;
        assert_eq!(names(writer.view()), ["CDS a", "EDS a", "LDS l"]);
        assert_eq!((writer.stats().marks, writer.stats().flushes), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn removals_wait_and_the_last_word_counts() {
        let writer = DebouncedView::new(View::unchecked(), DebounceConfig::default());
        let endpoints = |value| Batch::new().put(resource(&TypeUrl::ENDPOINT, "a", value));
        let remove = || Batch::new().remove(TypeUrl::ENDPOINT, "a");
        writer.update(endpoints(1));
        writer.update(remove());
        assert_eq!(names(writer.view()), ["EDS a"], "what refers to it may be waiting");
        writer.update(endpoints(2));
        settle().await;
        assert_eq!(names(writer.view()), ["EDS a"], "it is back");
        // Within one batch as well.
        writer.update(endpoints(3).remove(TypeUrl::ENDPOINT, "a"));
        settle().await;
        assert!(writer.view().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_takes_effect_on_demand_and_at_the_end() {
        let view = View::unchecked();
        let writer = DebouncedView::new(view.clone(), DebounceConfig::default()).with_urgent([TypeUrl::SECRET]);
        writer.update(Batch::new().put(resource(&TypeUrl::ENDPOINT, "a", 1)));
        assert!(view.is_empty());
        writer.flush();
        assert_eq!(names(&view), ["EDS a"]);
        writer.update(Batch::new().put(resource(&TypeUrl::SECRET, "s", 1)).put(resource(&TypeUrl::CLUSTER, "c", 1)));
        assert_eq!(names(&view), ["EDS a", "SDS s"]);
        drop(writer);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(names(&view), ["CDS c", "EDS a", "SDS s"]);
    }
}
