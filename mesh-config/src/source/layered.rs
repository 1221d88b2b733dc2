//! Several sources as one, with precedence.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use futures::{FutureExt as _, future::select_all};

use super::{ConfigSource, Event, HealthHandle, ObjectChange};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Object, ObjectKey},
    path::FieldPath,
};

/// Several sources as one: of an object that several have, the version of the last of them counts, and a finding says so
/// about the others (`MESH0202`).
///
/// It tells its first snapshot when all of them have told theirs. While one of them is in trouble, what it told stays, and
/// an [`Event::Failed`] passes on the trouble of all. A version that a source refuses does not count, but shadows the
/// versions below as any does: an older text must not come to light because a newer one is broken.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use mesh_config::{ConfigSource, Event, LayeredSource, MemorySource, Object, ObjectMeta, model::Service};
///
/// let (defaults, below) = MemorySource::new();
/// let (_overrides, above) = MemorySource::new();
/// defaults.apply(Object::new(ObjectMeta { name: "a".into(), ..ObjectMeta::default() }, Service::default()));
/// let mut source = LayeredSource::new([below, above]);
/// assert!(matches!(source.next().await, Some(Event::Snapshot(objects)) if objects.len() == 1));
/// # });
/// ```
#[derive(Debug)]
pub struct LayeredSource<S = Box<dyn ConfigSource>> {
    layers: Vec<Layer<S>>,
    /// What was told of each object.
    told: BTreeMap<ObjectKey, Version>,
    /// What was told of each part.
    findings: BTreeMap<Arc<str>, Vec<Diagnostic>>,
    whole: bool,
    failing: bool,
    health: HealthHandle,
}

/// One of the sources and what it said.
#[derive(Debug)]
struct Layer<S> {
    source: S,
    objects: BTreeMap<ObjectKey, Version>,
    findings: BTreeMap<Arc<str>, Vec<Diagnostic>>,
    trouble: Vec<Diagnostic>,
    whole: bool,
    ended: bool,
}

/// What a source says of an object.
#[derive(Clone, Debug)]
enum Version {
    Good(Arc<Object>),
    Refused(Vec<Diagnostic>),
}

impl Version {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Good(one), Self::Good(two)) => Arc::ptr_eq(one, two),
            (Self::Refused(one), Self::Refused(two)) => one == two,
            _ => false,
        }
    }
}

impl<S: ConfigSource> LayeredSource<S> {
    /// Some sources; later ones take precedence.
    #[must_use]
    pub fn new(sources: impl IntoIterator<Item = S>) -> Self {
        let layer = |source| Layer {
            source,
            objects: BTreeMap::new(),
            findings: BTreeMap::new(),
            trouble: Vec::new(),
            whole: false,
            ended: false,
        };
        let layers: Vec<_> = sources.into_iter().map(layer).collect();
        let health = HealthHandle::of_parts(layers.iter().map(|layer| layer.source.health()));
        let (told, findings) = (BTreeMap::new(), BTreeMap::new());
        Self { layers, told, findings, whole: false, failing: false, health }
    }

    /// The version of each object that counts.
    fn effective(&self) -> BTreeMap<ObjectKey, Version> {
        let mut all = BTreeMap::new();
        for layer in &self.layers {
            all.extend(layer.objects.iter().map(|(key, version)| (key.clone(), version.clone())));
        }
        all
    }

    /// The findings of all parts, and those about versions that do not count.
    fn effective_findings(&self, effective: &BTreeMap<ObjectKey, Version>) -> BTreeMap<Arc<str>, Vec<Diagnostic>> {
        let mut all: BTreeMap<Arc<str>, Vec<Diagnostic>> = BTreeMap::new();
        for layer in &self.layers {
            for (part, findings) in &layer.findings {
                all.entry(Arc::clone(part)).or_default().extend(findings.iter().cloned());
            }
            for (key, version) in &layer.objects {
                if let (Version::Good(object), Some(counts)) = (version, effective.get(key))
                    && !version.same(counts)
                {
                    all.entry(Arc::clone(&object.source.file)).or_default().push(shadowed(object, counts));
                }
            }
        }
        all
    }

