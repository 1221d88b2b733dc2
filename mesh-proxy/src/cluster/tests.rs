use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ClusterDeps, ClusterHandle, Outcome, SocketIndex,
    testing::{assignment, cluster, eds, endpoint, handle, with_kind},
};
use crate::model::{
    Address, Assignment, Cluster, ClusterKind, DnsFamily, LocalityEndpoints, OutlierDetection, SocketMatch,
    UpstreamSocket,
};

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 80))
}

fn outlier() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: Some(2),
        consecutive_gateway: None,
        consecutive_local: None,
        split_local: false,
        interval: Duration::from_secs(10),
        base_ejection_time: Duration::from_secs(30),
        max_ejection_time: Duration::from_secs(300),
        max_ejection_time_jitter: Duration::ZERO,
        max_ejection_percent: 50,
        always_eject_one_host: false,
    }
}

#[test]
fn hosts_keep_their_state_over_updates() {
    let cluster = handle(Cluster { outlier: Some(outlier()), ..with_kind(eds()) });
    assert!(!*cluster.ready().borrow());
    cluster.set_assignment(&assignment([addr(1), addr(2)].map(Address::Tcp)));
    assert!(*cluster.ready().borrow());
    let before = cluster.hosts();
    let kept = before.all().nth(1).unwrap().clone();
    let now = Instant::now();
    for _ in 0..2 {
        cluster.report(&kept, Outcome::Status(500), now, 0);
    }
    let generation = cluster.generation();
    cluster.set_assignment(&assignment([addr(2), addr(3)].map(Address::Tcp)));
    assert_ne!(cluster.generation(), generation);
    let hosts = cluster.hosts();
    let after: Vec<_> = hosts.all().collect();
    assert!(Arc::ptr_eq(&after[0].state, &kept.state) && after[0].state.is_ejected());
    let config = Cluster { connect_timeout: Duration::from_secs(1), outlier: Some(outlier()), ..with_kind(eds()) };
    let changed = ClusterHandle::updated_from(&cluster, Arc::new(config));
    assert!(*changed.ready().borrow(), "the assignment is taken over");
    assert!(Arc::ptr_eq(&changed.hosts().all().next().unwrap().state, &kept.state));
    assert!(kept.state.is_ejected());
    let calm = ClusterHandle::updated_from(&changed, Arc::new(with_kind(eds())));
    assert_eq!((calm.hosts().len(), kept.state.is_ejected()), (2, false), "without outlier detection nobody is out");
}

#[test]
fn hosts_are_ejected_and_return() {
    let deps = ClusterDeps::default();
    let config = Cluster { outlier: Some(outlier()), ..cluster(&[addr(1), addr(2), addr(3)]) };
    let cluster = ClusterHandle::new(Arc::new(config), &deps);
    let hosts: Vec<_> = cluster.hosts().all().cloned().collect();
    let now = Instant::now();
    for host in &hosts {
        for outcome in [Outcome::ConnectFailed, Outcome::Status(503)] {
            cluster.report(host, outcome, now, 0);
        }
    }
    let ejected = || hosts.iter().map(|h| h.state.is_ejected()).collect::<Vec<_>>();
    assert_eq!(ejected(), [true, false, false], "half of three is one");
    let value = |name: &str| deps.stats.value(&format!("cluster.c.outlier_detection.{name}")).unwrap_or_default();
    assert_eq!(value("ejections_active"), 1);
    assert_eq!(value("ejections_enforced_consecutive_5xx"), 1);
    assert_eq!(value("ejections_overflow"), 2);
    assert_eq!(deps.stats.value("cluster.c.membership_healthy"), Some(2));
    cluster.sweep(now + Duration::from_secs(29));
    assert_eq!(ejected(), [true, false, false]);
    cluster.sweep(now + Duration::from_secs(30));
    assert_eq!(ejected(), [false; 3]);
    assert_eq!((value("ejections_active"), deps.stats.value("cluster.c.membership_healthy")), (0, Some(3)));
}

