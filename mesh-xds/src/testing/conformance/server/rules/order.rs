//! Make before break.

use super::{Bench, CDS, Check, EDS, LDS, RDS, content::*, stream::Stream};
use crate::{
    Resource, TypeUrl,
    protocol::Variant,
    testing::conformance::{
        case::{Outcome, checks, ensure, section::*},
        wire::Told,
    },
};

pub(super) const CHECKS: &[Check<Bench>] = checks! {
    both "added-in-order", Should, ORDER,
        "A cluster, its endpoints, a listener and its routes, added at once, come in this order." => added;
    both "removed-cluster-goes-last", Should, ORDER,
        "A route that moves to a new cluster while the old one goes: the new cluster, then the route, then the removal." => removed;
};

/// Subscribes to everything under the name `n`, and to the endpoints of `more`.
async fn subscribed(bench: &Bench, variant: Variant, more: &[&str]) -> Outcome<Stream> {
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &[]).await;
    stream.subscribe(&EDS, &[&["n"], more].concat()).await;
    stream.subscribe(&LDS, &[]).await;
    stream.subscribe(&RDS, &["n"]).await;
    Ok(stream)
}

/// Where in the log a response is for which `is` holds.
fn place(stream: &Stream, type_url: &TypeUrl, is: impl Fn(&Told) -> bool) -> Option<usize> {
    stream.log().iter().position(|told| told.type_url == *type_url && is(told))
}

fn log(stream: &Stream) -> String {
    stream.log().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn has(resource: &Resource) -> impl Fn(&Told) -> bool {
    let resource = resource.clone();
    move |told| told.item(resource.name().as_str()).is_some_and(|item| item.is(&resource))
}

async fn added(bench: &Bench, variant: Variant) -> Outcome {
    let base = cluster("base", 1);
    bench.put(&[&base]).await?;
    let mut stream = subscribed(bench, variant, &[]).await?;
    stream.hear(&CDS, &[&base], &[]).await?;
    bench.settle(&mut stream).await?;
    stream.forget(&CDS);
    stream.forget(&LDS);
    let (c, e, l, r) = (cluster("n", 1), endpoints("n", 1), listener("n", 1), routes("n", "n"));
    bench.put(&[&r, &l, &e, &c]).await?;
    stream.hear_change(&CDS, &[&c], &[], &[&base, &c]).await?;
    stream.hear(&LDS, &[&l], &[]).await?;
    stream.hear(&EDS, &[&e], &[]).await?;
    stream.hear(&RDS, &[&r], &[]).await?;
    let places = [
        place(&stream, &CDS, has(&c)),
        place(&stream, &EDS, has(&e)),
        place(&stream, &LDS, has(&l)),
        place(&stream, &RDS, has(&r)),
    ];
    ensure(places.is_sorted(), "CDS, EDS, LDS, RDS", || log(&stream))
}

async fn removed(bench: &Bench, variant: Variant) -> Outcome {
    let (old, new) = (cluster("old", 1), cluster("new", 1));
    let (e, e2, l, r) = (endpoints("old", 1), endpoints("new", 1), listener("n", 1), routes("n", "old"));
    bench.put(&[&old, &e, &l, &r]).await?;
    let mut stream = subscribed(bench, variant, &["old", "new"]).await?;
    stream.hear(&CDS, &[&old], &[]).await?;
    stream.hear(&EDS, &[&e], &[]).await?;
    stream.hear(&LDS, &[&l], &[]).await?;
    stream.hear(&RDS, &[&r], &[]).await?;
    bench.settle(&mut stream).await?;
    let moved = routes("n", "new");
    let before = stream.log().len();
    bench.update(&[&new, &e2, &moved], &[(&CDS, "old")]).await?;
    stream.hear(&RDS, &[&moved], &[]).await?;
    stream.hear_change(&CDS, &[], &["old"], &[&new]).await?;
    let gone = |told: &Told| match variant {
        Variant::Delta => told.removed.iter().any(|n| n == "old"),
        Variant::Sotw => told.item("old").is_none(),
    };
    let after = |told: Option<usize>| told.filter(|at| *at >= before);
    let (made, moved) = (after(place(&stream, &CDS, has(&new))), after(place(&stream, &RDS, has(&moved))));
    let broken = stream.log().iter().skip(before).position(|t| t.type_url == CDS && gone(t)).map(|at| at + before);
    ensure(made < moved && moved < broken, "CDS +new, RDS +n, CDS without old", || log(&stream))
}
