//! Resources that live for a time.

use std::time::Duration;

use mesh_xds_api::envoy::config::core::v3::Node;

use super::{Bench, Check, EDS, content::*};
use crate::{
    protocol::Variant,
    testing::conformance::case::{Outcome, broken, checks, ensure, section},
};

pub(super) const CHECKS: &[Check<Bench>] = checks! {
    both "ttl-is-told", Must, section::TTL,
        "A resource with a time to live is sent with it." => told;
    both "ttl-heartbeat", Must, section::TTL,
        "Before the time is over the resource is said again, with its content or, as a heartbeat, without." => heartbeat;
    both "ttl-is-taken-away", Must, section::TTL,
        "A resource that loses its time to live is sent without one." => taken_away;
    both "ttl-needs-the-client-feature", Must, section::TTL,
        "A client that does not say it supports them gets no times to live." => feature;
};

const LIFE: Duration = Duration::from_secs(2);

async fn told(bench: &Bench, variant: Variant) -> Outcome {
    let e = endpoints("e", 1);
    bench.put_with_ttl(&e, LIFE).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["e"]).await;
    let heard = stream.hear(&EDS, &[&e], &[]).await?;
    let ttl = heard.iter().find_map(|told| told.item("e")).and_then(|item| item.ttl);
    ensure(ttl == Some(LIFE), "a ttl of two seconds", || format!("{ttl:?}"))
}

async fn heartbeat(bench: &Bench, variant: Variant) -> Outcome {
    let e = endpoints("e", 1);
    bench.put_with_ttl(&e, LIFE).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["e"]).await;
    let heard = stream.hear(&EDS, &[&e], &[]).await?;
    let version = heard.iter().find_map(|told| told.item("e")).map(|item| item.version.clone()).unwrap_or_default();
    let start = tokio::time::Instant::now();
    for _ in 0..2 {
        let again = tokio::time::timeout_at(start + 2 * LIFE, stream.next_of(&EDS, "a heartbeat")).await;
        let Ok(again) = again else { return broken("a heartbeat in time", "none") };
        let again = again?;
        stream.ack(&again).await;
        let item = again.item("e").filter(|i| i.ttl == Some(LIFE) && i.version == version);
        ensure(item.is_some(), "e again, with its ttl and its version", || format!("{again:?}"))?;
    }
    ensure(start.elapsed() < 2 * LIFE, "two heartbeats within twice the ttl", || format!("{:?}", start.elapsed()))
}

async fn taken_away(bench: &Bench, variant: Variant) -> Outcome {
    let e = endpoints("e", 1);
    bench.put_with_ttl(&e, LIFE).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["e"]).await;
    stream.hear(&EDS, &[&e], &[]).await?;
    bench.put(&[&e]).await?;
    // Heartbeats may be on their way.
    for _ in 0..4 {
        let told = stream.next_of(&EDS, "e without a ttl").await?;
        stream.ack(&told).await;
        if told.item("e").is_some_and(|item| item.ttl.is_none()) {
            return Ok(());
        }
    }
    broken("e without a ttl", "four responses with one")
}

async fn feature(bench: &Bench, variant: Variant) -> Outcome {
    let e = endpoints("e", 1);
    bench.put_with_ttl(&e, LIFE).await?;
    let node = Node { client_features: Vec::new(), ..bench.node().clone() };
    let mut stream = bench.open_as(variant, node).await?;
    stream.subscribe(&EDS, &["e"]).await;
    let heard = stream.hear(&EDS, &[&e], &[]).await?;
    let ttl = heard.iter().find_map(|told| told.item("e")).and_then(|item| item.ttl);
    ensure(ttl.is_none(), "no ttl", || format!("{ttl:?}"))
}
