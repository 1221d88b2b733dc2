//! `route.v3.RouteConfiguration`.

mod action;
mod answer;
mod edits;
mod matching;
mod options;
mod retry;
mod rewrite;
mod weighted;

use std::{
    any::Any as StdAny,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use mesh_xds_api::{
    any,
    envoy::config::route::v3::{
        FilterConfig, Route as ProtoRoute, RouteConfiguration, VirtualHost as ProtoHost,
        route_action::RequestMirrorPolicy, virtual_host::TlsRequirementType,
    },
};

use super::{
    error::{At as _, Translated, refuse, refuse_field},
    source::Context,
    value::{enumeration, header_name, header_names, metadata, present, required, unpack},
};
use crate::{
    model::{FilterConfigs, FilterDisabled, Route, RouteTable, VirtualHost},
    supported,
};

supported! {
    /// Route configurations.
    pub(super) static ROUTES =
    envoy.config.route.v3.RouteConfiguration {
        carried: name, virtual_hosts, response_headers_to_add, response_headers_to_remove, request_headers_to_add,
            request_headers_to_remove, most_specific_header_mutations_wins, validate_clusters,
            max_direct_response_body_size_bytes, request_mirror_policies, ignore_port_in_host_matching,
            typed_per_filter_config, ignore_path_parameters_in_path_matching, vhost_header, internal_only_headers;
        irrelevant: metadata = "nothing here reads the metadata of a route configuration";
    }
    envoy.config.route.v3.VirtualHost {
        carried: name, domains, routes, require_tls, request_headers_to_add, request_headers_to_remove,
            response_headers_to_add, response_headers_to_remove, typed_per_filter_config,
            include_request_attempt_count, include_attempt_count_in_response, include_is_timeout_retry_header,
            retry_policy, request_mirror_policies, per_request_buffer_limit_bytes, request_body_buffer_limit;
        irrelevant: metadata = "nothing here reads the metadata of a virtual host";
    }
    envoy.config.route.v3.Route {
        carried: name, match, route, redirect, direct_response, filter_action, non_forwarding_action, metadata,
            typed_per_filter_config, per_request_buffer_limit_bytes, request_body_buffer_limit, request_headers_to_add, request_headers_to_remove, response_headers_to_add, response_headers_to_remove;
        irrelevant: decorator = "names trace spans, and there is no tracing",
            tracing = "there is no tracing",
            stat_prefix = "only adds statistics";
    }
    envoy.config.route.v3.FilterAction {}
    envoy.config.route.v3.NonForwardingAction {}
    envoy.config.route.v3.FilterConfig {
        carried: config, is_optional, disabled;
    }
}
pub(super) use self::{
    action::ACTIONS,
    answer::ANSWERS,
    edits::{EDITS, added as added_headers},
    matching::CONDITIONS,
    options::{HASHES, MIRRORS, REDIRECT_POLICIES},
    retry::RETRIES,
    weighted::WEIGHTS,
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
        ignore_path_parameters: value.ignore_path_parameters_in_path_matching,
        vhost_header: match value.vhost_header.as_str() {
            "" => None,
            name => Some(header_name(name).at("vhost_header")?),
        },
        internal_only_headers: header_names(&value.internal_only_headers, "internal_only_headers")?,
    })
}

/// Request bytes kept: the older field's value in the newer one's terms.
fn buffer_limit(newer: Option<u64>, older: Option<u32>) -> Option<u64> {
    newer.or(older.map(u64::from))
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
        include_attempt_count_in_response: value.include_attempt_count_in_response,
        include_is_timeout_retry: value.include_is_timeout_retry_header,
        buffer_limit: buffer_limit(value.request_body_buffer_limit, value.per_request_buffer_limit_bytes),
    })
}

fn route(value: &ProtoRoute, defaults: &Defaults<'_>, cx: &Context<'_>) -> Translated<Route> {
    let condition = present(value.r#match.as_ref(), "match")?;
    let matches = matching::route_match(condition).at("match")?;
    let action = action::action(value.action.as_ref(), &matches.path, defaults, cx)?;
    Ok(Route {
        name: value.name.clone(),
        matches,
        action,
        edits: edits::edits(value)?,
        filter_config: filter_configs(&value.typed_per_filter_config, cx)?,
        metadata: metadata(value.metadata.as_ref()),
        buffer_limit: buffer_limit(value.request_body_buffer_limit, value.per_request_buffer_limit_bytes),
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
        if wrapper.disabled {
            return Ok(Some(Arc::new(FilterDisabled)));
        }
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
