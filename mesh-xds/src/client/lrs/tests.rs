//! What is reported when, by the comments of `lrs.proto` and `load_report.proto`.

use std::collections::BTreeSet;

use mesh_xds_api::envoy::{
    config::{
        core::v3::Locality,
        endpoint::v3::{ClusterStats, UpstreamLocalityStats},
    },
    service::load_stats::v3::LoadStatsResponse,
};

use super::{
    counters::Loads,
    schedule::{Clusters, Schedule, Wanted},
    *,
};

const SECOND: Duration = Duration::from_secs(1);

fn response(clusters: &[&str], all: bool, seconds: i64) -> LoadStatsResponse {
    LoadStatsResponse {
        clusters: clusters.iter().map(|c| (*c).to_owned()).collect(),
        send_all_clusters: all,
        load_reporting_interval: Some(prost_types::Duration { seconds, nanos: 0 }),
        report_endpoint_granularity: false,
    }
}

fn wanted(clusters: Clusters, endpoints: bool) -> Wanted {
    Wanted { clusters, endpoints, interval: SECOND }
}

fn zone(zone: &str) -> Locality {
    Locality { zone: zone.into(), ..Default::default() }
}

fn all() -> Wanted {
    wanted(Clusters::All, false)
}

/// `issued succeeded failed in-progress` of a locality.
fn figures(stats: &UpstreamLocalityStats) -> [u64; 4] {
    [
        stats.total_issued_requests,
        stats.total_successful_requests,
        stats.total_error_requests,
        stats.total_requests_in_progress,
    ]
}

fn only(stats: Vec<ClusterStats>) -> ClusterStats {
    let [stats] = <[_; 1]>::try_from(stats).expect("one cluster");
    stats
}

#[test]
fn nothing_is_due_before_the_server_has_spoken() {
    let now = Instant::now();
    let mut schedule = Schedule::new(SECOND);
    assert_eq!(schedule.poll_timeout(), None);
    assert_eq!(schedule.due(now), None);
    schedule.told(response(&["a"], false, 10), now);
    assert_eq!(schedule.poll_timeout(), Some(now + 10 * SECOND));
    assert_eq!(schedule.due(now + 9 * SECOND), None);
    let wanted = schedule.due(now + 10 * SECOND).unwrap();
    assert_eq!(wanted.clusters, Clusters::Named(BTreeSet::from(["a".to_owned()])));
    assert_eq!(schedule.poll_timeout(), Some(now + 20 * SECOND));
}

#[test]
fn intervals_have_a_floor_and_missed_ones_are_not_made_up_for() {
    for interval in [None, Some((0, 0)), Some((-5, 0)), Some((0, 1_000_000))] {
        let now = Instant::now();
        let mut schedule = Schedule::new(SECOND);
        let load_reporting_interval = interval.map(|(seconds, nanos)| prost_types::Duration { seconds, nanos });
        schedule.told(LoadStatsResponse { load_reporting_interval, ..response(&[], true, 0) }, now);
        assert_eq!(schedule.poll_timeout(), Some(now + SECOND), "{interval:?}");
        let late = now + 5 * SECOND;
        assert!(schedule.due(late).is_some());
        assert_eq!(schedule.due(late), None);
        assert_eq!(schedule.poll_timeout(), Some(late + SECOND));
    }
}

#[test]
fn the_same_wish_again_changes_nothing_another_starts_anew() {
    let now = Instant::now();
    let mut schedule = Schedule::new(SECOND);
    schedule.told(response(&["a", "b"], false, 10), now);
    schedule.told(response(&["b", "a"], false, 10), now + 5 * SECOND);
    assert_eq!(schedule.poll_timeout(), Some(now + 10 * SECOND));
    schedule.told(response(&["a"], true, 10), now + 5 * SECOND);
    assert_eq!(schedule.poll_timeout(), Some(now + 15 * SECOND));
    assert_eq!(schedule.due(now + 15 * SECOND).unwrap().clusters, Clusters::All);
    schedule.told(response(&[], false, 10), now + 16 * SECOND);
    assert_eq!(schedule.poll_timeout(), None, "no cluster is wanted");
}

#[test]
fn counts_are_since_the_last_report_and_progress_is_as_it_is() {
    let now = Instant::now();
    let loads = Loads::new(100);
    let locality = loads.cluster("c", Some("s"), now).locality(&zone("a"), 1);
    locality.started().finished(true);
    locality.started().finished(false);
    drop(locality.started());
    let running = locality.started();
    let first = only(loads.take(&all(), now + 2 * SECOND).stats);
    assert_eq!((first.cluster_name.as_str(), first.cluster_service_name.as_str()), ("c", "s"));
    assert_eq!(first.load_report_interval, Some(prost_types::Duration { seconds: 2, nanos: 0 }));
    let [stats] = &first.upstream_locality_stats[..] else { panic!("{first:?}") };
    assert_eq!((figures(stats), stats.priority), ([4, 1, 2, 1], 1));
    assert_eq!(stats.locality, Some(zone("a")));

    let second = only(loads.take(&all(), now + 3 * SECOND).stats);
    assert_eq!(figures(&second.upstream_locality_stats[0]), [0, 0, 0, 1]);
    assert_eq!(second.load_report_interval, Some(prost_types::Duration { seconds: 1, nanos: 0 }));
    running.finished(true);
    let third = only(loads.take(&all(), now + 4 * SECOND).stats);
    assert_eq!(figures(&third.upstream_locality_stats[0]), [0, 1, 0, 0]);
    assert!(loads.take(&all(), now + 5 * SECOND).stats.is_empty(), "nothing happened");
}

