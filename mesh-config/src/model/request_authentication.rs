//! `RequestAuthentication`: which tokens of end users are accepted.
//!
//! Source: `istio.security.v1`, request_authentication.proto.

use serde::{Deserialize, Serialize};

use super::{
    common::{LabelSelector, PolicyTargetReference},
    duration::Duration,
};

/// Which JSON Web Tokens a workload accepts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RequestAuthentication {
    /// The workloads; all in the namespace (in the root namespace: in the mesh) by default.
    pub selector: Option<LabelSelector>,
    /// The resource the policy is bound to. Deprecated by `target_refs`.
    pub target_ref: Option<PolicyTargetReference>,
    /// The resources the policy is bound to; excludes a selector.
    pub target_refs: Vec<PolicyTargetReference>,
    /// The issuers that are accepted.
    pub jwt_rules: Vec<JwtRule>,
}

/// An accepted issuer of tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct JwtRule {
    /// The issuer, as in the `iss` claim.
    pub issuer: String,
    /// Accepted audiences; the service's name by default.
    pub audiences: Vec<String>,
    /// Where the issuer's keys are fetched.
    #[serde(alias = "jwks_uri")]
    pub jwks_uri: Option<String>,
    /// The issuer's keys themselves; excludes `jwks_uri`.
    pub jwks: Option<String>,
    /// Headers that carry the token.
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters that carry the token.
    pub from_params: Vec<String>,
    /// Cookies that carry the token.
    pub from_cookies: Vec<String>,
    /// The header that receives the verified payload.
    pub output_payload_to_header: Option<String>,
    /// Pass the token on; default false.
    pub forward_original_token: bool,
    /// Claims that are copied into headers.
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// The longest time to fetch the keys; 5 s by default.
    pub timeout: Option<Duration>,
    /// Claims that hold several values separated by spaces, beside `scope`.
    pub space_delimited_claims: Vec<String>,
    /// Whether a token must be there; `OPTIONAL` by default.
    pub presence: Option<TokenPresence>,
}

/// Whether a request must carry a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TokenPresence {
    /// One that is there must be valid.
    Optional,
    /// There must be a valid one.
    Required,
}

/// A header that carries a token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct JwtHeader {
    /// The header's name.
    pub name: String,
    /// What stands before the token, such as `Bearer `.
    pub prefix: Option<String>,
}

/// A claim that is copied into a header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ClaimToHeader {
    /// The header's name.
    pub header: String,
    /// The claim's name.
    pub claim: String,
}
