use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue, header::COOKIE};
use proptest::prelude::*;

use super::{RouteInput, Routes, hosts::without_port, https_redirect, matching};
use crate::{
    filter::TlsInfo,
    model::{
        Action, CookieMatcher, HeaderKey, HeaderMatch, HeaderMatcher, PathMatch, QueryMatcher, Route, RouteMatch,
        RouteTable, RuntimeFraction, StringMatcher, UriTemplate, VirtualHost,
    },
};

fn condition(path: PathMatch) -> RouteMatch {
    RouteMatch { path, ..https_redirect().matches }
}

fn route(name: &str, matches: RouteMatch) -> Arc<Route> {
    Arc::new(Route { name: name.into(), matches, ..https_redirect() })
}

fn host(name: &str, domains: &[&str], routes: Vec<Arc<Route>>) -> Arc<VirtualHost> {
    let domains = domains.iter().map(|d| (*d).to_owned()).collect();
    Arc::new(VirtualHost { name: name.into(), domains, routes, ..VirtualHost::default() })
}

fn routes(virtual_hosts: Vec<Arc<VirtualHost>>, ignore_port: bool) -> Routes {
    Routes::compile(Arc::new(RouteTable {
        virtual_hosts,
        ignore_port_in_host_matching: ignore_port,
        ..RouteTable::default()
    }))
}

fn by_domains(domains: &[&str], ignore_port: bool) -> Routes {
    routes(domains.iter().map(|d| host(d, &[d], Vec::new())).collect(), ignore_port)
}

#[test]
fn virtual_host_order() {
    let table = by_domains(
        &["exact.com", "*.foo.com", "*-bar.foo.com", "www.*", "www.foo.*", "*", "a.com:80", "[::1]", "*.ünï.de"],
        false,
    );
    for (authority, expected) in [
        ("exact.com", "exact.com"),
        ("EXACT.com", "exact.com"),
        ("exact.com:80", "*"),
        ("a.com:80", "a.com:80"),
        ("x.foo.com", "*.foo.com"),
        ("X-BAR.Foo.com", "*-bar.foo.com"),
        (".foo.com", "*"), // the wildcard stands for at least one character
        ("foo.com", "*"),
        ("www.foo.com", "*.foo.com"), // suffixes are searched before prefixes
        ("www.foo.org", "www.foo.*"),
        ("www.x", "www.*"),
        ("www.", "*"),
        ("[::1]", "[::1]"),
        ("ä.ünï.de", "*.ünï.de"),
        ("é", "*"),
        ("", "*"),
    ] {
        assert_eq!(table.virtual_host(authority).map(|v| v.name.as_str()), Some(expected), "{authority}");
    }
    assert!(by_domains(&["a"], false).virtual_host("b").is_none());
    assert!(by_domains(&["a"], false).virtual_host("").is_none());
}

#[test]
fn long_authorities_are_folded_too() {
    let long = "a".repeat(300);
    assert!(by_domains(&[&long], false).virtual_host(&long.to_ascii_uppercase()).is_some());
}

#[test]
fn port_is_ignored_when_asked() {
    let table = by_domains(&["a.com", "[::1]"], true);
    assert!(table.virtual_host("a.com:8080").is_some());
    assert!(table.virtual_host("[::1]:80").is_some());
    assert!(table.virtual_host("[::1]").is_some());
    assert_eq!(without_port("[::1]"), "[::1]");
    assert_eq!(without_port("a:"), "a");
}

fn input<'a>(path: &'a str, headers: &'a HeaderMap) -> RouteInput<'a> {
    RouteInput {
        authority: "a",
        path,
        method: "GET",
        headers,
        scheme: "http",
        secure: false,
        random: 0,
        tls: None,
        internal: false,
    }
}

fn found(matches: &RouteMatch, request: &RouteInput<'_>) -> bool {
    routes(vec![host("h", &["*"], vec![route("r", matches.clone())])], false).find(request).is_some()
}

#[test]
fn path_conditions() {
    let regex = |text: &str| PathMatch::Regex(regex::Regex::new(&format!("^(?:{text})$")).unwrap());
    for (path, ignore_case, request, expected) in [
        (PathMatch::Prefix("/".into()), false, "/x?q", true),
        (PathMatch::Prefix("/a".into()), false, "/ab", true),
        (PathMatch::Prefix("/a".into()), false, "/A", false),
        (PathMatch::Prefix("/a".into()), true, "/AB", true),
        (PathMatch::Prefix("/a".into()), false, "*", false),
        (PathMatch::Exact("/a".into()), false, "/a", true),
        (PathMatch::Exact("/a".into()), false, "/a?b=/c", true),
        (PathMatch::Exact("/a".into()), false, "/a#f", true),
        (PathMatch::Exact("/a".into()), false, "/a/", false),
        (PathMatch::Exact("/a".into()), true, "/A", true),
        (PathMatch::SeparatedPrefix("/a".into()), false, "/a", true),
        (PathMatch::SeparatedPrefix("/a".into()), false, "/a/b", true),
        (PathMatch::SeparatedPrefix("/a".into()), false, "/ab", false),
        (PathMatch::SeparatedPrefix("/a".into()), false, "/a?b", true),
        (PathMatch::SeparatedPrefix("/a".into()), true, "/A/b", true),
        (regex("/b[io]t"), false, "/bit", true),
        (regex("/b[io]t"), false, "/bot?x", true),
        (regex("/b[io]t"), false, "/bite", false),
        (regex("/b[io]t"), false, "/bit/bot", false),
        (regex("/a|/b"), false, "/bb", false),
        (PathMatch::Connect, false, "/", false),
    ] {
        let case = format!("{path:?} {request}");
        let matches = RouteMatch { ignore_case, ..condition(path) };
        assert_eq!(found(&matches, &input(request, &HeaderMap::new())), expected, "{case}");
    }
}

