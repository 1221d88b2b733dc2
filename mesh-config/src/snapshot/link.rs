//! Follows links from an object to others, and back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Snapshot,
    facet::{Facet, facets, label, reference},
};
use crate::{
    analyze::{Edge, Link},
    model::{Kind, Object},
};

/// Takes the objects that a link leads to.
type Visit<'v> = &'v mut dyn FnMut(&Arc<Object>);

impl Snapshot {
    /// Calls back with at least the objects that an edge leads to from an object of its kind.
    pub(crate) fn linked(&self, edge: Edge, from: &Object, visit: Visit<'_>) {
        let to = edge.to;
        let visit = &mut |object: &Arc<Object>| {
            if object.kind() == to && self.holds(object) {
                visit(object);
            }
        };
        match edge.link {
            Link::All => self.of_kind(to).for_each(visit),
            Link::Named(prefix) => self.of_kind(to).filter(|object| object.name().starts_with(prefix)).for_each(visit),
            Link::In(namespace) => self.in_namespace(to, namespace).for_each(visit),
            Link::Namespace => self.beside(from, to, visit),
            Link::Host => self.same_hosts(from, &[Facet::Host], &[Facet::Host], visit),
            Link::Destination => {
                self.same_hosts(from, &[Facet::Destination], &[Facet::Host, Facet::GatewayHost], visit);
            }
            Link::Selects => self.selected(from, to, visit),
            Link::SelectedBy => self.selecting(from, true, visit),
            Link::Names => self.named(from, to, visit),
            Link::NamedBy => self.naming(from, visit),
            Link::GatewayHost => self.same_hosts(from, &[Facet::GatewayHost], &[Facet::GatewayHost], visit),
            Link::SameNames => self.same_names(from, visit),
        }
    }

    /// Calls back with at least the objects from which an edge leads to an object of its kind.
    pub(crate) fn linking(&self, edge: Edge, to: &Object, visit: Visit<'_>) {
        let from = edge.from;
        let visit = &mut |object: &Arc<Object>| {
            if object.kind() == from && self.holds(object) {
                visit(object);
            }
        };
        match edge.link {
            Link::All => self.of_kind(from).for_each(visit),
            Link::Named(prefix) if !to.name().starts_with(prefix) => {}
            Link::In(namespace) if to.namespace() != namespace => {}
            Link::Named(_) | Link::In(_) => self.of_kind(from).for_each(visit),
            Link::Namespace => self.beside(to, from, visit),
            Link::Host => self.same_hosts(to, &[Facet::Host], &[Facet::Host], visit),
            Link::Destination => {
                self.same_hosts(to, &[Facet::Host, Facet::GatewayHost], &[Facet::Destination], visit);
            }
            Link::Selects => self.selecting(to, from != Kind::Service, visit),
            Link::SelectedBy => self.selected_or_all(to, from, visit),
            Link::Names => self.naming(to, visit),
            Link::NamedBy => self.named(to, from, visit),
            Link::GatewayHost => self.same_hosts(to, &[Facet::GatewayHost], &[Facet::GatewayHost], visit),
            Link::SameNames => self.same_names(to, visit),
        }
    }

    /// Whether this very object is a part of the snapshot: the index may be that of a larger one.
    fn holds(&self, object: &Arc<Object>) -> bool {
        self.object(object.key()).is_some_and(|found| Arc::ptr_eq(found, object))
    }

    fn beside(&self, object: &Object, kind: Kind, visit: Visit<'_>) {
        let namespace = if object.kind() == Kind::Namespace { object.name() } else { object.namespace() };
        if kind == Kind::Namespace {
            self.in_namespace(kind, "").filter(|found| found.name() == namespace).for_each(visit);
        } else {
            self.in_namespace(kind, namespace).for_each(visit);
        }
    }

    fn same_hosts(&self, object: &Object, own: &[Facet], others: &[Facet], visit: Visit<'_>) {
        for (_, host) in facets(object).iter().filter(|(facet, _)| own.contains(facet)) {
            others.iter().for_each(|facet| self.index.overlapping(*facet, host, visit));
        }
    }

    /// What a selector may select; a Service without one selects nothing.
    fn selected(&self, object: &Object, kind: Kind, visit: Visit<'_>) {
        for (_, wanted) in facets(object).iter().filter(|(facet, _)| *facet == Facet::Selector) {
            match wanted.as_str() {
                "" if object.kind() == Kind::Service => {}
                "" => self.of_kind(kind).for_each(&mut *visit),
                wanted => self.index.get(Facet::Label, wanted).iter().for_each(&mut *visit),
            }
        }
    }

