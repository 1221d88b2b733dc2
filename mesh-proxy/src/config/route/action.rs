//! What a route does.

use std::time::Duration;

use ::http::StatusCode;
use mesh_xds_api::envoy::config::core::v3::RoutingPriority;
use mesh_xds_api::envoy::config::route::v3::{
    DirectResponseAction, RedirectAction, RouteAction, WeightedCluster as ProtoWeighted,
    redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
    route,
    route_action::{
        ClusterNotFoundResponseCode, ClusterSpecifier as ProtoSpecifier, HashPolicy as ProtoHash, HostRewriteSpecifier,
        MaxStreamDuration, RequestMirrorPolicy, UpgradeConfig, hash_policy::PolicySpecifier,
    },
    weighted_cluster::cluster_weight,
};

use super::{Defaults, edits, filter_configs, retry};
use crate::{
    config::{
        error::{At as _, Translated, refuse, refuse_field},
        matcher::substitution,
        source::Context,
        value::{
            data, duration_or, enumeration, header_name, header_value, metadata, optional_duration, port, required,
            runtime_fraction,
        },
    },
    model::{
        Action, ClusterSpecifier, DirectResponse, Forward, HashPolicy, HostRewrite, Mirror, PathMatch, PathRewrite,
        Redirect, RedirectPath, WeightedCluster,
    },
    supported,
};

supported! {
    /// Actions of routes.
    pub(in crate::config) static ACTIONS =
    envoy.config.route.v3.RouteAction {
        carried: cluster, cluster_header, weighted_clusters, cluster_not_found_response_code, metadata_match,
            prefix_rewrite, regex_rewrite, path_rewrite, host_rewrite_literal, auto_host_rewrite, host_rewrite_header,
            host_rewrite_path_regex, append_x_forwarded_host, timeout, idle_timeout, retry_policy,
            request_mirror_policies, priority, hash_policy, max_grpc_timeout, upgrade_configs, max_stream_duration;
        irrelevant: include_vh_rate_limits = "rate limits are refused where they are configured";
    }
    envoy.config.route.v3.WeightedCluster {
        carried: clusters;
        limited: total_weight = "the sum of the weights";
        irrelevant: runtime_key_prefix = "there is no runtime that could set it: the weights hold";
    }
    envoy.config.route.v3.WeightedCluster.ClusterWeight {
        carried: name, weight, request_headers_to_add, request_headers_to_remove, response_headers_to_add,
            response_headers_to_remove, typed_per_filter_config, host_rewrite_literal;
    }
    envoy.config.route.v3.RouteAction.RequestMirrorPolicy {
        carried: cluster, runtime_fraction;
        irrelevant: trace_sampled = "there is no tracing";
    }
    envoy.config.route.v3.RouteAction.HashPolicy {
        carried: header, cookie, connection_properties, query_parameter;
        limited: terminal = "false";
    }
    envoy.config.route.v3.RouteAction.HashPolicy.Header {
        carried: header_name;
    }
    envoy.config.route.v3.RouteAction.HashPolicy.Cookie {
        carried: name, ttl, path;
    }
    envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties {
        carried: source_ip;
    }
    envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter {
        carried: name;
    }
    envoy.config.route.v3.RouteAction.UpgradeConfig {
        carried: upgrade_type, enabled, connect_config;
    }
    envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig {}
    envoy.config.route.v3.RouteAction.MaxStreamDuration {
        carried: max_stream_duration, grpc_timeout_header_max;
    }
    envoy.config.route.v3.RedirectAction {
        carried: https_redirect, scheme_redirect, host_redirect, port_redirect, path_redirect, prefix_rewrite,
            regex_rewrite, response_code, strip_query;
    }
    envoy.config.route.v3.DirectResponseAction {
        carried: status, body;
    }
}

