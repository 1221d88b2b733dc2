//! `route.v3.RouteConfiguration`.

mod action;
mod edits;
mod retry;

use std::{
    any::Any as StdAny,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use mesh_xds_api::{
    any,
    envoy::config::route::v3::{
        FilterConfig, Route as ProtoRoute, RouteConfiguration, RouteMatch as ProtoMatch, VirtualHost as ProtoHost,
        route_action::RequestMirrorPolicy, route_match::PathSpecifier, virtual_host::TlsRequirementType,
    },
};

use super::{
    error::{At as _, Translated, refuse, refuse_field},
    matcher::{full_regex, header_matchers, query_matcher},
    source::Context,
    value::{enumeration, metadata, present, required, runtime_fraction, unpack},
};
use crate::{
    model::{Action, FilterConfigs, PathMatch, Route, RouteMatch, RouteTable, VirtualHost},
    supported,
};

supported! {
    /// Route configurations.
    pub(super) static ROUTES =
    envoy.config.route.v3.RouteConfiguration {
        carried: name, virtual_hosts, response_headers_to_add, response_headers_to_remove, request_headers_to_add,
            request_headers_to_remove, most_specific_header_mutations_wins, validate_clusters,
            max_direct_response_body_size_bytes, request_mirror_policies, ignore_port_in_host_matching,
            typed_per_filter_config;
        irrelevant: metadata = "nothing here reads the metadata of a route configuration";
    }
    envoy.config.route.v3.VirtualHost {
        carried: name, domains, routes, require_tls, request_headers_to_add, request_headers_to_remove,
            response_headers_to_add, response_headers_to_remove, typed_per_filter_config,
            include_request_attempt_count, retry_policy, request_mirror_policies;
        irrelevant: metadata = "nothing here reads the metadata of a virtual host";
    }
    envoy.config.route.v3.Route {
        carried: name, match, route, redirect, direct_response, metadata, typed_per_filter_config,
            request_headers_to_add, request_headers_to_remove, response_headers_to_add, response_headers_to_remove;
        irrelevant: decorator = "names trace spans, and there is no tracing",
            tracing = "there is no tracing",
            stat_prefix = "only adds statistics";
    }
    envoy.config.route.v3.RouteMatch {
        carried: prefix, path, path_separated_prefix, safe_regex, connect_matcher, case_sensitive, runtime_fraction,
            headers, query_parameters, grpc, tls_context;
    }
    envoy.config.route.v3.RouteMatch.ConnectMatcher {}
    envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions {}
    envoy.config.route.v3.RouteMatch.TlsContextMatchOptions {
        carried: presented, validated;
    }
    envoy.config.route.v3.FilterConfig {
        carried: config, is_optional;
    }
}
pub(super) use self::{
    action::ACTIONS,
    edits::{EDITS, added as added_headers},
    retry::RETRIES,
};

/// What routes take from the levels above them.
struct Defaults<'a> {
    /// Largest body of a direct response, bytes.
    body_limit: usize,
    /// Copies where a route names none of its own.
    mirrors: &'a [RequestMirrorPolicy],
}

/// `inline`: the table is given in place, and then its clusters must exist unless it says otherwise.
pub(super) fn table(value: &RouteConfiguration, inline: bool, cx: &Context<'_>) -> Translated<RouteTable> {
    let body_limit = value.max_direct_response_body_size_bytes.unwrap_or(4096);
    let defaults = Defaults {
        body_limit: usize::try_from(body_limit).unwrap_or(usize::MAX),
        mirrors: &value.request_mirror_policies,
    };
    let mut virtual_hosts = Vec::with_capacity(value.virtual_hosts.len());
    let (mut names, mut domains) = (HashSet::new(), HashSet::new());
    for (i, host) in value.virtual_hosts.iter().enumerate() {
        let field = format!("virtual_hosts[{i}]");
        if !names.insert(host.name.as_str()) {
            return refuse_field(
                format!("{field}.name"),
                format!("{}: names of virtual hosts must be unique", host.name),
            );
        }
        let host = virtual_host(host, &defaults, cx).at(&field)?;
        for (d, domain) in host.domains.iter().enumerate() {
            if !domains.insert(domain.clone()) {
                let reason =
                    format!("only unique values for domains are permitted. Duplicate entry of domain {domain}");
                return refuse_field(format!("{field}.domains[{d}]"), reason);
            }
        }
        virtual_hosts.push(Arc::new(host));
    }
    Ok(RouteTable {
        name: value.name.clone(),
        virtual_hosts,
        edits: edits::edits(value)?,
        ignore_port_in_host_matching: value.ignore_port_in_host_matching,
        most_specific_edits_last: value.most_specific_header_mutations_wins,
        validate_clusters: value.validate_clusters.unwrap_or(inline),
        filter_config: filter_configs(&value.typed_per_filter_config, cx)?,
    })
}

