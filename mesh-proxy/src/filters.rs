//! The built-in filters. They use the public traits of [`filter`](crate::filter) and nothing else.
//!
//! | filter | type | what it does |
//! |---|---|---|
//! | [`Rbac`] | `envoy.extensions.filters.http.rbac.v3.RBAC` | who may call |
//! | [`NetworkRbac`] | `envoy.extensions.filters.network.rbac.v3.RBAC` | who may connect |
//! | [`ConnectionLimit`] | `envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit` | how many may connect |
//! | [`Cors`] | `envoy.extensions.filters.http.cors.v3.Cors` | which web pages may call |
//! | [`Fault`] | `envoy.extensions.filters.http.fault.v3.HTTPFault` | delays and errors on purpose |

mod connection_limit;
mod cors;
mod fault;
mod proto;
mod rbac;

pub use connection_limit::ConnectionLimit;
pub use cors::Cors;
pub use fault::{Chance, Fault, RandomChance};
pub use rbac::{NetworkRbac, Rbac};

use crate::{config::Audit, filter::FilterRegistry};

/// A registry of all built-in filters.
#[must_use]
pub fn builtin() -> FilterRegistry {
    FilterRegistry::empty()
        .with_http(Rbac)
        .with_network(NetworkRbac)
        .with_network(ConnectionLimit)
        .with_http(Fault::default())
        .with_http(Cors)
}

/// What the filters' configuration is compared with, for the page of supported fields.
pub(crate) fn audits() -> [(&'static str, &'static Audit); 4] {
    [
        ("RBAC", &rbac::parse::AUDIT),
        ("Connection limit", &connection_limit::AUDIT),
        ("Fault", &fault::parse::AUDIT),
        ("CORS", &cors::AUDIT),
    ]
}