#[test]
fn connect_takes_no_path() {
    let headers = HeaderMap::new();
    let connect = RouteInput { method: "CONNECT", ..input("", &headers) };
    assert!(found(&condition(PathMatch::Connect), &connect));
    assert!(!found(&condition(PathMatch::Prefix("".into())), &connect));
}

#[test]
fn other_conditions() {
    let any = || condition(PathMatch::Prefix("/".into()));
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/grpc+proto"));
    headers.insert("x", HeaderValue::from_static("1"));
    let request = input("/p?k=v", &headers);
    assert!(found(&RouteMatch { grpc: true, ..any() }, &request));
    assert!(!found(&RouteMatch { grpc: true, ..any() }, &input("/", &HeaderMap::new())));
    let web = HeaderMap::from_iter([(
        HeaderName::from_static("content-type"),
        HeaderValue::from_static("application/grpc-web"),
    )]);
    assert!(!found(&RouteMatch { grpc: true, ..any() }, &input("/", &web)));
    let x = |value: &str| HeaderMatcher {
        name: HeaderKey::Name(HeaderName::from_static("x")),
        matches: HeaderMatch::Value(StringMatcher::exact(value)),
        invert: false,
        missing_as_empty: false,
    };
    assert!(found(&RouteMatch { headers: vec![x("1")], ..any() }, &request));
    assert!(!found(&RouteMatch { headers: vec![x("1"), x("2")], ..any() }, &request));
    let k = |value: &str| QueryMatcher { name: "k".into(), value: Some(StringMatcher::exact(value)), absent: false };
    assert!(found(&RouteMatch { query: vec![k("v")], ..any() }, &request));
    assert!(!found(&RouteMatch { query: vec![k("w")], ..any() }, &request));
    let share = RouteMatch { fraction: Some(RuntimeFraction { numerator: 10, denominator: 100 }), ..any() };
    assert!(found(&share, &RouteInput { random: 109, ..request }));
    assert!(!found(&share, &RouteInput { random: 110, ..request }));
    let tls = TlsInfo { peer_verified: true, ..TlsInfo::default() };
    let validated = RouteMatch { tls_validated: Some(true), ..any() };
    assert!(found(&validated, &RouteInput { tls: Some(&tls), ..request }));
    assert!(!found(&validated, &request));
    assert!(found(&RouteMatch { tls_presented: Some(false), ..any() }, &request));
}

#[test]
fn cookies() {
    let cookie = |value: &str, invert| CookieMatcher { name: "k".into(), value: StringMatcher::exact(value), invert };
    let with = |text: &'static str| HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(text))]);
    for (header, value, invert, expected) in [
        ("k=v", "v", false, true),
        ("a=b; k=\"v\"; k=w", "v", false, true),
        ("k=w", "v", false, false),
        ("k=w", "v", true, true),
        ("kk=v", "v", false, false),
        ("a=b", "v", true, false),
    ] {
        assert_eq!(cookie(value, invert).matches(&with(header)), expected, "{header} {value} {invert}");
    }
}

#[test]
fn the_table_may_look_at_other_things() {
    let hosts = vec![host("named", &["named"], vec![route("r", condition(PathMatch::Exact("/a".into())))])];
    let vhost_header = Some(HeaderName::from_static("x-vhost"));
    let table =
        RouteTable { virtual_hosts: hosts, ignore_path_parameters: true, vhost_header, ..RouteTable::default() };
    let table = Routes::compile(Arc::new(table));
    let headers = HeaderMap::from_iter([(HeaderName::from_static("x-vhost"), HeaderValue::from_static("Named"))]);
    assert!(table.find(&input("/a;v=1;w?q", &headers)).is_some());
    assert!(table.find(&input("/a/;v=1", &headers)).is_none());
    assert_eq!(matching::without_parameters("/a;x=1/b;y;z/;"), "/a/b/");
    assert!(table.find(&input("/a", &HeaderMap::new())).is_none());
}

