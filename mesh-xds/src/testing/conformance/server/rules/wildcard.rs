//! Everything of a type, said in the old way and in the new.

use super::{Bench, CDS, Check, EDS, LDS, content::*};
use crate::{
    protocol::Variant,
    testing::conformance::{
        case::{Outcome, checks, section::*},
        wire::Ask,
    },
};

pub(super) const CHECKS: &[Check<Bench>] = checks! {
    both "wildcard-legacy", Must, NAMES,
        "A first request without names subscribes to all clusters or listeners." => legacy;
    both "wildcard-explicit", Must, NAMES,
        "The name * subscribes to everything, what is added later included." => explicit;
    both "wildcard-continues-with-a-name", Must, NAMES,
        "A name subscribed besides the wildcard leaves the wildcard in place." => continues;
    both "wildcard-to-names", Should, NAMES,
        "When * is dropped, names subscribed by themselves go on and the others are no longer told." => to_names;
    both "wildcard-again", Must, NAMES,
        "A wildcard that was dropped can be subscribed again, and everything is told." => again;
    both "empty-after-names-is-nothing", Should, NAMES,
        "Once a name was subscribed, an empty subscription means nothing, not everything." => emptied;
    delta "wildcard-subscribed-and-dropped", Should, NAMES,
        "A first request that subscribes to * and drops it subscribes to nothing." => at_once;
    both "endpoints-have-no-legacy-wildcard", Practice, NAMES,
        "The wildcard is for listeners and clusters: a first request for endpoints without names asks for none." => endpoints_empty;
};

async fn legacy(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b, l) = (cluster("a", 1), cluster("b", 1), listener("l", 1));
    bench.put(&[&a, &b, &l]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &[]).await;
    stream.hear(&CDS, &[&a, &b], &[]).await?;
    stream.subscribe(&LDS, &[]).await;
    stream.hear(&LDS, &[&l], &[]).await?;
    let c = cluster("c", 1);
    bench.put(&[&c]).await?;
    stream.hear_change(&CDS, &[&c], &[], &[&a, &b, &c]).await?;
    Ok(())
}

async fn explicit(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (cluster("a", 1), cluster("b", 1));
    bench.put(&[&a]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &["*"]).await;
    stream.hear(&CDS, &[&a], &[]).await?;
    bench.put(&[&b]).await?;
    stream.hear_change(&CDS, &[&b], &[], &[&a, &b]).await?;
    Ok(())
}

async fn continues(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (cluster("a", 1), cluster("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &[]).await;
    stream.hear(&CDS, &[&a, &b], &[]).await?;
    // In SotW only a list that has * in it leaves the wildcard in place.
    let names: &[&str] = if variant == Variant::Sotw { &["*", "a"] } else { &["a"] };
    stream.subscribe(&CDS, names).await;
    bench.settle(&mut stream).await?;
    stream.forget(&CDS);
    let b2 = cluster("b", 2);
    bench.put(&[&b2]).await?;
    stream.hear_change(&CDS, &[&b2], &[], &[&a, &b2]).await?;
    Ok(())
}

async fn to_names(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (cluster("a", 1), cluster("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &["*", "a"]).await;
    stream.hear(&CDS, &[&a, &b], &[]).await?;
    stream.unsubscribe(&CDS, &["*"]).await;
    let a2 = cluster("a", 2);
    bench.settle(&mut stream).await?;
    bench.put(&[&cluster("b", 2)]).await?;
    stream.no_news_of(&CDS, "b", "silence about b, which is no longer subscribed").await?;
    bench.put(&[&a2]).await?;
    stream.hear_change(&CDS, &[&a2], &[], &[&a2]).await?;
    Ok(())
}

async fn again(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (cluster("a", 1), cluster("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &["*", "a"]).await;
    stream.hear(&CDS, &[&a, &b], &[]).await?;
    stream.unsubscribe(&CDS, &["*"]).await;
    bench.settle(&mut stream).await?;
    stream.forget(&CDS);
    stream.subscribe(&CDS, &["*"]).await;
    stream.hear_change(&CDS, &[&b], &[], &[&a, &b]).await?;
    Ok(())
}

async fn emptied(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (cluster("a", 1), cluster("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &["a"]).await;
    stream.hear(&CDS, &[&a], &[]).await?;
    stream.unsubscribe(&CDS, &["a"]).await;
    // Looks as the first request of a legacy wildcard does.
    stream.subscribe(&CDS, &[]).await;
    bench.settle(&mut stream).await?;
    bench.put(&[&cluster("a", 2), &cluster("b", 2)]).await?;
    stream.no_news_of(&CDS, "a", "silence about a, which is no longer subscribed").await?;
    stream.no_news_of(&CDS, "b", "silence about b, which never was subscribed").await
}

async fn at_once(bench: &Bench, variant: Variant) -> Outcome {
    bench.put(&[&cluster("a", 1)]).await?;
    let mut stream = bench.open(variant).await?;
    stream.send(Ask::new(&CDS).subscribe(&["*"]).unsubscribe(&["*"])).await;
    stream.no_news_of(&CDS, "a", "silence about a, which is not subscribed").await?;
    bench.put(&[&cluster("a", 2)]).await?;
    stream.no_news_of(&CDS, "a", "silence about a, which is not subscribed").await
}

async fn endpoints_empty(bench: &Bench, variant: Variant) -> Outcome {
    bench.put(&[&endpoints("a", 1)]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &[]).await;
    stream.no_news_of(&EDS, "a", "silence about a, which is not subscribed").await
}
