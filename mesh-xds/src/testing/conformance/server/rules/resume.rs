//! A new stream of a client that holds something.

use super::{Bench, CDS, Check, EDS, content::*};
use crate::{
    protocol::Variant,
    testing::conformance::{
        case::{Outcome, checks, ensure, section::*},
        wire::{Ask, Told},
    },
};

pub(super) const CHECKS: &[Check<Bench>] = checks! {
    delta "resume-skips-what-is-held", Should, DELTA,
        "What initial_resource_versions names at its current version is not sent; what is not held is." => skips;
    delta "resume-sends-what-changed", Must, DELTA,
        "What initial_resource_versions names at another version is sent." => sends_changed;
    delta "resume-removes-what-vanished", Must, DELTA,
        "What initial_resource_versions names and no longer exists is told as removed." => removes_vanished;
    delta "resume-then-change", Must, DELTA,
        "What was held and not sent is told when it changes or vanishes later." => then_change;
    delta "versions-are-of-the-content", Must, VERSIONS,
        "Equal content has equal versions on every stream, other content another." => versions;
    sotw "version-of-an-unknown-server", Must, VERSIONS,
        "A first request with a version this server never gave gets everything." => unknown_version;
    sotw "resumed-with-another-list", Must, VERSIONS,
        "A first request with the current version and a name that was not asked for before gets that name." => another_list;
    sotw "versions-are-of-the-content", Must, VERSIONS,
        "Equal content has equal versions on every stream, other content another." => versions_sotw;
};

/// The version `name` was told with.
fn version_of(heard: &[Told], name: &str) -> String {
    heard.iter().rev().find_map(|told| told.item(name)).map(|item| item.version.clone()).unwrap_or_default()
}

async fn skips(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b, c, e) = (cluster("a", 1), cluster("b", 1), cluster("c", 1), endpoints("e", 1));
    bench.put(&[&a, &b, &e]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &["*"]).await;
    let clusters = stream.hear(&CDS, &[&a, &b], &[]).await?;
    stream.subscribe(&EDS, &["e"]).await;
    let assignments = stream.hear(&EDS, &[&e], &[]).await?;
    drop(stream);
    bench.put(&[&c]).await?;
    let mut stream = bench.open(variant).await?;
    let (a_version, b_version) = (version_of(&clusters, "a"), version_of(&clusters, "b"));
    let held = [("a", a_version.as_str()), ("b", b_version.as_str())];
    stream.send(Ask::new(&CDS).subscribe(&["*"]).holding(held)).await;
    stream.hear(&CDS, &[&c], &[]).await?;
    let e_version = version_of(&assignments, "e");
    stream.send(Ask::new(&EDS).subscribe(&["e"]).holding([("e", e_version.as_str())])).await;
    stream.no_news_of(&EDS, "e", "silence about e, which is held").await?;
    let told = stream.log().iter().find(|told| ["a", "b", "e"].iter().any(|n| told.item(n).is_some()));
    ensure(told.is_none(), "only what is not held", || told.map(ToString::to_string).unwrap_or_default())
}

async fn sends_changed(bench: &Bench, variant: Variant) -> Outcome {
    let (a, e) = (cluster("a", 1), endpoints("e", 1));
    bench.put(&[&a, &e]).await?;
    let mut stream = bench.open(variant).await?;
    stream.send(Ask::new(&CDS).subscribe(&["*"]).holding([("a", "of-another-server")])).await;
    stream.hear(&CDS, &[&a], &[]).await?;
    stream.send(Ask::new(&EDS).subscribe(&["e"]).holding([("e", "of-another-server")])).await;
    stream.hear(&EDS, &[&e], &[]).await?;
    Ok(())
}