pub(super) fn action(value: Option<&route::Action>, defaults: &Defaults<'_>, cx: &Context<'_>) -> Translated<Action> {
    match value {
        Some(route::Action::Route(value)) => {
            forward(value, defaults, cx).at("route").map(|forward| Action::Forward(Box::new(forward)))
        }
        Some(route::Action::Redirect(value)) => {
            redirect(value).at("redirect").map(|redirect| Action::Redirect(Box::new(redirect)))
        }
        Some(route::Action::DirectResponse(value)) => {
            direct_response(value, defaults.body_limit).at("direct_response").map(Action::Direct)
        }
        Some(_) => refuse("only route, redirect and direct_response are carried"),
        None => refuse("one of route, redirect, direct_response is required"),
    }
}

/// Whether the rewrites of a route can be done with what it matches.
pub(super) fn fits(forward: &Forward, path: &PathMatch) -> Translated<()> {
    match (&forward.rewrite, path) {
        (PathRewrite::Prefix(_), PathMatch::Regex(_)) => {
            refuse_field("prefix_rewrite", "cannot be used with a safe_regex match; use regex_rewrite")
        }
        _ => Ok(()),
    }
}

fn forward(value: &RouteAction, defaults: &Defaults<'_>, cx: &Context<'_>) -> Translated<Forward> {
    let duration = value.max_stream_duration.unwrap_or_default();
    let mirrors =
        if value.request_mirror_policies.is_empty() { defaults.mirrors } else { &value.request_mirror_policies };
    Ok(Forward {
        cluster: cluster(value.cluster_specifier.as_ref(), cx)?,
        cluster_not_found: match enumeration(value.cluster_not_found_response_code, "cluster_not_found_response_code")?
        {
            ClusterNotFoundResponseCode::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            ClusterNotFoundResponseCode::NotFound => StatusCode::NOT_FOUND,
            ClusterNotFoundResponseCode::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
        },
        rewrite: path_rewrite(value)?,
        host_rewrite: host_rewrite(value.host_rewrite_specifier.as_ref())?,
        append_x_forwarded_host: value.append_x_forwarded_host,
        timeout: duration_or(value.timeout.as_ref(), "timeout", Duration::from_secs(15))?,
        idle_timeout: optional_duration(value.idle_timeout.as_ref(), "idle_timeout")?,
        max_stream_duration: optional_duration(
            duration.max_stream_duration.as_ref(),
            "max_stream_duration.max_stream_duration",
        )?,
        grpc_timeout_header_max: grpc_timeout(&duration, value)?,
        retry: value.retry_policy.as_ref().map(retry::policy).transpose().at("retry_policy")?.map(Into::into),
        mirrors: mirrors
            .iter()
            .enumerate()
            .map(|(i, value)| mirror(value).at(format_args!("request_mirror_policies[{i}]")))
            .collect::<Translated<_>>()?,
        hash_policy: hash_policies(&value.hash_policy)?,
        high_priority: enumeration::<RoutingPriority>(value.priority, "priority")? == RoutingPriority::High,
        upgrades: upgrades(&value.upgrade_configs)?,
        terminates_connect: value.upgrade_configs.iter().any(terminates_connect),
        metadata_match: value.metadata_match.as_ref().map(|value| metadata(Some(value))),
    })
}

fn grpc_timeout(duration: &MaxStreamDuration, value: &RouteAction) -> Translated<Option<Duration>> {
    let newer =
        optional_duration(duration.grpc_timeout_header_max.as_ref(), "max_stream_duration.grpc_timeout_header_max")?;
    let older = optional_duration(value.max_grpc_timeout.as_ref(), "max_grpc_timeout")?;
    Ok(newer.or(older))
}

fn cluster(value: Option<&ProtoSpecifier>, cx: &Context<'_>) -> Translated<ClusterSpecifier> {
    match value {
        Some(ProtoSpecifier::Cluster(name)) => Ok(ClusterSpecifier::Cluster(required(name, "cluster")?.into())),
        Some(ProtoSpecifier::ClusterHeader(name)) => {
            Ok(ClusterSpecifier::Header(header_name(name).at("cluster_header")?))
        }
        Some(ProtoSpecifier::WeightedClusters(clusters)) => {
            weighted(clusters, cx).at("weighted_clusters").map(ClusterSpecifier::Weighted)
        }
        Some(_) => refuse("cluster specifier plugins are not carried"),
        None => refuse("one of cluster, cluster_header, weighted_clusters is required"),
    }
}

