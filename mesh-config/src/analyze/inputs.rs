//! What an analyzer reads: from which objects its findings follow.

use crate::model::{Kind, Object};

/// The kinds of what labels can select.
pub(super) const WORKLOADS: [Kind; 4] = [Kind::Pod, Kind::Deployment, Kind::WorkloadEntry, Kind::ServiceEntry];

/// What an analyzer reads, so that a change leads it only to what the change can matter to.
///
/// An analyzer looks at subjects, and its findings are about subjects. What it looks up for a subject is reached by links:
/// from the subject to others, and on from these to more. The findings about a subject may depend on nothing but the
/// subject, what links lead to, the settings of the mesh, and whether there is a workload of the default gateway.
///
/// ```
/// use mesh_config::{Inputs, Kind, Link};
///
/// // Subsets of a DestinationRule, the service of its host, and the pods of that service.
/// let inputs = Inputs::each([Kind::DestinationRule])
///     .reads([Kind::DestinationRule], [Kind::Service], Link::Host)
///     .reads([Kind::Service], [Kind::Pod], Link::Selects);
/// assert!(inputs.concerns(Kind::Pod) && !inputs.concerns(Kind::Secret));
/// ```
#[derive(Clone, Debug)]
pub struct Inputs {
    /// `None`: everything.
    subjects: Option<Vec<Kind>>,
    /// Which subjects there can be findings about.
    only: Option<fn(&Object) -> bool>,
    edges: Vec<Edge>,
}

/// Objects of one kind lead to objects of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Edge {
    pub(crate) from: Kind,
    pub(crate) to: Kind,
    pub(crate) link: Link,
    /// Whether the analyzer is to be shown what the link leads to: what it looks up in the whole, it need not be.
    pub(crate) shown: bool,
}

/// How an object leads to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Link {
    /// To every object of the kind.
    All,
    /// To those whose name begins with this.
    Named(&'static str),
    /// To those of this namespace.
    In(&'static str),
    /// To those of the same namespace. A Namespace leads to what is in it, and what is in it to the Namespace.
    Namespace,
    /// To those that define a host for the mesh which it defines as well; a wildcard meets what it covers.
    Host,
    /// To those that define a host, for the mesh or at gateways, which it sends requests to.
    Destination,
    /// To the workloads that its selector may select.
    Selects,
    /// To those whose selector may select it.
    SelectedBy,
    /// To those that it names.
    Names,
    /// To those that name it.
    NamedBy,
    /// To those that name something that it names as well.
    SameNames,
    /// To those that define a host at gateways which it defines there as well; a wildcard meets what it covers.
    GatewayHost,
}

impl Inputs {
    /// Anything may matter to any finding: every change has the analyzer look at all of the configuration.
    #[must_use]
    pub fn everything() -> Self {
        Self { subjects: None, only: None, edges: Vec::new() }
    }

    /// Objects of these kinds, each by itself.
    #[must_use]
    pub fn each(subjects: impl IntoIterator<Item = Kind>) -> Self {
        Self { subjects: Some(subjects.into_iter().collect()), only: None, edges: Vec::new() }
    }

    /// And what each object of the kinds `from` leads to among the kinds `to`.
    #[must_use]
    pub fn reads(
        self,
        from: impl IntoIterator<Item = Kind>,
        to: impl IntoIterator<Item = Kind> + Clone,
        link: Link,
    ) -> Self {
        self.edge(from, to, link, true)
    }

    /// As [`Inputs::reads`], for what is looked up in [`AnalysisContext::whole`](super::AnalysisContext::whole) only, so
    /// that it need not be a part of what is shown.
    #[must_use]
    pub fn looks_up(
        self,
        from: impl IntoIterator<Item = Kind>,
        to: impl IntoIterator<Item = Kind> + Clone,
        link: Link,
    ) -> Self {
        self.edge(from, to, link, false)
    }

    /// Only subjects that `only` holds for can have findings.
    #[must_use]
    pub fn only(self, only: fn(&Object) -> bool) -> Self {
        Self { only: Some(only), ..self }
    }

    fn edge(
        mut self,
        from: impl IntoIterator<Item = Kind>,
        to: impl IntoIterator<Item = Kind> + Clone,
        link: Link,
        shown: bool,
    ) -> Self {
        for from in from {
            self.edges.extend(to.clone().into_iter().map(|to| Edge { from, to, link, shown }));
        }
        self
    }

    /// Whether an object of a kind may matter.
    #[must_use]
    pub fn concerns(&self, kind: Kind) -> bool {
        self.is_everything() || self.is_subject(kind) || self.edges.iter().any(|edge| edge.to == kind)
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.subjects.is_none()
    }

    pub(crate) fn is_subject(&self, kind: Kind) -> bool {
        self.subjects.as_ref().is_none_or(|subjects| subjects.contains(&kind))
    }

    /// Whether an object can have findings, or leads to something that others are looked up by.
    pub(crate) fn matters(&self, object: &Object) -> bool {
        self.only.is_none_or(|only| !self.is_subject(object.kind()) || only(object))
    }

    /// How objects of a kind lead on to what is shown.
    pub(crate) fn from(&self, kind: Kind) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.from == kind && edge.shown)
    }

    /// How objects of a kind are reached.
    pub(crate) fn to(&self, kind: Kind) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.to == kind)
    }
}
