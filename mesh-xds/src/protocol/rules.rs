//! What the protocol says about single types.

use crate::TypeUrl;

/// How resources of one type are to be treated. Types this crate does not know get [`TypeRules::UNKNOWN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeRules {
    /// Place in a push: lower goes first. CDS, EDS, LDS, RDS, SDS, then the others
    /// ("Eventual consistency considerations").
    pub order: u8,
    /// In SotW a response is the whole set, so that an absent resource is deleted ("Deleting resources"). Otherwise a
    /// response may hold any part of what is subscribed, and absence says nothing.
    pub whole_set: bool,
    /// An empty first request means everything ("How the client specifies what resources to return").
    pub legacy_wildcard: bool,
    /// Types this one refers to. Its changes wait until changes of those are acknowledged.
    pub refers_to: &'static [TypeUrl],
    /// Types that refer to this one. Its removals wait until changes and removals of those are acknowledged.
    pub referred_by: &'static [TypeUrl],
    /// Other proxies may rely on it: a removal waits for them too.
    pub leaves_last: bool,
}

const CLUSTERS: &[TypeUrl] = &[TypeUrl::CLUSTER];
const USERS_OF_CLUSTERS: &[TypeUrl] =
    &[TypeUrl::LISTENER, TypeUrl::ROUTE, TypeUrl::SCOPED_ROUTE, TypeUrl::VIRTUAL_HOST, TypeUrl::EXTENSION_CONFIG];

impl TypeRules {
    /// For types without rules of their own: whole sets, everything on an empty first request, no order.
    pub const UNKNOWN: TypeRules = TypeRules {
        order: u8::MAX,
        whole_set: true,
        legacy_wildcard: true,
        refers_to: &[],
        referred_by: &[],
        leaves_last: false,
    };

    /// The rules of `type_url`.
    #[must_use]
    pub fn of(type_url: &TypeUrl) -> Self {
        let named = |order| TypeRules { order, whole_set: false, legacy_wildcard: false, ..Self::UNKNOWN };
        let whole = |order| TypeRules { order, ..Self::UNKNOWN };
        match type_url.short() {
            Some("CDS") => TypeRules { referred_by: USERS_OF_CLUSTERS, leaves_last: true, ..whole(0) },
            Some("EDS") => TypeRules { referred_by: CLUSTERS, ..named(1) },
            Some("LDS") => TypeRules { refers_to: CLUSTERS, leaves_last: true, ..whole(2) },
            Some("RDS") => {
                TypeRules { refers_to: CLUSTERS, referred_by: &[TypeUrl::LISTENER, TypeUrl::SCOPED_ROUTE], ..named(3) }
            }
            Some("SDS") => {
                TypeRules { referred_by: &[TypeUrl::CLUSTER, TypeUrl::LISTENER], leaves_last: true, ..named(4) }
            }
            Some("SRDS") => TypeRules { refers_to: CLUSTERS, referred_by: &[TypeUrl::LISTENER], ..whole(5) },
            Some("VHDS") => {
                TypeRules { refers_to: CLUSTERS, referred_by: &[TypeUrl::ROUTE], legacy_wildcard: true, ..named(6) }
            }
            Some("ECDS") => TypeRules { refers_to: CLUSTERS, referred_by: &[TypeUrl::LISTENER], ..named(7) },
            Some("RTDS") => named(8),
            _ => Self::UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn push_order_is_istios() {
        let mut types = [
            TypeUrl::SECRET,
            TypeUrl::ROUTE,
            TypeUrl::LISTENER,
            TypeUrl::ENDPOINT,
            TypeUrl::CLUSTER,
            "x/acme.X".into(),
        ];
        types.sort_by_key(|t| TypeRules::of(t).order);
        let short: Vec<_> = types.iter().map(|t| t.short().unwrap_or("other")).collect();
        assert_eq!(short, ["CDS", "EDS", "LDS", "RDS", "SDS", "other"]);
    }
}