    /// As [`Snapshot::selected`], where an empty selector is one that anything fits.
    fn selected_or_all(&self, object: &Object, kind: Kind, visit: Visit<'_>) {
        for (_, wanted) in facets(object).iter().filter(|(facet, _)| *facet == Facet::Selector) {
            match wanted.as_str() {
                "" => self.of_kind(kind).for_each(&mut *visit),
                wanted => self.index.get(Facet::Label, wanted).iter().for_each(&mut *visit),
            }
        }
    }

    /// Whose selectors may select an object; with those that ask for no label, or without.
    fn selecting(&self, object: &Object, with_empty: bool, visit: Visit<'_>) {
        for (_, label) in facets(object).iter().filter(|(facet, _)| *facet == Facet::Label) {
            self.index.get(Facet::Selector, label).iter().for_each(&mut *visit);
        }
        if with_empty {
            self.index.get(Facet::Selector, "").iter().for_each(&mut *visit);
        }
    }

    fn named(&self, object: &Object, kind: Kind, visit: Visit<'_>) {
        let prefix = reference(kind, "", "");
        let prefix = prefix.trim_end_matches('/');
        let all = facets(object);
        let references = all.iter().filter(|(facet, _)| *facet == Facet::Reference);
        for (namespace, name) in references.filter_map(|(_, text)| text.strip_prefix(prefix)?.split_once('/')) {
            if name == "*" {
                self.of_kind(kind).for_each(&mut *visit);
            } else if namespace == "*" {
                let everywhere = self.kinds.get(&kind).into_iter().flat_map(|kind| kind.values());
                everywhere.filter_map(|names| names.get(name)).for_each(&mut *visit);
            } else {
                let found = self.kinds.get(&kind).and_then(|kind| kind.get(namespace)?.get(name));
                found.into_iter().for_each(&mut *visit);
            }
        }
    }

    fn naming(&self, object: &Object, visit: Visit<'_>) {
        let (kind, name) = (object.kind(), object.name());
        for text in [reference(kind, object.namespace(), name), reference(kind, "*", name), reference(kind, "*", "*")] {
            self.index.get(Facet::Reference, &text).iter().for_each(&mut *visit);
        }
    }

    fn same_names(&self, object: &Object, visit: Visit<'_>) {
        for (_, text) in facets(object).iter().filter(|(facet, _)| *facet == Facet::Reference) {
            self.index.get(Facet::Reference, text).iter().for_each(&mut *visit);
        }
    }

    /// The objects with that label of some, which the fewest have; `None` without labels.
    pub(crate) fn rarest_label(&self, labels: &BTreeMap<String, String>) -> Option<&[Arc<Object>]> {
        let each = labels.iter().map(|(key, value)| self.index.get(Facet::Label, &label(key, value)));
        each.min_by_key(|found| found.len())
    }

    // === what anyone may look up ===

    /// The objects that define a host for the mesh or at gateways, with those of wildcards that cover it; each once, in
    /// the order of their keys. `host` is a full name.
    #[must_use]
    pub fn with_host(&self, host: &str) -> Vec<&Arc<Object>> {
        self.by_hosts(&[Facet::Host, Facet::GatewayHost], host)
    }

    /// The objects that send requests to a host (a full name); each once, in the order of their keys.
    #[must_use]
    pub fn with_destination(&self, host: &str) -> Vec<&Arc<Object>> {
        self.by_hosts(&[Facet::Destination], host)
    }

    fn by_hosts(&self, by: &[Facet], host: &str) -> Vec<&Arc<Object>> {
        let mut keys = BTreeSet::new();
        for facet in by {
            self.index.overlapping(*facet, &host.to_ascii_lowercase(), &mut |object| {
                keys.insert(object.key().clone());
            });
        }
        keys.iter().filter_map(|key| self.object(key)).collect()
    }

    /// The objects whose workloads carry a label, in the order of their keys.
    pub fn with_label(&self, key: &str, value: &str) -> impl Iterator<Item = &Arc<Object>> {
        self.index.get(Facet::Label, &label(key, value)).iter().filter(|object| self.holds(object))
    }

    /// The objects that name an object, such as the VirtualServices of a Gateway, in the order of their keys.
    #[must_use]
    pub fn referring_to(&self, object: &Object) -> Vec<&Arc<Object>> {
        let mut keys = BTreeSet::new();
        self.naming(object, &mut |found| {
            keys.insert(found.key().clone());
        });
        keys.iter().filter_map(|key| self.object(key)).collect()
    }
}
