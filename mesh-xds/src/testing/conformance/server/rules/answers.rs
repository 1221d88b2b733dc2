//! Acceptances, refusals, nonces.

use super::{Bench, CDS, Check, EDS, LDS, content::*};
use crate::{
    protocol::Variant,
    testing::conformance::{
        case::{Outcome, broken, checks, ensure, not_applicable, section::*},
        wire::Ask,
    },
};

pub(super) const CHECKS: &[Check<Bench>] = checks! {
    both "accepted-is-not-repeated", Should, WHEN,
        "What was accepted is not sent again while it does not change." => quiet_after_ack;
    both "refused-is-not-repeated", Should, WHEN,
        "What was refused is not sent again while it does not change." => quiet_after_nack;
    both "refused-then-changed", Must, NACK,
        "After a refusal the changed resource is sent." => changed_after_nack;
    both "refusal-spares-other-types", Must, ADS,
        "After a refusal other types go on." => nack_spares_others;
    delta "refused-bytes-stay-away", Practice, WHEN,
        "After a refusal a change of another resource does not bring the refused content again." => refused_bytes;
    delta "refused-removal-comes-again", Practice, ACK,
        "A removal that was refused along with its response is told with the next." => refused_removal;
    sotw "older-version-is-no-refusal", Must, ACK,
        "An answer without error_detail accepts, whatever version it names, and its list counts." => older_version;
    sotw "refusal-at-the-same-version", Should, ACK,
        "An answer with error_detail refuses although it names the version that was sent." => same_version;
    both "nonces-differ", Must, BASIC,
        "Every response has a nonce, and no two of a type on one stream have the same." => nonces_differ;
    both "nonce-of-an-earlier-stream", Must, BASIC,
        "The first request of a stream is served whatever nonce it carries." => earlier_stream;
    sotw "stale-nonce-is-not-answered", Should, UPDATES,
        "A request under a nonce that a newer response has overtaken is not answered; the next under the newer one is." => stale_nonce;
    both "nonce-of-another-type", Practice, ADS,
        "The nonce of one type answers no response of another." => foreign_nonce;
    both "one-response-waits", Practice, ACK,
        "While a response waits for its answer, no other of the type is sent." => one_waits;
    both "changes-merge", Practice, WHEN,
        "What changes several times while a response waits is sent once, as it is in the end." => merge;
    both "node-in-the-first-request-only", Must, BASIC,
        "Requests without a node are served as the node of the first." => node_once;
};

async fn quiet_after_ack(bench: &Bench, variant: Variant) -> Outcome {
    let (c, e) = (cluster("c", 1), endpoints("e", 1));
    bench.put(&[&c, &e]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &[]).await;
    stream.hear(&CDS, &[&c], &[]).await?;
    stream.subscribe(&EDS, &["e"]).await;
    stream.hear(&EDS, &[&e], &[]).await?;
    stream.quiet("silence after everything was accepted").await
}

async fn quiet_after_nack(bench: &Bench, variant: Variant) -> Outcome {
    let (c, e) = (cluster("c", 1), endpoints("e", 1));
    bench.put(&[&c, &e]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &[]).await;
    let told = stream.next_of(&CDS, "CDS +c").await?;
    stream.nack(&told).await;
    stream.quiet("silence after a refusal").await?;
    stream.subscribe(&EDS, &["e"]).await;
    let told = stream.next_of(&EDS, "EDS +e").await?;
    stream.nack(&told).await;
    stream.quiet("silence after a refusal").await
}

async fn changed_after_nack(bench: &Bench, variant: Variant) -> Outcome {
    let mut stream = bench.open(variant).await?;
    bench.put(&[&cluster("c", 1), &endpoints("e", 1)]).await?;
    stream.subscribe(&CDS, &[]).await;
    let told = stream.next_of(&CDS, "CDS +c").await?;
    stream.nack(&told).await;
    let c2 = cluster("c", 2);
    bench.put(&[&c2]).await?;
    stream.hear(&CDS, &[&c2], &[]).await?;
    stream.subscribe(&EDS, &["e"]).await;
    let told = stream.next_of(&EDS, "EDS +e").await?;
    stream.nack(&told).await;
    let e2 = endpoints("e", 2);
    bench.put(&[&e2]).await?;
    stream.hear(&EDS, &[&e2], &[]).await?;
    Ok(())
}

