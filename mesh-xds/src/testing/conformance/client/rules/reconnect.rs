//! A stream that ends, and the next.

use super::{
    Bench, CDS, Check, EDS,
    bench::response,
    content::{cluster, endpoints},
};
use crate::{
    protocol::Variant,
    testing::conformance::case::{Outcome, checks, ensure, section::*},
};

pub(super) const CHECKS: &[Check<Bench>] = checks! {
    both "reconnect-introduces-itself-again", Must, BASIC,
        "The first request of the next stream has the node again, no nonce, and the same names." => introduces;
    delta "reconnect-says-what-is-held", Should, DELTA,
        "The first request of the next stream names what is held, with its versions, in initial_resource_versions." => held;
    sotw "reconnect-says-the-version", Should, VERSIONS,
        "The first request of the next stream has the version last accepted." => version;
    delta "reconnect-does-not-claim-what-was-refused", Must, DELTA,
        "What was refused is not named in initial_resource_versions at the version that was refused." => refused;
    both "reconnect-forgets-dropped-names", Must, UNSUBSCRIBING,
        "Names that were dropped are not asked for on the next stream." => forgets;
    delta "reconnect-wildcard-with-names", Must, DELTA,
        "A wildcard beside names is said with * on the next stream: silence would not mean it." => explicit;
};

async fn introduces(bench: &Bench, variant: Variant) -> Outcome {
    let (mut play, mut stream, first) = bench.begin(variant).await?;
    stream.accepted(play.told(&first.type_url, 1)?).await?;
    let names = stream.names(&first.type_url);
    stream.close().await;
    let mut stream = play.accept().await?;
    let again = stream.next("a first request").await?;
    let id = again.node.as_ref().map(|node| node.id.clone()).unwrap_or_default();
    let same = Some(&id) == first.node.as_ref().map(|node| &node.id);
    ensure(same && again.nonce.is_empty(), "the node again, and no nonce", || format!("node {id:?}, {again}"))?;
    while !stream.asked(&first.type_url) {
        stream.next("the first type again").await?;
    }
    let now = stream.names(&first.type_url);
    ensure(now == names, &format!("the same names: {names:?}"), || format!("{now:?}"))
}

async fn held(bench: &Bench, variant: Variant) -> Outcome {
    let (mut play, mut stream, first) = bench.begin(variant).await?;
    let told = play.told(&first.type_url, 1)?;
    let item = told.items.first().cloned();
    stream.accepted(told).await?;
    stream.close().await;
    let again = play.accept().await?.next_of(&first.type_url, "a first request").await?;
    let expected = item.map(|item| [(item.name, item.version)].into_iter().collect()).unwrap_or_default();
    ensure(again.held == expected, &format!("{expected:?} held"), || format!("{:?}", again.held))
}

async fn version(bench: &Bench, variant: Variant) -> Outcome {
    let (mut play, mut stream, first) = bench.begin(variant).await?;
    let accepted = stream.accepted(play.told(&first.type_url, 1)?).await?;
    stream.close().await;
    let again = play.accept().await?.next_of(&first.type_url, "a first request").await?;
    ensure(again.version == accepted.version, &format!("version {}", accepted.version), || again.to_string())
}

async fn refused(bench: &Bench, variant: Variant) -> Outcome {
    let (mut play, mut stream, first) = bench.begin(variant).await?;
    let told = play.told(&first.type_url, 1)?;
    let good = told.items.first().map(|item| item.version.clone()).unwrap_or_default();
    stream.accepted(told).await?;
    stream.refused(play.unreadable(&first.type_url)?).await?;
    stream.close().await;
    let again = play.accept().await?.next_of(&first.type_url, "a first request").await?;
    let claimed = again.held.get(play.world.name());
    let right = claimed.is_none_or(|version| *version == good);
    ensure(right, &format!("version {good} held, or none"), || format!("{claimed:?}"))
}

async fn forgets(bench: &Bench, variant: Variant) -> Outcome {
    let (mut play, mut stream) = bench.watching(variant, &EDS, &["a", "b"]).await?;
    stream.accepted(response(&EDS, &[&endpoints("a", 1), &endpoints("b", 1)])).await?;
    play.hands()?.unwatch(&EDS, &["b"]);
    stream.asks_for(&EDS, &["a"]).await?;
    stream.close().await;
    let again = play.accept().await?.next_of(&EDS, "a first request").await?;
    let forgotten = again.subscribe == ["a"] && !again.held.contains_key("b");
    ensure(forgotten, "a alone, asked for and held", || again.to_string())
}

async fn explicit(bench: &Bench, variant: Variant) -> Outcome {
    let (mut play, mut stream) = bench.watching(variant, &CDS, &["*"]).await?;
    stream.accepted(response(&CDS, &[&cluster("a", 1)])).await?;
    play.hands()?.watch(&CDS, &["a"]);
    stream.asks_for(&CDS, &["*", "a"]).await?;
    stream.close().await;
    play.accept().await?.asks_for(&CDS, &["*", "a"]).await?;
    Ok(())
}
