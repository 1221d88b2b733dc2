//! Settings of the HTTP connection manager, each on a listener of its own, in `mesh proxy` and in Envoy: the same bytes go in,
//! the same requests must arrive at the host, and the same answers must come back.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use mesh_tests::{
    data_plane::{DataPlane, Kind, forwarding},
    envoy::socket_address,
    recorder::Recorder,
};
use serde_json::{Value, json};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Headers that differ from run to run.
const VARYING: &[&str] = &["date", "x-request-id", "x-envoy-upstream-service-time", "x-envoy-expected-rq-timeout-ms"];

/// A setting, and requests that show it. `PORT` in a request stands for the listener's port.
struct Case {
    name: &'static str,
    manager: Value,
    requests: Vec<String>,
}

fn case(name: &'static str, manager: Value, requests: &[&str]) -> Case {
    Case { name, manager, requests: requests.iter().map(|r| (*r).to_owned()).collect() }
}

/// A GET that ends its connection, with these lines.
fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n{lines}connection: close\r\n\r\n")
}

fn gets(name: &'static str, manager: Value, requests: &[(&str, &str)]) -> Case {
    Case { name, manager, requests: requests.iter().map(|(path, lines)| get(path, lines)).collect() }
}

fn cases() -> Vec<Case> {
    let mut cases = paths_and_hosts();
    cases.extend(clients());
    cases.extend(http1());
    cases.extend(local_replies());
    cases
}

fn paths_and_hosts() -> Vec<Case> {
    let slashes = |name, action: &str| {
        let manager = json!({ "path_with_escaped_slashes_action": action, "normalize_path": true });
        gets(
            name,
            manager,
            &[("/a%2Fb%5cc?q=%2f", "host: a\r\n"), ("/a/%2e%2e/b", "host: a\r\n"), ("/a%252f", "host: a\r\n")],
        )
    };
    let hosts = [
        ("/", "host: a.com.\r\n"),
        ("/", "host: a.com.:81\r\n"),
        ("/", "host: a.com:PORT\r\n"),
        ("/", "host: a.com:81\r\n"),
        ("/", "host: [::1]:81\r\n"),
    ];
    vec![
        gets("plain", json!({}), &[("/a//b/../c?d#", "host: a\r\n"), ("/x", "host: a\r\nx_y: 1\r\n")]),
        gets(
            "normalize",
            json!({ "normalize_path": true }),
            &[("/a/./b//../c", "host: a\r\n"), ("/%7Ea", "host: a\r\n")],
        ),
        gets(
            "merge",
            json!({ "normalize_path": true, "merge_slashes": true }),
            &[("//a///b//../c?x//y", "host: a\r\n")],
        ),
        gets("merge-only", json!({ "merge_slashes": true }), &[("//a///b", "host: a\r\n")]),
        slashes("slashes-keep", "KEEP_UNCHANGED"),
        slashes("slashes-reject", "REJECT_REQUEST"),
        slashes("slashes-redirect", "UNESCAPE_AND_REDIRECT"),
        slashes("slashes-forward", "UNESCAPE_AND_FORWARD"),
        gets("strip-dot", json!({ "strip_trailing_host_dot": true }), &hosts),
        gets("strip-matching", json!({ "strip_matching_host_port": true }), &hosts),
        gets("strip-any", json!({ "strip_any_host_port": true }), &hosts),
        gets("strip-both", json!({ "strip_any_host_port": true, "strip_trailing_host_dot": true }), &hosts),
        gets(
            "underscores-drop",
            json!({ "common_http_protocol_options": { "headers_with_underscores_action": "DROP_HEADER" } }),
            &[("/", "host: a\r\nx_y: 1\r\nx-z: 2\r\n")],
        ),
        gets(
            "underscores-reject",
            json!({ "common_http_protocol_options": { "headers_with_underscores_action": "REJECT_REQUEST" } }),
            &[("/", "host: a\r\nx_y: 1\r\n")],
        ),
    ]
}

