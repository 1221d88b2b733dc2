//! Removals in delta, and what a change brings there.

use super::{Bench, CDS, Check, EDS, LDS, RDS, content::*};
use crate::{
    protocol::Variant,
    testing::conformance::case::{Outcome, checks, ensure, section::*},
};

pub(super) const CHECKS: &[Check<Bench>] = checks! {
    delta "removal-is-told", Must, DELETING,
        "A resource of any type that is removed is told in removed_resources." => told;
    delta "removal-is-told-once", Should, WHEN,
        "A removal that was accepted is not told again." => once;
    delta "only-the-change-is-sent", Should, DELTA,
        "When one resource of many changes, the others are not sent." => only_the_change;
    both "a-change-is-told", Must, BASIC,
        "A subscribed resource of any type that changes is told." => changes;
};

async fn told(bench: &Bench, variant: Variant) -> Outcome {
    let (c, e, l, r) = (cluster("n", 1), endpoints("n", 1), listener("n", 1), routes("n", "n"));
    bench.put(&[&c, &e, &l, &r]).await?;
    let mut stream = bench.open(variant).await?;
    for (type_url, resource, name) in [(CDS, &c, "*"), (EDS, &e, "n"), (LDS, &l, "*"), (RDS, &r, "n")] {
        stream.subscribe(&type_url, &[name]).await;
        stream.hear(&type_url, &[resource], &[]).await?;
    }
    for type_url in [LDS, RDS, CDS, EDS] {
        bench.remove(&[(&type_url, "n")]).await?;
        stream.hear(&type_url, &[], &["n"]).await?;
    }
    Ok(())
}

async fn once(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (cluster("a", 1), cluster("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &["*"]).await;
    stream.hear(&CDS, &[&a, &b], &[]).await?;
    bench.remove(&[(&CDS, "a")]).await?;
    stream.hear(&CDS, &[], &["a"]).await?;
    let b2 = cluster("b", 2);
    bench.put(&[&b2]).await?;
    let heard = stream.hear(&CDS, &[&b2], &[]).await?;
    let again = heard.iter().find(|told| !told.removed.is_empty());
    ensure(again.is_none(), "CDS +b alone", || again.map(ToString::to_string).unwrap_or_default())
}

async fn only_the_change(bench: &Bench, variant: Variant) -> Outcome {
    let names: Vec<String> = (0..20).map(|i| format!("c{i}")).collect();
    let clusters: Vec<_> = names.iter().map(|n| cluster(n, 1)).collect();
    let all: Vec<_> = clusters.iter().collect();
    bench.put(&all).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &["*"]).await;
    stream.hear(&CDS, &all, &[]).await?;
    let changed = cluster("c7", 2);
    bench.put(&[&changed]).await?;
    let heard = stream.hear(&CDS, &[&changed], &[]).await?;
    let sent: usize = heard.iter().map(|told| told.items.len()).sum();
    ensure(sent == 1, "the one that changed", || format!("{sent} resources"))
}

async fn changes(bench: &Bench, variant: Variant) -> Outcome {
    let (c, e, l, r) = (cluster("n", 1), endpoints("n", 1), listener("n", 1), routes("n", "n"));
    bench.put(&[&c, &e, &l, &r]).await?;
    let mut stream = bench.open(variant).await?;
    for (type_url, resource, names) in [(CDS, &c, &[][..]), (EDS, &e, &["n"]), (LDS, &l, &[]), (RDS, &r, &["n"])] {
        stream.subscribe(&type_url, names).await;
        stream.hear(&type_url, &[resource], &[]).await?;
    }
    let (c, e, l, r) = (cluster("n", 2), endpoints("n", 2), listener("n", 2), routes("n", "m"));
    for (type_url, resource) in [(CDS, &c), (EDS, &e), (LDS, &l), (RDS, &r)] {
        bench.put(&[resource]).await?;
        stream.hear(&type_url, &[resource], &[]).await?;
    }
    Ok(())
}
