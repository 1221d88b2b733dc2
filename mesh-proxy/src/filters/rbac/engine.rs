use std::{net::SocketAddr, ops::Range, sync::LazyLock};

use ::http::HeaderMap;
use serde_json::{Map, Value};

use super::metadata::MetadataMatcher;
use crate::{
    filter::ConnectionInfo,
    model::{CidrRange, HeaderMatcher, HeaderView, StringMatcher},
};

/// What a matching policy means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Only what matches may pass.
    Allow,
    /// What matches may not pass.
    Deny,
    /// All may pass; what matches is noted.
    Log,
}

/// `config.rbac.v3.RBAC`.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) action: Action,
    /// By name, in the order of the names.
    pub(super) policies: Vec<Policy>,
}

#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: String,
    /// One must match.
    pub(super) permissions: Vec<Permission>,
    /// One must match.
    pub(super) principals: Vec<Principal>,
}

/// What is done.
#[derive(Debug)]
pub(super) enum Permission {
    Any,
    All(Vec<Permission>),
    OneOf(Vec<Permission>),
    Not(Box<Permission>),
    Header(HeaderMatcher),
    UrlPath(StringMatcher),
    DestinationIp(CidrRange),
    DestinationPort(Range<u32>),
    ServerName(StringMatcher),
    Metadata(MetadataMatcher),
}

/// Who does it.
#[derive(Debug)]
pub(super) enum Principal {
    Any,
    All(Vec<Principal>),
    OneOf(Vec<Principal>),
    Not(Box<Principal>),
    /// The connection is TLS, and the peer has this name if one is asked for.
    Authenticated(Option<StringMatcher>),
    /// The connection's peer, as PROXY protocol says.
    SourceIp(CidrRange),
    /// The socket's peer.
    DirectRemoteIp(CidrRange),
    /// The client, as trusted headers say.
    RemoteIp(CidrRange),
    Header(HeaderMatcher),
    UrlPath(StringMatcher),
    Metadata(MetadataMatcher),
}

/// The request or connection that is decided on.
pub(super) struct Subject<'a> {
    pub(super) connection: &'a ConnectionInfo,
    pub(super) client: SocketAddr,
    pub(super) request: HeaderView<'a>,
    pub(super) metadata: Option<&'a Map<String, Value>>,
}

impl<'a> Subject<'a> {
    /// A connection, of which no request is known.
    pub(super) fn of_connection(connection: &'a ConnectionInfo) -> Self {
        static NONE: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
        let request = HeaderView { method: "", path: "", authority: "", scheme: "", headers: &NONE };
        Self { connection, client: connection.remote, request, metadata: None }
    }

    /// The path without query and fragment.
    fn path(&self) -> &'a str {
        let path = self.request.path;
        &path[..path.find(['?', '#']).unwrap_or(path.len())]
    }
}

impl Rules {
    /// Whether `subject` may pass, and the first policy that matches it.
    pub(super) fn decide(&self, subject: &Subject<'_>) -> (bool, Option<&str>) {
        let policy = self.policies.iter().find(|policy| policy.matches(subject)).map(|policy| policy.name.as_str());
        let allowed = match self.action {
            Action::Allow => policy.is_some(),
            Action::Deny => policy.is_none(),
            Action::Log => true,
        };
        (allowed, policy)
    }
}

impl Policy {
    fn matches(&self, subject: &Subject<'_>) -> bool {
        self.permissions.iter().any(|permission| permission.matches(subject))
            && self.principals.iter().any(|principal| principal.matches(subject))
    }
}

impl Permission {
    fn matches(&self, subject: &Subject<'_>) -> bool {
        match self {
            Permission::Any => true,
            Permission::All(rules) => rules.iter().all(|rule| rule.matches(subject)),
            Permission::OneOf(rules) => rules.iter().any(|rule| rule.matches(subject)),
            Permission::Not(rule) => !rule.matches(subject),
            Permission::Header(matcher) => matcher.matches(&subject.request),
            Permission::UrlPath(matcher) => matcher.matches(subject.path()),
            Permission::DestinationIp(range) => range.contains(&subject.connection.local.ip()),
            Permission::DestinationPort(ports) => ports.contains(&u32::from(subject.connection.local.port())),
            Permission::ServerName(matcher) => matcher.matches(subject.connection.sni.as_deref().unwrap_or_default()),
            Permission::Metadata(matcher) => matcher.matches(subject.metadata),
        }
    }
}

impl Principal {
    fn matches(&self, subject: &Subject<'_>) -> bool {
        match self {
            Principal::Any => true,
            Principal::All(ids) => ids.iter().all(|id| id.matches(subject)),
            Principal::OneOf(ids) => ids.iter().any(|id| id.matches(subject)),
            Principal::Not(id) => !id.matches(subject),
            Principal::Authenticated(name) => authenticated(subject.connection, name.as_ref()),
            Principal::SourceIp(range) => range.contains(&subject.connection.remote.ip()),
            Principal::DirectRemoteIp(range) => range.contains(&subject.connection.direct_remote.ip()),
            Principal::RemoteIp(range) => range.contains(&subject.client.ip()),
            Principal::Header(matcher) => matcher.matches(&subject.request),
            Principal::UrlPath(matcher) => matcher.matches(subject.path()),
            Principal::Metadata(matcher) => matcher.matches(subject.metadata),
        }
    }
}

/// As Envoy: any URI SAN, then any DNS SAN, then the subject. Names count only if the certificate was verified.
fn authenticated(connection: &ConnectionInfo, name: Option<&StringMatcher>) -> bool {
    let Some(tls) = connection.tls.as_deref() else { return false };
    let Some(name) = name else { return true };
    tls.peer_verified
        && (tls.peer_uris.iter().any(|uri| name.matches(uri))
            || tls.peer_dns.iter().any(|dns| name.matches(dns))
            || name.matches(&tls.peer_subject))
}
