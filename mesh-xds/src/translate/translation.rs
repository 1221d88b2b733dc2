use mesh_config::model::Object;
use prost::{Message, Name};

use crate::{Origin, Resource, discovery::Notice};

/// What one node is to be sent.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Translation {
    /// Resources of all types, ordered by type and name; no two have the same type and name.
    pub resources: Vec<Resource>,
    /// What is not carried out for this node, in order. What holds for every node is in
    /// [`MeshContext::notices`](super::MeshContext::notices).
    pub notices: Vec<Notice>,
}

impl Translation {
    /// Adds a message made from these objects; the first is its origin if it is the only one.
    pub(super) fn push<M: Message + Name>(&mut self, name: &str, message: &M, objects: &[&Object]) {
        let origin = match objects {
            [only] => Some(Origin::new(only.key().to_string())),
            _ => None,
        };
        self.push_from(name, message, origin);
    }

    pub(super) fn push_from<M: Message + Name>(&mut self, name: &str, message: &M, origin: Option<Origin>) {
        let resource = Resource::pack(name, message);
        self.resources.push(match origin {
            Some(origin) => resource.with_origin(origin),
            None => resource,
        });
    }

    pub(super) fn finish(mut self) -> Self {
        // Types in the order they are sent in, names in their own.
        let order = |resource: &Resource| {
            const SENT: [&str; 5] = ["CDS", "EDS", "LDS", "RDS", "SDS"];
            SENT.iter().position(|short| resource.type_url().short() == Some(short)).unwrap_or(SENT.len())
        };
        self.resources.sort_by(|a, b| (order(a), a.name()).cmp(&(order(b), b.name())));
        self.resources.dedup_by(|a, b| a.type_url() == b.type_url() && a.name() == b.name());
        self.notices.sort();
        self.notices.dedup();
        self
    }
}