#[test]
fn only_what_is_wanted_is_taken() {
    let now = Instant::now();
    let loads = Loads::new(100);
    let localities = ["a", "b"].map(|c| loads.cluster(c, None, now).locality(&zone("z"), 0));
    localities.iter().for_each(|l| l.started().finished(true));
    let _idle = loads.cluster("idle", None, now);
    let named = |names: &[&str]| wanted(Clusters::Named(names.iter().map(|n| (*n).to_owned()).collect()), false);
    let stats = loads.take(&named(&["a", "idle", "unknown"]), now + SECOND).stats;
    let names: Vec<_> = stats.iter().map(|s| s.cluster_name.as_str()).collect();
    assert_eq!(names, ["a", "idle"], "idle was asked for by name");
    let rest = only(loads.take(&all(), now + 3 * SECOND).stats);
    assert_eq!((rest.cluster_name.as_str(), figures(&rest.upstream_locality_stats[0])), ("b", [1, 1, 0, 0]));
    assert_eq!(rest.load_report_interval, Some(prost_types::Duration { seconds: 3, nanos: 0 }));
}

#[test]
fn drops_are_told_by_category_and_in_all() {
    let now = Instant::now();
    let loads = Loads::new(100);
    let cluster = loads.cluster("c", None, now);
    let throttle = cluster.drops("throttle");
    throttle.add();
    throttle.add();
    cluster.dropped();
    let stats = only(loads.take(&all(), now).stats);
    let categories: Vec<_> = stats.dropped_requests.iter().map(|d| (d.category.as_str(), d.dropped_count)).collect();
    assert_eq!((categories, stats.total_dropped_requests), (vec![("throttle", 2)], 3));
    assert!(loads.take(&all(), now).stats.is_empty());
}

#[test]
fn endpoints_are_told_if_they_are_asked_for_and_count_for_their_locality() {
    let now = Instant::now();
    for asked in [true, false] {
        let loads = Loads::new(100);
        let endpoint = loads.cluster("c", None, now).locality(&zone("a"), 0).endpoint(([192, 0, 2, 1], 80).into());
        endpoint.started().finished(true);
        let stats = only(loads.take(&wanted(Clusters::All, asked), now).stats);
        let locality = &stats.upstream_locality_stats[0];
        assert_eq!(figures(locality), [1, 1, 0, 0]);
        let told: Vec<_> = locality.upstream_endpoint_stats.iter().map(|e| e.total_successful_requests).collect();
        assert_eq!(told, if asked { vec![1] } else { vec![] });
        // What was counted before is not of the next interval.
        endpoint.started().finished(false);
        let next = only(loads.take(&wanted(Clusters::All, true), now).stats);
        let told = &next.upstream_locality_stats[0].upstream_endpoint_stats[0];
        assert_eq!((told.total_successful_requests, told.total_error_requests), (0, 1));
    }
}

#[test]
fn a_report_that_is_not_sent_is_counted_again() {
    let now = Instant::now();
    let loads = Loads::new(100);
    let cluster = loads.cluster("c", None, now);
    let endpoint = cluster.locality(&zone("a"), 0).endpoint(([192, 0, 2, 1], 80).into());
    endpoint.started().finished(true);
    let _running = endpoint.started();
    cluster.dropped();
    cluster.drops("x").add();
    let lost = loads.take(&wanted(Clusters::All, true), now + SECOND);
    endpoint.started().finished(true);
    lost.put_back();
    let stats = only(loads.take(&wanted(Clusters::All, true), now + 2 * SECOND).stats);
    let locality = &stats.upstream_locality_stats[0];
    assert_eq!(figures(locality), [3, 2, 0, 1]);
    assert_eq!(locality.upstream_endpoint_stats[0].total_successful_requests, 2);
    assert_eq!((stats.total_dropped_requests, stats.dropped_requests[0].dropped_count), (2, 1));
    assert_eq!(stats.load_report_interval, Some(prost_types::Duration { seconds: 2, nanos: 0 }));
}

#[test]
fn what_nobody_holds_is_forgotten_once_it_is_reported() {
    let now = Instant::now();
    // A cluster, a locality, an endpoint, a category.
    let loads = Loads::new(4);
    let call = {
        let cluster = loads.cluster("c", None, now);
        cluster.drops("x").add();
        cluster.locality(&zone("a"), 0).endpoint(([192, 0, 2, 1], 80).into()).started()
    };
    assert_eq!(loads.take(&all(), now).stats.len(), 1);
    call.finished(true);
    assert_eq!(loads.take(&all(), now).stats.len(), 1);
    assert!(loads.take(&all(), now).stats.is_empty());
    assert!(loads.clusters.lock().is_empty());
    // The room is free again.
    let cluster = loads.cluster("d", None, now);
    let localities: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|z| cluster.locality(&zone(z), 0)).collect();
    localities.iter().for_each(|l| l.started().finished(true));
    assert_eq!(only(loads.take(&all(), now).stats).upstream_locality_stats.len(), 3);
    assert_eq!(loads.uncounted(), 2);
}
