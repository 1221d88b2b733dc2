//! What a rule does: forward, redirect, or answer.

use std::time::Duration;

use base64::Engine as _;
use mesh_config::model::{
    HttpDirectResponse, HttpMirrorPolicy, HttpRedirect, HttpRewrite, HttpRoute, HttpRouteDestination, Percent,
    RedirectPort, StringMatch,
};
use mesh_xds_api::envoy::{
    config::{
        core::v3::{DataSource, data_source::Specifier},
        route::v3::{
            DirectResponseAction, RedirectAction, RouteAction, WeightedCluster,
            redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
            route::Action,
            route_action::{ClusterSpecifier, HostRewriteSpecifier, RequestMirrorPolicy},
            weighted_cluster::{ClusterWeight, cluster_weight},
        },
    },
    r#type::matcher::v3::RegexMatchAndSubstitute,
};

use super::{RouteKey, headers, retry};
use crate::translate::proto;

/// The action of `rule`; `None` if it has none that is carried out (a delegate).
pub(super) fn action(key: &RouteKey<'_>, rule: &HttpRoute, uri: Option<&StringMatch>) -> Option<Action> {
    if let Some(to) = &rule.redirect {
        return Some(Action::Redirect(redirect(to)));
    }
    if let Some(response) = &rule.direct_response {
        return Some(Action::DirectResponse(direct_response(response)));
    }
    if rule.route.is_empty() {
        return None;
    }
    let taken: Vec<&HttpRouteDestination> = if rule.route.len() == 1 {
        rule.route.iter().collect()
    } else {
        rule.route.iter().filter(|to| to.weight.unwrap_or(0) > 0).collect()
    };
    if taken.is_empty() {
        // No destination has a share. Validation refuses this; should it come here, it must not fall to the next rule.
        return Some(Action::DirectResponse(DirectResponseAction { status: 503, ..Default::default() }));
    }
    let mut forward = RouteAction {
        timeout: Some(proto::duration(rule.timeout.map_or(Duration::ZERO, |timeout| timeout.as_std()))),
        retry_policy: retry::policy(rule.retries.as_ref()),
        request_mirror_policies: mirrors(key, rule),
        ..Default::default()
    };
    if let Some(change) = &rule.rewrite {
        rewrite(change, matches!(uri, Some(StringMatch::Regex(_))), &mut forward);
    }
    destine(key, &taken, &mut forward);
    Some(Action::Route(forward))
}

/// An authority to send instead.
pub(super) fn host_literal(host: String) -> HostRewriteSpecifier {
    HostRewriteSpecifier::HostRewriteLiteral(host)
}

fn destine(key: &RouteKey<'_>, taken: &[&HttpRouteDestination], forward: &mut RouteAction) {
    let namespace = key.object.namespace();
    let mut clusters = Vec::new();
    for to in taken {
        let destined = to.destination.as_ref().map(|to| key.destinations.destined(to, namespace)).unwrap_or_default();
        if forward.hash_policy.is_empty() {
            forward.hash_policy = destined.hash_policy;
        }
        let edits = to.headers.as_ref().map(headers::edits).unwrap_or_default();
        clusters.push(ClusterWeight {
            name: destined.cluster,
            weight: Some(u32::try_from(to.weight.unwrap_or(0)).unwrap_or(0)),
            request_headers_to_add: edits.request_add,
            request_headers_to_remove: edits.request_remove,
            response_headers_to_add: edits.response_add,
            response_headers_to_remove: edits.response_remove,
            host_rewrite_specifier: edits.host.map(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral),
            ..Default::default()
        });
    }
    let is_plain = |cluster: &ClusterWeight| {
        let bare = ClusterWeight { name: cluster.name.clone(), weight: cluster.weight, ..Default::default() };
        bare == *cluster
    };
    forward.cluster_specifier = Some(match clusters.as_mut_slice() {
        [only] if is_plain(only) => ClusterSpecifier::Cluster(std::mem::take(&mut only.name)),
        [only] => {
            // One destination that edits headers of its own has to be a weighted one with the whole weight.
            only.weight = Some(only.weight.filter(|&weight| weight > 0).unwrap_or(100));
            ClusterSpecifier::WeightedClusters(WeightedCluster { clusters, ..Default::default() })
        }
        _ => ClusterSpecifier::WeightedClusters(WeightedCluster { clusters, ..Default::default() }),
    });
}

