//! Our server and our client over TCP, in both variants.
#![cfg(all(feature = "server", feature = "client"))]

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    PATIENCE, Running, Target, added, cluster, endpoints, eventually, listener, node, removed, route, state_of, update,
};
use mesh_xds::{
    Node, Origin, TypeUrl,
    client::{Rejection, WatchEvent},
    protocol::{Subscription, Variant, server::Event},
    server::{PeerInfo, ServerLimits, StreamAuthorizer, StreamEvent, StreamInfo, XdsServer},
    store::{Batch, Refusal, SingleView, View},
};
use parking_lot::Mutex;

const BOTH: [Variant; 2] = [Variant::Delta, Variant::Sotw];

#[tokio::test]
async fn a_wildcard_watch_follows_puts_changes_and_removals() {
    for variant in BOTH {
        let view = View::new();
        view.replace([cluster("a", "1"), cluster("b", "1")]);
        let running = Running::start(XdsServer::builder(SingleView(view.clone()))).await;
        let client = Target::new(running.address).client("n", variant);
        let mut watch = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);

        let first = update(&mut watch).await;
        assert_eq!(added(&first), ["a", "b"]);
        first.accept();

        view.update(Batch::new().put(cluster("a", "2")).put(cluster("c", "1")).remove(TypeUrl::CLUSTER, "b"));
        let second = update(&mut watch).await;
        assert_eq!((added(&second), removed(&second)), (vec!["a", "c"], vec!["b"]), "{variant:?}");
        second.accept();
        eventually("acknowledged", || state_of(&running.server, "n", &TypeUrl::CLUSTER, "c") == Some("ACKED")).await;
        assert_eq!(running.server.metrics().nacks, 0);
    }
}

#[tokio::test]
async fn an_empty_view_is_an_answer() {
    for variant in BOTH {
        let running = Running::start(XdsServer::builder(SingleView(View::new()))).await;
        let client = Target::new(running.address).client("n", variant);
        let mut watch = client.watch(TypeUrl::LISTENER, Subscription::Wildcard);
        let first = update(&mut watch).await;
        assert!(first.added().is_empty() && first.removed().is_empty());
        first.accept();
    }
}

#[tokio::test]
async fn a_refusal_is_kept_traced_and_not_answered_with_the_same_bytes() {
    for variant in BOTH {
        let seen: Arc<Mutex<Vec<StreamEvent>>> = Arc::default();
        let log = seen.clone();
        let view = View::new();
        let origin = Origin::object("DestinationRule", "default", "bad");
        view.replace([cluster("good", "1"), cluster("bad", "1").with_origin(origin.clone())]);
        let builder = XdsServer::builder(SingleView(view.clone()))
            .observer(move |_: &StreamInfo, event: &StreamEvent| log.lock().push(event.clone()));
        let running = Running::start(builder).await;
        let client = Target::new(running.address).client("n", variant);
        let mut watch = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
        update(&mut watch).await.reject(Rejection::new("").resource("bad", "no such thing"));
        eventually("refused", || state_of(&running.server, "n", &TypeUrl::CLUSTER, "bad") == Some("NACKED")).await;

        let nack = seen.lock().iter().find_map(|e| match e {
            StreamEvent::Nacked(nack) => Some(nack.clone()),
            _ => None,
        });
        let nack = nack.unwrap();
        assert_eq!(&*nack.message, "bad: no such thing");
        let culprits: Vec<_> = nack.culprits().map(|r| (r.name.as_str(), r.origin.clone())).collect();
        assert_eq!(culprits, [("bad", Some(origin))]);

        // What was not meant comes again, in case it was not taken. (In SotW the client sees that it has it.)
        if variant == Variant::Delta {
            let again = update(&mut watch).await;
            assert_eq!(added(&again), ["good"]);
            again.accept();
        }
        eventually("acknowledged", || running.server.metrics().acks == 1).await;
        // Something else changes: the refused bytes do not come with it.
        view.update(Batch::new().put(cluster("new", "1")));
        let second = update(&mut watch).await;
        assert_eq!(added(&second), ["new"]);
        second.accept();
        assert_eq!(running.server.metrics().pushes, 3);

        // Mended: it comes.
        view.update(Batch::new().put(cluster("bad", "2")));
        let third = update(&mut watch).await;
        assert_eq!(added(&third), ["bad"]);
        third.accept();
        eventually("mended", || state_of(&running.server, "n", &TypeUrl::CLUSTER, "bad") == Some("ACKED")).await;
    }
}