async fn removes_vanished(bench: &Bench, variant: Variant) -> Outcome {
    let (a, e) = (cluster("a", 1), endpoints("e", 1));
    bench.put(&[&a, &e]).await?;
    let mut stream = bench.open(variant).await?;
    stream.send(Ask::new(&CDS).subscribe(&["*"]).holding([("gone", "1")])).await;
    stream.hear(&CDS, &[&a], &["gone"]).await?;
    stream.send(Ask::new(&EDS).subscribe(&["e", "lost"]).holding([("lost", "1")])).await;
    stream.hear(&EDS, &[&e], &["lost"]).await?;
    Ok(())
}

async fn then_change(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (cluster("a", 1), cluster("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &["*"]).await;
    let heard = stream.hear(&CDS, &[&a, &b], &[]).await?;
    drop(stream);
    let mut stream = bench.open(variant).await?;
    let (a_version, b_version) = (version_of(&heard, "a"), version_of(&heard, "b"));
    let held = [("a", a_version.as_str()), ("b", b_version.as_str())];
    stream.send(Ask::new(&CDS).subscribe(&["*"]).holding(held)).await;
    stream.no_news_of(&CDS, "a", "silence about a, which is held").await?;
    let a2 = cluster("a", 2);
    bench.update(&[&a2], &[(&CDS, "b")]).await?;
    stream.hear(&CDS, &[&a2], &["b"]).await?;
    Ok(())
}

async fn versions(bench: &Bench, variant: Variant) -> Outcome {
    let mut versions = Vec::new();
    for revision in [1, 2, 1] {
        let a = cluster("a", revision);
        bench.put(&[&a]).await?;
        for _ in 0..2 {
            let mut stream = bench.open(variant).await?;
            stream.subscribe(&CDS, &["*"]).await;
            versions.push(version_of(&stream.hear(&CDS, &[&a], &[]).await?, "a"));
        }
    }
    ensure(versions.iter().all(|v| !v.is_empty()), "a version with every resource", || "none".into())?;
    let stable = versions[0] == versions[1] && versions[2] == versions[3];
    ensure(stable, "equal versions on two streams", || versions.join(", "))?;
    ensure(versions[0] != versions[2], "another version for other content", || versions.join(", "))
}

async fn unknown_version(bench: &Bench, variant: Variant) -> Outcome {
    let (a, e) = (cluster("a", 1), endpoints("e", 1));
    bench.put(&[&a, &e]).await?;
    let mut stream = bench.open(variant).await?;
    stream.send(Ask::new(&CDS).version("of-another-server")).await;
    stream.hear(&CDS, &[&a], &[]).await?;
    stream.send(Ask::new(&EDS).subscribe(&["e"]).version("of-another-server")).await;
    stream.hear(&EDS, &[&e], &[]).await?;
    Ok(())
}

async fn another_list(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (endpoints("a", 1), endpoints("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["a"]).await;
    let told = stream.next_of(&EDS, "EDS +a").await?;
    stream.ack(&told).await;
    drop(stream);
    let mut stream = bench.open(variant).await?;
    stream.send(Ask::new(&EDS).subscribe(&["a", "b"]).version(&told.version)).await;
    stream.hear(&EDS, &[&b], &[]).await?;
    Ok(())
}

async fn versions_sotw(bench: &Bench, variant: Variant) -> Outcome {
    let mut versions = Vec::new();
    for revision in [1, 2] {
        bench.put(&[&cluster("a", revision), &cluster("b", 1)]).await?;
        for _ in 0..2 {
            let mut stream = bench.open(variant).await?;
            stream.subscribe(&CDS, &[]).await;
            versions.push(stream.next_of(&CDS, "CDS +a +b").await?.version);
        }
    }
    ensure(versions.iter().all(|v| !v.is_empty()), "a version_info in every response", || "none".into())?;
    let stable = versions[0] == versions[1] && versions[2] == versions[3];
    ensure(stable, "equal versions on two streams", || versions.join(", "))?;
    ensure(versions[0] != versions[2], "another version for other content", || versions.join(", "))
}
