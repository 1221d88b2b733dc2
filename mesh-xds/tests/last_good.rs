//! Starts without a server, from what was kept on disk.
#![allow(clippy::unwrap_used)] // helpers of a test
#![cfg(all(feature = "server", feature = "client"))]

mod common;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use common::{Running, Target, added, cluster, endpoints, eventually, node, removed, update};
use mesh_xds::{
    Resource, TypeUrl,
    client::{BackoffConfig, Client, LastGood, Source},
    protocol::{Subscription, Variant, server::Event},
    server::{StreamEvent, StreamInfo, XdsServer},
    store::{SingleView, View},
};
use parking_lot::Mutex;
use tokio::net::TcpListener;

const BOTH: [Variant; 2] = [Variant::Delta, Variant::Sotw];

/// An address that nobody listens on.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A server, and how many resources it has sent.
async fn serving(resources: impl IntoIterator<Item = Resource>) -> (Running, Arc<Mutex<usize>>) {
    let view = View::new();
    view.replace(resources);
    let sent: Arc<Mutex<usize>> = Arc::default();
    let log = sent.clone();
    let observer = move |_: &StreamInfo, event: &StreamEvent| {
        if let StreamEvent::Protocol(Event::Pushed { resources, .. }) = event {
            *log.lock() += resources;
        }
    };
    (Running::start(XdsServer::builder(SingleView(view)).observer(observer)).await, sent)
}

fn client(id: &str, target: &Target, variant: Variant, last_good: LastGood) -> Client {
    let backoff = BackoffConfig { base: Duration::from_millis(10), max: Duration::from_millis(40) };
    let builder = Client::builder(node(id), target.connect()).variant(variant).backoff(backoff);
    builder.last_good(last_good.delay(Duration::from_millis(10))).spawn()
}

/// Runs a client until what it accepted is on disk.
async fn keep(path: &Path, variant: Variant) {
    let (running, _) = serving([cluster("a", "1"), cluster("b", "1"), endpoints("a")]).await;
    let client = client("n", &Target::new(running.address), variant, LastGood::new(path));
    let mut clusters = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    let mut named = client.watch(TypeUrl::ENDPOINT, Subscription::named(["a"]));
    update(&mut clusters).await.accept();
    update(&mut named).await.accept();
    eventually("written", || client.status().borrow().last_good.resources == 3).await;
}

#[tokio::test]
async fn a_start_without_a_server_serves_the_last_good_and_resuming_costs_nothing() {
    for variant in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last-good");
        keep(&path, variant).await;

        let target = Target::new(nobody().await);
        let client = client("n", &target, variant, LastGood::new(&path));
        let mut clusters = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
        let first = update(&mut clusters).await;
        assert_eq!(added(&first), ["a", "b"]);
        assert!(matches!(first.source(), Source::Snapshot { age } if age < Duration::from_secs(60)));
        assert_eq!(first.added()[0], cluster("a", "1"));
        first.accept();
        // Asked for later, when the first has been told.
        let mut named = client.watch(TypeUrl::ENDPOINT, Subscription::named(["a"]));
        let second = update(&mut named).await;
        assert_eq!(added(&second), ["a"]);
        second.accept();

        let (running, sent) = serving([cluster("a", "1"), cluster("b", "1"), endpoints("a")]).await;
        target.move_to(running.address);
        let confirmed = update(&mut clusters).await;
        assert_eq!(confirmed.source(), Source::Server);
        assert!(confirmed.added().is_empty() && confirmed.removed().is_empty());
        confirmed.accept();
        eventually("acknowledged", || running.server.metrics().acks >= 1).await;
        if variant == Variant::Delta {
            assert_eq!(*sent.lock(), 0);
        }
    }
}

