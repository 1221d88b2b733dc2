//! Keeps the findings of analyzers up to date as the configuration changes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{AnalysisContext, Analyzer, Analyzers, Inputs, context::Surroundings};
use crate::{
    diagnostic::Diagnostic,
    model::{MeshConfig, Object, ObjectKey},
    snapshot::Snapshot,
};

/// With more changes at once, all of the configuration is looked at: that is cheaper than following their links.
const MANY: usize = 256;

/// The findings of a set of analyzers for a configuration that changes: a change has them look only at what it can
/// matter to (see [`Inputs`]). What is found is the same as with [`Analyzers::analyze`].
///
/// ```
/// use mesh_config::{Analyzers, IncrementalAnalysis, Snapshot, parse};
///
/// let text = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, spec: {hosts: [a], \
///     http: [{route: [{destination: {host: reviews}}]}]}}";
/// let mut analysis = IncrementalAnalysis::new(Analyzers::standard());
/// let update = analysis.update(&Snapshot::from_objects(parse("a.yaml", text).objects));
/// assert_eq!(update.added.len(), 1);
/// assert_eq!(analysis.update(&Snapshot::default()).removed, update.added);
/// ```
#[derive(Debug)]
pub struct IncrementalAnalysis {
    parts: Vec<Part>,
    mesh: Option<MeshConfig>,
    snapshot: Snapshot,
    surroundings: Surroundings,
    /// Objects that blocking analyzers found errors of, and how many.
    blocked: BTreeMap<ObjectKey, usize>,
}

/// An analyzer and what it has found.
#[derive(Debug)]
struct Part {
    analyzer: Arc<dyn Analyzer>,
    inputs: Inputs,
    /// By the object that they are about.
    found: HashMap<Option<ObjectKey>, Vec<Arc<Diagnostic>>>,
}

/// What an update changed about the findings.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AnalysisUpdate {
    /// Findings that hold no more.
    pub removed: Vec<Arc<Diagnostic>>,
    /// Findings that hold now.
    pub added: Vec<Arc<Diagnostic>>,
    /// How many objects analyzers were shown, each counted once for every analyzer.
    pub visited: usize,
}

/// An object before and after a change.
type Pair<'a> = (Option<&'a Arc<Object>>, Option<&'a Arc<Object>>);

impl IncrementalAnalysis {
    /// Analyzers and an empty configuration. The settings of the mesh are those that it holds, if any.
    #[must_use]
    pub fn new(analyzers: Analyzers) -> Self {
        let part = |analyzer: &Arc<dyn Analyzer>| Part {
            inputs: analyzer.inputs(),
            analyzer: Arc::clone(analyzer),
            found: HashMap::new(),
        };
        let parts = analyzers.0.iter().map(part).collect();
        let surroundings = Surroundings::of(&Snapshot::default());
        Self { parts, mesh: None, snapshot: Snapshot::default(), surroundings, blocked: BTreeMap::new() }
    }

    /// As [`IncrementalAnalysis::new`], in a mesh with these settings.
    #[must_use]
    pub fn with_mesh(analyzers: Analyzers, mesh: MeshConfig) -> Self {
        Self { mesh: Some(mesh), ..Self::new(analyzers) }
    }

    /// The objects that blocking analyzers found errors of, in order.
    pub fn blocked(&self) -> impl Iterator<Item = &ObjectKey> {
        self.blocked.keys()
    }

    /// Every finding at present, in no order.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Arc<Diagnostic>> {
        self.parts.iter().flat_map(|part| part.found.values()).flatten()
    }

    /// Goes on to another configuration.
    pub fn update(&mut self, later: &Snapshot) -> AnalysisUpdate {
        let mut update = AnalysisUpdate::default();
        let before = std::mem::replace(&mut self.snapshot, later.clone());
        let mut pairs: Vec<Pair<'_>> = Vec::new();
        before.compare(later, |old, new| pairs.push((old, new)));
        if pairs.is_empty() {
            return update;
        }
        let mut surroundings = Surroundings::of(later);
        if let Some(mesh) = &self.mesh {
            surroundings.mesh = mesh.clone();
        }
        let anew = surroundings != self.surroundings || pairs.len() > MANY || before.is_empty();
        self.surroundings = surroundings;
        // One for all analyzers that look at everything, so that they share what is looked up.
        let whole = AnalysisContext::within(later, later, &self.surroundings);
        for part in &mut self.parts {
            let concerned =
                |pair: &&Pair<'_>| pair.0.or(pair.1).is_some_and(|object| part.inputs.concerns(object.kind()));
            let concerned: Vec<&Pair<'_>> = pairs.iter().filter(concerned).collect();
            if anew || (part.inputs.is_everything() && !concerned.is_empty()) {
                update.visited += later.len();
                part.replace_all(&whole, &mut self.blocked, &mut update);
            } else if !concerned.is_empty() {
                part.replace_some(later, &self.surroundings, &concerned, &mut self.blocked, &mut update);
            }
        }
        update
    }
}

