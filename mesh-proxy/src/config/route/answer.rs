//! Answers that a route gives itself.

use ::http::StatusCode;
use mesh_xds_api::envoy::config::route::v3::{
    DirectResponseAction, RedirectAction,
    redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
};

use super::rewrite::checked;
use crate::{
    config::{
        error::{At as _, Translated, refuse_field},
        matcher::substitution,
        value::{data, enumeration, port},
    },
    model::{DirectResponse, Redirect, RedirectPath},
    supported,
};

supported! {
    /// Answers of routes.
    pub(in crate::config) static ANSWERS =
    envoy.config.route.v3.RedirectAction {
        carried: https_redirect, scheme_redirect, host_redirect, port_redirect, path_redirect, prefix_rewrite,
            regex_rewrite, path_rewrite, response_code, strip_query;
    }
    envoy.config.route.v3.DirectResponseAction {
        carried: status, body;
    }
}

pub(super) fn redirect(value: &RedirectAction) -> Translated<Redirect> {
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
        Some(PathRewriteSpecifier::PathRewrite(text)) => RedirectPath::Format(checked(text).at("path_rewrite")?),
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
        keep_authority: false,
    })
}

pub(super) fn direct_response(value: &DirectResponseAction, limit: usize) -> Translated<DirectResponse> {
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