fn clients() -> Vec<Case> {
    const XFF: &str = "type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig";
    const CUSTOM: &str =
        "type.googleapis.com/envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig";
    let extension =
        |config: Value| json!({ "original_ip_detection_extensions": [{ "name": "x", "typed_config": config }] });
    let loopback = json!({ "cidr_ranges": [{ "address_prefix": "127.0.0.0", "prefix_len": 8 }, { "address_prefix": "10.0.0.0", "prefix_len": 8 }] });
    let requests = [
        ("/", "host: a\r\n"),
        ("/", "host: a\r\nx-forwarded-for: 10.1.1.1\r\nx-forwarded-proto: https\r\nx-forwarded-port: 7\r\n"),
        ("/", "host: a\r\nx-forwarded-for: 1.1.1.1, 2.2.2.2\r\nx-forwarded-for: 10.3.3.3\r\n"),
        ("/", "host: a\r\nx-envoy-max-retries: 3\r\nx-envoy-internal: true\r\nx-real: 10.9.9.9\r\n"),
        ("/", "host: a\r\nx-forwarded-for: nobody\r\nx-real: nobody\r\n"),
    ];
    vec![
        gets("clients-plain", json!({}), &requests),
        gets("edge", json!({ "use_remote_address": true }), &requests),
        gets("edge-port", json!({ "use_remote_address": true, "append_x_forwarded_port": true }), &requests),
        gets(
            "edge-hops",
            json!({ "use_remote_address": true, "xff_num_trusted_hops": 1, "append_x_forwarded_port": true }),
            &requests,
        ),
        gets("scheme", json!({ "scheme_header_transformation": { "scheme_to_overwrite": "https" } }), &requests),
        gets("edge-skip", json!({ "use_remote_address": true, "skip_xff_append": true }), &requests),
        gets(
            "edge-mapped",
            json!({ "use_remote_address": true, "represent_ipv4_remote_address_as_ipv4_mapped_ipv6": true }),
            &requests,
        ),
        gets("edge-internal", json!({ "use_remote_address": true, "internal_address_config": loopback }), &requests),
        gets("internal", json!({ "internal_address_config": loopback }), &requests),
        gets("xff-hops", extension(json!({ "@type": XFF, "xff_num_trusted_hops": 1 })), &requests),
        gets("xff-append", extension(json!({ "@type": XFF, "skip_xff_append": false })), &requests),
        gets(
            "xff-ranges",
            extension(json!({ "@type": XFF, "xff_trusted_cidrs": { "cidrs": [
                { "address_prefix": "127.0.0.0", "prefix_len": 8 }, { "address_prefix": "10.0.0.0", "prefix_len": 8 },
            ] } })),
            &requests,
        ),
        gets("custom-header", extension(json!({ "@type": CUSTOM, "header_name": "x-real" })), &requests),
        gets(
            "custom-header-rejects",
            extension(
                json!({ "@type": CUSTOM, "header_name": "x-real", "reject_with_status": { "code": "Unauthorized" } }),
            ),
            &requests,
        ),
    ]
}

