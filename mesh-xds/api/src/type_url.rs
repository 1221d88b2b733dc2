//! Names of resource types.

use std::{borrow::Cow, fmt};

/// The type URL of a resource, such as `type.googleapis.com/envoy.config.cluster.v3.Cluster`.
///
/// Any string is one: a server may carry types that this crate does not know.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeUrl(Cow<'static, str>);

macro_rules! known {
    ($($name:ident = $url:literal, $short:literal;)*) => {
        impl TypeUrl {
            $(#[doc = concat!("`", $url, "`.")]
            pub const $name: TypeUrl = TypeUrl(Cow::Borrowed(concat!("type.googleapis.com/", $url)));)*

            /// The short name operators use (`CDS`, `LDS`, ...), where the type has one.
            #[must_use]
            pub fn short(&self) -> Option<&'static str> {
                $(if *self == Self::$name { return Some($short); })*
                None
            }

            /// One of the constants, which take no room, if `url` is one.
            fn constant(url: &str) -> Option<Self> {
                $(if Self::$name.as_str() == url { return Some(Self::$name); })*
                None
            }
        }
    };
}

known! {
    CLUSTER = "envoy.config.cluster.v3.Cluster", "CDS";
    ENDPOINT = "envoy.config.endpoint.v3.ClusterLoadAssignment", "EDS";
    LISTENER = "envoy.config.listener.v3.Listener", "LDS";
    ROUTE = "envoy.config.route.v3.RouteConfiguration", "RDS";
    SCOPED_ROUTE = "envoy.config.route.v3.ScopedRouteConfiguration", "SRDS";
    VIRTUAL_HOST = "envoy.config.route.v3.VirtualHost", "VHDS";
    SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret", "SDS";
    RUNTIME = "envoy.service.runtime.v3.Runtime", "RTDS";
    EXTENSION_CONFIG = "envoy.config.core.v3.TypedExtensionConfig", "ECDS";
}

impl TypeUrl {
    /// One that the API's own tables name.
    pub(crate) const fn known(url: &'static str) -> Self {
        Self(Cow::Borrowed(url))
    }

    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full name of the message: the part behind the last slash.
    #[must_use]
    pub fn message_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl From<String> for TypeUrl {
    fn from(url: String) -> Self {
        Self::constant(&url).unwrap_or(Self(Cow::Owned(url)))
    }
}

impl From<&str> for TypeUrl {
    fn from(url: &str) -> Self {
        Self::constant(url).unwrap_or_else(|| Self(Cow::Owned(url.to_owned())))
    }
}

impl fmt::Display for TypeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TypeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TypeUrl({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::TypeUrl;

    #[test]
    fn constants_equal_parsed() {
        assert_eq!(TypeUrl::CLUSTER, TypeUrl::from("type.googleapis.com/envoy.config.cluster.v3.Cluster"));
        assert_eq!(TypeUrl::CLUSTER.message_name(), "envoy.config.cluster.v3.Cluster");
        assert_eq!(TypeUrl::from("x/y").short(), None);
        assert_eq!(TypeUrl::SECRET.short(), Some("SDS"));
    }
}
