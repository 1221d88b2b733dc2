//! Cross-origin rules. Source: Istio's `CorsPolicy`.

use mesh_config::model::{CorsPolicy as Settings, StringMatch, UnmatchedPreflights};
use mesh_xds_api::{
    any,
    envoy::{
        config::route::v3::FilterConfig, extensions::filters::http::cors::v3::CorsPolicy,
        r#type::matcher::v3::StringMatcher,
    },
};

use crate::translate::proto;

/// Name of the filter that applies the rules.
pub(super) const FILTER: &str = "envoy.filters.http.cors";

/// The rules as configuration of the filter for one route.
///
/// Filter and configuration are marked optional: a data plane without the filter leaves preflights to the application,
/// which is no reason to refuse the routes of everybody else. It is the browser that enforces the rules.
pub(super) fn config(settings: &Settings) -> FilterConfig {
    FilterConfig { config: Some(any::pack(&policy(settings))), is_optional: true, ..Default::default() }
}

fn policy(settings: &Settings) -> CorsPolicy {
    let exact =
        settings.allow_origin.iter().map(|text| if text == "*" { proto::anything() } else { proto::exact(text) });
    CorsPolicy {
        allow_origin_string_match: settings.allow_origins.iter().map(origin).chain(exact).collect(),
        allow_methods: settings.allow_methods.join(","),
        allow_headers: settings.allow_headers.join(","),
        expose_headers: settings.expose_headers.join(","),
        max_age: settings.max_age.map(|age| age.as_std().as_secs().to_string()).unwrap_or_default(),
        allow_credentials: settings.allow_credentials,
        filter_enabled: Some(proto::runtime_fractional(100.0)),
        forward_not_matching_preflights: settings.unmatched_preflights.map(|u| u != UnmatchedPreflights::Ignore),
        ..Default::default()
    }
}

fn origin(wanted: &StringMatch) -> StringMatcher {
    match wanted {
        StringMatch::Present => proto::anything(),
        StringMatch::Exact(text) => proto::exact(text),
        StringMatch::Prefix(text) => proto::prefix(text),
        StringMatch::Regex(text) => proto::full_regex(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_config::model::Duration;
    use mesh_xds_api::json;

    #[test]
    fn rules() {
        let made = policy(&Settings {
            allow_origins: vec![StringMatch::Exact("https://a.com".into())],
            allow_methods: vec!["GET".into(), "POST".into()],
            max_age: Some(Duration::from_secs(3600)),
            ..Settings::default()
        });
        let json = json::to_value(&made);
        assert_eq!(json["allow_origin_string_match"][0]["exact"], "https://a.com");
        assert_eq!((&json["allow_methods"], &json["max_age"]), (&"GET,POST".into(), &"3600".into()));
    }
}
