// Deprecated variants are still sent by control planes, and count.
#![allow(deprecated)]

use mesh_xds_api::{
    any::Any,
    envoy::{
        config::rbac::v3::{
            Permission as ProtoPermission, Policy as ProtoPolicy, Principal as ProtoPrincipal, Rbac as ProtoRules,
            permission::Rule, principal::Identifier, rbac::Action as ProtoAction,
        },
        extensions::filters::{
            http::rbac::v3::{Rbac as ProtoHttp, RbacPerRoute},
            network::rbac::v3::Rbac as ProtoNetwork,
        },
        r#type::matcher::v3::{
            MetadataMatcher as ProtoMetadata, PathMatcher, ValueMatcher as ProtoValue, double_matcher, list_matcher,
            metadata_matcher::path_segment::Segment, path_matcher, value_matcher::MatchPattern,
        },
    },
};

use super::{
    Config,
    engine::{Action, Permission, Policy, Principal, Rules},
    metadata::{MetadataMatcher, ValueMatcher},
};
use crate::{
    config::{Audit, FieldError, MATCHERS, header_matcher, string_matcher},
    filters::proto::{VALUES, at, cidr, each, refuse, unpack},
    model::StringMatcher,
    supported,
};

/// Rules inside each other at most.
const MAX_DEPTH: usize = 50;

supported! {
    static TABLES =
    envoy.extensions.filters.http.rbac.v3.RBAC {
        carried: rules, rules_stat_prefix, shadow_rules, shadow_rules_stat_prefix;
    }
    envoy.extensions.filters.http.rbac.v3.RBACPerRoute {
        carried: rbac;
    }
    envoy.extensions.filters.network.rbac.v3.RBAC {
        carried: rules, shadow_rules, shadow_rules_stat_prefix, stat_prefix;
        limited: enforcement_type = "ONE_TIME_ON_FIRST_BYTE";
    }
    envoy.config.rbac.v3.RBAC {
        carried: action, policies;
    }
    envoy.config.rbac.v3.Policy {
        carried: permissions, principals;
    }
    envoy.config.rbac.v3.Permission {
        carried: and_rules, or_rules, any, header, url_path, destination_ip, destination_port, destination_port_range,
            metadata, not_rule, requested_server_name;
    }
    envoy.config.rbac.v3.Permission.Set {
        carried: rules;
    }
    envoy.config.rbac.v3.Principal {
        carried: and_ids, or_ids, any, authenticated, source_ip, direct_remote_ip, remote_ip, header, url_path,
            metadata, not_id;
    }
    envoy.config.rbac.v3.Principal.Set {
        carried: ids;
    }
    envoy.config.rbac.v3.Principal.Authenticated {
        carried: principal_name;
    }
    envoy.type.v3.Int32Range {
        carried: start, end;
    }
    envoy.type.v3.DoubleRange {
        carried: start, end;
    }
    envoy.type.matcher.v3.PathMatcher {
        carried: path;
    }
    envoy.type.matcher.v3.MetadataMatcher {
        carried: filter, path, value, invert;
    }
    envoy.type.matcher.v3.MetadataMatcher.PathSegment {
        carried: key;
    }
    envoy.type.matcher.v3.ValueMatcher {
        carried: null_match, double_match, string_match, bool_match, present_match, list_match, or_match;
    }
    envoy.type.matcher.v3.ValueMatcher.NullMatch {}
    envoy.type.matcher.v3.DoubleMatcher {
        carried: range, exact;
    }
    envoy.type.matcher.v3.ListMatcher {
        carried: one_of;
    }
    envoy.type.matcher.v3.OrMatcher {
        carried: value_matchers;
    }
}

pub(in crate::filters) static AUDIT: Audit = Audit::new(&[TABLES, VALUES, MATCHERS]);

type Parsed<T> = Result<T, FieldError>;

pub(super) fn http(any: &Any) -> Parsed<Config> {
    config(&unpack::<ProtoHttp>(any, &AUDIT)?)
}

/// A route's own rules; without any, the filter lets the route's requests pass.
pub(super) fn per_route(any: &Any) -> Parsed<Config> {
    if mesh_xds_api::any::is::<ProtoHttp>(any) {
        return refuse("", "a route takes RBACPerRoute, not RBAC");
    }
    match unpack::<RbacPerRoute>(any, &AUDIT)?.rbac {
        Some(own) => at(config(&own), "rbac"),
        None => Ok(Config::default()),
    }
}

