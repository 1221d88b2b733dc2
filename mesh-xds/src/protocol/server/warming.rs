//! SotW: what a client may be waiting for although nothing of it has changed.
//!
//! A resource that changes warms anew, and is warm only when what it refers to has been supplied anew ("Resource warming" in
//! the protocol's text). The client asks for that with a request that looks like any acknowledgement: it lists the same names.

use std::{collections::BTreeSet, sync::Arc};

use super::{ServerStream, sharing::Names, state::TypeState};
use crate::{
    Resource, ResourceName, TypeUrl,
    protocol::{Content, endpoints_of},
};

/// What of one type may be warming, until it is asked for.
#[derive(Debug, Default)]
pub(super) enum Warming {
    /// Nothing.
    #[default]
    No,
    /// What these names are needed for.
    These(BTreeSet<ResourceName>),
    /// Whatever the client has of what refers to the type.
    All,
}

impl Warming {
    fn add(&mut self, names: Vec<ResourceName>) {
        match self {
            Self::All => {}
            Self::These(known) => known.extend(names),
            Self::No if names.is_empty() => {}
            Self::No => *self = Self::These(names.into_iter().collect()),
        }
    }

    /// The names among `subscribed` that are waited for.
    pub(super) fn among<'n>(&'n self, subscribed: &'n Names) -> impl Iterator<Item = ResourceName> + 'n {
        let (these, all) = match self {
            Self::No => (None, None),
            Self::These(names) => (Some(names.iter().filter(|name| subscribed.contains(*name))), None),
            Self::All => (None, Some(subscribed.iter())),
        };
        these.into_iter().flatten().chain(all.into_iter().flatten()).cloned()
    }
}

impl ServerStream {
    /// A push of the type at `index` goes out: the client will ask for what it refers to.
    pub(super) fn warm(&mut self, index: usize, content: &Content) {
        let pushed = &self.types[index];
        let type_url = pushed.type_url.clone();
        let endpoints = (type_url == TypeUrl::CLUSTER).then(|| pushed.changed_endpoints(content)).flatten();
        for other in self.types.iter_mut().filter(|t| !t.rules.whole_set && t.rules.referred_by.contains(&type_url)) {
            match &endpoints {
                Some(names) if other.type_url == TypeUrl::ENDPOINT => other.warming.add(names.clone()),
                _ => other.warming = Warming::All,
            }
        }
    }
}

impl TypeState {
    /// The endpoint resources that clusters wait for which the client does not have as they are in `content`. Unchanged ones
    /// it does not warm. `None` if it is not known for sure what it has: any may warm.
    fn changed_endpoints(&self, content: &Content) -> Option<Vec<ResourceName>> {
        // Of what it refused it may have taken a part.
        let accepted = self.accepted.as_ref().filter(|_| self.last_error.is_none())?;
        Some(changed(accepted, &content.resources).filter_map(|cluster| endpoints_of(cluster)).collect())
    }
}

/// What of `new` is not the same in `old`. Both are whole sets, in the order of names.
fn changed<'n>(old: &'n [Arc<Resource>], new: &'n [Arc<Resource>]) -> impl Iterator<Item = &'n Arc<Resource>> {
    let mut old = old.iter().peekable();
    new.iter().filter(move |resource| {
        while old.next_if(|o| o.name() < resource.name()).is_some() {}
        let same = old.peek().filter(|o| o.name() == resource.name());
        same.is_none_or(|o| !Arc::ptr_eq(o, resource) && o.version() != resource.version())
    })
}

#[cfg(test)]
mod tests {
    use mesh_xds_api::google::protobuf::Any;

    use super::*;

    fn set(resources: &[(&str, &str)]) -> Vec<Arc<Resource>> {
        let any =
            |value: &str| Any { type_url: TypeUrl::CLUSTER.as_str().into(), value: value.as_bytes().to_vec().into() };
        resources.iter().map(|(name, value)| Arc::new(Resource::new(*name, any(value)))).collect()
    }

    #[test]
    fn what_is_new_or_different() {
        let old = set(&[("a", "1"), ("c", "1"), ("d", "1"), ("f", "1")]);
        let new = set(&[("b", "1"), ("c", "1"), ("d", "2"), ("e", "1"), ("g", "1")]);
        let names: Vec<_> = changed(&old, &new).map(|r| r.name().as_str().to_owned()).collect();
        assert_eq!(names, ["b", "d", "e", "g"]);
        assert_eq!(changed(&old, &old).count(), 0);
        assert_eq!(changed(&[], &new).count(), 5);
    }

    #[test]
    fn among_the_subscribed() {
        let names = |names: &[&str]| -> Vec<ResourceName> { names.iter().map(|n| (*n).into()).collect() };
        let subscribed: Names = names(&["a", "b"]).into_iter().collect();
        let mut warming = Warming::default();
        warming.add(names(&["a", "x"]));
        warming.add(names(&["y"]));
        assert_eq!(warming.among(&subscribed).collect::<Vec<_>>(), names(&["a"]));
        assert_eq!(Warming::All.among(&subscribed).count(), 2);
        assert_eq!(Warming::No.among(&subscribed).count(), 0);
    }
}
