//! What a route does.

use std::time::Duration;

use ::http::StatusCode;
use mesh_xds_api::envoy::config::{
    core::v3::RoutingPriority,
    route::v3::{
        RouteAction, route,
        route_action::{ClusterNotFoundResponseCode, ClusterSpecifier as ProtoSpecifier, UpgradeConfig},
    },
};

use super::{Defaults, answer, options, retry, rewrite, weighted};
use crate::{
    config::{
        error::{At as _, Translated, refuse, refuse_field},
        source::Context,
        value::{duration_or, enumeration, header_name, metadata, optional_duration, required},
    },
    model::{Action, ClusterSpecifier, Forward, GrpcTimeout, PathMatch},
    supported,
};

supported! {
    /// Actions of routes.
    pub(in crate::config) static ACTIONS =
    envoy.config.route.v3.RouteAction {
        carried: cluster, cluster_header, weighted_clusters, cluster_not_found_response_code, metadata_match,
            prefix_rewrite, regex_rewrite, path_rewrite, path_rewrite_policy, host_rewrite_literal, auto_host_rewrite,
            host_rewrite_header, host_rewrite_path_regex, host_rewrite, append_x_forwarded_host, timeout, idle_timeout,
            retry_policy, request_mirror_policies, priority, hash_policy, max_grpc_timeout, grpc_timeout_offset,
            upgrade_configs, max_stream_duration, internal_redirect_policy;
        irrelevant: include_vh_rate_limits = "rate limits are refused where they are configured";
    }
    envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig {
        carried: path_template_rewrite;
    }
    envoy.config.route.v3.RouteAction.UpgradeConfig {
        carried: upgrade_type, enabled, connect_config;
    }
    envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig {}
    envoy.config.route.v3.RouteAction.MaxStreamDuration {
        carried: max_stream_duration, grpc_timeout_header_max, grpc_timeout_header_offset;
    }
}

pub(super) fn action(
    value: Option<&route::Action>,
    path: &PathMatch,
    defaults: &Defaults<'_>,
    cx: &Context<'_>,
) -> Translated<Action> {
    match value {
        Some(route::Action::Route(value)) => {
            forward(value, path, defaults, cx).at("route").map(|forward| Action::Forward(Box::new(forward)))
        }
        Some(route::Action::Redirect(value)) => {
            answer::redirect(value).at("redirect").map(|redirect| Action::Redirect(Box::new(redirect)))
        }
        Some(route::Action::DirectResponse(value)) => {
            answer::direct_response(value, defaults.body_limit).at("direct_response").map(Action::Direct)
        }
        Some(route::Action::FilterAction(_) | route::Action::NonForwardingAction(_)) => Ok(Action::Unrouted),
        None => refuse("one of route, redirect, direct_response, filter_action, non_forwarding_action is required"),
    }
}

fn forward(value: &RouteAction, path: &PathMatch, defaults: &Defaults<'_>, cx: &Context<'_>) -> Translated<Forward> {
    let mirrors =
        if value.request_mirror_policies.is_empty() { defaults.mirrors } else { &value.request_mirror_policies };
    let life = value.max_stream_duration.as_ref();
    Ok(Forward {
        cluster: cluster(value.cluster_specifier.as_ref(), cx)?,
        cluster_not_found: match enumeration(value.cluster_not_found_response_code, "cluster_not_found_response_code")?
        {
            ClusterNotFoundResponseCode::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            ClusterNotFoundResponseCode::NotFound => StatusCode::NOT_FOUND,
            ClusterNotFoundResponseCode::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
        },
        rewrite: rewrite::path(value, path)?,
        host_rewrite: rewrite::host(value.host_rewrite_specifier.as_ref())?,
        append_x_forwarded_host: value.append_x_forwarded_host,
        timeout: match life {
            // As in Envoy: these limits take the place of the older one.
            Some(_) => Duration::ZERO,
            None => duration_or(value.timeout.as_ref(), "timeout", Duration::from_secs(15))?,
        },
        idle_timeout: optional_duration(value.idle_timeout.as_ref(), "idle_timeout")?,
        max_stream_duration: optional_duration(
            life.and_then(|life| life.max_stream_duration.as_ref()),
            "max_stream_duration.max_stream_duration",
        )?,
        grpc_timeout: grpc_timeout(value)?,
        retry: value.retry_policy.as_ref().map(retry::policy).transpose().at("retry_policy")?.map(Into::into),
        mirrors: options::mirrors(mirrors)?,
        hash_policy: options::hash_policies(&value.hash_policy)?,
        high_priority: enumeration::<RoutingPriority>(value.priority, "priority")? == RoutingPriority::High,
        upgrades: upgrades(&value.upgrade_configs)?,
        terminates_connect: value.upgrade_configs.iter().any(terminates_connect),
        internal_redirect: value
            .internal_redirect_policy
            .as_ref()
            .map(options::internal_redirect)
            .transpose()
            .at("internal_redirect_policy")?
            .map(Box::new),
        metadata_match: value.metadata_match.as_ref().map(|value| metadata(Some(value))),
    })
}

/// `max_stream_duration` takes the place of the older fields.
fn grpc_timeout(value: &RouteAction) -> Translated<Option<GrpcTimeout>> {
    let (max, offset, field) = match &value.max_stream_duration {
        Some(life) => {
            (&life.grpc_timeout_header_max, &life.grpc_timeout_header_offset, "max_stream_duration.grpc_timeout_header")
        }
        None => (&value.max_grpc_timeout, &value.grpc_timeout_offset, "max_grpc_timeout"),
    };
    let offset = optional_duration(offset.as_ref(), field)?.unwrap_or_default();
    let max = optional_duration(max.as_ref(), field)?;
    let of_stream = value.max_stream_duration.is_some();
    Ok(max.map(|max| GrpcTimeout { max, offset, of_stream }))
}

fn cluster(value: Option<&ProtoSpecifier>, cx: &Context<'_>) -> Translated<ClusterSpecifier> {
    match value {
        Some(ProtoSpecifier::Cluster(name)) => Ok(ClusterSpecifier::Cluster(required(name, "cluster")?.into())),
        Some(ProtoSpecifier::ClusterHeader(name)) => {
            Ok(ClusterSpecifier::Header(header_name(name).at("cluster_header")?))
        }
        Some(ProtoSpecifier::WeightedClusters(clusters)) => {
            weighted::clusters(clusters, cx).at("weighted_clusters").map(ClusterSpecifier::Weighted)
        }
        Some(_) => refuse("cluster specifier plugins are not carried"),
        None => refuse("one of cluster, cluster_header, weighted_clusters is required"),
    }
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
