//! Conditions on a request. Source: Istio's `HTTPMatchRequest`.

use std::collections::BTreeMap;

use mesh_config::model::{HttpMatchRequest, StringMatch};
use mesh_xds_api::envoy::{
    config::route::v3::{
        HeaderMatcher, QueryParameterMatcher, RouteMatch, header_matcher::HeaderMatchSpecifier,
        query_parameter_matcher::QueryParameterMatchSpecifier, route_match::PathSpecifier,
    },
    r#type::matcher::v3::StringMatcher,
};

use crate::translate::proto;

/// All parts of `request` that the proxy itself decides.
pub(super) fn route_match(request: &HttpMatchRequest) -> RouteMatch {
    let pseudo = [(":method", &request.method), (":authority", &request.authority), (":scheme", &request.scheme)];
    let pseudo = pseudo.into_iter().filter_map(|(name, value)| Some(header(name, value.as_ref()?)));
    let headers = request.headers.iter().map(|(name, value)| header(&lower(name), value));
    let absent = request.without_headers.iter().map(|(name, value)| without(&lower(name), value));
    RouteMatch {
        path_specifier: Some(path(request.uri.as_ref())),
        case_sensitive: request.ignore_uri_case.then_some(false),
        headers: headers.chain(absent).chain(pseudo).collect(),
        query_parameters: queries(&request.query_params),
        ..Default::default()
    }
}

/// Header names are compared in lower case on the wire.
fn lower(name: &str) -> String {
    name.to_ascii_lowercase()
}

fn path(uri: Option<&StringMatch>) -> PathSpecifier {
    match uri {
        None | Some(StringMatch::Present) => PathSpecifier::Prefix("/".to_owned()),
        Some(StringMatch::Exact(path)) => PathSpecifier::Path(path.clone()),
        Some(StringMatch::Prefix(prefix)) => PathSpecifier::Prefix(prefix.clone()),
        Some(StringMatch::Regex(regex)) => PathSpecifier::SafeRegex(proto::regex(regex)),
    }
}

/// The matcher of a value; `None` if any value will do.
fn value(value: &StringMatch) -> Option<StringMatcher> {
    match value {
        StringMatch::Present => None,
        StringMatch::Exact(text) => Some(proto::exact(text)),
        StringMatch::Prefix(text) => Some(proto::prefix(text)),
        StringMatch::Regex(text) => Some(proto::full_regex(text)),
    }
}

fn header(name: &str, wanted: &StringMatch) -> HeaderMatcher {
    let specifier = match value(wanted) {
        Some(matcher) => HeaderMatchSpecifier::StringMatch(matcher),
        None => HeaderMatchSpecifier::PresentMatch(true),
    };
    HeaderMatcher { name: name.to_owned(), header_match_specifier: Some(specifier), ..Default::default() }
}

/// A header that is missing fulfils this as much as one with another value.
fn without(name: &str, unwanted: &StringMatch) -> HeaderMatcher {
    let is_value = *unwanted != StringMatch::Present;
    HeaderMatcher { invert_match: true, treat_missing_header_as_empty: is_value, ..header(name, unwanted) }
}

fn queries(wanted: &BTreeMap<String, StringMatch>) -> Vec<QueryParameterMatcher> {
    let query = |(name, wanted): (&String, &StringMatch)| QueryParameterMatcher {
        name: name.clone(),
        query_parameter_match_specifier: Some(match value(wanted) {
            Some(matcher) => QueryParameterMatchSpecifier::StringMatch(matcher),
            None => QueryParameterMatchSpecifier::PresentMatch(true),
        }),
    };
    wanted.iter().map(query).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_xds_api::json;

    #[test]
    fn every_kind_of_condition() {
        let exact = |text: &str| StringMatch::Exact(text.into());
        let request = HttpMatchRequest {
            uri: Some(StringMatch::Regex("/a/.*".into())),
            method: Some(exact("GET")),
            headers: [("X-A".into(), StringMatch::Present), ("x-b".into(), StringMatch::Prefix("p".into()))].into(),
            without_headers: [("x-c".into(), exact("no")), ("x-d".into(), StringMatch::Present)].into(),
            query_params: [("q".into(), exact("1"))].into(),
            ignore_uri_case: true,
            ..HttpMatchRequest::default()
        };
        let json = json::to_value(&route_match(&request));
        assert_eq!(json["safe_regex"]["regex"], "/a/.*");
        assert_eq!(json["case_sensitive"], false);
        assert_eq!(json["query_parameters"][0]["string_match"]["exact"], "1");
        let headers = json["headers"].as_array().unwrap();
        assert_eq!((&headers[0]["name"], &headers[0]["present_match"]), (&"x-a".into(), &true.into()));
        assert_eq!(headers[1]["string_match"]["prefix"], "p");
        assert_eq!(headers[2]["invert_match"], true);
        assert_eq!(headers[2]["treat_missing_header_as_empty"], true);
        assert_eq!((&headers[3]["present_match"], &headers[3]["invert_match"]), (&true.into(), &true.into()));
        assert_eq!((&headers[4]["name"], &headers[4]["string_match"]["exact"]), (&":method".into(), &"GET".into()));
    }
}
