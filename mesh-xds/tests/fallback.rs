//! Fallback servers (gRFC A71): two servers on loopback, of which one goes away and comes back.
#![allow(clippy::unwrap_used)] // helpers of a test
#![cfg(all(feature = "server", feature = "client"))]

mod common;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use common::{Running, Target, added, cluster, endpoints, eventually, node, removed, update};
use mesh_xds::{
    Resource, TypeUrl,
    client::{BackoffConfig, Client, Update, Watch},
    protocol::{Subscription, Variant},
    server::XdsServer,
    store::{Batch, SingleView, View},
};
use tokio::net::{TcpListener, TcpStream};

const BOTH: [Variant; 2] = [Variant::Delta, Variant::Sotw];

async fn serving(resources: impl IntoIterator<Item = Resource>) -> (Running, Arc<View>) {
    let view = View::new();
    view.replace(resources);
    (Running::start(XdsServer::builder(SingleView(view.clone()))).await, view)
}

/// An address that nobody listens on.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn client(primary: &Target, secondary: SocketAddr, variant: Variant) -> Client {
    let backoff = BackoffConfig { base: Duration::from_millis(10), max: Duration::from_millis(40) };
    let builder = Client::builder(node("n"), primary.connect()).variant(variant).backoff(backoff);
    builder.fallback(move || TcpStream::connect(secondary)).spawn()
}

fn server_of(client: &Client) -> usize {
    client.status().borrow().server
}

/// `name` is gone: in the whole set that `first` is, or told after it, for removals wait for what a client that comes back
/// may ask for next.
async fn gone(watch: &mut Watch, first: Update, name: &str) {
    let last = if removed(&first).is_empty() {
        first.accept();
        update(watch).await
    } else {
        first
    };
    assert_eq!(removed(&last), [name]);
    last.accept();
}

#[tokio::test]
async fn a_client_starts_at_the_fallback_and_returns_to_the_primary() {
    for variant in BOTH {
        let (secondary, _) = serving([cluster("both", "1"), cluster("second", "1")]).await;
        let target = Target::new(nobody().await);
        let client = client(&target, secondary.address, variant);
        let mut watch = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
        let first = update(&mut watch).await;
        assert_eq!(added(&first), ["both", "second"]);
        first.accept();
        assert_eq!(server_of(&client), 1);
        eventually("acknowledged", || secondary.server.metrics().acks == 1).await;

        let (primary, view) = serving([cluster("both", "1"), cluster("first", "1")]).await;
        target.move_to(primary.address);
        let returned = update(&mut watch).await;
        // What both have is sent again, as its version means nothing here; SotW sees that it is the same.
        let expected = match variant {
            Variant::Delta => vec!["both", "first"],
            Variant::Sotw => vec!["first"],
        };
        assert_eq!(added(&returned), expected, "{variant:?}");
        gone(&mut watch, returned, "second").await;
        eventually("left", || secondary.server.status().is_empty()).await;
        assert_eq!(server_of(&client), 0);
        assert_eq!(client.status().borrow().server_changes, 2);
        // The stream that was tried is the stream that stays.
        view.update(Batch::new().put(cluster("later", "1")));
        let later = update(&mut watch).await;
        assert_eq!(added(&later), ["later"]);
        later.accept();
        // The removal, in delta, came by itself.
        let pushes = if variant == Variant::Delta { 3 } else { 2 };
        eventually("settled", || primary.server.metrics().acks == pushes).await;
        assert_eq!((primary.server.metrics().pushes, primary.server.metrics().nacks), (pushes, 0));
    }
}

#[tokio::test]
async fn a_client_that_has_everything_stays_with_its_server() {
    for variant in BOTH {
        let (primary, _) = serving([cluster("a", "1")]).await;
        let (secondary, _) = serving([cluster("a", "2"), endpoints("e")]).await;
        let target = Target::new(primary.address);
        let client = client(&target, secondary.address, variant);
        let mut watch = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
        update(&mut watch).await.accept();
        eventually("acknowledged", || primary.server.metrics().acks == 1).await;
        target.move_to(nobody().await);
        drop(primary);
        eventually("tried again", || client.status().borrow().failures >= 5).await;
        assert_eq!((server_of(&client), secondary.server.metrics().pushes), (0, 0));

        // Something that nobody has answered is wanted.
        let mut named = client.watch(TypeUrl::ENDPOINT, Subscription::named(["e"]));
        let changed = update(&mut watch).await;
        assert_eq!((added(&changed), server_of(&client)), (vec!["a"], 1), "{variant:?}");
        changed.accept();
        let found = update(&mut named).await;
        assert_eq!(added(&found), ["e"]);
        found.accept();
    }
}

