use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ::http::{Request, request};
use mesh_xds_api::json;
use serde_json::{Value, json};

use super::*;
use crate::{access_log::tests as streams, filter::StreamInfo, stats::Stats};

const TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault";

/// Chance that counts up from zero.
#[derive(Clone, Default)]
struct Sequence(Arc<AtomicU64>);

impl Chance for Sequence {
    fn random(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

fn any(mut config: Value) -> ProtoAny {
    config["@type"] = TYPE.into();
    json::any_from_value(&config).unwrap()
}

fn filter(config: Value) -> (Arc<dyn HttpFilter>, Stats) {
    let stats = Stats::default();
    let context = FilterContext { stats: &stats, stat_prefix: "http.in." };
    (Fault::new(Sequence::default()).filter(&any(config), &context).unwrap(), stats)
}

fn request(headers: &[(&str, &str)]) -> request::Parts {
    let mut builder = Request::builder().uri("/");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

fn run(
    filter: &dyn HttpFilter,
    mut request: request::Parts,
    info: &mut StreamInfo,
    state: &mut Option<Box<dyn Any>>,
) -> Flow {
    filter.on_request(&mut HttpStream {
        request: &mut request,
        response: None,
        info,
        end_of_stream: true,
        state,
        name: "fault",
        route_configs: &[],
        route_cleared: false,
    })
}

fn aborted(filter: &dyn HttpFilter, headers: &[(&str, &str)]) -> Option<(u16, Option<u16>)> {
    match run(filter, request(headers), &mut streams::info(), &mut None) {
        Flow::Respond(reply) => {
            assert_eq!(reply.details, "fault_filter_abort");
            assert_eq!(reply.flags, ResponseFlags::FAULT_INJECTED);
            assert_eq!(&*reply.body, b"fault filter abort");
            Some((reply.status.as_u16(), reply.grpc_status))
        }
        Flow::Continue => None,
        Flow::Wait(_) => panic!("no delay was asked for"),
    }
}

#[test]
fn the_share_is_kept() {
    let (filter, stats) = filter(json!({"abort": {"http_status": 418, "percentage": {"numerator": 30}}}));
    let struck = (0..200).filter(|_| aborted(&*filter, &[]).is_some()).count();
    assert_eq!(struck, 60);
    assert_eq!(stats.value("http.in.fault.aborts_injected"), Some(60));
    assert_eq!(stats.value("http.in.fault.active_faults"), Some(0));
}

#[test]
fn conditions_and_kinds() {
    let always = json!({"numerator": 100});
    let (grpc, _) = filter(json!({
        "abort": {"grpc_status": 14, "percentage": always},
        "headers": [{"name": "end-user", "string_match": {"exact": "jason"}}],
    }));
    assert_eq!(aborted(&*grpc, &[]), None);
    assert_eq!(aborted(&*grpc, &[("end-user", "jason")]), Some((200, Some(14))));
    let (header, _) = filter(json!({"abort": {"header_abort": {}, "percentage": always}}));
    assert_eq!(aborted(&*header, &[]), None);
    assert_eq!(aborted(&*header, &[("x-envoy-fault-abort-request", "503")]), Some((503, None)));
    assert_eq!(aborted(&*header, &[("x-envoy-fault-abort-request", "9")]), None);
    let zero = [("x-envoy-fault-abort-request", "503"), ("x-envoy-fault-abort-request-percentage", "0")];
    assert_eq!(aborted(&*header, &zero), None);
    let cluster =
        |name: &str| filter(json!({"abort": {"http_status": 500, "percentage": always}, "upstream_cluster": name})).0;
    assert!(aborted(&*cluster("outbound|9080||a.b"), &[]).is_some());
    assert!(aborted(&*cluster("other"), &[]).is_none());
    // No percentage means never, as in Envoy.
    assert_eq!(aborted(&*filter(json!({"abort": {"http_status": 500}})).0, &[]), None);
}

#[tokio::test]
async fn delays_then_aborts() {
    let always = json!({"numerator": 100});
    let (filter, stats) = filter(json!({
        "delay": {"fixed_delay": "0.005s", "percentage": always}, "abort": {"http_status": 500, "percentage": always},
    }));
    let mut info = streams::info();
    let start = std::time::Instant::now();
    let Flow::Wait(wait) = run(&*filter, request(&[]), &mut info, &mut None) else { panic!("must wait") };
    assert!(info.flags.contains(ResponseFlags::DELAY_INJECTED));
    assert_eq!(stats.value("http.in.fault.active_faults"), Some(1));
    let Outcome::Respond(reply) = wait.await else { panic!("must abort") };
    assert_eq!(reply.status.as_u16(), 500);
    assert!(start.elapsed() >= Duration::from_millis(5));
    assert_eq!(stats.value("http.in.fault.active_faults"), Some(0));
}

#[test]
fn active_faults_are_limited() {
    let (filter, stats) =
        filter(json!({"abort": {"http_status": 500, "percentage": {"numerator": 100}}, "max_active_faults": 1}));
    let mut first = None;
    assert!(matches!(run(&*filter, request(&[]), &mut streams::info(), &mut first), Flow::Respond(_)));
    assert!(matches!(run(&*filter, request(&[]), &mut streams::info(), &mut None), Flow::Continue));
    assert_eq!(stats.value("http.in.fault.faults_overflow"), Some(1));
    drop(first);
    assert!(aborted(&*filter, &[]).is_some());
}

#[test]
fn what_is_not_carried_is_named() {
    let stats = Stats::default();
    let context = FilterContext { stats: &stats, stat_prefix: "" };
    for (config, expected) in [
        (json!({"response_rate_limit": {"fixed_limit": {"limit_kbps": "1"}}}), "response_rate_limit"),
        (json!({"abort": {"http_status": 42}}), "abort.http_status"),
        (json!({"delay": {}}), "delay"),
        (json!({"delay": {"fixed_delay": "0s"}}), "delay.fixed_delay"),
    ] {
        let error = Fault::default().filter(&any(config), &context).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