fn config(proto: &ProtoHttp) -> Parsed<Config> {
    Ok(Config {
        rules: at(proto.rules.as_ref().map(rules).transpose(), "rules")?,
        shadow: at(proto.shadow_rules.as_ref().map(rules).transpose(), "shadow_rules")?,
        stat_prefix: proto.rules_stat_prefix.clone(),
        shadow_stat_prefix: proto.shadow_rules_stat_prefix.clone(),
    })
}

pub(super) fn network(any: &Any) -> Parsed<Config> {
    let proto: ProtoNetwork = unpack(any, &AUDIT)?;
    if proto.enforcement_type != 0 {
        return refuse("enforcement_type", "only ONE_TIME_ON_FIRST_BYTE is carried");
    }
    if proto.stat_prefix.is_empty() {
        return refuse("stat_prefix", "is required");
    }
    Ok(Config {
        rules: at(proto.rules.as_ref().map(rules).transpose(), "rules")?,
        shadow: at(proto.shadow_rules.as_ref().map(rules).transpose(), "shadow_rules")?,
        stat_prefix: proto.stat_prefix.clone(),
        shadow_stat_prefix: proto.shadow_rules_stat_prefix.clone(),
    })
}

fn rules(proto: &ProtoRules) -> Parsed<Rules> {
    let action = match ProtoAction::try_from(proto.action) {
        Ok(ProtoAction::Allow) => Action::Allow,
        Ok(ProtoAction::Deny) => Action::Deny,
        Ok(ProtoAction::Log) => Action::Log,
        Err(_) => return refuse("action", format!("{} is no action", proto.action)),
    };
    let one = |(name, proto): (&String, &ProtoPolicy)| {
        policy(name, proto).map_err(|error| error.within(format_args!("policies[{name:?}]")))
    };
    Ok(Rules { action, policies: proto.policies.iter().map(one).collect::<Parsed<_>>()? })
}

fn policy(name: &str, proto: &ProtoPolicy) -> Parsed<Policy> {
    if proto.permissions.is_empty() || proto.principals.is_empty() {
        return refuse("", "needs at least one permission and one principal");
    }
    Ok(Policy {
        name: name.to_owned(),
        permissions: each(&proto.permissions, "permissions", |rule| permission(rule, MAX_DEPTH))?,
        principals: each(&proto.principals, "principals", |id| principal(id, MAX_DEPTH))?,
    })
}

fn permission(proto: &ProtoPermission, depth: usize) -> Parsed<Permission> {
    let Some(depth) = depth.checked_sub(1) else { return refuse("", "rules are nested too deeply") };
    let Some(rule) = &proto.rule else { return refuse("", "a rule is required") };
    Ok(match rule {
        Rule::Any(true) => Permission::Any,
        Rule::Any(false) => return refuse("any", "must be true"),
        Rule::AndRules(set) => {
            Permission::All(at(each(&set.rules, "rules", |rule| permission(rule, depth)), "and_rules")?)
        }
        Rule::OrRules(set) => {
            Permission::OneOf(at(each(&set.rules, "rules", |rule| permission(rule, depth)), "or_rules")?)
        }
        Rule::NotRule(rule) => Permission::Not(Box::new(at(permission(rule, depth), "not_rule")?)),
        Rule::Header(matcher) => Permission::Header(at(header_matcher(matcher), "header")?),
        Rule::UrlPath(matcher) => Permission::UrlPath(at(url_path(matcher), "url_path")?),
        Rule::DestinationIp(range) => Permission::DestinationIp(at(cidr(range), "destination_ip")?),
        Rule::DestinationPort(port) if *port <= 65_535 => Permission::DestinationPort(*port..*port + 1),
        Rule::DestinationPort(_) => return refuse("destination_port", "is no port"),
        Rule::DestinationPortRange(range) => match (u32::try_from(range.start), u32::try_from(range.end)) {
            (Ok(start), Ok(end)) if start < end && end <= 65_536 => Permission::DestinationPort(start..end),
            _ => return refuse("destination_port_range", "is no range of ports"),
        },
        Rule::Metadata(matcher) => Permission::Metadata(at(metadata(matcher), "metadata")?),
        Rule::RequestedServerName(matcher) => {
            Permission::ServerName(at(string_matcher(matcher), "requested_server_name")?)
        }
        Rule::Matcher(_) => return refuse("matcher", "is not carried"),
        Rule::UriTemplate(_) => return refuse("uri_template", "is not carried"),
        Rule::SourcedMetadata(_) => return refuse("sourced_metadata", "is not carried"),
    })
}