fn http1() -> Vec<Case> {
    let options = |options: Value| json!({ "http_protocol_options": options });
    const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n\
        3\r\nabc\r\n0\r\n\r\n";
    const UPGRADE: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\nupgrade: TLS/1.2\r\n\r\n";
    const BREW: &str = "BREW / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    const OLD: &str = "GET / HTTP/1.0\r\n\r\n";
    vec![
        case("http10-refused", json!({}), &[OLD]),
        case("http10", options(json!({ "accept_http_10": true, "default_host_for_http_10": "d.com" })), &[OLD]),
        case("http10-no-host", options(json!({ "accept_http_10": true })), &[OLD]),
        case("chunked-length", options(json!({ "allow_chunked_length": true })), &[CHUNKED]),
        case("upgrade-refused", json!({}), &[UPGRADE]),
        case("upgrade-ignored", options(json!({ "ignore_http_11_upgrade": [{ "prefix": "TLS/" }] })), &[UPGRADE]),
        case("methods", json!({}), &[BREW]),
        case("custom-methods", options(json!({ "allow_custom_methods": true })), &[BREW]),
        case(
            "expect",
            json!({}),
            &[
                "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc",
            ],
        ),
        gets(
            "proper-case",
            options(json!({ "header_key_format": { "proper_case_words": {} } })),
            &[("/", "host: a\r\n")],
        ),
        gets(
            "max-headers",
            json!({ "common_http_protocol_options": { "max_headers_count": 2 } }),
            &[("/", "host: a\r\nx: y\r\nz: 1\r\n")],
        ),
        gets(
            "server",
            json!({ "server_name": "me", "via": "v", "always_set_request_id_in_response": true }),
            &[("/", "host: a\r\nvia: w\r\n")],
        ),
        case("header-timeout", json!({ "request_headers_timeout": "0.3s" }), &["GET / HTTP/1.1\r\nhost: a\r\nx: "]),
        case(
            "request-timeout",
            json!({ "request_timeout": "0.3s" }),
            &["POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 9\r\n\r\nabc"],
        ),
    ]
}