async fn nack_spares_others(bench: &Bench, variant: Variant) -> Outcome {
    let e = endpoints("e", 1);
    bench.put(&[&cluster("c", 1), &e]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &[]).await;
    let told = stream.next_of(&CDS, "CDS +c").await?;
    stream.nack(&told).await;
    stream.subscribe(&EDS, &["e"]).await;
    stream.hear(&EDS, &[&e], &[]).await?;
    let e2 = endpoints("e", 2);
    bench.put(&[&e2]).await?;
    stream.hear(&EDS, &[&e2], &[]).await?;
    Ok(())
}

async fn refused_bytes(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (endpoints("a", 1), endpoints("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["a", "b"]).await;
    stream.hear(&EDS, &[&a, &b], &[]).await?;
    bench.put(&[&endpoints("a", 2)]).await?;
    let told = stream.next_of(&EDS, "EDS +a").await?;
    stream.nack(&told).await;
    let b2 = endpoints("b", 2);
    bench.put(&[&b2]).await?;
    let heard = stream.hear(&EDS, &[&b2], &[]).await?;
    let again = heard.iter().find(|told| told.item("a").is_some());
    ensure(again.is_none(), "EDS +b alone", || again.map(ToString::to_string).unwrap_or_default())?;
    stream.no_news_of(&EDS, "a", "silence about a, which was refused").await
}

async fn refused_removal(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (cluster("a", 1), cluster("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &["*"]).await;
    stream.hear(&CDS, &[&a, &b], &[]).await?;
    bench.update(&[&cluster("b", 2)], &[(&CDS, "a")]).await?;
    for _ in 0..2 {
        let told = stream.next_of(&CDS, "CDS +b -a, in one response or two").await?;
        stream.nack(&told).await;
        if !told.removed.is_empty() {
            break;
        }
    }
    let b3 = cluster("b", 3);
    bench.put(&[&b3]).await?;
    stream.hear(&CDS, &[&b3], &["a"]).await?;
    Ok(())
}

async fn older_version(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (endpoints("a", 1), endpoints("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["a"]).await;
    let first = stream.next_of(&EDS, "EDS +a").await?;
    stream.ack(&first).await;
    bench.put(&[&endpoints("a", 2)]).await?;
    let second = stream.next_of(&EDS, "EDS +a").await?;
    stream.send(Ask::new(&EDS).subscribe(&["a", "b"]).nonce(&second.nonce).version(&first.version)).await;
    stream.hear(&EDS, &[&b], &[]).await?;
    Ok(())
}

async fn same_version(bench: &Bench, variant: Variant) -> Outcome {
    bench.put(&[&endpoints("a", 1), &endpoints("b", 1)]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["a"]).await;
    let told = stream.next_of(&EDS, "EDS +a").await?;
    stream.ack(&told).await;
    stream.subscribe(&EDS, &["b"]).await;
    let told = stream.next_of(&EDS, "EDS +b").await?;
    let refusal = stream.answer(&told).version(&told.version).refuse("refused at the version that was sent");
    stream.send(refusal).await;
    stream.no_news_of(&EDS, "b", "silence about b, which was refused").await?;
    let b2 = endpoints("b", 2);
    bench.put(&[&b2]).await?;
    stream.hear(&EDS, &[&b2], &[]).await?;
    Ok(())
}

async fn nonces_differ(bench: &Bench, variant: Variant) -> Outcome {
    let mut stream = bench.open(variant).await?;
    for revision in 1..4 {
        let (c, e) = (cluster("c", revision), endpoints("e", revision));
        bench.put(&[&c, &e]).await?;
        if revision == 1 {
            stream.subscribe(&CDS, &[]).await;
            stream.subscribe(&EDS, &["e"]).await;
        }
        stream.hear(&CDS, &[&c], &[]).await?;
        stream.hear(&EDS, &[&e], &[]).await?;
    }
    let mut seen = std::collections::BTreeSet::new();
    for told in stream.log() {
        let new = !told.nonce.is_empty() && seen.insert((told.type_url.clone(), told.nonce.clone()));
        ensure(new, "a nonce of its own in each response", || told.to_string())?;
    }
    Ok(())
}

async fn earlier_stream(bench: &Bench, variant: Variant) -> Outcome {
    let c = cluster("c", 1);
    bench.put(&[&c]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &[]).await;
    let told = stream.next_of(&CDS, "CDS +c").await?;
    stream.ack(&told).await;
    drop(stream);
    let mut stream = bench.open(variant).await?;
    stream.send(Ask::new(&CDS).nonce(&told.nonce)).await;
    stream.hear(&CDS, &[&c], &[]).await?;
    Ok(())
}

async fn stale_nonce(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (endpoints("a", 1), endpoints("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["a"]).await;
    let first = stream.next_of(&EDS, "EDS +a").await?;
    stream.ack(&first).await;
    bench.put(&[&endpoints("a", 2)]).await?;
    let second = stream.next_of(&EDS, "EDS +a").await?;
    stream.send(Ask::new(&EDS).subscribe(&["a", "b"]).nonce(&first.nonce).version(&first.version)).await;
    stream.no_news_of(&EDS, "b", "silence about b, which was asked for under a stale nonce").await?;
    stream.send(Ask::new(&EDS).subscribe(&["a", "b"]).nonce(&second.nonce).version(&second.version)).await;
    stream.hear(&EDS, &[&b], &[]).await?;
    Ok(())
}

async fn foreign_nonce(bench: &Bench, variant: Variant) -> Outcome {
    let l = listener("l", 1);
    bench.put(&[&cluster("c", 1), &l]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &[]).await;
    let told = stream.next_of(&CDS, "CDS +c").await?;
    let c2 = cluster("c", 2);
    bench.put(&[&c2]).await?;
    if stream.quiet_of(&CDS, "").await.is_err() {
        return not_applicable("the server does not wait for answers, so that it cannot be seen what it takes for one");
    }
    stream.send(Ask::new(&LDS).nonce(&told.nonce)).await;
    stream.quiet_of(&CDS, "silence about clusters, whose response was not answered").await?;
    stream.ack(&told).await;
    stream.hear(&CDS, &[&c2], &[]).await?;
    Ok(())
}

async fn one_waits(bench: &Bench, variant: Variant) -> Outcome {
    bench.put(&[&cluster("c", 1)]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &[]).await;
    let told = stream.next_of(&CDS, "CDS +c").await?;
    let c2 = cluster("c", 2);
    bench.put(&[&c2]).await?;
    stream.quiet("silence until the response is answered").await?;
    stream.ack(&told).await;
    stream.hear(&CDS, &[&c2], &[]).await?;
    Ok(())
}

async fn merge(bench: &Bench, variant: Variant) -> Outcome {
    bench.put(&[&cluster("c", 1)]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &[]).await;
    let told = stream.next_of(&CDS, "CDS +c").await?;
    for revision in 2..6 {
        bench.put(&[&cluster("c", revision)]).await?;
    }
    stream.ack(&told).await;
    let heard = stream.hear(&CDS, &[&cluster("c", 5)], &[]).await?;
    match heard.as_slice() {
        [_] => Ok(()),
        more => broken("one response with the last content", format!("{} responses", more.len())),
    }
}

async fn node_once(bench: &Bench, variant: Variant) -> Outcome {
    let (c, e) = (cluster("c", 1), endpoints("e", 1));
    bench.put(&[&c, &e]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&CDS, &[]).await;
    stream.hear(&CDS, &[&c], &[]).await?;
    stream.subscribe(&EDS, &["e"]).await;
    stream.hear(&EDS, &[&e], &[]).await?;
    Ok(())
}