fn principal(proto: &ProtoPrincipal, depth: usize) -> Parsed<Principal> {
    let Some(depth) = depth.checked_sub(1) else { return refuse("", "principals are nested too deeply") };
    let Some(identifier) = &proto.identifier else { return refuse("", "an identifier is required") };
    Ok(match identifier {
        Identifier::Any(true) => Principal::Any,
        Identifier::Any(false) => return refuse("any", "must be true"),
        Identifier::AndIds(set) => Principal::All(at(each(&set.ids, "ids", |id| principal(id, depth)), "and_ids")?),
        Identifier::OrIds(set) => Principal::OneOf(at(each(&set.ids, "ids", |id| principal(id, depth)), "or_ids")?),
        Identifier::NotId(id) => Principal::Not(Box::new(at(principal(id, depth), "not_id")?)),
        Identifier::Authenticated(name) => {
            let name = name.principal_name.as_ref().map(string_matcher).transpose();
            Principal::Authenticated(at(name, "authenticated.principal_name")?)
        }
        Identifier::SourceIp(range) => Principal::SourceIp(at(cidr(range), "source_ip")?),
        Identifier::DirectRemoteIp(range) => Principal::DirectRemoteIp(at(cidr(range), "direct_remote_ip")?),
        Identifier::RemoteIp(range) => Principal::RemoteIp(at(cidr(range), "remote_ip")?),
        Identifier::Header(matcher) => Principal::Header(at(header_matcher(matcher), "header")?),
        Identifier::UrlPath(matcher) => Principal::UrlPath(at(url_path(matcher), "url_path")?),
        Identifier::Metadata(matcher) => Principal::Metadata(at(metadata(matcher), "metadata")?),
        Identifier::FilterState(_) => return refuse("filter_state", "is not carried"),
        Identifier::SourcedMetadata(_) => return refuse("sourced_metadata", "is not carried"),
        Identifier::Custom(_) => return refuse("custom", "is not carried"),
    })
}

fn url_path(proto: &PathMatcher) -> Parsed<StringMatcher> {
    match &proto.rule {
        Some(path_matcher::Rule::Path(matcher)) => at(string_matcher(matcher), "path"),
        None => refuse("path", "is required"),
    }
}

fn metadata(proto: &ProtoMetadata) -> Parsed<MetadataMatcher> {
    let mut path = vec![proto.filter.clone()];
    for (i, segment) in proto.path.iter().enumerate() {
        match &segment.segment {
            Some(Segment::Key(key)) => path.push(key.clone()),
            None => return refuse(&format!("path[{i}].key"), "is required"),
        }
    }
    match &proto.value {
        Some(value) => {
            Ok(MetadataMatcher { path, value: at(value_matcher(value, MAX_DEPTH), "value")?, invert: proto.invert })
        }
        None => refuse("value", "is required"),
    }
}

fn value_matcher(proto: &ProtoValue, depth: usize) -> Parsed<ValueMatcher> {
    let Some(depth) = depth.checked_sub(1) else { return refuse("", "matchers are nested too deeply") };
    Ok(match &proto.match_pattern {
        Some(MatchPattern::NullMatch(_)) => ValueMatcher::Null,
        Some(MatchPattern::DoubleMatch(matcher)) => match &matcher.match_pattern {
            Some(double_matcher::MatchPattern::Exact(number)) => ValueMatcher::Number(*number),
            Some(double_matcher::MatchPattern::Range(range)) => ValueMatcher::NumberRange(range.start, range.end),
            None => return refuse("double_match", "needs range or exact"),
        },
        Some(MatchPattern::StringMatch(matcher)) => ValueMatcher::Text(at(string_matcher(matcher), "string_match")?),
        Some(MatchPattern::BoolMatch(value)) => ValueMatcher::Bool(*value),
        Some(MatchPattern::PresentMatch(present)) => ValueMatcher::Present(*present),
        Some(MatchPattern::ListMatch(list)) => match &list.match_pattern {
            Some(list_matcher::MatchPattern::OneOf(matcher)) => {
                ValueMatcher::ListHas(Box::new(at(value_matcher(matcher, depth), "list_match.one_of")?))
            }
            None => return refuse("list_match", "needs one_of"),
        },
        Some(MatchPattern::OrMatch(matchers)) => {
            let all = each(&matchers.value_matchers, "value_matchers", |matcher| value_matcher(matcher, depth));
            ValueMatcher::OneOf(at(all, "or_match")?)
        }
        None => return refuse("", "a pattern is required"),
    })
}