fn rewrite(change: &HttpRewrite, by_regex: bool, forward: &mut RouteAction) {
    if let Some(regex) = &change.uri_regex_rewrite {
        forward.regex_rewrite = Some(RegexMatchAndSubstitute {
            pattern: Some(proto::regex(&regex.pattern)),
            substitution: regex.rewrite.clone(),
        });
    } else if let Some(uri) = change.uri.as_ref().filter(|uri| !uri.is_empty()) {
        // What the condition matched is replaced: the prefix of a prefix, else the whole path. For regular expressions
        // that is said by another one, as not every data plane takes a prefix there.
        if by_regex {
            forward.regex_rewrite = Some(RegexMatchAndSubstitute {
                pattern: Some(proto::regex("^/.*$")),
                substitution: uri.replace('\\', "\\\\"),
            });
        } else {
            forward.prefix_rewrite.clone_from(uri);
        }
    }
    if let Some(authority) = change.authority.as_ref().filter(|authority| !authority.is_empty()) {
        forward.host_rewrite_specifier = Some(host_literal(authority.clone()));
    }
}

fn mirrors(key: &RouteKey<'_>, rule: &HttpRoute) -> Vec<RequestMirrorPolicy> {
    let single = rule.mirror.as_ref().map(|destination| HttpMirrorPolicy {
        destination: Some(destination.clone()),
        percentage: rule.mirror_percentage.or(rule.mirror_percent.map(|value| Percent { value: f64::from(value) })),
    });
    let all = single.iter().chain(&rule.mirrors);
    let made = all.filter_map(|mirror| {
        let destined = key.destinations.destined(mirror.destination.as_ref()?, key.object.namespace());
        let share = mirror.percentage.map_or(100.0, |percent| percent.value);
        (share > 0.0).then(|| RequestMirrorPolicy {
            cluster: destined.cluster,
            runtime_fraction: Some(proto::runtime_fractional(share)),
            ..Default::default()
        })
    });
    made.collect()
}

fn redirect(to: &HttpRedirect) -> RedirectAction {
    let code = match to.redirect_code.unwrap_or(301) {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    };
    let scheme = to.scheme.clone().filter(|scheme| !scheme.is_empty());
    let port = match (to.port, to.derive_port) {
        (Some(port), _) => port,
        // Envoy itself drops the port of the request where the scheme changes.
        (None, Some(RedirectPort::FromProtocolDefault)) if scheme.as_deref() == Some("https") => 443,
        (None, Some(RedirectPort::FromProtocolDefault)) if scheme.as_deref() == Some("http") => 80,
        (None, _) => 0,
    };
    RedirectAction {
        host_redirect: to.authority.clone().unwrap_or_default(),
        port_redirect: port,
        response_code: code.into(),
        path_rewrite_specifier: to.uri.clone().filter(|uri| !uri.is_empty()).map(PathRewriteSpecifier::PathRedirect),
        scheme_rewrite_specifier: scheme.map(SchemeRewriteSpecifier::SchemeRedirect),
        ..Default::default()
    }
}

fn direct_response(response: &HttpDirectResponse) -> DirectResponseAction {
    let body = response.body.as_ref().and_then(|body| {
        if let Some(text) = &body.string {
            return Some(proto::inline_text(text));
        }
        // What is not base64 was refused by validation.
        let bytes = base64::engine::general_purpose::STANDARD.decode(body.bytes.as_ref()?).ok()?;
        Some(DataSource { specifier: Some(Specifier::InlineBytes(bytes.into())), ..Default::default() })
    });
    DirectResponseAction { status: response.status, body, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_config::model::HttpBody;
    use mesh_xds_api::json;

    #[test]
    fn redirects() {
        let to = HttpRedirect {
            uri: Some("/new".into()),
            authority: Some("b.com".into()),
            scheme: Some("https".into()),
            derive_port: Some(RedirectPort::FromProtocolDefault),
            redirect_code: Some(308),
            ..HttpRedirect::default()
        };
        let json = json::to_value(&redirect(&to));
        assert_eq!(json["path_redirect"], "/new");
        assert_eq!(json["port_redirect"], 443);
        assert_eq!(json["response_code"], "PERMANENT_REDIRECT");
    }

    #[test]
    fn fixed_answers() {
        let body = Some(HttpBody { bytes: Some("aGk=".into()), ..HttpBody::default() });
        let answer = direct_response(&HttpDirectResponse { status: 418, body });
        assert_eq!(answer.status, 418);
        assert_eq!(answer.body.unwrap().specifier, Some(Specifier::InlineBytes("hi".into())));
    }

    #[test]
    fn rewrites() {
        let mut forward = RouteAction::default();
        let change = HttpRewrite { uri: Some("/x".into()), authority: Some("h".into()), ..HttpRewrite::default() };
        rewrite(&change, false, &mut forward);
        let json = json::to_value(&forward);
        assert_eq!((&json["prefix_rewrite"], &json["host_rewrite_literal"]), (&"/x".into(), &"h".into()));
        let mut forward = RouteAction::default();
        rewrite(&change, true, &mut forward);
        assert_eq!(forward.prefix_rewrite, "");
        assert_eq!(forward.regex_rewrite.unwrap().substitution, "/x");
    }
}
