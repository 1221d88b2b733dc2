//! `route.v3.RouteMatch`.

use mesh_xds_api::envoy::{
    config::{
        core::v3::TypedExtensionConfig,
        route::v3::{CookieMatcher as ProtoCookie, RouteMatch as ProtoMatch, route_match::PathSpecifier},
    },
    extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig,
};

use crate::{
    config::{
        error::{At as _, Translated, refuse, refuse_field},
        matcher::{full_regex, header_matchers, query_matcher, string_matcher},
        value::{present, required, runtime_fraction, unpack},
    },
    model::{CookieMatcher, PathMatch, RouteMatch, UriTemplate},
    supported,
};

supported! {
    /// What routes are chosen by.
    pub(in crate::config) static CONDITIONS =
    envoy.config.route.v3.RouteMatch {
        carried: prefix, path, path_separated_prefix, safe_regex, connect_matcher, case_sensitive, runtime_fraction,
            headers, query_parameters, cookies, grpc, tls_context;
        limited: path_match_policy = "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig";
    }
    envoy.config.core.v3.TypedExtensionConfig {
        carried: typed_config;
        irrelevant: name = "a label; the type of typed_config says what it is";
    }
    envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig {
        carried: path_template;
    }
    envoy.config.route.v3.CookieMatcher {
        carried: name, string_match, invert_match;
    }
    envoy.config.route.v3.RouteMatch.ConnectMatcher {}
    envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions {}
    envoy.config.route.v3.RouteMatch.TlsContextMatchOptions {
        carried: presented, validated;
    }
}

pub(super) fn route_match(value: &ProtoMatch) -> Translated<RouteMatch> {
    let query = value.query_parameters.iter().enumerate();
    let cookies = value.cookies.iter().enumerate();
    let tls = value.tls_context.as_ref();
    Ok(RouteMatch {
        path: path(value.path_specifier.as_ref())?,
        ignore_case: value.case_sensitive == Some(false),
        headers: header_matchers(&value.headers, "headers")?,
        query: query
            .map(|(i, value)| query_matcher(value).at(format_args!("query_parameters[{i}]")))
            .collect::<Translated<_>>()?,
        cookies: cookies
            .map(|(i, value)| cookie_matcher(value).at(format_args!("cookies[{i}]")))
            .collect::<Translated<_>>()?,
        grpc: value.grpc.is_some(),
        fraction: value.runtime_fraction.as_ref().map(runtime_fraction).transpose().at("runtime_fraction")?,
        tls_presented: tls.and_then(|tls| tls.presented),
        tls_validated: tls.and_then(|tls| tls.validated),
    })
}

fn path(value: Option<&PathSpecifier>) -> Translated<PathMatch> {
    Ok(match value {
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
        Some(PathSpecifier::PathMatchPolicy(policy)) => {
            PathMatch::Template(template(policy).at("path_match_policy.typed_config")?)
        }
        None => {
            return refuse(
                "one of prefix, path, safe_regex, path_separated_prefix, connect_matcher, path_match_policy is required",
            );
        }
    })
}

fn template(value: &TypedExtensionConfig) -> Translated<UriTemplate> {
    let config: UriTemplateMatchConfig = unpack(present(value.typed_config.as_ref(), "")?)?;
    UriTemplate::parse(&config.path_template).or_else(|error| refuse_field("path_template", error.to_string()))
}

fn cookie_matcher(value: &ProtoCookie) -> Translated<CookieMatcher> {
    Ok(CookieMatcher {
        name: required(&value.name, "name")?.to_owned(),
        value: string_matcher(present(value.string_match.as_ref(), "string_match")?).at("string_match")?,
        invert: value.invert_match,
    })
}