    /// What is to be told now, if anything.
    fn event(&mut self) -> Option<Event> {
        let trouble: Vec<_> = self.layers.iter().flat_map(|layer| &layer.trouble).cloned().collect();
        let was_failing = std::mem::replace(&mut self.failing, !trouble.is_empty());
        if !self.layers.iter().all(|layer| layer.whole) {
            return (!trouble.is_empty()).then_some(Event::Failed(trouble));
        }
        let now = self.effective();
        let findings = self.effective_findings(&now);
        let mut changes = Vec::new();
        for (key, version) in &now {
            match (version, self.told.get(key)) {
                (version, Some(before)) if version.same(before) => {}
                (Version::Good(object), _) => changes.push(ObjectChange::Applied(Arc::clone(object))),
                (Version::Refused(diagnostics), _) => {
                    changes.push(ObjectChange::Refused { key: key.clone(), diagnostics: diagnostics.clone() });
                }
            }
        }
        changes.extend(self.told.keys().filter(|key| !now.contains_key(key)).cloned().map(ObjectChange::Deleted));
        let parts: BTreeSet<_> = self.findings.keys().chain(findings.keys()).collect();
        for part in parts.into_iter().filter(|part| self.findings.get(*part) != findings.get(*part)) {
            let diagnostics = findings.get(part).cloned().unwrap_or_default();
            changes.push(ObjectChange::Findings { part: Arc::clone(part), diagnostics });
        }
        (self.told, self.findings) = (now, findings);
        if !std::mem::replace(&mut self.whole, true) {
            return Some(Event::Snapshot(changes));
        }
        if changes.is_empty() && self.failing {
            return Some(Event::Failed(trouble));
        }
        (was_failing || !changes.is_empty()).then_some(Event::Changes(changes))
    }
}

fn shadowed(object: &Object, by: &Version) -> Diagnostic {
    let by = match by {
        Version::Good(object) if !object.source.file.is_empty() => object.source.to_string(),
        Version::Good(_) => "another source".to_owned(),
        Version::Refused(found) => found
            .first()
            .map_or_else(|| "another source".to_owned(), |found| format!("{}:{}", found.file, found.position)),
    };
    Diagnostic::on(Code::Shadowed, object, FieldPath::root(), &[&object.key(), &by])
}

impl<S> Layer<S> {
    fn take(&mut self, event: Event) {
        let changes = match event {
            Event::Failed(trouble) => {
                self.trouble = trouble;
                return;
            }
            Event::Snapshot(changes) => {
                self.whole = true;
                self.objects.clear();
                self.findings.clear();
                changes
            }
            Event::Changes(changes) => changes,
        };
        self.trouble.clear();
        for change in changes {
            match change {
                ObjectChange::Applied(object) => {
                    self.objects.insert(object.key().clone(), Version::Good(object));
                }
                ObjectChange::Refused { key, diagnostics } => {
                    self.objects.insert(key, Version::Refused(diagnostics));
                }
                ObjectChange::Deleted(key) => {
                    self.objects.remove(&key);
                }
                ObjectChange::Findings { part, diagnostics } if diagnostics.is_empty() => {
                    self.findings.remove(&part);
                }
                ObjectChange::Findings { part, diagnostics } => {
                    self.findings.insert(part, diagnostics);
                }
            }
        }
    }
}

#[async_trait]
impl<S: ConfigSource> ConfigSource for LayeredSource<S> {
    async fn next(&mut self) -> Option<Event> {
        if self.layers.is_empty() && !self.whole {
            return self.event();
        }
        loop {
            let waiting = self.layers.iter_mut().enumerate().filter(|(_, layer)| !layer.ended);
            // Each `next` is cancel safe, so that giving up those that are not first loses nothing.
            let waiting: Vec<_> =
                waiting.map(|(at, layer)| layer.source.next().map(move |event| (at, event)).boxed()).collect();
            if waiting.is_empty() {
                return None;
            }
            let ((at, event), _, _) = select_all(waiting).await;
            match event {
                Some(event) => self.layers[at].take(event),
                None => {
                    self.layers[at].ended = true;
                    continue;
                }
            }
            if let Some(event) = self.event() {
                return Some(event);
            }
        }
    }

