//! From whom: principals.

use mesh_config::model::{Condition, Source};
use mesh_xds_api::envoy::{
    config::{
        core::v3::CidrRange,
        rbac::v3::{
            Principal,
            principal::{Authenticated, Identifier},
        },
    },
    r#type::matcher::v3::StringMatcher,
};

use super::{
    rule::{Attribute, RuleKey},
    term::{Conjunction, Term, header, pattern},
};
use crate::translate::{names, proto};

/// One source with all conditions on the caller; `None` if they can never hold.
pub(super) fn principal(key: &RuleKey<'_>, source: Option<&Source>) -> Option<Principal> {
    let mut all = Conjunction::new();
    if let Some(source) = source {
        of_source(key, source, &mut all);
    }
    for condition in &key.rule.when {
        of_condition(key, condition, &mut all);
    }
    all.finish()
}

fn of_source(key: &RuleKey<'_>, source: &Source, all: &mut Conjunction<Principal>) {
    let domain = key.trust_domain;
    all.values(&source.principals, &source.not_principals, |value| Some(identity(value, domain)));
    // Nobody verifies tokens: no request has a token's principal, and every request fulfils a negation.
    if key.knows_requests(all, !source.request_principals.is_empty()) {
        all.never();
    }
    all.values(&source.namespaces, &source.not_namespaces, |value| Some(namespace(value, domain)));
    let account = |value: &str| Some(service_account(value, key.namespace, domain));
    all.values(&source.service_accounts, &source.not_service_accounts, account);
    all.values(&source.ip_blocks, &source.not_ip_blocks, |value| address(value, Identifier::DirectRemoteIp));
    all.values(&source.remote_ip_blocks, &source.not_remote_ip_blocks, |value| address(value, Identifier::RemoteIp));
    all.values(&source.trust_domains, &source.not_trust_domains, |value| Some(trust_domain(value, domain)));
}

fn of_condition(key: &RuleKey<'_>, condition: &Condition, all: &mut Conjunction<Principal>) {
    let (values, not_values) = (&condition.values, &condition.not_values);
    let domain = key.trust_domain;
    match Attribute::of(condition) {
        Attribute::Header(name) => {
            if key.knows_requests(all, true) {
                let matcher = |value: &str| Some(term(Identifier::Header(header(name, value, false))));
                all.values(values, not_values, matcher);
            }
        }
        Attribute::SourceIp => all.values(values, not_values, |v| address(v, Identifier::DirectRemoteIp)),
        Attribute::RemoteIp => all.values(values, not_values, |v| address(v, Identifier::RemoteIp)),
        Attribute::SourceNamespace => all.values(values, not_values, |v| Some(namespace(v, domain))),
        Attribute::SourcePrincipal => all.values(values, not_values, |v| Some(identity(v, domain))),
        Attribute::SourceServiceAccount => {
            all.values(values, not_values, |v| Some(service_account(v, key.namespace, domain)));
        }
        Attribute::RequestAuth => {
            if key.knows_requests(all, !values.is_empty()) {
                all.never();
            }
        }
        Attribute::Unknown => key.cannot_decide(all),
        Attribute::DestinationIp | Attribute::DestinationPort | Attribute::Sni => {}
    }
}

fn term(identifier: Identifier) -> Principal {
    Principal { identifier: Some(identifier) }
}

fn authenticated(principal_name: Option<StringMatcher>) -> Principal {
    term(Identifier::Authenticated(Authenticated { principal_name }))
}

/// A principal as policies write it: a SPIFFE id without its scheme. `cluster.local` means the mesh's own trust domain.
fn identity(value: &str, trust_domain: &str) -> Principal {
    use mesh_xds_api::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
    let own = value.strip_prefix("cluster.local/").map(|rest| format!("{trust_domain}/{rest}"));
    let matcher = pattern(own.as_deref().unwrap_or(value)).map(|matcher| match matcher.match_pattern {
        Some(MatchPattern::Exact(id)) => proto::exact(format!("spiffe://{id}")),
        Some(MatchPattern::Prefix(id)) => proto::prefix(format!("spiffe://{id}")),
        _ => matcher,
    });
    authenticated(matcher)
}

/// Identities of a namespace of the mesh's own trust domain.
fn namespace(value: &str, trust_domain: &str) -> Principal {
    let start = format!("spiffe://{trust_domain}/ns/");
    match (value.strip_prefix('*'), value.strip_suffix('*')) {
        _ if value == "*" => authenticated(Some(proto::prefix(start))),
        // A namespace holds no slash, so its end is where `/sa/` begins.
        (Some(end), _) => Principal::all(vec![
            authenticated(Some(proto::prefix(start))),
            authenticated(Some(proto::contains(format!("{end}/sa/")))),
        ]),
        (None, Some(begin)) => authenticated(Some(proto::prefix(format!("{start}{begin}")))),
        (None, None) => authenticated(Some(proto::prefix(format!("{start}{value}/")))),
    }
}

