//! First requests, acceptances, refusals. By watching alone.

use super::{
    Bench, Check,
    bench::{removal, response},
};
use crate::{
    protocol::Variant,
    testing::conformance::{
        case::{Outcome, checks, ensure, section::*},
        content,
    },
};

pub(super) const CHECKS: &[Check<Bench>] = checks! {
    both "first-request-has-the-node", Must, BASIC,
        "The first request of a stream has the node, with an id." => node;
    both "first-request-answers-nothing", Must, BASIC,
        "The first request of a fresh client has neither nonce nor version nor error, and holds nothing." => fresh;
    both "acceptance-echoes", Must, ACK,
        "A response is accepted under its nonce and, in SotW, its version." => accepts;
    both "refusal-has-a-reason", Must, NACK,
        "A response that cannot be read is refused under its nonce, with a message in error_detail." => refuses;
    sotw "refusal-keeps-the-version", Must, NACK,
        "A refusal has the version accepted before: none at first, later the last." => keeps_version;
    both "good-after-bad", Must, NACK,
        "After a refusal a good response is accepted." => good_after_bad;
    both "every-response-is-answered", Should, ACK,
        "Several responses in a row are answered each, in order." => each;
    both "duplicates-are-refused", Should, DUPLICATES,
        "A response that has one name twice is refused." => duplicates;
    both "foreign-type-is-refused", Practice, BASIC,
        "A response that holds a resource of another type than its own is refused." => foreign;
    both "empty-response-is-accepted", Must, DELETING,
        "A response without resources is accepted." => empty;
    delta "removal-of-the-unknown-is-accepted", Must, DELTA_MISSING,
        "A removal of a name the client does not hold is accepted." => unknown_removed;
};

async fn node(bench: &Bench, variant: Variant) -> Outcome {
    let (_play, _stream, first) = bench.begin(variant).await?;
    let id = first.node.map(|node| node.id).unwrap_or_default();
    ensure(!id.is_empty(), "a node with an id", || "none".into())
}

async fn fresh(bench: &Bench, variant: Variant) -> Outcome {
    let (_play, _stream, first) = bench.begin(variant).await?;
    let empty = first.nonce.is_empty() && first.version.is_empty() && first.error.is_none() && first.held.is_empty();
    ensure(empty, "a request with names alone", || first.to_string())
}

async fn accepts(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream, first) = bench.begin(variant).await?;
    stream.accepted(play.told(&first.type_url, 1)?).await?;
    Ok(())
}

async fn refuses(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream, first) = bench.begin(variant).await?;
    stream.refused(play.unreadable(&first.type_url)?).await?;
    Ok(())
}

async fn keeps_version(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream, first) = bench.begin(variant).await?;
    let refusal = stream.refused(play.unreadable(&first.type_url)?).await?;
    ensure(refusal.version.is_empty(), "a refusal without a version", || refusal.to_string())?;
    let acceptance = stream.accepted(play.told(&first.type_url, 1)?).await?;
    let refusal = stream.refused(play.unreadable(&first.type_url)?).await?;
    let expected = format!("a refusal that keeps the version {}", acceptance.version);
    ensure(refusal.version == acceptance.version, &expected, || refusal.to_string())
}

async fn good_after_bad(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream, first) = bench.begin(variant).await?;
    for revision in 1..3 {
        stream.refused(play.unreadable(&first.type_url)?).await?;
        stream.accepted(play.told(&first.type_url, revision)?).await?;
    }
    Ok(())
}

async fn each(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream, first) = bench.begin(variant).await?;
    let mut told = Vec::new();
    for revision in 1..4 {
        told.push(stream.tell(play.told(&first.type_url, revision)?).await);
    }
    for one in &told {
        // One whose turn was passed over is never found.
        let ask = stream.answer(one).await?;
        ensure(ask.error.is_none(), "an acceptance", || ask.to_string())?;
    }
    Ok(())
}

async fn duplicates(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream, first) = bench.begin(variant).await?;
    let mut told = play.told(&first.type_url, 1)?;
    told.items.extend(play.told(&first.type_url, 2)?.items);
    stream.refused(told).await?;
    Ok(())
}

async fn foreign(bench: &Bench, variant: Variant) -> Outcome {
    let (_play, mut stream, first) = bench.begin(variant).await?;
    let mut told = response(&first.type_url, &[&content::routes("foreign", "foreign")]);
    told.removed.clear();
    stream.refused(told).await?;
    Ok(())
}

async fn empty(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream, first) = bench.begin(variant).await?;
    stream.accepted(response(&first.type_url, &[])).await?;
    stream.accepted(play.told(&first.type_url, 1)?).await?;
    Ok(())
}

async fn unknown_removed(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream, first) = bench.begin(variant).await?;
    stream.accepted(removal(&first.type_url, &["never-seen"])).await?;
    stream.accepted(play.told(&first.type_url, 1)?).await?;
    Ok(())
}