    fn health(&self) -> HealthHandle {
        self.health.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{ObjectMeta, ServiceEntry},
        source::{MemoryHandle, MemorySource},
    };

    fn entry(name: &str, host: &str) -> Object {
        let meta = ObjectMeta { name: name.to_owned(), ..ObjectMeta::default() };
        Object::new(meta, ServiceEntry { hosts: vec![host.to_owned()], ..ServiceEntry::default() })
    }

    fn layers() -> (MemoryHandle, MemoryHandle, LayeredSource<MemorySource>) {
        let ((low, below), (high, above)) = (MemorySource::new(), MemorySource::new());
        (low, high, LayeredSource::new([below, above]))
    }

    fn shape(event: Option<Event>) -> Vec<String> {
        let changes = match event.unwrap() {
            Event::Snapshot(changes) | Event::Changes(changes) => changes,
            Event::Failed(trouble) => return trouble.iter().map(|found| format!("!{}", found.message)).collect(),
        };
        let shape = |change: &ObjectChange| match change {
            ObjectChange::Applied(object) => {
                format!("+{} {}", object.name(), object.spec_as::<ServiceEntry>().unwrap().hosts[0])
            }
            ObjectChange::Deleted(key) => format!("-{}", key.name),
            ObjectChange::Refused { key, .. } => format!("!{}", key.name),
            ObjectChange::Findings { diagnostics, .. } => {
                format!("findings {:?}", diagnostics.iter().map(|found| found.code.as_str()).collect::<Vec<_>>())
            }
        };
        changes.iter().map(shape).collect()
    }

    #[tokio::test]
    async fn the_last_source_with_an_object_counts() {
        let (low, high, mut source) = layers();
        low.apply(entry("a", "low"));
        low.apply(entry("b", "low"));
        high.apply(entry("a", "high"));
        assert_eq!(shape(source.next().await), ["+a high", "+b low", "findings [\"MESH0202\"]"]);
        assert!(source.health().now().ready);
        high.delete(entry("a", "").key());
        assert_eq!(shape(source.next().await), ["+a low", "findings []"]);
        high.apply(entry("b", "high"));
        assert_eq!(shape(source.next().await), ["+b high", "findings [\"MESH0202\"]"]);
        low.delete(entry("b", "").key());
        assert_eq!(shape(source.next().await), ["findings []"]);
        drop(low);
        high.delete(entry("b", "").key());
        assert_eq!(shape(source.next().await), ["-b"]);
        drop(high);
        assert!(source.next().await.is_none());
    }

    /// A source that tells what it is given.
    #[derive(Debug)]
    struct Script(std::collections::VecDeque<Event>);

    #[async_trait]
    impl ConfigSource for Script {
        async fn next(&mut self) -> Option<Event> {
            self.0.pop_front()
        }

        fn health(&self) -> HealthHandle {
            HealthHandle::default()
        }
    }

    #[tokio::test]
    async fn trouble_of_one_is_trouble_of_all_and_takes_nothing_away() {
        let trouble = || vec![Diagnostic::at(Code::UnreadableFile, &Default::default(), &[&"x"])];
        let good = |object| ObjectChange::Applied(Arc::new(object));
        let refused = ObjectChange::Refused { key: entry("a", "").key().clone(), diagnostics: Vec::new() };
        let script = [
            Event::Failed(trouble()),
            Event::Snapshot(vec![good(entry("a", "high"))]),
            Event::Failed(trouble()),
            Event::Changes(vec![refused]),
        ];
        let (low, below) = MemorySource::new();
        low.apply(entry("a", "low"));
        let layers: [Box<dyn ConfigSource>; 2] = [Box::new(below), Box::new(Script(script.into()))];
        let mut source = LayeredSource::new(layers);
        let mut told = Vec::new();
        for _ in 0..4 {
            told.push(shape(source.next().await));
        }
        let expected: [&[&str]; 4] =
            [&["!cannot be read: x"], &["+a high", "findings [\"MESH0202\"]"], &["!cannot be read: x"], &["!a"]];
        assert_eq!(told.len(), expected.len());
        told.iter().zip(expected).for_each(|(told, expected)| assert_eq!(told, expected));
    }
}
