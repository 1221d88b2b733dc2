mod edits;
mod forward;
mod matching;
mod redirect;
mod retry;
mod template;

use std::{any::Any, collections::BTreeMap, sync::Arc};

use ::http::HeaderName;
pub use edits::{AppendAction, HeaderEdit, HeaderEdits, HeaderValueFormat};
pub use forward::{
    ClusterName, ClusterSpecifier, Forward, GrpcTimeout, HashBy, HashPolicy, HostRewrite, InternalRedirect, Mirror,
    MirrorEdit, PathRewrite, RedirectPredicate, WeightedCluster, WeightedClusters,
};
pub(crate) use matching::cookie;
pub use matching::{CookieMatcher, PathMatch, RouteMatch, RuntimeFraction};
pub use redirect::{DirectResponse, Redirect, RedirectPath};
pub use retry::{RateLimitedBackOff, ResetFormat, ResetHeader, RetryOn, RetryPolicy};
pub use template::{RewriteTemplate, TemplateError, UriTemplate};

use super::{Metadata, StringMatcher};

/// `route.v3.RouteConfiguration`.
///
/// This is the configured form; the route module compiles it for searching.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// Name.
    pub name: String,
    /// Virtual hosts.
    pub virtual_hosts: Vec<Arc<VirtualHost>>,
    /// Header edits of every response and request.
    pub edits: HeaderEdits,
    /// Ports in authority are ignored when a virtual host is searched.
    pub ignore_port_in_host_matching: bool,
    /// Edits run from the most specific (route) to the least; `true` reverses.
    pub most_specific_edits_last: bool,
    /// Clusters named by routes must exist when the table is accepted.
    pub validate_clusters: bool,
    /// Filter configuration by filter name.
    pub filter_config: FilterConfigs,
    /// Path parameters (`;` and what follows) are not looked at by path matchers.
    pub ignore_path_parameters: bool,
    /// The header that virtual hosts are searched by, instead of the authority.
    pub vhost_header: Option<HeaderName>,
    /// Headers removed from requests of external clients.
    pub internal_only_headers: Vec<HeaderName>,
}

/// Typed filter configuration by filter name, made by the filter's own factory.
///
/// [`FilterDisabled`] stands for a filter that is off.
pub type FilterConfigs = Arc<BTreeMap<String, Arc<dyn Any + Send + Sync>>>;

/// The configuration of a filter that is off at its level (`FilterConfig.disabled`).
#[derive(Clone, Copy, Debug)]
pub struct FilterDisabled;

/// `route.v3.VirtualHost`.
#[derive(Clone, Debug, Default)]
pub struct VirtualHost {
    /// Unique name.
    pub name: String,
    /// Domains: exact, `*.suffix`, `prefix.*` or `*`; lower case.
    pub domains: Vec<String>,
    /// Routes, first match wins.
    pub routes: Vec<Arc<Route>>,
    /// Header edits.
    pub edits: HeaderEdits,
    /// Retry policy of routes that have none.
    pub retry: Option<Arc<RetryPolicy>>,
    /// Plaintext requests are redirected to HTTPS: `Some(true)` all, `Some(false)` external ones only.
    pub require_tls: Option<bool>,
    /// Filter configuration by filter name.
    pub filter_config: FilterConfigs,
    /// Attempts are told upstream in `x-envoy-attempt-count`.
    pub include_attempt_count: bool,
    /// Attempts are told the client in `x-envoy-attempt-count`.
    pub include_attempt_count_in_response: bool,
    /// Whether a retry follows a timeout is told upstream in `x-envoy-is-timeout-retry`.
    pub include_is_timeout_retry: bool,
    /// Request bytes kept for retries and copies; `None` = the listener's limit.
    pub buffer_limit: Option<u64>,
}

/// `route.v3.Route`.
#[derive(Clone, Debug)]
pub struct Route {
    /// Name; may be empty.
    pub name: String,
    /// Condition.
    pub matches: RouteMatch,
    /// What is done.
    pub action: Action,
    /// Header edits.
    pub edits: HeaderEdits,
    /// Filter configuration by filter name.
    pub filter_config: FilterConfigs,
    /// Filter metadata (Istio traces the user's object here).
    pub metadata: Metadata,
    /// Request bytes kept for retries and copies; `None` = the virtual host's limit.
    pub buffer_limit: Option<u64>,
}

/// What a route does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Forward upstream.
    Forward(Box<Forward>),
    /// Redirect the client.
    Redirect(Box<Redirect>),
    /// Answer here.
    Direct(DirectResponse),
    /// A filter answers; if none does, it is a route to no cluster (`filter_action`, `non_forwarding_action`).
    Unrouted,
}

impl Default for Route {
    /// Every path, to nowhere.
    fn default() -> Self {
        Self {
            name: String::new(),
            matches: RouteMatch::default(),
            action: Action::Unrouted,
            edits: HeaderEdits::default(),
            filter_config: FilterConfigs::default(),
            metadata: Metadata::default(),
            buffer_limit: None,
        }
    }
}

impl StringMatcher {
    /// A matcher of one exact text.
    #[must_use]
    pub fn exact(text: impl Into<String>) -> Self {
        StringMatcher::Exact(text.into())
    }
}
