//! Where a route forwards to, and how.

use std::{sync::Arc, time::Duration};

use ::http::{HeaderName, StatusCode};

use super::{FilterConfigs, HeaderEdit, HeaderEdits, RetryPolicy, RewriteTemplate, RuntimeFraction};
use crate::model::Metadata;

/// `route.v3.RouteAction`.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Where to.
    pub cluster: ClusterSpecifier,
    /// Status when the cluster does not exist: 503 (default) or 404.
    pub cluster_not_found: StatusCode,
    /// Path rewrite.
    pub rewrite: PathRewrite,
    /// Authority rewrite.
    pub host_rewrite: HostRewrite,
    /// The authority before the rewrite is appended to `x-forwarded-host`.
    pub append_x_forwarded_host: bool,
    /// Whole request, retries included. Default 15 s; zero = none. A route with `max_stream_duration` has none.
    pub timeout: Duration,
    /// Stream without activity; `None` = the connection manager's.
    pub idle_timeout: Option<Duration>,
    /// Longest life of the stream; `None` = the connection manager's. Zero = unlimited.
    pub max_stream_duration: Option<Duration>,
    /// What `grpc-timeout` does; `None` = the header is not used as a deadline.
    pub grpc_timeout: Option<GrpcTimeout>,
    /// Retry policy; `None` = the virtual host's.
    pub retry: Option<Arc<RetryPolicy>>,
    /// Copies sent elsewhere.
    pub mirrors: Vec<Mirror>,
    /// What the balancer hashes.
    pub hash_policy: Vec<HashPolicy>,
    /// `HIGH` priority for circuit breakers.
    pub high_priority: bool,
    /// Upgrade types switched on or off for this route.
    pub upgrades: Vec<(String, bool)>,
    /// `CONNECT` ends here: its bytes go to the cluster as they are (`connect_config`).
    pub terminates_connect: bool,
    /// Redirects of the upstream that are followed here; `None` = they go to the client.
    pub internal_redirect: Option<Box<InternalRedirect>>,
    /// Subset selector: `envoy.lb` metadata an endpoint must have.
    pub metadata_match: Option<Metadata>,
}

/// Where a route forwards to.
#[derive(Clone, Debug)]
pub enum ClusterSpecifier {
    /// A cluster.
    Cluster(Arc<str>),
    /// A cluster named by a request header.
    Header(HeaderName),
    /// By weight.
    Weighted(WeightedClusters),
}

/// `route.v3.WeightedCluster`. The total is the sum of the weights.
#[derive(Clone, Debug)]
pub struct WeightedClusters {
    /// Destinations.
    pub clusters: Vec<WeightedCluster>,
    /// A number in this header takes the place of the drawn one.
    pub header: Option<HeaderName>,
    /// The hash of the route's hash policies takes the place of the drawn number.
    pub by_hash: bool,
}

/// A cluster, named here or by the request.
#[derive(Clone, Debug)]
pub enum ClusterName {
    /// This one.
    Fixed(Arc<str>),
    /// The one that a request header names.
    Header(HeaderName),
}

impl ClusterName {
    /// The name, if it does not depend on the request.
    #[must_use]
    pub fn fixed(&self) -> Option<&Arc<str>> {
        match self {
            ClusterName::Fixed(name) => Some(name),
            ClusterName::Header(_) => None,
        }
    }
}

/// How far `grpc-timeout` is a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcTimeout {
    /// The header's value at most; zero = no cap.
    pub max: Duration,
    /// Taken off the header's value, as long as something remains.
    pub offset: Duration,
    /// The deadline is of the whole stream (`grpc_timeout_header_max`), not of the upstream's answer (`max_grpc_timeout`).
    pub of_stream: bool,
}

/// One of several destinations.
#[derive(Clone, Debug)]
pub struct WeightedCluster {
    /// Cluster.
    pub cluster: ClusterName,
    /// Share.
    pub weight: u32,
    /// Header edits.
    pub edits: HeaderEdits,
    /// Filter configuration by filter name.
    pub filter_config: FilterConfigs,
    /// Authority rewrite.
    pub host_rewrite: Option<String>,
}

/// Path rewrite.
#[derive(Clone, Debug, Default)]
pub enum PathRewrite {
    /// None.
    #[default]
    None,
    /// The matched prefix or path is replaced.
    Prefix(String),
    /// Regular expression and replacement in Envoy's form (`\1`).
    Regex(regex::Regex, String),
    /// The whole path is replaced (`path_rewrite`: text with operators), query kept.
    Format(String),
    /// The path is put together anew from what a template matched (`uri_template`), query kept.
    Template(RewriteTemplate),
}

/// Authority rewrite.
#[derive(Clone, Debug, Default)]
pub enum HostRewrite {
    /// None.
    #[default]
    None,
    /// To this text.
    Literal(String),
    /// To the chosen host's name (`auto_host_rewrite`).
    Auto,
    /// To the value of a header.
    Header(HeaderName),
    /// Pattern on the path, and substitution.
    PathRegex(regex::Regex, String),
    /// To a text with operators (`host_rewrite`).
    Format(String),
}

/// `route.v3.RequestMirrorPolicy`.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// Cluster.
    pub cluster: ClusterName,
    /// Share; `None` = all.
    pub fraction: Option<RuntimeFraction>,
    /// The host stays as it is: no `-shadow` is added.
    pub keep_host: bool,
    /// The copy's host.
    pub host: Option<String>,
    /// Changes of the copy's headers, in order.
    pub edits: Vec<MirrorEdit>,
}

/// One change of a copy's headers.
#[derive(Clone, Debug)]
pub enum MirrorEdit {
    /// Set or added.
    Set(HeaderEdit),
    /// Removed.
    Remove(HeaderName),
}

/// `route.v3.RouteAction.HashPolicy`.
#[derive(Clone, Debug)]
pub struct HashPolicy {
    /// What is hashed.
    pub by: HashBy,
    /// Policies behind this one count only if nothing was hashed so far.
    pub terminal: bool,
}

/// What is hashed.
#[derive(Clone, Debug)]
pub enum HashBy {
    /// A header's values, each changed by the pattern and substitution if there are some.
    Header(HeaderName, Option<(regex::Regex, String)>),
    /// A cookie; made with this life, path and attributes when missing (zero life = session, `None` = not made).
    Cookie {
        /// Name.
        name: String,
        /// Life.
        ttl: Option<Duration>,
        /// Path.
        path: String,
        /// Further attributes: name and value.
        attributes: Vec<(String, String)>,
    },
    /// The client's IP address.
    SourceIp,
    /// A query parameter.
    Query(String),
}

/// `route.v3.InternalRedirectPolicy`.
#[derive(Clone, Debug)]
pub struct InternalRedirect {
    /// Redirects followed for one request. Default 1.
    pub max: u32,
    /// Statuses that are followed. Default 302 only.
    pub statuses: Vec<StatusCode>,
    /// All must agree to the target.
    pub predicates: Vec<RedirectPredicate>,
    /// From plaintext to TLS and back.
    pub allow_cross_scheme: bool,
    /// Headers of the redirect that go into the next request.
    pub copied: Vec<HeaderName>,
}

/// A condition on the target of an internal redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectPredicate {
    /// A route that this route has not redirected to before (`previous_routes`).
    PreviousRoutes,
    /// A route of one of these names (`allow_listed_routes`).
    AllowListed(Vec<String>),
    /// Not from TLS to plaintext (`safe_cross_scheme`).
    SafeCrossScheme,
}
