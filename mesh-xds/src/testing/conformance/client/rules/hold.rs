//! What a client holds after what it was told. Through hooks.

use super::{
    Bench, CDS, Check, EDS, LDS,
    bench::{removal, response},
    content::{cluster, endpoints, listener},
};
use crate::{
    protocol::Variant,
    testing::conformance::case::{Outcome, checks, ensure, section::*},
};

pub(super) const CHECKS: &[Check<Bench>] = checks! {
    both "untold-endpoints-stay", Must, GROUPING,
        "Endpoints that a later response does not speak of stay." => untold_stay;
    delta "untold-clusters-stay", Must, GROUPING,
        "Clusters that a later response does not speak of stay." => untold_clusters_stay;
    delta "removal-deletes", Must, DELETING,
        "What removed_resources names is deleted." => removal_deletes;
    sotw "absence-deletes", Must, DELETING,
        "A cluster or listener that a later response does not have is deleted; an empty response deletes all." => absence_deletes;
    sotw "empty-endpoints-delete-nothing", Must, DELETING,
        "An empty response of endpoints changes nothing." => empty_is_nothing;
    both "created-after-missing", Must, MISSING,
        "A name that did not exist is taken when it comes." => created;
    both "refused-update-is-not-held", Must, NACK,
        "What the consumer refuses becomes a refusal, and what was in force stays." => refusal;
    both "stream-lost-nothing-lost", Must, TTL,
        "What is held stays while there is no stream, and over the next." => survives;
};

async fn untold_stay(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream) = bench.watching(variant, &EDS, &["a", "b"]).await?;
    let (a, b, b2) = (endpoints("a", 1), endpoints("b", 1), endpoints("b", 2));
    stream.accepted(response(&EDS, &[&a, &b])).await?;
    stream.accepted(response(&EDS, &[&b2])).await?;
    play.holds(&EDS, &[&a, &b2]).await
}

async fn untold_clusters_stay(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream) = bench.watching(variant, &CDS, &["*"]).await?;
    let (a, b, b2) = (cluster("a", 1), cluster("b", 1), cluster("b", 2));
    stream.accepted(response(&CDS, &[&a, &b])).await?;
    stream.accepted(response(&CDS, &[&b2])).await?;
    play.holds(&CDS, &[&a, &b2]).await
}

async fn removal_deletes(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream) = bench.watching(variant, &CDS, &["*"]).await?;
    let (a, b) = (cluster("a", 1), cluster("b", 1));
    stream.accepted(response(&CDS, &[&a, &b])).await?;
    stream.accepted(removal(&CDS, &["b"])).await?;
    play.holds(&CDS, &[&a]).await
}

async fn absence_deletes(bench: &Bench, variant: Variant) -> Outcome {
    let mut play = bench.start(variant).await?;
    play.hands()?.watch(&CDS, &["*"]);
    play.hands()?.watch(&LDS, &["*"]);
    let mut stream = play.accept().await?;
    for (type_url, a, b) in [(CDS, cluster("a", 1), cluster("b", 1)), (LDS, listener("a", 1), listener("b", 1))] {
        stream.asks_for(&type_url, &["*"]).await?;
        stream.accepted(response(&type_url, &[&a, &b])).await?;
        stream.accepted(response(&type_url, &[&a])).await?;
        play.holds(&type_url, &[&a]).await?;
        stream.accepted(response(&type_url, &[])).await?;
        play.holds(&type_url, &[]).await?;
    }
    Ok(())
}

async fn empty_is_nothing(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream) = bench.watching(variant, &EDS, &["a"]).await?;
    let a = endpoints("a", 1);
    stream.accepted(response(&EDS, &[&a])).await?;
    stream.accepted(response(&EDS, &[])).await?;
    play.holds(&EDS, &[&a]).await
}

async fn created(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream) = bench.watching(variant, &EDS, &["a", "x"]).await?;
    let (a, x) = (endpoints("a", 1), endpoints("x", 1));
    let mut told = response(&EDS, &[&a]);
    if variant == Variant::Delta {
        told.removed.push("x".into());
    }
    stream.accepted(told).await?;
    play.holds(&EDS, &[&a]).await?;
    stream.accepted(response(&EDS, &[&x])).await?;
    play.holds(&EDS, &[&a, &x]).await
}

async fn refusal(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream) = bench.watching(variant, &CDS, &["*"]).await?;
    let (a, a2, bad) = (cluster("a", 1), cluster("a", 2), cluster("bad", 1));
    stream.accepted(response(&CDS, &[&a])).await?;
    play.hands()?.refuse(&CDS, "bad");
    let refusal = stream.refused(response(&CDS, &[&a, &bad])).await?;
    let named = refusal.error.as_ref().is_some_and(|e| e.message.contains("bad"));
    ensure(named, "the consumer's reason, which names bad", || refusal.to_string())?;
    play.holds(&CDS, &[&a]).await?;
    stream.accepted(response(&CDS, &[&a2])).await?;
    play.holds(&CDS, &[&a2]).await
}

async fn survives(bench: &Bench, variant: Variant) -> Outcome {
    let (mut play, mut stream) = bench.watching(variant, &EDS, &["a"]).await?;
    let (a, a2) = (endpoints("a", 1), endpoints("a", 2));
    stream.accepted(response(&EDS, &[&a])).await?;
    play.holds(&EDS, &[&a]).await?;
    stream.close().await;
    let mut stream = play.accept().await?;
    play.holds(&EDS, &[&a]).await?;
    stream.asks_for(&EDS, &["a"]).await?;
    stream.accepted(response(&EDS, &[&a2])).await?;
    play.holds(&EDS, &[&a2]).await
}