fn weighted(value: &ProtoWeighted, cx: &Context<'_>) -> Translated<Vec<WeightedCluster>> {
    let mut clusters = Vec::with_capacity(value.clusters.len());
    for (i, cluster) in value.clusters.iter().enumerate() {
        let field = format!("clusters[{i}]");
        let host_rewrite = cluster.host_rewrite_specifier.as_ref().map(|specifier| match specifier {
            cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host) => host.clone(),
        });
        let Some(weight) = cluster.weight else { return refuse_field(format!("{field}.weight"), "is required") };
        clusters.push(WeightedCluster {
            name: required(&cluster.name, "name").at(&field)?.into(),
            weight,
            edits: edits::edits(cluster).at(&field)?,
            filter_config: filter_configs(&cluster.typed_per_filter_config, cx).at(&field)?,
            host_rewrite,
        });
    }
    let total: u64 = clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
    if total == 0 {
        return refuse_field("clusters", "the sum of the weights must be greater than zero");
    }
    if total > u64::from(u32::MAX) {
        return refuse_field("clusters", "the sum of the weights is too large");
    }
    if value.total_weight.is_some_and(|expected| u64::from(expected) != total) {
        return refuse_field("total_weight", format!("the weights add up to {total}"));
    }
    Ok(clusters)
}

fn path_rewrite(value: &RouteAction) -> Translated<PathRewrite> {
    let given = [!value.prefix_rewrite.is_empty(), value.regex_rewrite.is_some(), !value.path_rewrite.is_empty()];
    if given.iter().filter(|set| **set).count() > 1 {
        return refuse("only one of prefix_rewrite, regex_rewrite, path_rewrite may be set");
    }
    if !value.prefix_rewrite.is_empty() {
        return Ok(PathRewrite::Prefix(value.prefix_rewrite.clone()));
    }
    if let Some(regex) = &value.regex_rewrite {
        let (pattern, replacement) = substitution(regex).at("regex_rewrite")?;
        return Ok(PathRewrite::Regex(pattern, replacement));
    }
    match value.path_rewrite.as_str() {
        "" => Ok(PathRewrite::None),
        path if path.contains('%') => refuse_field("path_rewrite", "command operators are not carried"),
        path => Ok(PathRewrite::Full(path.to_owned())),
    }
}

fn host_rewrite(value: Option<&HostRewriteSpecifier>) -> Translated<HostRewrite> {
    Ok(match value {
        None | Some(HostRewriteSpecifier::AutoHostRewrite(false)) => HostRewrite::None,
        Some(HostRewriteSpecifier::AutoHostRewrite(true)) => HostRewrite::Auto,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => {
            header_value(host).at("host_rewrite_literal")?;
            HostRewrite::Literal(host.clone())
        }
        Some(HostRewriteSpecifier::HostRewriteHeader(name)) => {
            HostRewrite::Header(header_name(name).at("host_rewrite_header")?)
        }
        Some(HostRewriteSpecifier::HostRewritePathRegex(regex)) => {
            let (pattern, replacement) = substitution(regex).at("host_rewrite_path_regex")?;
            HostRewrite::PathRegex(pattern, replacement)
        }
        Some(HostRewriteSpecifier::HostRewrite(_)) => return refuse_field("host_rewrite", "is not carried"),
    })
}

fn mirror(value: &RequestMirrorPolicy) -> Translated<Mirror> {
    Ok(Mirror {
        cluster: required(&value.cluster, "cluster")?.into(),
        fraction: value.runtime_fraction.as_ref().map(runtime_fraction).transpose().at("runtime_fraction")?,
    })
}

fn hash_policies(values: &[ProtoHash]) -> Translated<Vec<HashPolicy>> {
    values.iter().enumerate().map(|(i, value)| hash_policy(value).at(format_args!("hash_policy[{i}]"))).collect()
}

