//! Names watched and dropped. Through hooks.

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
    both "names-are-asked-for", Must, NAMES,
        "What is watched is asked for, and nothing else." => asked;
    sotw "list-grows-under-the-last-nonce", Must, BASIC,
        "A name added later is said by the whole list, under the last nonce and the last version accepted." => grows;
    delta "name-added-without-a-nonce", Must, DELTA,
        "A name added later is said alone, in a request that has no nonce." => spontaneous;
    both "names-dropped", Must, UNSUBSCRIBING,
        "A name that is dropped is said: in delta as unsubscribed, in SotW by a list without it." => dropped;
    delta "wildcard-dropped", Must, NAMES,
        "A wildcard is dropped by its name." => wildcard;
    both "name-watched-again", Must, DELTA_SUBSCRIBE,
        "A name that was dropped and is watched again is asked for again." => again;
};

async fn asked(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream) = bench.watching(variant, &EDS, &["a", "b"]).await?;
    ensure(!stream.asked(&CDS), "no clusters asked for", || format!("{:?}", stream.names(&CDS)))?;
    play.hands()?.watch(&CDS, &["*"]);
    stream.asks_for(&CDS, &["*"]).await?;
    Ok(())
}

async fn grows(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream) = bench.watching(variant, &EDS, &["a"]).await?;
    let accepted = stream.accepted(response(&EDS, &[&endpoints("a", 1)])).await?;
    play.hands()?.watch(&EDS, &["b"]);
    let asks = stream.asks_for(&EDS, &["a", "b"]).await?;
    let last = asks.last().is_some_and(|a| a.nonce == accepted.nonce && a.version == accepted.version);
    ensure(last, &format!("[a b] under {accepted}"), || format!("{asks:?}"))?;
    stream.accepted(response(&EDS, &[&endpoints("b", 1)])).await?;
    Ok(())
}

async fn spontaneous(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream) = bench.watching(variant, &EDS, &["a"]).await?;
    stream.accepted(response(&EDS, &[&endpoints("a", 1)])).await?;
    play.hands()?.watch(&EDS, &["b"]);
    let asks = stream.asks_for(&EDS, &["a", "b"]).await?;
    let alone = asks.last().is_some_and(|a| a.nonce.is_empty() && a.subscribe == ["b"] && a.held.is_empty());
    ensure(alone, "[b] without a nonce", || format!("{asks:?}"))
}

async fn dropped(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream) = bench.watching(variant, &EDS, &["a", "b"]).await?;
    stream.accepted(response(&EDS, &[&endpoints("a", 1), &endpoints("b", 1)])).await?;
    play.hands()?.unwatch(&EDS, &["b"]);
    stream.asks_for(&EDS, &["a"]).await?;
    play.hands()?.unwatch(&EDS, &["a"]);
    stream.asks_for(&EDS, &[]).await?;
    stream.quiet_of(&EDS, "silence about a type of which nothing is watched").await
}

async fn wildcard(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream) = bench.watching(variant, &CDS, &["*"]).await?;
    stream.accepted(response(&CDS, &[&cluster("a", 1), &cluster("b", 1)])).await?;
    play.hands()?.watch(&CDS, &["a"]);
    stream.asks_for(&CDS, &["*", "a"]).await?;
    play.hands()?.unwatch(&CDS, &["*"]);
    stream.asks_for(&CDS, &["a"]).await?;
    play.holds(&CDS, &[&cluster("a", 1)]).await
}

async fn again(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream) = bench.watching(variant, &EDS, &["a", "b"]).await?;
    stream.accepted(response(&EDS, &[&endpoints("a", 1), &endpoints("b", 1)])).await?;
    play.hands()?.unwatch(&EDS, &["b"]);
    stream.asks_for(&EDS, &["a"]).await?;
    play.hands()?.watch(&EDS, &["b"]);
    stream.asks_for(&EDS, &["a", "b"]).await?;
    stream.accepted(response(&EDS, &[&endpoints("b", 1)])).await?;
    play.holds(&EDS, &[&endpoints("a", 1), &endpoints("b", 1)]).await
}
