use std::{any::Any, collections::HashMap, fmt, sync::Arc};

use mesh_xds_api::{TypeUrl, any::Any as ProtoAny};

use super::{HttpFilter, NetworkFilter};
use crate::stats::Stats;

/// Why a factory refuses a configuration. Becomes a NACK that names the resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct FactoryError {
    /// Field within the filter's message, such as `rules.policies[a].permissions[0]`; empty for the message itself.
    pub path: String,
    /// What is wrong or not carried.
    pub reason: String,
}

impl FactoryError {
    /// `path` is refused because of `reason`.
    pub fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }
}

/// Where a filter is made, for what its configuration does not say.
#[derive(Clone, Copy, Debug)]
pub struct FilterContext<'a> {
    /// Registry for its statistics.
    pub stats: &'a Stats,
    /// Prefix of its statistics, with the dot that ends it: `http.PREFIX.` of the connection manager; empty for network
    /// filters.
    pub stat_prefix: &'a str,
}

/// Makes HTTP filters of one type.
pub trait HttpFilterFactory: Send + Sync + 'static {
    /// Type URLs of the filter's configuration, and of its per-route configuration where it is another one.
    fn type_urls(&self) -> &[&'static str];

    /// A filter from its configuration.
    ///
    /// # Errors
    /// Every field that is not carried must be refused by name.
    fn filter(&self, config: &ProtoAny, context: &FilterContext<'_>) -> Result<Arc<dyn HttpFilter>, FactoryError>;

    /// Per-route configuration, as the filter will ask for it with
    /// [`route_config`](super::HttpStream::route_config).
    ///
    /// # Errors
    /// As `filter`. The default refuses: the filter has no per-route configuration.
    fn route_config(&self, config: &ProtoAny) -> Result<Arc<dyn Any + Send + Sync>, FactoryError> {
        Err(FactoryError::new("", format!("{} is no per-route configuration", config.type_url)))
    }
}

/// Makes network filters of one type.
pub trait NetworkFilterFactory: Send + Sync + 'static {
    /// Type URLs of the filter's configuration.
    fn type_urls(&self) -> &[&'static str];

    /// A filter from its configuration.
    ///
    /// # Errors
    /// Every field that is not carried must be refused by name.
    fn filter(&self, config: &ProtoAny, context: &FilterContext<'_>) -> Result<Arc<dyn NetworkFilter>, FactoryError>;
}

/// Filters by type URL. Cheap to clone.
#[derive(Clone, Default)]
pub struct FilterRegistry {
    http: Arc<HashMap<TypeUrl, Arc<dyn HttpFilterFactory>>>,
    network: Arc<HashMap<TypeUrl, Arc<dyn NetworkFilterFactory>>>,
}

impl FilterRegistry {
    /// No filter at all; the router, the connection manager and the TCP proxy are not in registries.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Adds a factory; a later one replaces an earlier one of the same type URL.
    #[must_use]
    pub fn with_http(mut self, factory: impl HttpFilterFactory) -> Self {
        let factory: Arc<dyn HttpFilterFactory> = Arc::new(factory);
        let map = Arc::make_mut(&mut self.http);
        for url in factory.type_urls() {
            map.insert(TypeUrl::from(*url), factory.clone());
        }
        self
    }

    /// Adds a factory; a later one replaces an earlier one of the same type URL.
    #[must_use]
    pub fn with_network(mut self, factory: impl NetworkFilterFactory) -> Self {
        let factory: Arc<dyn NetworkFilterFactory> = Arc::new(factory);
        let map = Arc::make_mut(&mut self.network);
        for url in factory.type_urls() {
            map.insert(TypeUrl::from(*url), factory.clone());
        }
        self
    }

    /// The factory of HTTP filters for this type URL.
    #[must_use]
    pub fn http(&self, type_url: &str) -> Option<&Arc<dyn HttpFilterFactory>> {
        self.http.get(&TypeUrl::from(type_url))
    }

    /// The factory of network filters for this type URL.
    #[must_use]
    pub fn network(&self, type_url: &str) -> Option<&Arc<dyn NetworkFilterFactory>> {
        self.network.get(&TypeUrl::from(type_url))
    }
}

impl fmt::Debug for FilterRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterRegistry")
            .field("http", &self.http.keys())
            .field("network", &self.network.keys())
            .finish()
    }
}
