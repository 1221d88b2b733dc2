//! Turns of pushes, on a clock that the test drives.

use mesh_xds_api::google::protobuf::Any;

use super::*;
use crate::{
    Resource, TypeUrl,
    protocol::Variant,
    server::{ServerLimits, XdsServer},
    store::{SingleView, View},
};

const MIB: usize = 1 << 20;

fn server() -> XdsServer {
    let pushes = PushLimits { max_bytes_in_flight: 10 * MIB, ..Default::default() };
    let limits = ServerLimits { pushes, ..Default::default() };
    XdsServer::builder(SingleView(View::new())).limits(limits).build()
}

fn content(bytes: usize) -> Arc<Content> {
    let any = Any { type_url: TypeUrl::CLUSTER.as_str().into(), value: vec![0; bytes].into() };
    let resources = vec![Arc::new(Resource::new("c", any))];
    Arc::new(Content::new(TypeUrl::CLUSTER, Variant::Delta, false, resources, Vec::new()))
}

fn turn(server: &XdsServer, bytes: usize) -> Turn {
    Turn::of(&server.inner, &content(bytes))
}

fn facts(server: &XdsServer) -> (usize, u64, u64) {
    let metrics = server.metrics();
    (metrics.push_bytes_in_flight as usize / MIB, metrics.pushes_waiting, metrics.push_turns_skipped)
}

#[tokio::test(start_paused = true)]
async fn large_pushes_take_turns_and_small_ones_do_not() {
    let server = server();
    let mut first = turn(&server, 9 * MIB);
    let mut second = turn(&server, 5 * MIB);
    assert!(!first.is_waiting() && second.is_waiting());
    assert!(futures::poll!(Box::pin(second.come())).is_pending());
    // It would fit, but first come, first served.
    let mut third = turn(&server, MIB);
    assert!(third.is_waiting() && futures::poll!(Box::pin(third.come())).is_pending());
    assert!(!turn(&server, 1000).is_waiting());
    assert_eq!(facts(&server), (9, 2, 0));
    drop(first.take());
    // Looked at again and again, as a busy stream does, it keeps its place.
    for _ in 0..10 {
        let _ = futures::poll!(Box::pin(second.come()));
    }
    assert!(!second.is_waiting());
    third.come().await;
    assert_eq!(facts(&server), (6, 0, 0));
    drop((second, third));
    assert_eq!(facts(&server), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_is_told_the_same_shares_a_turn() {
    let server = server();
    let same = content(6 * MIB);
    let turns: Vec<_> = (0..100).map(|_| Turn::of(&server.inner, &same)).collect();
    assert!(turns.iter().all(|t| !t.is_waiting()));
    assert_eq!(facts(&server).0, 6);
    // Two that wait for the same, too.
    let other = content(6 * MIB);
    let mut waiting = [Turn::of(&server.inner, &other), Turn::of(&server.inner, &other)];
    drop(turns);
    for turn in &mut waiting {
        turn.come().await;
    }
    assert_eq!(facts(&server), (6, 0, 0));
    drop(waiting);
    assert_eq!(facts(&server).0, 0);
    // Nor does it matter if one of them goes away while they wait.
    let stuck = turn(&server, 10 * MIB);
    let third = content(6 * MIB);
    let (first, mut second) = (Turn::of(&server.inner, &third), Turn::of(&server.inner, &third));
    assert!(futures::poll!(Box::pin(second.come())).is_pending());
    drop((first, stuck));
    second.come().await;
    assert_eq!(facts(&server), (6, 0, 0));
    drop(second);
    assert!(server.inner.budget.places.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_for_those_who_do_not_read() {
    let server = server();
    let stuck = turn(&server, 10 * MIB);
    let mut next = turn(&server, 2 * MIB);
    let started = tokio::time::Instant::now();
    next.come().await;
    assert_eq!((started.elapsed().as_secs(), next.is_waiting()), (5, false));
    assert_eq!(facts(&server), (12, 0, 1));
    drop((stuck, next));
    // More than everything goes alone.
    assert!(!turn(&server, 100 * MIB).is_waiting());
}

#[test]
fn large_pushes_may_take_longer() {
    let limits = PushLimits::default();
    let now = Instant::now();
    assert_eq!((limits.due(1000, now) - now).as_secs(), 60);
    assert_eq!((limits.due(10 * MIB, now) - now).as_secs(), 60 + 320);
}