#[tokio::test]
async fn only_what_differs_is_told_when_a_server_answers() {
    for variant in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last-good");
        keep(&path, variant).await;
        let target = Target::new(nobody().await);
        let client = client("n", &target, variant, LastGood::new(&path));
        let mut clusters = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
        update(&mut clusters).await.accept();
        let (running, sent) = serving([cluster("a", "1"), cluster("c", "1")]).await;
        target.move_to(running.address);
        let changed = update(&mut clusters).await;
        assert_eq!(added(&changed), ["c"], "{variant:?}");
        // In delta the removal comes by itself: it waits for what a client that comes back may ask for next.
        let changed = if variant == Variant::Delta {
            changed.accept();
            update(&mut clusters).await
        } else {
            changed
        };
        assert_eq!(removed(&changed), ["b"], "{variant:?}");
        changed.accept();
        if variant == Variant::Delta {
            assert_eq!(*sent.lock(), 1);
        }
    }
}

#[tokio::test]
async fn a_server_that_answers_is_heard_and_not_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last-good");
    keep(&path, Variant::Delta).await;
    let (running, _) = serving([cluster("z", "1")]).await;
    let client = client("n", &Target::new(running.address), Variant::Delta, LastGood::new(&path));
    let mut clusters = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    let first = update(&mut clusters).await;
    assert_eq!((added(&first), first.source()), (vec!["z"], Source::Server));
    first.accept();
}

/// What cannot be used is said, and the client goes on.
async fn is_ignored(id: &str, last_good: LastGood, reason: &str) {
    let target = Target::new(nobody().await);
    let client = client(id, &target, Variant::Delta, last_good);
    let mut clusters = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    eventually("tried", || client.status().borrow().failures >= 3).await;
    let error = client.status().borrow().last_good.error.clone();
    assert!(error.as_deref().is_some_and(|e| e.contains(reason)), "{reason}: {error:?}");
    let (running, _) = serving([cluster("z", "1")]).await;
    target.move_to(running.address);
    let first = update(&mut clusters).await;
    assert_eq!((added(&first), first.source()), (vec!["z"], Source::Server));
    first.accept();
}

#[tokio::test]
async fn a_damaged_foreign_or_old_file_is_ignored() {
    let flip = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    };
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1);
    let nothing = |_: &mut Vec<u8>| {};
    let same = |l: LastGood| l;
    type Change = fn(&mut Vec<u8>);
    type Limit = fn(LastGood) -> LastGood;
    let cases: [(&str, Change, Limit, &str); 5] = [
        ("n", flip, same, "checksum"),
        ("n", cut, same, "checksum"),
        ("m", nothing, same, "node n's"),
        ("n", nothing, |l| l.max_age(Duration::ZERO), "old"),
        ("n", nothing, |l| l.max_bytes(64), "more than 64"),
    ];
    for (id, change, limit, reason) in cases {
        // Each its own: a client that ends may still write.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last-good");
        keep(&path, Variant::Delta).await;
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        is_ignored(id, limit(LastGood::new(&path)), reason).await;
    }
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_disturbs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    for (last_good, reason) in [
        (LastGood::new(folder.path().join("missing").join("last-good")), "No such file"),
        // No room for it.
        (LastGood::new(folder.path().join("last-good")).max_bytes(64), "more than 64"),
    ] {
        let (running, _) = serving([cluster("a", "1")]).await;
        let client = client("n", &Target::new(running.address), Variant::Delta, last_good);
        let mut clusters = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
        let first = update(&mut clusters).await;
        assert_eq!(added(&first), ["a"]);
        first.accept();
        let status = client.status();
        eventually("said", || status.borrow().last_good.error.as_deref().is_some_and(|e| e.contains(reason))).await;
        assert!(status.borrow().is_connected());
        assert_eq!((status.borrow().last_good.saves, running.server.metrics().nacks), (0, 0));
    }
}

#[tokio::test]
async fn what_was_accepted_last_is_written_when_the_client_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last-good");
    let (running, _) = serving([cluster("a", "1")]).await;
    let target = Target::new(running.address);
    let (client, driver) = Client::builder(node("n"), target.connect()).last_good(LastGood::new(&path)).build();
    let driver = tokio::spawn(driver.run());
    let mut clusters = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    update(&mut clusters).await.accept();
    assert!(!path.exists());
    client.shutdown();
    driver.await.unwrap();
    assert!(path.exists());
}