#[tokio::test]
async fn a_client_resumes_at_a_server_that_knows_nothing_of_it() {
    let view = View::new();
    view.replace([cluster("same", "1"), cluster("changed", "1"), cluster("gone", "1")]);
    let first = Running::start(XdsServer::builder(SingleView(view))).await;
    let target = Target::new(first.address);
    let client = target.client("n", Variant::Delta);
    let mut watch = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    update(&mut watch).await.accept();
    eventually("acknowledged", || first.server.metrics().acks == 1).await;

    let view = View::new();
    view.replace([cluster("same", "1"), cluster("changed", "2"), cluster("new", "1")]);
    let second = Running::start(XdsServer::builder(SingleView(view))).await;
    target.move_to(second.address);
    drop(first);
    let resumed = update(&mut watch).await;
    assert_eq!((added(&resumed), removed(&resumed)), (vec!["changed", "new"], vec![]));
    resumed.accept();
    // The client might have been about to ask for what refers to it.
    let gone = update(&mut watch).await;
    assert_eq!((added(&gone), removed(&gone)), (vec![], vec!["gone"]));
    gone.accept();
    eventually("acknowledged", || second.server.metrics().acks == 2).await;
    let status = client.status().borrow().clone();
    assert_eq!((status.streams, status.types[&TypeUrl::CLUSTER].resources), (2, 3));
    assert!(status.is_connected());
}

#[tokio::test]
async fn a_sotw_client_tells_its_user_only_what_differs_after_a_reconnect() {
    let view = View::new();
    view.replace([cluster("same", "1"), cluster("gone", "1")]);
    let first = Running::start(XdsServer::builder(SingleView(view))).await;
    let target = Target::new(first.address);
    let client = target.client("n", Variant::Sotw);
    let mut watch = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    update(&mut watch).await.accept();
    eventually("acknowledged", || first.server.metrics().acks == 1).await;

    let view = View::new();
    view.replace([cluster("same", "1"), cluster("new", "1")]);
    let second = Running::start(XdsServer::builder(SingleView(view))).await;
    target.move_to(second.address);
    drop(first);
    let resumed = update(&mut watch).await;
    assert_eq!((added(&resumed), removed(&resumed)), (vec!["new"], vec!["gone"]));
    resumed.accept();
}

#[tokio::test]
async fn named_subscriptions_are_answered_and_can_change() {
    for variant in BOTH {
        let view = View::new();
        view.replace([endpoints("a"), endpoints("b"), endpoints("c")]);
        let running = Running::start(XdsServer::builder(SingleView(view.clone()))).await;
        let client = Target::new(running.address).client("n", variant);
        let mut watch = client.watch(TypeUrl::ENDPOINT, Subscription::named(["a"]));
        let first = update(&mut watch).await;
        assert_eq!(added(&first), ["a"]);
        first.accept();
        watch.subscribe(["b"]);
        let second = update(&mut watch).await;
        assert_eq!(added(&second), ["b"]);
        second.accept();
        watch.unsubscribe(["a"]);
        watch.subscribe(["c"]);
        let third = update(&mut watch).await;
        assert_eq!(added(&third), ["c"]);
        third.accept();
    }
}

