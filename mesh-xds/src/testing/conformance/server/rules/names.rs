//! Names that come and go.

use super::{Bench, CDS, Check, EDS, LDS, content::*};
use crate::{
    protocol::Variant,
    testing::conformance::{
        case::{Outcome, checks, section::*},
        wire::Ask,
    },
};

pub(super) const CHECKS: &[Check<Bench>] = checks! {
    both "names-added", Must, NAMES,
        "A name that is subscribed later is told." => added;
    sotw "names-added-under-the-same-nonce", Must, UPDATES,
        "A list that grows is answered although version and nonce are those of the acceptance before." => same_nonce;
    sotw "listener-names-added", Must, GROUPING,
        "Listeners and clusters that are named are told as a whole set when the list grows." => listeners_added;
    both "names-removed", Should, UNSUBSCRIBING,
        "A name that is dropped is no longer told; the others are." => removed;
    both "name-back-is-told-again", Must, NAMES,
        "A name that was dropped and is subscribed again is told again although nothing changed." => back;
    delta "resubscribed-is-told-again", Must, DELTA_SUBSCRIBE,
        "A subscribed name that is subscribed once more is told once more." => resubscribed;
    delta "missing-name-is-answered", Must, DELTA_MISSING,
        "A subscribed name that does not exist is told in removed_resources." => missing;
    both "missing-name-is-told-when-created", Must, MISSING,
        "A subscribed name that does not exist is told when it is created." => created;
    sotw "missing-listener-is-answered", Practice, MISSING,
        "A list of listeners of which none exists is answered with an empty set." => missing_listener;
    both "name-removed-and-created-again", Must, MISSING,
        "A resource that is removed and created again is told." => recreated;
    delta "phantom-unsubscription", Must, DELTA_UNSUBSCRIBE,
        "Dropping a name that is not subscribed does no harm." => phantom;
    delta "unsubscribed-under-a-wildcard", Must, DELTA_UNSUBSCRIBE,
        "A name dropped under a wildcard is told: as a resource if the wildcard has it, else as removed." => under_wildcard;
    delta "spontaneous-request", Must, DELTA,
        "A request without a nonce changes the subscription, also while a response waits for its answer." => spontaneous;
    delta "stale-nonce-still-subscribes", Must, DELTA,
        "A request under a nonce that answers nothing still changes the subscription." => stale_nonce;
};

