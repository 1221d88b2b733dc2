use std::sync::Arc;

use ::http::{Request, request};
use mesh_xds_api::json;
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    access_log::tests as streams,
    filter::{StreamInfo, TlsInfo},
    model::FilterConfigs,
};

const HTTP: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";
const ROUTE: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute";
const NETWORK: &str = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC";

fn any(type_url: &str, mut config: Json) -> ProtoAny {
    config["@type"] = type_url.into();
    json::any_from_value(&config).unwrap()
}

/// A filter with these rules and the registry it counts in.
fn filter(config: Json) -> (Arc<dyn HttpFilter>, Stats) {
    let stats = Stats::default();
    let context = FilterContext { stats: &stats, stat_prefix: "http.in." };
    (Rbac.filter(&any(HTTP, config), &context).unwrap(), stats)
}

fn rules(action: &str, permission: Json, principal: Json) -> Json {
    json!({"action": action, "policies": {"a b": {"permissions": [permission], "principals": [principal]}}})
}

fn request(path: &str, headers: &[(&str, &str)]) -> request::Parts {
    let mut builder = Request::builder().uri(path).header("host", "reviews");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

fn info_with(tls: Option<TlsInfo>) -> StreamInfo {
    let mut connection = streams::connection();
    connection.tls = tls.map(Arc::new);
    connection.sni = Some("a.example".into());
    let mut info = streams::info();
    info.connection = Arc::new(connection);
    info
}

fn peer(uri: &str) -> Option<TlsInfo> {
    Some(TlsInfo {
        peer_uris: vec![uri.into()],
        peer_verified: true,
        peer_subject: "CN=x".into(),
        ..Default::default()
    })
}

/// Details of the refusal; `None` = the request goes on.
fn run(
    filter: &dyn HttpFilter,
    info: &mut StreamInfo,
    mut request: request::Parts,
    routes: &[FilterConfigs],
) -> Option<String> {
    let mut stream = HttpStream {
        request: &mut request,
        response: None,
        info,
        end_of_stream: true,
        state: &mut None,
        name: "rbac",
        route_configs: routes,
        route_cleared: false,
    };
    match filter.on_request(&mut stream) {
        Flow::Continue => None,
        Flow::Respond(reply) => {
            assert_eq!((reply.status, &*reply.body), (StatusCode::FORBIDDEN, &b"RBAC: access denied"[..]));
            Some(reply.details.into_owned())
        }
        Flow::Wait(_) => panic!("rbac does not wait"),
    }
}

fn allowed(permission: Json, principal: Json, tls: Option<TlsInfo>) -> bool {
    let (filter, _) = filter(json!({"rules": rules("ALLOW", permission, principal)}));
    let mut info = info_with(tls);
    run(&*filter, &mut info, request("/a/b?q=1", &[("x-user", "ann")]), &[]).is_none()
}

#[test]
fn permissions() {
    let cases = [
        (json!({"any": true}), true),
        (json!({"url_path": {"path": {"exact": "/a/b"}}}), true),
        (json!({"url_path": {"path": {"prefix": "/b"}}}), false),
        (json!({"header": {"name": ":path", "string_match": {"exact": "/a/b?q=1"}}}), true),
        (json!({"header": {"name": ":method", "string_match": {"exact": "GET"}}}), true),
        (json!({"header": {"name": ":authority", "string_match": {"exact": "reviews"}}}), true),
        (json!({"destination_port": 80}), true),
        (json!({"destination_port_range": {"start": 81, "end": 90}}), false),
        (json!({"destination_ip": {"address_prefix": "127.0.0.0", "prefix_len": 8}}), true),
        (json!({"requested_server_name": {"suffix": ".example"}}), true),
        (json!({"not_rule": {"any": true}}), false),
        (json!({"and_rules": {"rules": [{"any": true}, {"destination_port": 81}]}}), false),
        (json!({"or_rules": {"rules": [{"destination_port": 81}, {"any": true}]}}), true),
        (json!({"metadata": {"filter": "f", "path": [{"key": "k"}], "value": {"present_match": true}}}), false),
        (json!({"metadata": {"filter": "f", "value": {"present_match": true}, "invert": true}}), true),
    ];
    for (permission, expected) in cases {
        let case = permission.to_string();
        assert_eq!(allowed(permission, json!({"any": true}), None), expected, "{case}");
    }
}

#[test]
fn principals() {
    let ann = "spiffe://td/ns/a/sa/ann";
    let named = |matcher: Json| json!({"authenticated": {"principal_name": matcher}});
    let unverified = Some(TlsInfo { peer_uris: vec![ann.into()], ..Default::default() });
    let cases = [
        (json!({"authenticated": {}}), None, false),
        (json!({"authenticated": {}}), peer(ann), true),
        (named(json!({"exact": ann})), peer(ann), true),
        (named(json!({"exact": ann})), unverified, false),
        (named(json!({"exact": ann})), peer("spiffe://td/ns/a/sa/bob"), false),
        (named(json!({"exact": ann})), None, false),
        (named(json!({"exact": "CN=x"})), peer(ann), true),
        (named(json!({"safe_regex": {"regex": ".*/ns/a/.*"}})), peer(ann), true),
        (json!({"not_id": named(json!({"exact": ann}))}), None, true),
        (json!({"source_ip": {"address_prefix": "10.0.0.9", "prefix_len": 32}}), None, true),
        (json!({"direct_remote_ip": {"address_prefix": "192.0.2.1", "prefix_len": 32}}), None, false),
        (json!({"remote_ip": {"address_prefix": "192.0.2.1", "prefix_len": 32}}), None, true),
        (json!({"header": {"name": "x-user", "string_match": {"exact": "ann"}}}), None, true),
        (json!({"and_ids": {"ids": [{"any": true}, {"not_id": {"any": true}}]}}), None, false),
    ];
    for (principal, tls, expected) in cases {
        let case = format!("{principal} {tls:?}");
        assert_eq!(allowed(json!({"any": true}), principal, tls), expected, "{case}");
    }
}

#[test]
fn denials_name_the_policy_and_are_counted() {
    let (deny, stats) = filter(json!({"rules": rules("DENY", json!({"any": true}), json!({"any": true}))}));
    let denied = run(&*deny, &mut info_with(None), request("/", &[]), &[]);
    assert_eq!(denied.as_deref(), Some("rbac_access_denied_matched_policy[a_b]"));
    assert_eq!(stats.value("http.in.rbac.denied"), Some(1));
    let (allow, stats) = filter(json!({"rules": {}}));
    let denied = run(&*allow, &mut info_with(None), request("/", &[]), &[]);
    assert_eq!(denied.as_deref(), Some("rbac_access_denied_matched_policy[none]"));
    assert_eq!((stats.value("http.in.rbac.denied"), stats.value("http.in.rbac.allowed")), (Some(1), Some(0)));
    let (none, _) = filter(json!({}));
    assert_eq!(run(&*none, &mut info_with(None), request("/", &[]), &[]), None);
}

#[test]
fn shadow_rules_only_tell() {
    let shadow = rules("DENY", json!({"any": true}), json!({"any": true}));
    let (filter, stats) = filter(json!({"shadow_rules": shadow, "shadow_rules_stat_prefix": "dry_"}));
    let mut info = info_with(None);
    assert_eq!(run(&*filter, &mut info, request("/", &[]), &[]), None);
    let noted = &info.dynamic_metadata.unwrap()[METADATA];
    assert_eq!(noted, &json!({"dry_shadow_engine_result": "denied", "dry_shadow_effective_policy_id": "a b"}));
    // As Envoy 1.40 spells it.
    assert_eq!(stats.value("http.in.rbac.dry_.shadow_denied"), Some(1));
}

#[test]
fn a_route_may_replace_or_switch_off() {
    let (filter, _) = filter(json!({"rules": {}}));
    for (config, passes) in [
        (json!({}), true),
        (json!({"rbac": {"rules": rules("ALLOW", json!({"any": true}), json!({"any": true}))}}), true),
        (json!({"rbac": {"rules": {}}}), false),
    ] {
        let own = Rbac.route_config(&any(ROUTE, config)).unwrap();
        let routes: FilterConfigs = Arc::new([("rbac".to_owned(), own)].into());
        assert_eq!(run(&*filter, &mut info_with(None), request("/", &[]), &[routes]).is_none(), passes);
    }
}

#[test]
fn connections_are_closed() {
    let stats = Stats::default();
    let context = FilterContext { stats: &stats, stat_prefix: "" };
    let ann = json!({"authenticated": {"principal_name": {"exact": "ann"}}});
    let config = json!({"stat_prefix": "tcp.", "rules": rules("ALLOW", json!({"any": true}), ann)});
    let filter = NetworkRbac.filter(&any(NETWORK, config), &context).unwrap();
    match filter.on_connection(&streams::connection()) {
        NetworkFlow::Close(details) => assert_eq!(details, "rbac_access_denied_matched_policy[none]"),
        _ => panic!("must close"),
    }
    let mut connection = streams::connection();
    connection.tls = peer("ann").map(Arc::new);
    assert!(matches!(filter.on_connection(&connection), NetworkFlow::Continue));
    assert_eq!((stats.value("tcp.rbac.allowed"), stats.value("tcp.rbac.denied")), (Some(1), Some(1)));
}

#[test]
fn what_is_not_carried_is_named() {
    let stats = Stats::default();
    let context = FilterContext { stats: &stats, stat_prefix: "" };
    let ok = json!({"any": true});
    let cases = [
        (json!({"track_per_rule_stats": true}), "track_per_rule_stats"),
        (
            json!({"rules": {"policies": {"p": {"permissions": [ok], "principals": [ok], "condition": {}}}}}),
            "condition",
        ),
        (json!({"rules": {"policies": {"p": {"permissions": [ok]}}}}), "rules.policies[\"p\"]"),
        (json!({"rules": rules("ALLOW", json!({"not_rule": {"matcher": {"name": "m"}}}), ok.clone())}), "matcher"),
        (json!({"rules": rules("ALLOW", ok.clone(), json!({"filter_state": {"key": "k"}}))}), "filter_state"),
        (
            json!({"rules": rules("ALLOW", ok.clone(), json!({"source_ip": {"address_prefix": "x"}}))}),
            "rules.policies[\"a b\"].principals[0].source_ip.address_prefix",
        ),
    ];
    for (config, expected) in cases {
        let error = Rbac.filter(&any(HTTP, config), &context).err().unwrap().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