#[test]
fn first_match_wins() {
    let table = routes(
        vec![host(
            "h",
            &["*"],
            vec![
                route("exact", condition(PathMatch::Exact("/a".into()))),
                route("a", condition(PathMatch::Prefix("/a".into()))),
                route("all", condition(PathMatch::Prefix("/".into()))),
            ],
        )],
        false,
    );
    for (path, expected) in [("/a", "exact"), ("/ab", "a"), ("/b", "all")] {
        assert_eq!(table.find(&input(path, &HeaderMap::new())).unwrap().route.name, expected);
    }
}

#[test]
fn required_tls_redirects() {
    let mut virtual_host = VirtualHost { name: "h".into(), domains: vec!["*".into()], ..VirtualHost::default() };
    virtual_host.routes.push(route("r", condition(PathMatch::Prefix("/".into()))));
    for (require, scheme, internal, redirected) in [
        (Some(true), "http", true, true),
        (Some(true), "https", true, false),
        (Some(false), "http", true, false),
        (Some(false), "http", false, true),
        (None, "http", false, false),
    ] {
        virtual_host.require_tls = require;
        let table = routes(vec![Arc::new(virtual_host.clone())], false);
        let headers = HeaderMap::new();
        let secure = scheme == "https";
        let found = table.find(&RouteInput { secure, internal, ..input("/", &headers) }).unwrap();
        assert_eq!(found.route.name != "r", redirected, "{require:?} {scheme} {internal}");
        assert!(matches!(found.route.action, Action::Redirect(_)));
    }
}

/// The rule of the API's documentation, by trying every domain.
fn naive(domains: &[String], host: &str) -> Option<usize> {
    let host = host.to_ascii_lowercase();
    let rank = |domain: &str| -> Option<(u8, usize)> {
        if domain == "*" {
            Some((0, 0))
        } else if let Some(suffix) = domain.strip_prefix('*') {
            (host.len() > suffix.len() && host.ends_with(suffix)).then_some((2, suffix.len()))
        } else if let Some(prefix) = domain.strip_suffix('*') {
            (host.len() > prefix.len() && host.starts_with(prefix)).then_some((1, prefix.len()))
        } else {
            (domain == host).then_some((3, 0))
        }
    };
    domains.iter().enumerate().filter_map(|(i, d)| Some((rank(d)?, i))).max_by_key(|(r, _)| *r).map(|(_, i)| i)
}

/// A condition on the path that may meet [`any_path`].
fn any_condition() -> impl Strategy<Value = RouteMatch> {
    let path = "(/[abAB]{0,2}){1,3}";
    let path = prop_oneof![
        path.prop_map(PathMatch::Exact),
        "(/[abAB]{0,2}){0,2}".prop_map(PathMatch::Prefix),
        "(/[abAB]{1,2}){1,2}".prop_map(PathMatch::SeparatedPrefix),
        "/[ab][*]".prop_map(|text| PathMatch::Regex(regex::Regex::new(&format!("^(?:{text})$")).unwrap())),
        Just(PathMatch::Template(UriTemplate::parse("/{x}/{y=**}").unwrap())),
        Just(PathMatch::Connect),
    ];
    (path, any::<bool>(), proptest::option::of(0_u32..=2)).prop_map(|(path, ignore_case, share)| {
        // A share of all or none stands for whatever else a route asks.
        let fraction = share.map(|numerator| RuntimeFraction { numerator, denominator: 2 });
        RouteMatch { path, ignore_case, fraction, ..RouteMatch::default() }
    })
}

proptest! {
    /// The index finds what trying one route after the other finds.
    #[test]
    fn the_first_match_by_index_is_the_first_match(
        conditions in proptest::collection::vec(any_condition(), 16..60),
        path in "(/[abABü]{0,2}){0,4}",
        connect in any::<bool>(),
        random in 0_u64..2,
    ) {
        let all = conditions.iter().enumerate().map(|(i, c)| route(&i.to_string(), c.clone())).collect();
        let table = routes(vec![host("h", &["*"], all)], false);
        prop_assert!(table.paths[0].is_some());
        let headers = HeaderMap::new();
        let request = RouteInput { method: if connect { "CONNECT" } else { "GET" }, random, ..input(&path, &headers) };
        let expected = conditions.iter().position(|condition| matching::matches(condition, &request, &path));
        let found = table.find(&request).map(|found| found.route.name.clone());
        prop_assert_eq!(found, expected.map(|at| at.to_string()));
    }

    #[test]
    fn search_equals_trying_all(
        domains in proptest::collection::hash_set(r"(\*[.ab]{0,3}|[ab]{1,2}[.ab]{0,2}\*|[ab.]{1,4})", 1..12),
        host in "[abAB.]{1,6}",
    ) {
        let domains: Vec<String> = domains.into_iter().collect();
        let names: Vec<&str> = domains.iter().map(String::as_str).collect();
        let table = by_domains(&names, false);
        let expected = naive(&domains, &host).map(|at| domains[at].clone());
        prop_assert_eq!(table.virtual_host(&host).map(|v| v.name.clone()), expected);
    }
}
