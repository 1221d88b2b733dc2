//! `PeerAuthentication` and `AuthorizationPolicy`: who may talk to a workload, and how.
//!
//! Source: `istio.security.v1`, peer_authentication.proto and authorization_policy.proto.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::common::{LabelSelector, PolicyTargetReference};

/// Whether workloads accept plain text, mutual TLS, or both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PeerAuthentication {
    /// The workloads; all in the namespace (in the root namespace: in the mesh) by default.
    pub selector: Option<LabelSelector>,
    /// The mode for all ports; inherited by default.
    pub mtls: Option<MutualTls>,
    /// Modes by workload port; needs a selector.
    pub port_level_mtls: BTreeMap<u32, MutualTls>,
}

/// A mode of mutual TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MutualTls {
    /// The mode; inherited by default.
    pub mode: MutualTlsMode,
}

/// What is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MutualTlsMode {
    /// As the parent says; `PERMISSIVE` when nobody does.
    #[default]
    Unset,
    /// Plain text only.
    Disable,
    /// Both.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

/// Which requests a workload accepts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AuthorizationPolicy {
    /// The workloads; all in the namespace (in the root namespace: in the mesh) by default.
    pub selector: Option<LabelSelector>,
    /// The resource the policy is bound to. Deprecated by `target_refs`.
    pub target_ref: Option<PolicyTargetReference>,
    /// The resources the policy is bound to; excludes a selector.
    pub target_refs: Vec<PolicyTargetReference>,
    /// Rules, of which one must match; none match nothing, an empty rule matches everything.
    pub rules: Vec<Rule>,
    /// What is done with matching requests; `ALLOW` by default.
    pub action: AuthorizationAction,
    /// The provider of a `CUSTOM` policy.
    pub provider: Option<ExtensionProvider>,
}

/// What is done with requests that match a policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuthorizationAction {
    /// Accept; when any policy allows, what none allows is refused.
    #[default]
    Allow,
    /// Refuse.
    Deny,
    /// Mark for audit.
    Audit,
    /// Ask an external provider.
    Custom,
}

/// The provider of a `CUSTOM` policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ExtensionProvider {
    /// Its name in the mesh configuration.
    pub name: String,
}

/// One rule; all parts that are given must match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Rule {
    /// Callers, of which one must match; any by default.
    pub from: Vec<RuleFrom>,
    /// Operations, of which one must match; any by default.
    pub to: Vec<RuleTo>,
    /// Further conditions, all of which must hold.
    pub when: Vec<Condition>,
}

/// A caller of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RuleFrom {
    /// The caller.
    pub source: Option<Source>,
}

/// An operation of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RuleTo {
    /// The operation.
    pub operation: Option<Operation>,
}

/// A caller; all fields that are given must match, each by one of its values.
///
/// Values are exact, or have a `*` at their beginning or end, or are `*` (present).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Source {
    /// Identities from the client certificate, `TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
    pub principals: Vec<String>,
    /// Identities that must not match.
    pub not_principals: Vec<String>,
    /// Identities from the request's token, `ISSUER/SUBJECT`.
    pub request_principals: Vec<String>,
    /// Token identities that must not match.
    pub not_request_principals: Vec<String>,
    /// Namespaces from the client certificate.
    pub namespaces: Vec<String>,
    /// Namespaces that must not match.
    pub not_namespaces: Vec<String>,
    /// Service accounts, `NAMESPACE/ACCOUNT` or `ACCOUNT` in the policy's namespace; exact only.
    pub service_accounts: Vec<String>,
    /// Service accounts that must not match.
    pub not_service_accounts: Vec<String>,
    /// Peer addresses or ranges in CIDR form.
    pub ip_blocks: Vec<String>,
    /// Peer addresses that must not match.
    pub not_ip_blocks: Vec<String>,
    /// Original client addresses (X-Forwarded-For, PROXY protocol) or ranges in CIDR form.
    pub remote_ip_blocks: Vec<String>,
    /// Original client addresses that must not match.
    pub not_remote_ip_blocks: Vec<String>,
    /// Trust domains from the client certificate.
    pub trust_domains: Vec<String>,
    /// Trust domains that must not match.
    pub not_trust_domains: Vec<String>,
}

/// An operation; all fields that are given must match, each by one of its values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Operation {
    /// Hosts of the request, compared without regard to case.
    pub hosts: Vec<String>,
    /// Hosts that must not match.
    pub not_hosts: Vec<String>,
    /// Ports of the workload.
    pub ports: Vec<String>,
    /// Ports that must not match.
    pub not_ports: Vec<String>,
    /// Methods; for gRPC always `POST`.
    pub methods: Vec<String>,
    /// Methods that must not match.
    pub not_methods: Vec<String>,
    /// Paths, or templates with `{*}` and `{**}`.
    pub paths: Vec<String>,
    /// Paths that must not match.
    pub not_paths: Vec<String>,
}

/// A further condition on an attribute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Condition {
    /// The attribute, such as `request.headers[x-user]` or `source.namespace`.
    pub key: String,
    /// Values, of which one must match.
    pub values: Vec<String>,
    /// Values that must not match.
    pub not_values: Vec<String>,
}