#[test]
fn transports_by_endpoint_metadata() {
    let criteria = serde_json::json!({"tlsMode": "istio"}).as_object().unwrap().clone();
    let tls = SocketMatch { name: "tls".into(), criteria, socket: UpstreamSocket::Tls(Arc::default()) };
    let plain = SocketMatch { name: "plain".into(), criteria: Default::default(), socket: UpstreamSocket::Plain };
    let mut with = endpoint(Address::Tcp(addr(1)));
    let metadata = serde_json::json!({"envoy.transport_socket_match": {"tlsMode": "istio", "other": 1}});
    with.metadata = Arc::new(metadata.as_object().unwrap().clone());
    let endpoints = vec![with, endpoint(Address::Tcp(addr(2)))];
    let localities = vec![LocalityEndpoints { endpoints, ..LocalityEndpoints::default() }];
    let kind = ClusterKind::Static(Arc::new(Assignment { localities, ..Assignment::default() }));
    let cluster = handle(Cluster { socket_matches: vec![tls, plain], ..with_kind(kind) });
    let sockets: Vec<_> = cluster.hosts().all().map(|h| h.socket).collect();
    assert_eq!(sockets, [SocketIndex::Match(0), SocketIndex::Match(1)]);
    assert!(cluster.tls(sockets[0]).is_some() && cluster.tls(sockets[1]).is_none());
}

#[tokio::test]
async fn strict_dns_makes_a_host_of_each_address() {
    let endpoints = assignment([Address::Name("localhost".into(), 80), Address::Tcp(addr(1))]);
    let kind = ClusterKind::StrictDns { endpoints, refresh: Duration::from_secs(60), family: DnsFamily::V4Only };
    let cluster = handle(with_kind(kind));
    assert!(!*cluster.ready().borrow());
    let maintained = tokio::spawn(ClusterHandle::maintain(Arc::downgrade(&cluster)));
    cluster.ready().wait_for(|ready| *ready).await.unwrap();
    let hosts: Vec<_> = cluster.hosts().all().map(|h| h.address.to_string()).collect();
    assert_eq!(hosts, ["127.0.0.1:80", "10.0.0.1:80"]);
    maintained.abort();
}

#[tokio::test]
async fn logical_dns_is_one_host() {
    let endpoints = assignment([Address::Name("localhost".into(), 80)]);
    let kind = ClusterKind::LogicalDns { endpoints, refresh: Duration::from_secs(60), family: DnsFamily::V4Only };
    let cluster = handle(with_kind(kind));
    let maintained = tokio::spawn(ClusterHandle::maintain(Arc::downgrade(&cluster)));
    cluster.ready().wait_for(|ready| *ready).await.unwrap();
    let hosts = cluster.hosts();
    let host = hosts.all().next().unwrap();
    assert_eq!(host.address.to_string(), "localhost:80");
    assert_eq!(host.dial_address(), Some(Address::Tcp(([127, 0, 0, 1], 80).into())));
    maintained.abort();
}

#[test]
fn original_destinations_are_forgotten_when_unused() {
    let cluster = handle(with_kind(ClusterKind::OriginalDst { header: None }));
    let host = cluster.original(addr(9)).unwrap();
    assert!(Arc::ptr_eq(&host, &cluster.original(addr(9)).unwrap()));
    cluster.sweep(Instant::now());
    assert_eq!(cluster.known_hosts().len(), 1, "in use");
    drop(host);
    cluster.sweep(Instant::now());
    assert!(cluster.known_hosts().is_empty());
}

#[test]
fn sparse_priorities_do_not_lose_hosts() {
    let group = |priority, n| LocalityEndpoints {
        priority,
        endpoints: vec![endpoint(Address::Tcp(addr(n)))],
        ..LocalityEndpoints::default()
    };
    let localities = vec![group(2, 1), group(0, 2), group(u32::MAX, 3)];
    let cluster = handle(with_kind(ClusterKind::Static(Arc::new(Assignment { localities, ..Assignment::default() }))));
    let sizes: Vec<_> = cluster.hosts().priorities.iter().take(3).map(|p| p.hosts.len()).collect();
    assert_eq!(sizes, [1, 0, 1]);
}
