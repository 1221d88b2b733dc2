//! One rule: from whom, to what, when.

use mesh_config::model::{Condition, Rule};
use mesh_xds_api::envoy::config::rbac::v3::{Permission, Policy, Principal};

use super::{
    Layer, source, target,
    term::{Conjunction, Term},
};

/// All that one rule depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct RuleKey<'a> {
    pub(super) rule: &'a Rule,
    pub(super) is_deny: bool,
    pub(super) layer: Layer,
    pub(super) trust_domain: &'a str,
    /// Namespace of the policy.
    pub(super) namespace: &'a str,
}

impl RuleKey<'_> {
    /// Whether a condition on requests, if there is one, can be decided. If not, an ALLOW rule cannot hold (`conjunction`
    /// becomes never) and a DENY rule does without the condition: either way less is let through.
    pub(super) fn knows_requests<T: Term>(&self, conjunction: &mut Conjunction<T>, has_condition: bool) -> bool {
        if self.layer == Layer::Tcp && has_condition {
            self.cannot_decide(conjunction);
            return false;
        }
        has_condition
    }

    /// A condition that is not known here: less is let through.
    pub(super) fn cannot_decide<T: Term>(&self, conjunction: &mut Conjunction<T>) {
        if !self.is_deny {
            conjunction.never();
        }
    }
}

/// The rule as a policy; `None` if it can never hold.
pub(super) fn policy(key: &RuleKey<'_>) -> Option<Policy> {
    let rule = key.rule;
    let mut principals: Vec<Option<Principal>> = Vec::new();
    if rule.from.is_empty() {
        principals.push(source::principal(key, None));
    }
    principals.extend(rule.from.iter().map(|from| source::principal(key, from.source.as_ref())));
    let mut permissions: Vec<Option<Permission>> = Vec::new();
    if rule.to.is_empty() {
        permissions.push(target::permission(key, None));
    }
    permissions.extend(rule.to.iter().map(|to| target::permission(key, to.operation.as_ref())));
    let principals: Vec<Principal> = principals.into_iter().flatten().collect();
    let permissions: Vec<Permission> = permissions.into_iter().flatten().collect();
    if principals.is_empty() || permissions.is_empty() {
        return None;
    }
    Some(Policy { permissions, principals, ..Default::default() })
}

/// Which half of a policy a `when` condition belongs to, and what it looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute<'a> {
    /// `request.headers[NAME]`.
    Header(&'a str),
    /// `source.ip`.
    SourceIp,
    /// `remote.ip`.
    RemoteIp,
    /// `source.namespace`.
    SourceNamespace,
    /// `source.principal`.
    SourcePrincipal,
    /// `source.serviceAccount`.
    SourceServiceAccount,
    /// `request.auth.*`: tokens of end users, which nobody verifies here.
    RequestAuth,
    /// `destination.ip`.
    DestinationIp,
    /// `destination.port`.
    DestinationPort,
    /// `connection.sni`.
    Sni,
    /// Anything else.
    Unknown,
}

impl<'a> Attribute<'a> {
    /// Reads the key of a condition. Source: Istio's "Authorization Policy Conditions".
    pub(crate) fn of(condition: &'a Condition) -> Self {
        let key = condition.key.as_str();
        if let Some(name) = key.strip_prefix("request.headers[").and_then(|rest| rest.strip_suffix(']')) {
            return Self::Header(name);
        }
        if key.starts_with("request.auth.") {
            return Self::RequestAuth;
        }
        match key {
            "source.ip" => Self::SourceIp,
            "remote.ip" => Self::RemoteIp,
            "source.namespace" => Self::SourceNamespace,
            "source.principal" => Self::SourcePrincipal,
            "source.serviceAccount" => Self::SourceServiceAccount,
            "destination.ip" => Self::DestinationIp,
            "destination.port" => Self::DestinationPort,
            "connection.sni" => Self::Sni,
            _ => Self::Unknown,
        }
    }
}