#[tokio::test]
async fn an_unknown_name_is_told_in_delta_and_overdue_in_sotw() {
    let running = Running::start(XdsServer::builder(SingleView(View::new()))).await;
    let target = Target::new(running.address);
    let delta = target.client("d", Variant::Delta);
    let mut watch = delta.watch(TypeUrl::ENDPOINT, Subscription::named(["nope"]));
    let told = update(&mut watch).await;
    assert_eq!(removed(&told), ["nope"]);
    told.accept();

    let sotw = target.client("s", Variant::Sotw);
    let timeout = Duration::from_millis(50);
    let mut watch = sotw.watch_with_timeout(TypeUrl::ENDPOINT, Subscription::named(["nope"]), timeout);
    match tokio::time::timeout(PATIENCE, watch.next()).await.unwrap() {
        Some(WatchEvent::Overdue { wildcard: false, names }) => assert_eq!(names, ["nope"]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn routes_wait_for_clusters_and_clusters_leave_last() {
    for variant in BOTH {
        let view = View::new();
        view.replace([cluster("old", ""), listener("l", "old")]);
        let running = Running::start(XdsServer::builder(SingleView(view.clone()))).await;
        let client = Target::new(running.address).client("n", variant);
        let mut clusters = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
        let mut listeners = client.watch(TypeUrl::LISTENER, Subscription::Wildcard);
        update(&mut clusters).await.accept();
        update(&mut listeners).await.accept();
        eventually("settled", || running.server.metrics().acks == 2).await;

        view.replace([cluster("new", ""), listener("l", "new")]);
        let adding = update(&mut clusters).await;
        assert_eq!((added(&adding), removed(&adding)), (vec!["new"], vec![]), "{variant:?}");
        // The cluster is warming, so to say: the listener that uses it does not come.
        let early = tokio::time::timeout(Duration::from_millis(50), listeners.next()).await;
        assert!(early.is_err(), "{early:?}");
        adding.accept();
        let switching = update(&mut listeners).await;
        assert_eq!(added(&switching), ["l"]);
        let early = tokio::time::timeout(Duration::from_millis(50), clusters.next()).await;
        assert!(early.is_err(), "{early:?}");
        switching.accept();
        let removing = update(&mut clusters).await;
        assert_eq!((added(&removing), removed(&removing)), (vec![], vec!["old"]));
        removing.accept();
    }
}

#[tokio::test]
async fn a_hold_has_an_end() {
    let view = View::new();
    view.replace([cluster("c", "1"), route("r")]);
    let mut limits = ServerLimits::default();
    limits.stream.max_hold = Duration::from_millis(50);
    let running = Running::start(XdsServer::builder(SingleView(view.clone())).limits(limits)).await;
    let client = Target::new(running.address).client("n", Variant::Delta);
    let mut clusters = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    let mut listeners = client.watch(TypeUrl::LISTENER, Subscription::Wildcard);
    update(&mut clusters).await.accept();
    update(&mut listeners).await.accept();
    eventually("settled", || running.server.metrics().acks == 2).await;
    view.update(Batch::new().put(cluster("c", "2")).put(listener("l", "")));
    let _never_answered = update(&mut clusters).await;
    assert_eq!(added(&update(&mut listeners).await), ["l"]);
    assert_eq!(running.server.metrics().holds_expired, 1);
}

struct OnlyA;

#[async_trait::async_trait]
impl StreamAuthorizer for OnlyA {
    async fn authorize(&self, peer: &PeerInfo, node: &Node) -> Result<Option<String>, Refusal> {
        assert!(peer.remote_addr.is_some());
        match node.id().as_str() {
            "a" => Ok(Some("spiffe://td/a".into())),
            other => Err(Refusal::Denied(format!("{other} is not a"))),
        }
    }
}

#[tokio::test]
async fn a_refused_node_gets_the_reason_and_disturbs_nobody() {
    let builder = XdsServer::builder(SingleView(View::new())).authorizer(OnlyA);
    let running = Running::start(builder).await;
    let target = Target::new(running.address);
    let (a, b) = (target.client("a", Variant::Delta), target.client("b", Variant::Delta));
    let mut watch_a = a.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    let _watch_b = b.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    update(&mut watch_a).await.accept();
    let status = b.status();
    eventually("refused", || status.borrow().last_error.as_deref().is_some_and(|e| e.contains("b is not a"))).await;
    assert!(running.server.metrics().streams_refused >= 1);
    assert_eq!(running.server.status().len(), 1);
    assert_eq!(running.server.status().node("a")[0].info.identity.as_deref(), Some("spiffe://td/a"));
    assert_eq!(running.server.status().to_json()[0]["node"], "a");
}

#[tokio::test]
async fn an_unanswered_update_holds_back_its_type_only() {
    let view = View::new();
    view.replace([cluster("a", "1"), endpoints("e")]);
    let running = Running::start(XdsServer::builder(SingleView(view.clone()))).await;
    let client = Target::new(running.address).client("n", Variant::Delta);
    let mut clusters = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    let held = update(&mut clusters).await;
    let mut assignments = client.watch(TypeUrl::ENDPOINT, Subscription::named(["e"]));
    update(&mut assignments).await.accept();
    for content in ["2", "3", "4"] {
        view.update(Batch::new().put(cluster("a", content)));
    }
    held.accept();
    // What changed meanwhile was merged.
    let merged = update(&mut clusters).await;
    assert_eq!(merged.added()[0].version(), cluster("a", "4").version());
    merged.accept();
    eventually("three pushes", || running.server.metrics().pushes == 3 && running.server.metrics().acks == 3).await;
}

#[tokio::test]
async fn a_dropped_update_is_a_refusal() {
    let view = View::new();
    view.replace([cluster("a", "1")]);
    let running = Running::start(XdsServer::builder(SingleView(view))).await;
    let client = Target::new(running.address).client("n", Variant::Delta);
    let mut watch = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    drop(update(&mut watch).await);
    eventually("refused", || running.server.metrics().nacks == 1).await;
}

#[tokio::test]
async fn the_client_ends_with_its_last_handle() {
    let running = Running::start(XdsServer::builder(SingleView(View::new()))).await;
    let client = Target::new(running.address).client("n", Variant::Delta);
    let mut watch = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    update(&mut watch).await.accept();
    drop(client);
    assert_eq!(running.server.status().len(), 1);
    drop(watch);
    eventually("closed", || running.server.status().is_empty()).await;
}

#[tokio::test]
async fn observers_see_a_streams_life_in_order() {
    let seen: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let log = seen.clone();
    let observer = move |_: &StreamInfo, event: &StreamEvent| {
        log.lock().push(match event {
            StreamEvent::Connected => "connected",
            StreamEvent::Protocol(Event::Subscribed { .. }) => "subscribed",
            StreamEvent::Protocol(Event::Pushed { .. }) => "pushed",
            StreamEvent::Protocol(Event::Acked { .. }) => "acked",
            StreamEvent::Disconnected { .. } => "disconnected",
            _ => "other",
        });
    };
    let running = Running::start(XdsServer::builder(SingleView(View::new())).observer(observer)).await;
    let client = Target::new(running.address).client("n", Variant::Sotw);
    let mut watch = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    update(&mut watch).await.accept();
    eventually("acknowledged", || running.server.metrics().acks == 1).await;
    client.shutdown();
    eventually("closed", || seen.lock().last() == Some(&"disconnected")).await;
    assert_eq!(*seen.lock(), ["connected", "subscribed", "pushed", "acked", "disconnected"]);
}

#[tokio::test]
async fn node_goes_with_the_first_request_only_and_is_kept() {
    let running = Running::start(XdsServer::builder(SingleView(View::new()))).await;
    let client = Target::new(running.address).client("the-node", Variant::Delta);
    let mut watches = [TypeUrl::CLUSTER, TypeUrl::LISTENER].map(|t| client.watch(t, Subscription::Wildcard));
    for watch in &mut watches {
        update(watch).await.accept();
    }
    assert_eq!(running.server.status().node("the-node").len(), 1);
    assert_eq!(node("x").id, "x");
}

/// A consumer that keeps what it was told.
fn keep(mut watch: mesh_xds::client::Watch) -> Arc<Mutex<std::collections::BTreeMap<String, String>>> {
    let kept: Arc<Mutex<std::collections::BTreeMap<String, String>>> = Arc::default();
    let held = kept.clone();
    tokio::spawn(async move {
        while let Some(event) = watch.next().await {
            let WatchEvent::Update(update) = event else { continue };
            {
                let mut held = held.lock();
                for name in update.removed() {
                    held.remove(name.as_str());
                }
                for resource in update.added() {
                    held.insert(resource.name().to_string(), resource.version().to_string());
                }
            }
            tokio::task::yield_now().await;
            update.accept();
        }
    });
    kept
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn churn_and_restarts_end_in_agreement() {
    for variant in BOTH {
        let view = View::new();
        let mut running = Running::start(XdsServer::builder(SingleView(view.clone()))).await;
        let target = Target::new(running.address);
        let client = target.client("n", variant);
        let clusters = keep(client.watch(TypeUrl::CLUSTER, Subscription::Wildcard));
        let listeners = keep(client.watch(TypeUrl::LISTENER, Subscription::Wildcard));
        for round in 0..300_u32 {
            let (name, content) = (format!("r{}", round % 7), round.to_string());
            let gone = format!("r{}", (round + 3) % 7);
            view.update(
                Batch::new()
                    .put(cluster(&name, &content))
                    .put(listener(&name, &content))
                    .remove(TypeUrl::CLUSTER, gone.as_str())
                    .remove(TypeUrl::LISTENER, gone.as_str()),
            );
            if round % 100 == 99 {
                let next = Running::start(XdsServer::builder(SingleView(view.clone()))).await;
                target.move_to(next.address);
                running = next;
            }
            tokio::task::yield_now().await;
        }
        for (type_url, kept) in [(TypeUrl::CLUSTER, &clusters), (TypeUrl::LISTENER, &listeners)] {
            let wanted: std::collections::BTreeMap<String, String> =
                view.list(&type_url).iter().map(|r| (r.name().to_string(), r.version().to_string())).collect();
            eventually("agreement", || *kept.lock() == wanted).await;
        }
        eventually("all answered", || {
            let metrics = running.server.metrics();
            metrics.acks == metrics.pushes && metrics.nacks == 0
        })
        .await;
        assert_eq!(running.server.metrics().holds_expired, 0);
    }
}