/// `NAMESPACE/ACCOUNT`, or an account of the policy's namespace.
fn service_account(value: &str, own: &str, trust_domain: &str) -> Principal {
    let (namespace, account) = value.split_once('/').unwrap_or((own, value));
    authenticated(Some(proto::exact(names::spiffe_id(trust_domain, namespace, account))))
}

fn trust_domain(value: &str, own: &str) -> Principal {
    let value = if value == "cluster.local" { own } else { value };
    match value.strip_suffix('*') {
        Some(begin) => authenticated(Some(proto::prefix(format!("spiffe://{begin}")))),
        None => authenticated(Some(proto::prefix(format!("spiffe://{value}/")))),
    }
}

fn address(value: &str, identifier: impl Fn(CidrRange) -> Identifier) -> Option<Principal> {
    proto::cidr(value).map(|range| term(identifier(range)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_xds_api::{envoy::r#type::matcher::v3::string_matcher::MatchPattern, json};

    fn name(principal: &Principal) -> serde_json::Value {
        json::to_value(principal)["authenticated"]["principal_name"].clone()
    }

    #[test]
    fn identities() {
        let td = "example.org";
        assert_eq!(name(&identity("cluster.local/ns/a/sa/b", td))["exact"], "spiffe://example.org/ns/a/sa/b");
        assert_eq!(name(&identity("other.org/ns/a/sa/b", td))["exact"], "spiffe://other.org/ns/a/sa/b");
        assert_eq!(name(&identity("cluster.local/ns/a/*", td))["prefix"], "spiffe://example.org/ns/a/");
        assert_eq!(name(&identity("*/sa/b", td))["suffix"], "/sa/b");
        assert_eq!(name(&identity("*", td)), serde_json::Value::Null);
        assert_eq!(name(&service_account("b", "a", td))["exact"], "spiffe://example.org/ns/a/sa/b");
        assert_eq!(name(&trust_domain("cluster.local", td))["prefix"], "spiffe://example.org/");
    }

    #[test]
    fn a_namespace_is_not_the_beginning_of_another() {
        assert_eq!(name(&namespace("a", "td"))["prefix"], "spiffe://td/ns/a/");
        assert_eq!(name(&namespace("a*", "td"))["prefix"], "spiffe://td/ns/a");
        // Characters of regular expressions stand for themselves.
        assert_eq!(name(&namespace("a.c", "td"))["prefix"], "spiffe://td/ns/a.c/");
    }

    /// Whether a caller with this identity is the principal, as RBAC decides it.
    fn is(principal: &Principal, id: &str) -> bool {
        match principal.identifier.as_ref().unwrap() {
            Identifier::AndIds(set) => set.ids.iter().all(|principal| is(principal, id)),
            Identifier::Authenticated(Authenticated { principal_name: None }) => true,
            Identifier::Authenticated(Authenticated { principal_name: Some(name) }) => {
                match name.match_pattern.as_ref().unwrap() {
                    MatchPattern::Exact(text) => id == text,
                    MatchPattern::Prefix(text) => id.starts_with(text.as_str()),
                    MatchPattern::Suffix(text) => id.ends_with(text.as_str()),
                    MatchPattern::Contains(text) => id.contains(text.as_str()),
                    other => panic!("no matcher for identities: {other:?}"),
                }
            }
            other => panic!("no identity: {other:?}"),
        }
    }

    proptest::proptest! {
        #[test]
        fn policies_match_what_is_written_and_no_more(
            wanted in "[a-c.*+-]{1,4}", namespace_of in "[a-c-]{1,4}", account in "[a-c.-]{1,4}",
        ) {
            let id = names::spiffe_id("td", &namespace_of, &account);
            let by_pattern = |value: &str| match (value.strip_prefix('*'), value.strip_suffix('*')) {
                _ if value == "*" => true,
                (Some(end), _) => namespace_of.ends_with(end),
                (None, Some(begin)) => namespace_of.starts_with(begin),
                (None, None) => namespace_of == value,
            };
            proptest::prop_assert_eq!(is(&namespace(&wanted, "td"), &id), by_pattern(&wanted));
            let exact = wanted.replace('*', "x");
            let same = exact == account;
            let full = format!("td/ns/{namespace_of}/sa/{exact}");
            proptest::prop_assert_eq!(is(&identity(&full, "td"), &id), same);
            proptest::prop_assert_eq!(is(&service_account(&exact, &namespace_of, "td"), &id), same);
            proptest::prop_assert!(!is(&namespace(&wanted, "other"), &id));
        }
    }
}
