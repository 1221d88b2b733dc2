use http::HeaderMap;

use super::{forwarded_for, sanitize};
use crate::{
    access_log::tests::{connection, info},
    model::{HttpConnectionManager, InternalAddresses, IpDetection},
    testing,
};

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, value.parse().unwrap());
    }
    map
}

/// The headers of a request from 10.0.0.9 to port 80, and the client's address or the status of the refusal.
fn sanitized(
    edit: impl FnOnce(&mut HttpConnectionManager),
    pairs: &[(&'static str, &str)],
) -> (HeaderMap, Result<String, u16>) {
    let mut config = testing::manager(testing::table(vec![]));
    config.generate_request_id = false;
    edit(&mut config);
    let mut headers = headers(pairs);
    let mut info = info();
    let result = sanitize(&config, &connection(), &mut headers, &mut info, || 0);
    (headers, result.map(|_| info.client.ip().to_string()).map_err(|reply| reply.status.as_u16()))
}

fn internal(config: &mut HttpConnectionManager) {
    let ranges = vec!["10.0.0.0/8".parse().unwrap()];
    config.internal_addresses = Some(InternalAddresses { unix_sockets: false, ranges });
}

#[test]
fn the_client_stands_before_the_trusted_hops() {
    let h = headers(&[("x-forwarded-for", "10.0.0.1, 10.0.0.2"), ("x-forwarded-for", "10.0.0.3")]);
    assert_eq!(forwarded_for(&h, 0), "10.0.0.3".parse().ok());
    assert_eq!(forwarded_for(&h, 2), "10.0.0.1".parse().ok());
    assert_eq!(forwarded_for(&h, 3), None);
}

#[test]
fn an_edge_says_where_the_request_came_from() {
    let given = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), ("x-envoy-max-retries", "9")];
    let edge = |c: &mut HttpConnectionManager| {
        c.use_remote_address = true;
        c.append_x_forwarded_port = true;
        c.map_ipv4 = true;
    };
    let (headers, client) = sanitized(edge, &given);
    assert_eq!(client.as_deref(), Ok("10.0.0.9"));
    assert_eq!(headers["x-forwarded-for"], "1.2.3.4,::ffff:10.0.0.9");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-forwarded-port"], "80");
    assert_eq!(headers["x-envoy-external-address"], "10.0.0.9");
    assert!(!headers.contains_key("x-envoy-max-retries"));
}

#[test]
fn internal_clients_may_say_more() {
    let steer = [("x-envoy-max-retries", "9"), ("x-envoy-force-trace", "1")];
    let edge = |c: &mut HttpConnectionManager| {
        c.use_remote_address = true;
        internal(c);
    };
    let (headers, _) = sanitized(edge, &steer);
    assert!(headers.contains_key("x-envoy-force-trace") && headers.contains_key("x-envoy-max-retries"));
    assert_eq!(headers["x-envoy-internal"], "true");
    assert!(!headers.contains_key("x-envoy-external-address"));
    // Someone stands between, so that nothing is known about who sent it.
    let (headers, _) = sanitized(edge, &[("x-envoy-force-trace", "1"), ("x-forwarded-for", "10.1.1.1")]);
    assert!(!headers.contains_key("x-envoy-force-trace") && !headers.contains_key("x-envoy-internal"));
    // Not an edge: one address of XFF counts.
    let (headers, client) = sanitized(internal, &[("x-forwarded-for", "10.1.1.1")]);
    assert_eq!(client.as_deref(), Ok("10.1.1.1"));
    assert_eq!(headers["x-envoy-internal"], "true");
    let (headers, _) = sanitized(internal, &[("x-forwarded-for", "10.1.1.1, 10.1.1.2"), ("x-envoy-internal", "true")]);
    assert!(!headers.contains_key("x-envoy-internal"));
}

#[test]
fn addresses_are_found_by_extensions() {
    let xff = |hops, ranges: &[&str], skip_append| {
        let trusted_ranges = ranges.iter().map(|r| r.parse().unwrap()).collect();
        move |c: &mut HttpConnectionManager| {
            c.ip_detection = vec![IpDetection::Xff { trusted_hops: hops, trusted_ranges, skip_append }];
        }
    };
    let given = [("x-forwarded-for", "1.1.1.1, 2.2.2.2, 10.0.0.8")];
    assert_eq!(sanitized(xff(1, &[], true), &given).1.as_deref(), Ok("2.2.2.2"));
    let (headers, client) = sanitized(xff(0, &["10.0.0.0/8"], false), &given);
    assert_eq!(client.as_deref(), Ok("2.2.2.2"));
    assert_eq!(headers["x-forwarded-for"], "1.1.1.1, 2.2.2.2, 10.0.0.8,10.0.0.9");
    assert_eq!(sanitized(xff(0, &["192.168.0.0/16"], true), &given).1.as_deref(), Ok("10.0.0.9"));

    let custom = |reject: Option<u16>| {
        move |c: &mut HttpConnectionManager| {
            internal(c);
            let reject = reject.map(|code| http::StatusCode::from_u16(code).unwrap());
            c.ip_detection = vec![IpDetection::Header { name: "x-real-ip".parse().unwrap(), trusted: true, reject }];
        }
    };
    let (headers, client) = sanitized(custom(None), &[("x-real-ip", "10.3.3.3")]);
    assert_eq!((client.as_deref(), headers.contains_key("x-envoy-internal")), (Ok("10.3.3.3"), true));
    assert_eq!(sanitized(custom(None), &[]).1.as_deref(), Ok("10.0.0.9"));
    assert_eq!(sanitized(custom(Some(401)), &[("x-real-ip", "nobody")]).1, Err(401));
}
