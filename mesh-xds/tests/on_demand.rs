//! Names asked for on demand: each is answered, and none is left behind.
#![cfg(all(feature = "server", feature = "client"))]

mod common;

use std::{sync::Arc, time::Duration};

use common::{PATIENCE, Running, Target, added, cluster, endpoints, eventually, state_of, update};
use mesh_xds::{
    TypeUrl,
    client::{Client, FetchError, Rejection, WatchEvent},
    protocol::{Subscription, Variant, server::Event},
    server::{StreamEvent, StreamInfo, XdsServer},
    store::{Batch, SingleView, View},
};
use parking_lot::Mutex;

const BOTH: [Variant; 2] = [Variant::Delta, Variant::Sotw];

/// What a server was asked for, e.g. `CDS *+2`: the wildcard, and two names.
type Asked = Arc<Mutex<Vec<String>>>;

async fn serving(view: &Arc<View>) -> (Running, Asked) {
    let asked = Asked::default();
    let log = asked.clone();
    let observer = move |_: &StreamInfo, event: &StreamEvent| {
        if let StreamEvent::Protocol(Event::Subscribed { type_url, wildcard, names }) = event {
            let star = if *wildcard { "*+" } else { "" };
            log.lock().push(format!("{} {star}{names}", type_url.short().unwrap_or("?")));
        }
    };
    let running = Running::start(XdsServer::builder(SingleView(view.clone())).observer(observer)).await;
    (running, asked)
}

fn client(running: &Running, variant: Variant) -> Client {
    Target::new(running.address).client("n", variant)
}

#[tokio::test]
async fn a_cluster_on_demand_is_the_only_one_asked_for() {
    for variant in BOTH {
        let view = View::new();
        view.replace([cluster("a", "1"), cluster("b", "1"), cluster("c", "1")]);
        let (running, asked) = serving(&view).await;
        let client = client(&running, variant);
        // Nothing is wanted yet: no request, which would mean everything.
        let mut watch = client.watch(TypeUrl::CLUSTER, Subscription::named([] as [&str; 0]));
        let subscriber = watch.subscriber();
        subscriber.subscribe(["b"]);
        let first = update(&mut watch).await;
        assert_eq!(added(&first), ["b"]);
        first.accept();
        subscriber.unsubscribe(["b"]);
        eventually("dropped", || asked.lock().last().is_some_and(|a| a == "CDS 0")).await;
        assert_eq!(*asked.lock(), ["CDS 1", "CDS 0"], "{variant:?}");
    }
}

#[tokio::test]
async fn a_name_is_fetched_without_a_watch_and_dropped_again() {
    for variant in BOTH {
        let view = View::new();
        view.replace([cluster("a", "1"), cluster("b", "1")]);
        let (running, asked) = serving(&view).await;
        let client = client(&running, variant);
        let found = client.fetch_one(TypeUrl::CLUSTER, "a", PATIENCE).await.unwrap().expect("it exists");
        assert_eq!(found, cluster("a", "1"));
        eventually("dropped", || asked.lock().len() == 2).await;
        // In SotW the response to the first list is the whole set for it.
        if variant == Variant::Delta {
            assert_eq!(client.fetch_one(TypeUrl::CLUSTER, "x", PATIENCE).await, Ok(None));
        }
        eventually("dropped", || asked.lock().last().is_some_and(|a| a == "CDS 0")).await;
        assert!(asked.lock().iter().all(|a| !a.contains('*')));
    }
}

#[tokio::test]
async fn fetches_at_once_are_each_answered() {
    for variant in BOTH {
        let view = View::new();
        view.replace((0..20).map(|i| endpoints(&format!("e{i}"))));
        let (running, _) = serving(&view).await;
        let client = client(&running, variant);
        let fetches = (0..40).map(|i| {
            let client = &client;
            async move {
                let name = format!("e{}", i / 2);
                let found = client.fetch_one(TypeUrl::ENDPOINT, name.as_str(), PATIENCE).await.unwrap();
                assert_eq!(found, Some(endpoints(&name)), "{variant:?}");
            }
        });
        futures::future::join_all(fetches).await;
    }
}

#[tokio::test]
async fn an_unknown_name_in_sotw_is_told_by_time() {
    let view = View::new();
    view.replace([endpoints("a")]);
    let (running, asked) = serving(&view).await;
    let client = client(&running, Variant::Sotw);
    let after = Duration::from_millis(50);
    let unanswered = client.fetch_one(TypeUrl::ENDPOINT, "x", after).await.unwrap_err();
    assert_eq!(unanswered, FetchError::Unanswered { name: "x".into(), after });
    eventually("dropped", || asked.lock().last().is_some_and(|a| a == "EDS 0")).await;
}

