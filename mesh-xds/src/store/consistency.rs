//! Whether what resources refer to is there.
//!
//! A client that is told of a cluster whose endpoints the server does not have waits for them; one that is told of a route to
//! a cluster that is not there answers its callers with errors. [`dangling`] finds such references, and a
//! [`ConsistentWriter`] does not let them into a view. What counts as a reference is said in [`mesh_xds_api::references`].

mod after;
mod external;
mod graph;
#[cfg(test)]
mod tests;
mod writer;

use std::{collections::HashSet, fmt};

pub use self::{external::External, writer::ConsistentWriter};
use super::Refused;
use crate::{Origin, Resource, ResourceKey, ResourceName, TypeUrl};

/// A reference to a resource that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dangling {
    /// What refers.
    pub from: ResourceKey,
    /// The field that has the name, such as `virtual_hosts[0].routes[2].route.cluster`.
    pub path: String,
    /// What is not there.
    pub to: ResourceKey,
    /// What the referring resource was made from, if its producer said.
    pub origin: Option<Origin>,
}

/// As in `RDS/shop (from shop.yaml): virtual_hosts[0].routes[2].route.cluster: there is no CDS/reviews`.
impl fmt::Display for Dangling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.from)?;
        if let Some(origin) = &self.origin {
            write!(f, " (from {origin})")?;
        }
        write!(f, ": {}: there is no {}", self.path, self.to)
    }
}

/// An update was refused as a whole: after it, these references would lead to nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub struct Inconsistent {
    /// The references, by the key of what refers, then in its own order. At least one.
    pub dangling: Vec<Dangling>,
    /// What the view's check had set aside before: perhaps what the references lead to.
    pub refused: Vec<Refused>,
}

/// Of each list, how many the text of an [`Inconsistent`] names.
const SHOWN: usize = 4;

impl fmt::Display for Inconsistent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the update would leave references to nothing: ")?;
        for (i, dangling) in self.dangling.iter().take(SHOWN).enumerate() {
            write!(f, "{}{dangling}", if i > 0 { "; " } else { "" })?;
        }
        if self.dangling.len() > SHOWN {
            write!(f, "; and {} more", self.dangling.len() - SHOWN)?;
        }
        self.refused.iter().take(SHOWN).try_for_each(|refused| write!(f, "; refused before: {refused}"))
    }
}

/// The references among `resources` that lead to nothing: neither to one of them nor to what is `external`. By the key of
/// what refers, then in its own order. Of resources with one key, the last counts.
///
/// Costs the size of the set. See [`ConsistentWriter`] for changes to a large one.
///
/// ```
/// use mesh_xds::{Resource, ResourceKey, TypeUrl, store::{External, dangling}};
/// use mesh_xds_api::envoy::config::route::v3::{RouteAction, RouteConfiguration, route_action::ClusterSpecifier};
/// # use mesh_xds_api::envoy::config::route::v3::{Route, VirtualHost, route};
/// # let cluster = |name: &str| Some(ClusterSpecifier::Cluster(name.into()));
/// # let action = RouteAction { cluster_specifier: cluster("a"), ..Default::default() };
/// # let route = Route { action: Some(route::Action::Route(action)), ..Default::default() };
/// # let host = VirtualHost { routes: vec![route], ..Default::default() };
/// # let table = RouteConfiguration { virtual_hosts: vec![host], ..Default::default() };
///
/// let table = Resource::pack("shop", &table);
/// let found = dangling([&table], &External::none());
/// assert_eq!(found[0].to_string(), "RDS/shop: virtual_hosts[0].routes[0].route.cluster: there is no CDS/a");
/// let of_the_bootstrap = External::from_iter([ResourceKey::new(TypeUrl::CLUSTER, "a")]);
/// assert!(dangling([&table], &of_the_bootstrap).is_empty());
/// ```
#[must_use]
pub fn dangling<'r>(resources: impl IntoIterator<Item = &'r Resource>, external: &External) -> Vec<Dangling> {
    let mut resources: Vec<&Resource> = resources.into_iter().collect();
    // The sort is stable, so of each key the last is the last that was given.
    resources.sort_by(|a, b| order(a).cmp(&order(b)));
    let last = |i: usize| resources.get(i + 1).is_none_or(|next| order(next) != order(resources[i]));
    let present: HashSet<(&TypeUrl, &ResourceName)> = resources.iter().map(|r| order(r)).collect();
    let is_there = |key: &ResourceKey| external.holds(key) || present.contains(&(&key.type_url, &key.name));
    let counted = resources.iter().enumerate().filter(|(i, _)| last(*i)).map(|(_, resource)| *resource);
    counted.flat_map(|resource| dangling_of(resource, is_there)).collect()
}

fn order(resource: &Resource) -> (&TypeUrl, &ResourceName) {
    (resource.type_url(), resource.name())
}

/// The references of one resource that lead to nothing.
fn dangling_of(resource: &Resource, is_there: impl Fn(&ResourceKey) -> bool) -> impl Iterator<Item = Dangling> {
    resource.references().iter().filter(move |reference| !is_there(&reference.to)).map(|reference| Dangling {
        from: resource.key(),
        path: reference.path.clone(),
        to: reference.to.clone(),
        origin: resource.origin().cloned(),
    })
}
