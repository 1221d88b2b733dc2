use ::http::{Request, Response};
use mesh_xds_api::json;
use serde_json::{Value, json};

use super::*;
use crate::{access_log::tests as streams, model::FilterConfigs, stats::Stats};

const FILTER: &str = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors";
const POLICY: &str = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy";

fn any(type_url: &str, mut config: Value) -> ProtoAny {
    config["@type"] = type_url.into();
    json::any_from_value(&config).unwrap()
}

struct Exchange {
    /// Headers of the filter's own answer.
    replied: Option<HeaderMap>,
    /// Headers of the response from upstream.
    response: HeaderMap,
    stats: Stats,
}

/// A request through the filter with these policies, most specific first.
fn run(policies: &[Value], method: Method, headers: &[(&str, &str)]) -> Exchange {
    let stats = Stats::default();
    let filter =
        Cors.filter(&any(FILTER, json!({})), &FilterContext { stats: &stats, stat_prefix: "http.in." }).unwrap();
    let own = |policy: &Value| -> FilterConfigs {
        Arc::new([("cors".to_owned(), Cors.route_config(&any(POLICY, policy.clone())).unwrap())].into())
    };
    let route_configs: Vec<_> = policies.iter().map(own).collect();
    let mut builder = Request::builder().method(method).uri("/");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let mut request = builder.body(()).unwrap().into_parts().0;
    let mut response = Response::builder().header("access-control-allow-origin", "*").body(()).unwrap().into_parts().0;
    let mut state = None;
    let mut info = streams::info();
    let mut stream = HttpStream {
        request: &mut request,
        response: None,
        info: &mut info,
        end_of_stream: true,
        state: &mut state,
        name: "cors",
        route_configs: &route_configs,
        route_cleared: false,
    };
    let replied = match filter.on_request(&mut stream) {
        Flow::Respond(reply) => {
            assert_eq!((reply.status, &*reply.details), (StatusCode::OK, "cors_response"));
            Some(reply.headers)
        }
        _ => None,
    };
    stream.response = Some(&mut response);
    filter.on_response(&mut stream);
    Exchange { replied, response: response.headers, stats }
}

fn example() -> Value {
    json!({
        "allow_origin_string_match": [{"exact": "https://a.com"}], "allow_methods": "GET,POST", "allow_headers": "x-a",
        "expose_headers": "x-b", "max_age": "60", "allow_credentials": true,
        "filter_enabled": {"default_value": {"numerator": 100}},
    })
}

const PREFLIGHT: [(&str, &str); 2] = [("origin", "https://a.com"), ("access-control-request-method", "POST")];

#[test]
fn preflights_are_answered() {
    let exchange = run(&[example()], Method::OPTIONS, &PREFLIGHT);
    let headers = exchange.replied.unwrap();
    let expected = [
        ("access-control-allow-origin", "https://a.com"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET,POST"),
        ("access-control-allow-headers", "x-a"),
        ("access-control-max-age", "60"),
    ];
    assert_eq!(headers, HeaderMap::from_iter(expected.map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()))));
    assert_eq!(exchange.stats.value("http.in.cors.origin_valid"), Some(1));
}

#[test]
fn responses_are_marked_for_allowed_origins_only() {
    let allowed = run(&[example()], Method::GET, &[("origin", "https://a.com")]);
    assert!(allowed.replied.is_none());
    // The upstream's own header is replaced.
    assert_eq!(allowed.response.get_all("access-control-allow-origin").iter().collect::<Vec<_>>(), ["https://a.com"]);
    assert_eq!(allowed.response["access-control-expose-headers"], "x-b");
    let stranger = run(&[example()], Method::GET, &[("origin", "https://b.com")]);
    assert_eq!(stranger.response["access-control-allow-origin"], "*");
    assert_eq!(stranger.stats.value("http.in.cors.origin_invalid"), Some(1));
    assert_eq!(run(&[], Method::GET, &[("origin", "https://a.com")]).response["access-control-allow-origin"], "*");
}

#[test]
fn unmatched_preflights_are_forwarded_unless_told() {
    let stranger = [("origin", "https://b.com"), ("access-control-request-method", "GET")];
    assert!(run(&[example()], Method::OPTIONS, &stranger).replied.is_none());
    let mut policy = example();
    policy["forward_not_matching_preflights"] = false.into();
    assert_eq!(run(&[policy], Method::OPTIONS, &stranger).replied, Some(HeaderMap::new()));
}

#[test]
fn policies_fall_back_field_by_field() {
    let route = json!({"allow_methods": "PUT"});
    let headers = run(&[route, example()], Method::OPTIONS, &PREFLIGHT).replied.unwrap();
    assert_eq!(
        (&headers["access-control-allow-methods"], &headers["access-control-max-age"]),
        (&"PUT".parse().unwrap(), &"60".parse().unwrap())
    );
    let off = json!({"filter_enabled": {"default_value": {"numerator": 0}}});
    assert!(run(&[off, example()], Method::OPTIONS, &PREFLIGHT).replied.is_none());
}

#[test]
fn what_is_not_carried_is_named() {
    let half = json!({"filter_enabled": {"default_value": {"numerator": 50}}});
    let error = Cors.route_config(&any(POLICY, half)).err().unwrap().to_string();
    assert!(error.starts_with("filter_enabled.default_value"), "{error}");
}