impl Part {
    fn analyze(&self, context: &AnalysisContext<'_>) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        self.analyzer.analyze(context, &mut found);
        found
    }

    fn replace_all(
        &mut self,
        context: &AnalysisContext<'_>,
        blocked: &mut BTreeMap<ObjectKey, usize>,
        update: &mut AnalysisUpdate,
    ) {
        for (_, old) in std::mem::take(&mut self.found) {
            self.take_out(old, blocked, update);
        }
        let found = self.analyze(context);
        self.put_in(found, blocked, update);
    }

    /// Looks at what some changes can matter to.
    fn replace_some(
        &mut self,
        later: &Snapshot,
        surroundings: &Surroundings,
        changed: &[&Pair<'_>],
        blocked: &mut BTreeMap<ObjectKey, usize>,
        update: &mut AnalysisUpdate,
    ) {
        let mut touched = self.touched(later, changed);
        // Findings are about subjects; the others were only the way there.
        touched.retain(|key| self.inputs.is_subject(key.kind));
        if touched.is_empty() {
            return;
        }
        let shown = self.needed(later, &touched);
        update.visited += shown.len();
        let part = later.part(&shown);
        let mut found = self.analyze(&AnalysisContext::within(&part, later, surroundings));
        // About others it may not have seen all that matters.
        found.retain(|finding| finding.key.as_ref().is_some_and(|key| touched.contains(key)));
        for key in touched {
            if let Some(old) = self.found.remove(&Some(key)) {
                self.take_out(old, blocked, update);
            }
        }
        self.put_in(found, blocked, update);
    }

    /// The changed objects, and all that lead to them as they were or as they are.
    fn touched(&self, later: &Snapshot, changed: &[&Pair<'_>]) -> BTreeSet<ObjectKey> {
        let mut touched = BTreeSet::new();
        let mut frontier: Vec<Arc<Object>> = Vec::new();
        for (old, new) in changed.iter().copied() {
            for object in [old, new].into_iter().flatten() {
                touched.insert(object.key().clone());
                frontier.push(Arc::clone(object));
            }
        }
        while let Some(object) = frontier.pop() {
            for edge in self.inputs.to(object.kind()) {
                later.linking(*edge, &object, &mut |from| {
                    if self.inputs.matters(from) && touched.insert(from.key().clone()) {
                        frontier.push(Arc::clone(from));
                    }
                });
            }
        }
        touched
    }

    /// Some objects, and all that they lead to.
    fn needed(&self, later: &Snapshot, touched: &BTreeSet<ObjectKey>) -> BTreeSet<ObjectKey> {
        let mut needed = touched.clone();
        let mut frontier: Vec<Arc<Object>> = touched.iter().filter_map(|key| later.object(key)).cloned().collect();
        while let Some(object) = frontier.pop() {
            for edge in self.inputs.from(object.kind()) {
                later.linked(*edge, &object, &mut |to| {
                    if needed.insert(to.key().clone()) {
                        frontier.push(Arc::clone(to));
                    }
                });
            }
        }
        needed
    }

    fn take_out(
        &self,
        old: Vec<Arc<Diagnostic>>,
        blocked: &mut BTreeMap<ObjectKey, usize>,
        update: &mut AnalysisUpdate,
    ) {
        for key in old.iter().filter_map(|finding| self.blocks(finding)) {
            if let Some(count) = blocked.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    blocked.remove(key);
                }
            }
        }
        update.removed.extend(old);
    }

    fn put_in(
        &mut self,
        found: Vec<Diagnostic>,
        blocked: &mut BTreeMap<ObjectKey, usize>,
        update: &mut AnalysisUpdate,
    ) {
        for finding in found {
            let finding = Arc::new(finding);
            if let Some(key) = self.blocks(&finding) {
                *blocked.entry(key.clone()).or_default() += 1;
            }
            update.added.push(Arc::clone(&finding));
            self.found.entry(finding.key.clone()).or_default().push(finding);
        }
    }

    /// The object that a finding says does not work.
    fn blocks<'f>(&self, finding: &'f Diagnostic) -> Option<&'f ObjectKey> {
        if self.analyzer.is_blocking() && finding.is_error() { finding.key.as_ref() } else { None }
    }
}