fn hash_policy(value: &ProtoHash) -> Translated<HashPolicy> {
    if value.terminal {
        return refuse_field("terminal", "only false is carried");
    }
    Ok(match &value.policy_specifier {
        Some(PolicySpecifier::Header(header)) => {
            HashPolicy::Header(header_name(&header.header_name).at("header.header_name")?)
        }
        Some(PolicySpecifier::Cookie(cookie)) => {
            let name = required(&cookie.name, "cookie.name")?.to_owned();
            HashPolicy::Cookie(name, optional_duration(cookie.ttl.as_ref(), "cookie.ttl")?, cookie.path.clone())
        }
        Some(PolicySpecifier::ConnectionProperties(properties)) if properties.source_ip => HashPolicy::SourceIp,
        Some(PolicySpecifier::QueryParameter(parameter)) => {
            HashPolicy::Query(required(&parameter.name, "query_parameter.name")?.to_owned())
        }
        _ => return refuse("only header, cookie, connection_properties.source_ip and query_parameter are carried"),
    })
}

fn upgrades(values: &[UpgradeConfig]) -> Translated<Vec<(String, bool)>> {
    let one = |(i, value): (usize, &UpgradeConfig)| {
        let kind = required(&value.upgrade_type, "upgrade_type").at(format_args!("upgrade_configs[{i}]"))?;
        if value.connect_config.is_some() && !kind.eq_ignore_ascii_case("connect") {
            return refuse_field(format!("upgrade_configs[{i}].connect_config"), "is for upgrade_type CONNECT");
        }
        Ok((kind.to_ascii_lowercase(), value.enabled.unwrap_or(true)))
    };
    values.iter().enumerate().map(one).collect()
}

fn terminates_connect(value: &UpgradeConfig) -> bool {
    value.connect_config.is_some()
        && value.enabled.unwrap_or(true)
        && value.upgrade_type.eq_ignore_ascii_case("connect")
}

fn redirect(value: &RedirectAction) -> Translated<Redirect> {
    let scheme = match &value.scheme_rewrite_specifier {
        None | Some(SchemeRewriteSpecifier::HttpsRedirect(false)) => None,
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some("https".to_owned()),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => Some(scheme.clone()),
    };
    let path = match &value.path_rewrite_specifier {
        None => RedirectPath::Keep,
        Some(PathRewriteSpecifier::PathRedirect(path)) => RedirectPath::Full(path.clone()),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => RedirectPath::Prefix(prefix.clone()),
        Some(PathRewriteSpecifier::RegexRewrite(regex)) => {
            let (pattern, replacement) = substitution(regex).at("regex_rewrite")?;
            RedirectPath::Regex(pattern, replacement)
        }
        Some(PathRewriteSpecifier::PathRewrite(_)) => return refuse_field("path_rewrite", "is not carried"),
    };
    let status = match enumeration(value.response_code, "response_code")? {
        RedirectResponseCode::MovedPermanently => StatusCode::MOVED_PERMANENTLY,
        RedirectResponseCode::Found => StatusCode::FOUND,
        RedirectResponseCode::SeeOther => StatusCode::SEE_OTHER,
        RedirectResponseCode::TemporaryRedirect => StatusCode::TEMPORARY_REDIRECT,
        RedirectResponseCode::PermanentRedirect => StatusCode::PERMANENT_REDIRECT,
    };
    let port = match value.port_redirect {
        0 => None,
        value => Some(port(value).at("port_redirect")?),
    };
    Ok(Redirect {
        scheme,
        host: (!value.host_redirect.is_empty()).then(|| value.host_redirect.clone()),
        port,
        path,
        status: Some(status),
        strip_query: value.strip_query,
    })
}

fn direct_response(value: &DirectResponseAction, limit: usize) -> Translated<DirectResponse> {
    let status = u16::try_from(value.status).ok().filter(|status| (200..600).contains(status));
    let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) else {
        return refuse_field("status", format!("{} is no status between 200 and 599", value.status));
    };
    let body = value.body.as_ref().map(data).transpose().at("body")?.unwrap_or_default();
    if body.len() > limit {
        return refuse_field("body", format!("has {} bytes; the limit is {limit}", body.len()));
    }
    Ok(DirectResponse { status, body })
}
