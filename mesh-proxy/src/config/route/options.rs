//! Copies, hashes and internal redirects of a forwarding route.

use ::http::StatusCode;
use mesh_xds_api::{
    any::{self, Any},
    envoy::{
        config::{
            common::mutation_rules::v3::{HeaderMutation, header_mutation},
            route::v3::{
                InternalRedirectPolicy,
                route_action::{HashPolicy as ProtoHash, RequestMirrorPolicy, hash_policy::PolicySpecifier},
            },
        },
        extensions::internal_redirect::{
            allow_listed_routes::v3::AllowListedRoutesConfig, previous_routes::v3::PreviousRoutesConfig,
            safe_cross_scheme::v3::SafeCrossSchemeConfig,
        },
    },
};

use super::{edits, weighted::cluster_name};
use crate::{
    config::{
        error::{At as _, Translated, refuse, refuse_field},
        matcher::substitution,
        value::{
            editable_header, header_name, header_names, header_value, optional_duration, present, required,
            runtime_fraction, unpack,
        },
    },
    model::{HashBy, HashPolicy, InternalRedirect, Mirror, MirrorEdit, RedirectPredicate},
    supported,
};

supported! {
    /// Copies of requests.
    pub(in crate::config) static MIRRORS =
    envoy.config.route.v3.RouteAction.RequestMirrorPolicy {
        carried: cluster, cluster_header, runtime_fraction, disable_shadow_host_suffix_append,
            request_headers_mutations, host_rewrite_literal;
        irrelevant: trace_sampled = "there is no tracing";
    }
    envoy.config.common.mutation_rules.v3.HeaderMutation {
        carried: remove, append;
    }
}

supported! {
    /// What is hashed.
    pub(in crate::config) static HASHES =
    envoy.config.route.v3.RouteAction.HashPolicy {
        carried: header, cookie, connection_properties, query_parameter, terminal;
    }
    envoy.config.route.v3.RouteAction.HashPolicy.Header {
        carried: header_name, regex_rewrite;
    }
    envoy.config.route.v3.RouteAction.HashPolicy.Cookie {
        carried: name, ttl, path, attributes;
    }
    envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute {
        carried: name, value;
    }
    envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties {
        carried: source_ip;
    }
    envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter {
        carried: name;
    }
}

supported! {
    /// Internal redirects.
    pub(in crate::config) static REDIRECT_POLICIES =
    envoy.config.route.v3.InternalRedirectPolicy {
        carried: max_internal_redirects, predicates, allow_cross_scheme_redirect, response_headers_to_copy;
        limited: redirect_response_codes = "301, 302, 303, 307, 308";
    }
    envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig {}
    envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig {
        carried: allowed_route_names;
    }
    envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig {}
}

pub(super) fn mirrors(values: &[RequestMirrorPolicy]) -> Translated<Vec<Mirror>> {
    values.iter().enumerate().map(|(i, value)| mirror(value).at(format_args!("request_mirror_policies[{i}]"))).collect()
}

fn mirror(value: &RequestMirrorPolicy) -> Translated<Mirror> {
    let mutations = value.request_headers_mutations.iter().enumerate();
    let host = Some(value.host_rewrite_literal.clone()).filter(|host| !host.is_empty());
    if let Some(host) = &host {
        header_value(host).at("host_rewrite_literal")?;
    }
    Ok(Mirror {
        cluster: cluster_name(&value.cluster, "cluster", &value.cluster_header)?,
        fraction: value.runtime_fraction.as_ref().map(runtime_fraction).transpose().at("runtime_fraction")?,
        keep_host: value.disable_shadow_host_suffix_append,
        host,
        edits: mutations
            .map(|(i, value)| mutation(value).at(format_args!("request_headers_mutations[{i}]")))
            .collect::<Translated<_>>()?,
    })
}

fn mutation(value: &HeaderMutation) -> Translated<MirrorEdit> {
    match &value.action {
        Some(header_mutation::Action::Append(option)) => edits::edit(option).at("append").map(MirrorEdit::Set),
        Some(header_mutation::Action::Remove(name)) => editable_header(name).at("remove").map(MirrorEdit::Remove),
        _ => refuse("only append and remove are carried"),
    }
}

pub(super) fn hash_policies(values: &[ProtoHash]) -> Translated<Vec<HashPolicy>> {
    values.iter().enumerate().map(|(i, value)| hash_policy(value).at(format_args!("hash_policy[{i}]"))).collect()
}

fn hash_policy(value: &ProtoHash) -> Translated<HashPolicy> {
    let by = match &value.policy_specifier {
        Some(PolicySpecifier::Header(header)) => {
            let rewrite = header.regex_rewrite.as_ref().map(substitution).transpose().at("header.regex_rewrite")?;
            HashBy::Header(header_name(&header.header_name).at("header.header_name")?, rewrite)
        }
        Some(PolicySpecifier::Cookie(cookie)) => HashBy::Cookie {
            name: required(&cookie.name, "cookie.name")?.to_owned(),
            ttl: optional_duration(cookie.ttl.as_ref(), "cookie.ttl")?,
            path: cookie.path.clone(),
            attributes: cookie.attributes.iter().map(|a| (a.name.clone(), a.value.clone())).collect(),
        },
        Some(PolicySpecifier::ConnectionProperties(properties)) if properties.source_ip => HashBy::SourceIp,
        Some(PolicySpecifier::QueryParameter(parameter)) => {
            HashBy::Query(required(&parameter.name, "query_parameter.name")?.to_owned())
        }
        _ => return refuse("only header, cookie, connection_properties.source_ip and query_parameter are carried"),
    };
    Ok(HashPolicy { by, terminal: value.terminal })
}

pub(super) fn internal_redirect(value: &InternalRedirectPolicy) -> Translated<InternalRedirect> {
    let mut statuses = Vec::with_capacity(value.redirect_response_codes.len());
    for (i, code) in value.redirect_response_codes.iter().enumerate() {
        match code {
            301 | 302 | 303 | 307 | 308 => statuses.extend(u16::try_from(*code).ok().map(StatusCode::from_u16)),
            _ => {
                return refuse_field(format!("redirect_response_codes[{i}]"), "must be one of 301, 302, 303, 307, 308");
            }
        }
    }
    let mut statuses: Vec<StatusCode> = statuses.into_iter().flatten().collect();
    if statuses.is_empty() {
        statuses.push(StatusCode::FOUND);
    }
    let mut predicates = Vec::with_capacity(value.predicates.len());
    for (i, extension) in value.predicates.iter().enumerate() {
        let config = present(extension.typed_config.as_ref(), "typed_config");
        predicates.push(config.and_then(predicate).at(format_args!("predicates[{i}]"))?);
    }
    Ok(InternalRedirect {
        max: value.max_internal_redirects.unwrap_or(1),
        statuses,
        predicates,
        allow_cross_scheme: value.allow_cross_scheme_redirect,
        copied: header_names(&value.response_headers_to_copy, "response_headers_to_copy")?,
    })
}

fn predicate(config: &Any) -> Translated<RedirectPredicate> {
    if any::is::<PreviousRoutesConfig>(config) {
        return Ok(RedirectPredicate::PreviousRoutes);
    }
    if any::is::<SafeCrossSchemeConfig>(config) {
        return Ok(RedirectPredicate::SafeCrossScheme);
    }
    if any::is::<AllowListedRoutesConfig>(config) {
        let config: AllowListedRoutesConfig = unpack(config).at("typed_config")?;
        return Ok(RedirectPredicate::AllowListed(config.allowed_route_names));
    }
    refuse_field("typed_config", format!("{} is not carried", config.type_url))
}