fn virtual_host(value: &ProtoHost, defaults: &Defaults<'_>, cx: &Context<'_>) -> Translated<VirtualHost> {
    let name = required(&value.name, "name")?.to_owned();
    if value.domains.is_empty() {
        return refuse_field("domains", "one at least is required");
    }
    let domains: Vec<String> = value.domains.iter().map(|domain| domain.to_lowercase()).collect();
    if let Some(at) = domains.iter().position(String::is_empty) {
        return refuse_field(format!("domains[{at}]"), "must not be empty");
    }
    let mirrors =
        if value.request_mirror_policies.is_empty() { defaults.mirrors } else { &value.request_mirror_policies };
    let defaults = Defaults { mirrors, ..*defaults };
    let mut routes = Vec::with_capacity(value.routes.len());
    for (i, value) in value.routes.iter().enumerate() {
        routes.push(Arc::new(route(value, &defaults, cx).at(format_args!("routes[{i}]"))?));
    }
    let require_tls = match enumeration(value.require_tls, "require_tls")? {
        TlsRequirementType::None => None,
        TlsRequirementType::ExternalOnly => Some(false),
        TlsRequirementType::All => Some(true),
    };
    Ok(VirtualHost {
        name,
        domains,
        routes,
        edits: edits::edits(value)?,
        retry: value.retry_policy.as_ref().map(retry::policy).transpose().at("retry_policy")?.map(Arc::new),
        require_tls,
        filter_config: filter_configs(&value.typed_per_filter_config, cx)?,
        include_attempt_count: value.include_request_attempt_count,
    })
}

fn route(value: &ProtoRoute, defaults: &Defaults<'_>, cx: &Context<'_>) -> Translated<Route> {
    let condition = present(value.r#match.as_ref(), "match")?;
    let matches = route_match(condition).at("match")?;
    let action = action::action(value.action.as_ref(), defaults, cx)?;
    if let Action::Forward(forward) = &action {
        action::fits(forward, &matches.path).at("route")?;
    }
    Ok(Route {
        name: value.name.clone(),
        matches,
        action,
        edits: edits::edits(value)?,
        filter_config: filter_configs(&value.typed_per_filter_config, cx)?,
        metadata: metadata(value.metadata.as_ref()),
    })
}

fn route_match(value: &ProtoMatch) -> Translated<RouteMatch> {
    let path = match &value.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => PathMatch::Prefix(prefix.clone()),
        Some(PathSpecifier::Path(path)) => PathMatch::Exact(path.clone()),
        Some(PathSpecifier::SafeRegex(regex)) => PathMatch::Regex(full_regex(regex).at("safe_regex")?),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
            if prefix.is_empty() || !prefix.starts_with('/') || prefix.ends_with('/') || prefix.contains(['?', '#']) {
                let reason = "must begin with a slash, not end with one, and hold neither ? nor #";
                return refuse_field("path_separated_prefix", reason);
            }
            PathMatch::SeparatedPrefix(prefix.clone())
        }
        Some(PathSpecifier::ConnectMatcher(_)) => PathMatch::Connect,
        Some(PathSpecifier::PathMatchPolicy(_)) => return refuse_field("path_match_policy", "is not carried"),
        None => return refuse("one of prefix, path, safe_regex, path_separated_prefix, connect_matcher is required"),
    };
    let query = value.query_parameters.iter().enumerate();
    let tls = value.tls_context.as_ref();
    Ok(RouteMatch {
        path,
        ignore_case: value.case_sensitive == Some(false),
        headers: header_matchers(&value.headers, "headers")?,
        query: query
            .map(|(i, value)| query_matcher(value).at(format_args!("query_parameters[{i}]")))
            .collect::<Translated<_>>()?,
        grpc: value.grpc.is_some(),
        fraction: value.runtime_fraction.as_ref().map(runtime_fraction).transpose().at("runtime_fraction")?,
        tls_presented: tls.and_then(|tls| tls.presented),
        tls_validated: tls.and_then(|tls| tls.validated),
    })
}

/// Per-route configuration, by filter name, made by the factory that knows the type.
fn filter_configs(values: &BTreeMap<String, any::Any>, cx: &Context<'_>) -> Translated<FilterConfigs> {
    let mut configs: BTreeMap<String, Arc<dyn StdAny + Send + Sync>> = BTreeMap::new();
    for (name, value) in values {
        if let Some(config) = filter_config(value, cx).at(format_args!("typed_per_filter_config[{name:?}]"))? {
            configs.insert(name.clone(), config);
        }
    }
    Ok(Arc::new(configs))
}

fn filter_config(value: &any::Any, cx: &Context<'_>) -> Translated<Option<Arc<dyn StdAny + Send + Sync>>> {
    if any::is::<FilterConfig>(value) {
        let wrapper: FilterConfig = unpack(value)?;
        let config = present(wrapper.config.as_ref(), "config")?;
        return match cx.filters.http(&config.type_url) {
            None if wrapper.is_optional => Ok(None),
            _ => filter_config(config, cx).at("config"),
        };
    }
    match cx.filters.http(&value.type_url) {
        Some(factory) => Ok(Some(factory.route_config(value)?)),
        None => refuse(format!("no filter of type {} is registered", value.type_url)),
    }
}