#[tokio::test]
async fn what_is_held_stays_while_servers_change() {
    for variant in BOTH {
        let (primary, _) = serving([cluster("a", "1"), endpoints("a")]).await;
        let target = Target::new(primary.address);
        let (secondary, _) = serving([cluster("a", "1"), endpoints("b")]).await;
        let client = client(&target, secondary.address, variant);
        let mut clusters = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
        let mut named = client.watch(TypeUrl::ENDPOINT, Subscription::named(["a"]));
        update(&mut clusters).await.accept();
        update(&mut named).await.accept();
        eventually("acknowledged", || primary.server.metrics().acks == 2).await;
        target.move_to(nobody().await);
        drop(primary);
        // A name nobody has answered: the fallback is used.
        named.subscribe(["b"]);
        let changed = update(&mut named).await;
        let status = client.status().borrow().clone();
        assert_eq!(status.server, 1);
        let held = [TypeUrl::CLUSTER, TypeUrl::ENDPOINT].map(|t| status.types[&t].resources);
        assert_eq!(held, [1, 1], "nothing was taken away before it is answered");
        assert_eq!((added(&changed), removed(&changed)), (vec!["b"], vec![]), "{variant:?}");
        changed.accept();
        // Delta says that there is no assignment for a, once its cluster is acknowledged; SotW cannot say so.
        if variant == Variant::Delta {
            update(&mut clusters).await.accept();
            let gone = update(&mut named).await;
            assert_eq!(removed(&gone), ["a"]);
            gone.accept();
        }
    }
}

#[tokio::test]
async fn a_primary_that_accepts_but_answers_nothing_is_not_returned_to() {
    let (secondary, view) = serving([cluster("a", "1")]).await;
    let target = Target::new(nobody().await);
    let client = client(&target, secondary.address, Variant::Delta);
    let mut watch = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    update(&mut watch).await.accept();

    // It takes connections, and says nothing on them; then it closes each.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    target.move_to(listener.local_addr().unwrap());
    let silent = listener.accept().await.unwrap();
    drop(silent);
    let _again = listener.accept().await.unwrap();
    assert_eq!(server_of(&client), 1);
    view.update(Batch::new().put(cluster("b", "1")));
    let next = update(&mut watch).await;
    assert_eq!(added(&next), ["b"]);
    next.accept();
}

#[tokio::test]
async fn several_fallbacks_are_tried_in_order() {
    let (third, _) = serving([cluster("third", "1")]).await;
    let (first, second) = (Target::new(nobody().await), Target::new(nobody().await));
    let backoff = BackoffConfig { base: Duration::from_millis(10), max: Duration::from_millis(40) };
    let address = third.address;
    let client = Client::builder(node("n"), first.connect())
        .backoff(backoff)
        .fallback(second.connect())
        .fallback(move || TcpStream::connect(address))
        .spawn();
    let mut watch = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    let told = update(&mut watch).await;
    assert_eq!((added(&told), server_of(&client)), (vec!["third"], 2));
    told.accept();

    let (middle, _) = serving([cluster("second", "1")]).await;
    second.move_to(middle.address);
    let told = update(&mut watch).await;
    assert_eq!((added(&told), server_of(&client)), (vec!["second"], 1));
    gone(&mut watch, told, "third").await;

    let (primary, _) = serving([cluster("first", "1")]).await;
    first.move_to(primary.address);
    let told = update(&mut watch).await;
    assert_eq!((added(&told), server_of(&client)), (vec!["first"], 0));
    gone(&mut watch, told, "second").await;
    eventually("the others are left", || third.server.status().is_empty() && middle.server.status().is_empty()).await;
}
