//! Answers that warming clusters wait for.

use super::{Bench, CDS, Check, EDS, content::*};
use crate::{
    protocol::Variant,
    testing::conformance::{
        case::{Outcome, checks, section::*},
        wire::Ask,
    },
};

pub(super) const CHECKS: &[Check<Bench>] = checks! {
    delta "endpoints-follow-a-changed-cluster", Should, WARMING,
        "When a cluster changes, its endpoints are told again although they did not: it is warm only then." => delta;
    sotw "endpoints-are-answered-for-a-changed-cluster", Should, WARMING,
        "When a cluster changed, the same list of endpoints under the same nonce is answered." => sotw;
};

async fn delta(bench: &Bench, variant: Variant) -> Outcome {
    let (c, e) = (cluster("n", 1), endpoints("n", 1));
    bench.put(&[&c, &e]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &["*"]).await;
    stream.hear(&CDS, &[&c], &[]).await?;
    stream.subscribe(&EDS, &["n"]).await;
    stream.hear(&EDS, &[&e], &[]).await?;
    stream.forget(&EDS);
    let c2 = cluster("n", 2);
    bench.put(&[&c2]).await?;
    stream.hear(&CDS, &[&c2], &[]).await?;
    stream.hear(&EDS, &[&e], &[]).await?;
    Ok(())
}

async fn sotw(bench: &Bench, variant: Variant) -> Outcome {
    let (c, e) = (cluster("n", 1), endpoints("n", 1));
    bench.put(&[&c, &e]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &[]).await;
    stream.hear(&CDS, &[&c], &[]).await?;
    stream.subscribe(&EDS, &["n"]).await;
    let told = stream.next_of(&EDS, "EDS +n").await?;
    stream.ack(&told).await;
    let c2 = cluster("n", 2);
    bench.put(&[&c2]).await?;
    stream.hear(&CDS, &[&c2], &[]).await?;
    stream.send(Ask::new(&EDS).subscribe(&["n"]).nonce(&told.nonce).version(&told.version)).await;
    stream.hear(&EDS, &[&e], &[]).await?;
    Ok(())
}