#[tokio::test]
async fn what_is_fetched_goes_through_the_watch_and_stays_there() {
    for variant in BOTH {
        let view = View::new();
        view.replace([endpoints("a"), endpoints("b"), endpoints("c")]);
        let (running, asked) = serving(&view).await;
        let client = client(&running, variant);
        let mut watch = client.watch(TypeUrl::ENDPOINT, Subscription::named(["a"]));
        update(&mut watch).await.accept();

        let fetch = tokio::spawn({
            let client = client.clone();
            async move { client.fetch_one(TypeUrl::ENDPOINT, "b", PATIENCE).await }
        });
        let offered = update(&mut watch).await;
        assert_eq!(added(&offered), ["b"]);
        assert!(!fetch.is_finished(), "not before the watch has accepted it");
        offered.accept();
        assert_eq!(fetch.await.unwrap(), Ok(Some(endpoints("b"))));

        let fetch = tokio::spawn({
            let client = client.clone();
            async move { client.fetch_one(TypeUrl::ENDPOINT, "c", PATIENCE).await }
        });
        update(&mut watch).await.reject(Rejection::new("not that one"));
        let refused = FetchError::Rejected { name: "c".into(), message: "not that one".into() };
        assert_eq!(fetch.await.unwrap(), Err(refused));
        // Both stay with the watch: c may be mended.
        eventually("subscribed", || asked.lock().last().is_some_and(|a| a == "EDS 3")).await;
    }
}

#[tokio::test]
async fn a_dropped_fetch_leaves_nothing_unless_a_watch_wants_it() {
    let view = View::new();
    view.replace([cluster("own", "1"), endpoints("a")]);
    let (running, asked) = serving(&view).await;
    let client = client(&running, Variant::Sotw);
    let mut watch = client.watch(TypeUrl::ENDPOINT, Subscription::named(["a"]));
    update(&mut watch).await.accept();
    let short = Duration::from_millis(200);
    for name in ["x", "y"] {
        let fetch = client.fetch_one(TypeUrl::ENDPOINT, name, Duration::ZERO);
        assert!(tokio::time::timeout(short, fetch).await.is_err());
    }
    eventually("dropped", || asked.lock().last().is_some_and(|a| a == "EDS 1")).await;
    let fetch = client.fetch_one(TypeUrl::ENDPOINT, "z", Duration::ZERO);
    let both = async {
        tokio::task::yield_now().await;
        watch.subscribe(["z"]);
        std::future::pending::<()>().await;
    };
    assert!(tokio::time::timeout(short, async { tokio::join!(fetch, both) }).await.is_err());
    eventually("kept", || asked.lock().last().is_some_and(|a| a == "EDS 2")).await;
}

#[tokio::test]
async fn a_fetch_survives_the_watch_and_ends_with_the_client() {
    let view = View::new();
    let (running, _) = serving(&view).await;
    let client = client(&running, Variant::Sotw);
    let watch = client.watch(TypeUrl::ENDPOINT, Subscription::named(["a"]));
    let fetch = tokio::spawn({
        let client = client.clone();
        async move { client.fetch_one(TypeUrl::ENDPOINT, "b", Duration::ZERO).await }
    });
    tokio::task::yield_now().await;
    drop(watch);
    view.update(Batch::new().put(endpoints("b")));
    assert_eq!(tokio::time::timeout(PATIENCE, fetch).await.unwrap().unwrap(), Ok(Some(endpoints("b"))));
    let fetch = tokio::spawn({
        let client = client.clone();
        async move { client.fetch_one(TypeUrl::ENDPOINT, "c", Duration::ZERO).await }
    });
    tokio::task::yield_now().await;
    client.shutdown();
    assert_eq!(tokio::time::timeout(PATIENCE, fetch).await.unwrap().unwrap(), Err(FetchError::Ended));
}

#[tokio::test]
async fn every_name_is_told_within_the_time_of_the_watch() {
    for variant in BOTH {
        let view = View::new();
        view.replace([endpoints("a")]);
        let (running, _) = serving(&view).await;
        let client = client(&running, variant);
        let names = Subscription::named([] as [&str; 0]);
        let mut watch = client.watch_with_timeout(TypeUrl::ENDPOINT, names, Duration::from_millis(100));
        watch.subscribe(["a", "x"]);
        let (mut exist, mut absent) = (Vec::new(), Vec::new());
        while exist.len() + absent.len() < 2 {
            match tokio::time::timeout(PATIENCE, watch.next()).await.unwrap() {
                Some(WatchEvent::Update(update)) => {
                    exist.extend(update.added().iter().map(|r| r.name().to_string()));
                    absent.extend(update.removed().iter().map(ToString::to_string));
                    update.accept();
                }
                Some(WatchEvent::Overdue { names, .. }) => absent.extend(names.iter().map(ToString::to_string)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((exist, absent), (vec!["a".to_owned()], vec!["x".to_owned()]), "{variant:?}");
    }
}

#[tokio::test]
async fn a_watch_that_takes_anothers_place_is_told_everything() {
    for variant in BOTH {
        let view = View::new();
        view.replace([cluster("a", "1"), cluster("b", "1")]);
        let (running, _) = serving(&view).await;
        let client = client(&running, variant);
        let mut first = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
        update(&mut first).await.accept();
        eventually("acknowledged", || state_of(&running.server, "n", &TypeUrl::CLUSTER, "a") == Some("ACKED")).await;
        let mut second = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
        let again = update(&mut second).await;
        assert_eq!(added(&again), ["a", "b"], "{variant:?}");
        again.accept();
        assert!(first.next().await.is_none());
    }
}
