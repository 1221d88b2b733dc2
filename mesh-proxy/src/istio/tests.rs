use std::{sync::Arc, time::Duration};

use ::http::HeaderMap;
use serde_json::json;

use super::*;
use crate::{
    access_log::tests as streams,
    filter::{StreamInfo, TlsInfo},
    model::{HeaderView, Metadata},
    stats::StatsQuery,
};

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn facts() -> NodeFacts {
    NodeFacts::from_metadata(&object(json!({
        "WORKLOAD_NAME": "productpage-v1", "NAMESPACE": "default", "CLUSTER_ID": "c1",
        "LABELS": {"app": "productpage", "version": "v1"},
    })))
}

fn info(inbound: bool) -> StreamInfo {
    let mut connection = streams::connection();
    connection.inbound = Some(inbound);
    if inbound {
        let uri = "spiffe://cluster.local/ns/other/sa/ann".to_owned();
        connection.tls = Some(Arc::new(TlsInfo { peer_uris: vec![uri], peer_verified: true, ..Default::default() }));
    }
    let mut info = streams::info();
    info.connection = Arc::new(connection);
    info.flags = crate::filter::ResponseFlags::NONE;
    info
}

fn record(metrics: &LocalIstioMetrics, info: &StreamInfo, headers: &HeaderMap) {
    let view = HeaderView { method: "GET", path: "/", authority: "Reviews:9080", scheme: "http", headers };
    metrics.record_http(info, &view);
}

fn line(stats: &Stats, family: &str) -> String {
    let text = stats.prometheus(&StatsQuery::default());
    let found = text.lines().find(|line| line.starts_with(&format!("{family}{{"))).map(str::to_owned);
    found.unwrap_or_else(|| panic!("no {family} in {text}"))
}

#[test]
fn source_side() {
    let stats = Stats::default();
    let metrics = IstioMetrics::new(&stats, facts(), 10).local();
    let mut info = info(false);
    info.cluster = Some("outbound|9080|v2|reviews.prod.svc.cluster.local".into());
    let endpoint: Metadata = Arc::new(object(json!({"istio": {
        "workload": "reviews-v2", "namespace": "prod", "app": "reviews", "version": "v2",
        "canonical_service": "reviews", "canonical_revision": "v2", "cluster": "c1",
    }})));
    info.upstream_metadata = Some(endpoint);
    record(&metrics, &info, &HeaderMap::new());
    record(&metrics, &info, &HeaderMap::new());
    assert_eq!(
        line(&stats, "istio_requests_total"),
        "istio_requests_total{reporter=\"source\",source_workload=\"productpage-v1\",\
         source_workload_namespace=\"default\",source_principal=\"unknown\",source_app=\"productpage\",\
         source_version=\"v1\",source_cluster=\"c1\",source_canonical_service=\"productpage\",\
         source_canonical_revision=\"v1\",destination_workload=\"reviews-v2\",\
         destination_workload_namespace=\"prod\",destination_principal=\"unknown\",destination_app=\"reviews\",\
         destination_version=\"v2\",destination_cluster=\"c1\",destination_canonical_service=\"reviews\",\
         destination_canonical_revision=\"v2\",destination_service=\"reviews.prod.svc.cluster.local\",\
         destination_service_name=\"reviews\",destination_service_namespace=\"prod\",request_protocol=\"http\",\
         response_code=\"200\",grpc_response_status=\"\",response_flags=\"-\",connection_security_policy=\"unknown\"} 2"
    );
    assert!(line(&stats, "istio_request_duration_milliseconds_sum").ends_with(" 18"));
    assert!(line(&stats, "istio_response_bytes_count").ends_with(" 2"));
}

#[test]
fn destination_side() {
    let stats = Stats::default();
    let metrics = IstioMetrics::new(&stats, facts(), 10).local();
    let mut info = info(true);
    info.cluster = Some("inbound|9080||".into());
    info.grpc_status = Some(5);
    info.timings.end = Some(info.timings.start + Duration::from_millis(1));
    let headers = HeaderMap::from_iter([("content-type".parse().unwrap(), "application/grpc".parse().unwrap())]);
    record(&metrics, &info, &headers);
    let line = line(&stats, "istio_requests_total");
    for part in [
        "reporter=\"destination\"",
        "source_principal=\"spiffe://cluster.local/ns/other/sa/ann\"",
        "source_workload_namespace=\"other\"",
        "source_workload=\"unknown\"",
        "destination_workload=\"productpage-v1\"",
        "destination_service=\"unknown\"",
        "destination_service_namespace=\"default\"",
        "request_protocol=\"grpc\"",
        "grpc_response_status=\"5\"",
        "connection_security_policy=\"mutual_tls\"",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn services_and_packed_workloads() {
    let stats = Stats::default();
    let metrics = IstioMetrics::new(&stats, facts(), 10).local();
    let mut info = info(false);
    info.cluster = Some("PassthroughCluster".into());
    info.upstream_metadata = Some(Arc::new(object(json!({"istio": {"workload": "w;ns;svc;rev;c2"}}))));
    record(&metrics, &info, &HeaderMap::new());
    let passthrough = line(&stats, "istio_requests_total");
    for part in [
        "destination_service=\"reviews\"",
        "destination_service_name=\"PassthroughCluster\"",
        "destination_workload=\"w\"",
        "destination_canonical_revision=\"rev\"",
        "destination_cluster=\"c2\"",
    ] {
        assert!(passthrough.contains(part), "{part}: {passthrough}");
    }
    let service = json!({"istio": {"services": [{"host": "x.example", "name": "x", "namespace": "n"}]}});
    info.cluster_metadata = Some(Arc::new(object(service)));
    record(&metrics, &info, &HeaderMap::new());
    let text = stats.prometheus(&StatsQuery::default());
    assert!(text.contains("destination_service=\"x.example\",destination_service_name=\"x\""), "{text}");
}

#[test]
fn label_sets_are_bounded() {
    let stats = Stats::default();
    let metrics = IstioMetrics::new(&stats, facts(), 2).local();
    let mut info = info(false);
    for status in [200, 201, 202, 203, 200] {
        info.status = Some(status);
        record(&metrics, &info, &HeaderMap::new());
    }
    let text = stats.prometheus(&StatsQuery::default());
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("istio_requests_total{")).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("response_code=\"overflow\"") && line.ends_with(" 2")), "{lines:?}");
    assert_eq!(stats.value("istio.label_sets_overflow"), Some(2));
}

#[test]
fn connections() {
    let stats = Stats::default();
    let metrics = IstioMetrics::new(&stats, facts(), 10).local();
    let info = info(true);
    metrics.tcp_opened(&info);
    metrics.tcp_bytes(&info, 10, 20);
    metrics.tcp_closed(&info);
    assert!(line(&stats, "istio_tcp_connections_opened_total").ends_with(" 1"));
    assert!(line(&stats, "istio_tcp_connections_closed_total").ends_with(" 1"));
    assert!(line(&stats, "istio_tcp_received_bytes_total").ends_with(" 10"));
    let sent = line(&stats, "istio_tcp_sent_bytes_total");
    assert!(sent.ends_with(" 20") && sent.contains("request_protocol=\"tcp\""), "{sent}");
    assert!(!sent.contains("response_code"), "{sent}");
}

#[test]
fn authorities() {
    let stats = Stats::default();
    let metrics = IstioMetrics::new(&stats, facts(), 10).local();
    let mut silent = streams::info();
    silent.connection = Arc::new(streams::connection());
    record(&metrics, &silent, &HeaderMap::new());
    assert!(!stats.prometheus(&StatsQuery::default()).contains("istio_requests_total"));
}