async fn added(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (endpoints("a", 1), endpoints("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["a"]).await;
    stream.hear(&EDS, &[&a], &[]).await?;
    stream.subscribe(&EDS, &["b"]).await;
    stream.hear(&EDS, &[&b], &[]).await?;
    let a2 = endpoints("a", 2);
    bench.put(&[&a2]).await?;
    stream.hear(&EDS, &[&a2], &[]).await?;
    Ok(())
}

async fn same_nonce(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (endpoints("a", 1), endpoints("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["a"]).await;
    let told = stream.next_of(&EDS, "EDS +a").await?;
    stream.ack(&told).await;
    stream.send(Ask::new(&EDS).subscribe(&["a", "b"]).nonce(&told.nonce).version(&told.version)).await;
    stream.hear(&EDS, &[&b], &[]).await?;
    Ok(())
}

async fn listeners_added(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b, c) = (listener("a", 1), listener("b", 1), listener("c", 1));
    bench.put(&[&a, &b, &c]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&LDS, &["a"]).await;
    stream.hear(&LDS, &[&a], &[]).await?;
    stream.subscribe(&LDS, &["b"]).await;
    stream.hear(&LDS, &[&a, &b], &[]).await?;
    Ok(())
}

async fn removed(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (endpoints("a", 1), endpoints("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["a", "b"]).await;
    stream.hear(&EDS, &[&a, &b], &[]).await?;
    stream.unsubscribe(&EDS, &["b"]).await;
    bench.settle(&mut stream).await?;
    bench.put(&[&endpoints("b", 2)]).await?;
    stream.no_news_of(&EDS, "b", "silence about b, which is no longer subscribed").await?;
    let a2 = endpoints("a", 2);
    bench.put(&[&a2]).await?;
    stream.hear(&EDS, &[&a2], &[]).await?;
    Ok(())
}

async fn back(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (endpoints("a", 1), endpoints("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["a", "b"]).await;
    stream.hear(&EDS, &[&a, &b], &[]).await?;
    stream.unsubscribe(&EDS, &["b"]).await;
    stream.subscribe(&EDS, &["b"]).await;
    stream.hear(&EDS, &[&b], &[]).await?;
    Ok(())
}

async fn resubscribed(bench: &Bench, variant: Variant) -> Outcome {
    let (a, c) = (endpoints("a", 1), cluster("c", 1));
    bench.put(&[&a, &c]).await?;
    let mut stream = bench.open(variant).await?;
    for _ in 0..2 {
        stream.subscribe(&EDS, &["a"]).await;
        stream.hear(&EDS, &[&a], &[]).await?;
        stream.subscribe(&CDS, &["c"]).await;
        stream.hear(&CDS, &[&c], &[]).await?;
    }
    Ok(())
}

async fn missing(bench: &Bench, variant: Variant) -> Outcome {
    let (a, c) = (endpoints("a", 1), cluster("c", 1));
    bench.put(&[&a, &c]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["a", "x"]).await;
    stream.hear(&EDS, &[&a], &["x"]).await?;
    stream.subscribe(&CDS, &["*", "y"]).await;
    stream.hear(&CDS, &[&c], &["y"]).await?;
    Ok(())
}

async fn created(bench: &Bench, variant: Variant) -> Outcome {
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["x"]).await;
    bench.settle(&mut stream).await?;
    let x = endpoints("x", 1);
    bench.put(&[&x]).await?;
    stream.hear(&EDS, &[&x], &[]).await?;
    Ok(())
}

async fn missing_listener(bench: &Bench, variant: Variant) -> Outcome {
    bench.put(&[&listener("other", 1)]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&LDS, &["x"]).await;
    stream.hear(&LDS, &[], &[]).await?;
    Ok(())
}

async fn recreated(bench: &Bench, variant: Variant) -> Outcome {
    let a = endpoints("a", 1);
    bench.put(&[&a]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["a"]).await;
    stream.hear(&EDS, &[&a], &[]).await?;
    bench.remove(&[(&EDS, "a")]).await?;
    stream.hear(&EDS, &[], &["a"]).await?;
    let a2 = endpoints("a", 2);
    bench.put(&[&a2]).await?;
    stream.hear(&EDS, &[&a2], &[]).await?;
    Ok(())
}

async fn phantom(bench: &Bench, variant: Variant) -> Outcome {
    let a = endpoints("a", 1);
    bench.put(&[&a]).await?;
    let mut stream = bench.open(variant).await?;
    stream.send(Ask::new(&EDS).subscribe(&["a"]).unsubscribe(&["never"])).await;
    stream.hear(&EDS, &[&a], &[]).await?;
    stream.unsubscribe(&EDS, &["never", "nor-this"]).await;
    let a2 = endpoints("a", 2);
    bench.put(&[&a2]).await?;
    stream.hear(&EDS, &[&a2], &[]).await?;
    Ok(())
}

async fn under_wildcard(bench: &Bench, variant: Variant) -> Outcome {
    let a = cluster("a", 1);
    bench.put(&[&a]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &["*", "a", "x"]).await;
    stream.hear(&CDS, &[&a], &[]).await?;
    bench.settle(&mut stream).await?;
    stream.forget(&CDS);
    stream.unsubscribe(&CDS, &["a"]).await;
    stream.hear(&CDS, &[&a], &[]).await?;
    stream.unsubscribe(&CDS, &["x"]).await;
    stream.hear(&CDS, &[], &["x"]).await?;
    Ok(())
}

async fn spontaneous(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b, c) = (endpoints("a", 1), endpoints("b", 1), endpoints("c", 1));
    bench.put(&[&a, &b, &c]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["a"]).await;
    let told = stream.next_of(&EDS, "EDS +a").await?;
    stream.subscribe(&EDS, &["b"]).await;
    stream.ack(&told).await;
    stream.hear(&EDS, &[&b], &[]).await?;
    stream.subscribe(&EDS, &["c"]).await;
    stream.hear(&EDS, &[&c], &[]).await?;
    Ok(())
}

async fn stale_nonce(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (endpoints("a", 1), endpoints("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["a"]).await;
    stream.hear(&EDS, &[&a], &[]).await?;
    stream.send(Ask::new(&EDS).subscribe(&["b"]).nonce("never-sent")).await;
    stream.hear(&EDS, &[&b], &[]).await?;
    Ok(())
}
