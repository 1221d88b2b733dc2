//! Checks across objects.

mod conflicting_hosts;
mod context;
mod destination_host;
mod destination_subset;
mod duplicate_subset;
mod gateway_reference;
mod weight_sum;

use std::{collections::BTreeSet, fmt, sync::Arc};

pub use self::context::AnalysisContext;
use crate::{diagnostic::Diagnostic, model::ObjectKey, snapshot::Snapshot};

/// Checks objects against each other.
///
/// # Contract
///
/// Called with the whole configuration after every change of it. It does not block and gives the same findings, in the
/// same order, for the same configuration.
pub trait Analyzer: fmt::Debug + Send + Sync {
    /// A short name, such as `virtualservice.destination`.
    fn name(&self) -> &'static str;

    /// Whether its errors mean that the object they name does not work. The store then keeps the version before in
    /// force, if there is one. Default false.
    fn is_blocking(&self) -> bool {
        false
    }

    /// Adds what is wrong.
    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>);
}

/// A set of analyzers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Analyzers(Arc<Vec<Arc<dyn Analyzer>>>);

/// What a set of analyzers finds.
#[derive(Clone, Debug, Default)]
pub struct Analysis {
    /// Every finding.
    pub diagnostics: Vec<Diagnostic>,
    /// The objects that blocking analyzers found errors of.
    pub blocked: BTreeSet<ObjectKey>,
}

impl Analyzers {
    /// No analyzers.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// All analyzers of this crate.
    #[must_use]
    pub fn standard() -> Self {
        Self(Arc::new(vec![
            Arc::new(gateway_reference::GatewayReference),
            Arc::new(destination_host::DestinationHost),
            Arc::new(destination_subset::DestinationSubset),
            Arc::new(conflicting_hosts::ConflictingHosts),
            Arc::new(duplicate_subset::DuplicateSubset),
            Arc::new(weight_sum::WeightSum),
        ]))
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, analyzer: impl Analyzer + 'static) -> Self {
        Arc::make_mut(&mut self.0).push(Arc::new(analyzer));
        self
    }

    /// Checks a configuration.
    #[must_use]
    pub fn analyze(&self, snapshot: &Snapshot) -> Analysis {
        let context = AnalysisContext::new(snapshot);
        let mut analysis = Analysis::default();
        for analyzer in self.0.iter() {
            let start = analysis.diagnostics.len();
            analyzer.analyze(&context, &mut analysis.diagnostics);
            if analyzer.is_blocking() {
                let errors = analysis.diagnostics[start..].iter().filter(|finding| finding.is_error());
                analysis.blocked.extend(errors.filter_map(|finding| finding.key.clone()));
            }
        }
        analysis
    }
}
