//! Rewrites of path and host.

use mesh_xds_api::envoy::{
    config::{
        core::v3::TypedExtensionConfig,
        route::v3::{RouteAction, route_action::HostRewriteSpecifier},
    },
    extensions::path::rewrite::uri_template::v3::UriTemplateRewriteConfig,
};

use crate::{
    access_log::{Formatter, Missing},
    config::{
        error::{At as _, Translated, refuse, refuse_field},
        matcher::substitution,
        value::{header_name, header_value, present, unpack},
    },
    model::{HostRewrite, PathMatch, PathRewrite, RewriteTemplate},
};

/// `matched`: what the route matches, of which a part may be replaced.
pub(super) fn path(value: &RouteAction, matched: &PathMatch) -> Translated<PathRewrite> {
    let given = [
        !value.prefix_rewrite.is_empty(),
        value.regex_rewrite.is_some(),
        !value.path_rewrite.is_empty(),
        value.path_rewrite_policy.is_some(),
    ];
    if given.iter().filter(|set| **set).count() > 1 {
        return refuse("only one of prefix_rewrite, regex_rewrite, path_rewrite, path_rewrite_policy may be set");
    }
    if !value.prefix_rewrite.is_empty() {
        return match matched {
            PathMatch::Regex(_) | PathMatch::Template(_) => {
                refuse_field("prefix_rewrite", "needs a match on a prefix or a path; use regex_rewrite")
            }
            _ => Ok(PathRewrite::Prefix(value.prefix_rewrite.clone())),
        };
    }
    if let Some(regex) = &value.regex_rewrite {
        let (pattern, replacement) = substitution(regex).at("regex_rewrite")?;
        return Ok(PathRewrite::Regex(pattern, replacement));
    }
    if let Some(policy) = &value.path_rewrite_policy {
        return template(policy, matched).at("path_rewrite_policy.typed_config").map(PathRewrite::Template);
    }
    match value.path_rewrite.as_str() {
        "" => Ok(PathRewrite::None),
        text => checked(text).at("path_rewrite").map(PathRewrite::Format),
    }
}

fn template(value: &TypedExtensionConfig, matched: &PathMatch) -> Translated<RewriteTemplate> {
    let config: UriTemplateRewriteConfig = unpack(present(value.typed_config.as_ref(), "")?)?;
    let PathMatch::Template(matched) = matched else {
        return refuse("needs a match by path_match_policy");
    };
    RewriteTemplate::parse(&config.path_template_rewrite, matched)
        .or_else(|error| refuse_field("path_template_rewrite", error.to_string()))
}

/// A text whose operators are known.
pub(super) fn checked(text: &str) -> Translated<String> {
    Formatter::compile(text, Missing::Empty).or_else(|error| refuse(error.to_string()))?;
    Ok(text.to_owned())
}

pub(super) fn host(value: Option<&HostRewriteSpecifier>) -> Translated<HostRewrite> {
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
        Some(HostRewriteSpecifier::HostRewrite(text)) => HostRewrite::Format(checked(text).at("host_rewrite")?),
    })
}