fn local_replies() -> Vec<Case> {
    let no_route = json!({ "virtual_hosts": [{ "name": "v", "domains": ["a.com"], "routes": [] }] });
    let with = |config: Value| json!({ "route_config": no_route, "local_reply_config": config });
    let is = |code: u32| json!({ "status_code_filter": { "comparison": { "op": "EQ", "value": { "default_value": code, "runtime_key": "k" } } } });
    let grpc = "POST /s/m HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n";
    let plain = get("/p?q", "host: a\r\n");
    let head = plain.replace("GET", "HEAD");
    let requests: &[&str] = &[&plain, &head, grpc];
    vec![
        case("no-route", json!({ "route_config": no_route }), requests),
        case(
            "text",
            with(
                json!({ "body_format": { "text_format": "<%LOCAL_REPLY_BODY%> %RESPONSE_CODE% %RESPONSE_FLAGS% %REQ(:PATH)%" } }),
            ),
            requests,
        ),
        case(
            "json",
            with(
                json!({ "body_format": { "json_format": { "code": "%RESPONSE_CODE%", "details": "%RESPONSE_CODE_DETAILS%", "body": "%LOCAL_REPLY_BODY%" } } }),
            ),
            requests,
        ),
        case(
            "content-type",
            with(json!({ "body_format": { "text_format": "x", "content_type": "text/html; charset=UTF-8" } })),
            requests,
        ),
        case(
            "mapper",
            with(json!({
                "mappers": [
                    { "filter": is(500), "status_code": 418 },
                    {
                        "filter": is(404), "status_code": 410, "body": { "inline_string": "gone" },
                        "headers_to_add": [{ "header": { "key": "x-why", "value": "%RESPONSE_FLAGS%" }, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" }],
                        "body_format_override": { "text_format": "[%LOCAL_REPLY_BODY% %RESPONSE_CODE%]" },
                    },
                ],
                "body_format": { "text_format": "never" },
            })),
            requests,
        ),
        case(
            "mapper-body",
            with(json!({ "mappers": [{ "filter": is(404), "body": { "inline_string": "nothing" } }] })),
            requests,
        ),
    ]
}

/// One file with a listener for each case.
fn bootstrap(recorder: SocketAddr, cases: &[Case]) -> Value {
    let mut whole = forwarding(recorder, |_| {});
    let listeners = cases.iter().map(|case| {
        let mut one = forwarding(recorder, |manager| {
            manager["delayed_close_timeout"] = json!("0.05s");
            for (field, value) in case.manager.as_object().expect("an object") {
                manager[field] = value.clone();
            }
        });
        let mut listener = one["static_resources"]["listeners"][0].take();
        listener["name"] = json!(case.name);
        listener["address"] = socket_address((Ipv4Addr::LOCALHOST, 0).into());
        listener
    });
    whole["static_resources"]["listeners"] = listeners.collect();
    whole
}

/// What a client got and a host saw, one text for each request of each case.
fn run(kind: Kind, cases: &[Case]) -> Vec<Vec<String>> {
    let recorder = Recorder::start();
    let plane = DataPlane::start(kind, &bootstrap(recorder.address, cases));
    let mut all = Vec::new();
    for case in cases {
        let listener = plane.listener(case.name);
        let one = |request: &String| {
            let before = recorder.requests().len();
            let answer = send(listener, &request.replace("PORT", &listener.port().to_string()));
            let mut text = answer.replace(&listener.port().to_string(), "PORT");
            for seen in &recorder.requests()[before..] {
                let mut headers = seen.headers.clone();
                headers.retain(|(name, _)| !VARYING.contains(&name.as_str()));
                headers.sort();
                let headers = format!("{headers:?}").replace(&listener.port().to_string(), "PORT");
                text.push_str(&format!("\n  -> {} {headers} {:?}", seen.line, String::from_utf8_lossy(&seen.body)));
            }
            text
        };
        all.push(case.requests.iter().map(one).collect());
    }
    all
}

/// The answer, without what varies, its header lines in order of their names.
fn send(listener: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(listener).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout can be set");
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").map(|rest| format!("100, {rest}")).unwrap_or(text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default().to_owned();
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let mut lines: Vec<&str> = lines.filter(|line| !VARYING.contains(&&*name(line))).collect();
    lines.sort_by_key(|line| line.to_ascii_lowercase());
    format!("{status} {lines:?} {body:?}")
}

/// Where we do otherwise than Envoy, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("edge-mapped/0", MAPPED),
    ("edge-mapped/1", MAPPED),
    ("edge-mapped/2", MAPPED),
    ("edge-mapped/3", MAPPED),
    ("edge-mapped/4", MAPPED),
    ("http10-refused/0", "the answer has the version of the request; Envoy's codec writes 1.1"),
    ("http10/0", "in HTTP/1.0 a connection closes without being told to"),
    ("max-headers/0", "the codec answers, without a body"),
    ("no-route/1", "an empty answer to HEAD has the length that it would have for GET"),
];

const MAPPED: &str = "Envoy writes its own address for a client on the loopback, and does not map that";

/// What Envoy puts into `x-forwarded-for` for the only hop.
fn envoys_own_address(cases: &[Case], outcomes: &[Vec<String>]) -> String {
    let edge = cases.iter().position(|case| case.name == "edge").expect("it is a case");
    let value = outcomes[edge][0].split("(\"x-forwarded-for\", \"").nth(1).expect("it is there");
    value.split('"').next().unwrap_or_default().to_owned()
}

#[test]
fn as_envoy() {
    let cases = cases();
    let (ours, envoys) = thread::scope(|scope| {
        let envoys = scope.spawn(|| run(Kind::Envoy, &cases));
        (run(Kind::Mesh, &cases), envoys.join().expect("Envoy's run ends"))
    });
    // For a client on the loopback Envoy writes its own address.
    let own = envoys_own_address(&cases, &envoys);
    let envoys: Vec<Vec<String>> =
        envoys.iter().map(|all| all.iter().map(|text| text.replace(&own, "127.0.0.1")).collect()).collect();
    let mut found = Vec::new();
    for ((case, ours), envoys) in cases.iter().zip(&ours).zip(&envoys) {
        for (i, (ours, envoys)) in ours.iter().zip(envoys).enumerate() {
            let name = format!("{}/{i}", case.name);
            if ours != envoys && !DIFFERENCES.iter().any(|(n, _)| *n == name) {
                found.push(format!("{name}: {:?}\n  ours:  {ours}\n  Envoy: {envoys}", case.requests[i]));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
