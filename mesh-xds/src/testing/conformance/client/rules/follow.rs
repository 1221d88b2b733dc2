//! From what a client is told to what it asks for next. By watching alone.

use super::{
    Bench, CDS, Check, EDS, LDS, Play, RDS, Stream,
    bench::{removal, response},
};
use crate::{
    TypeUrl,
    protocol::Variant,
    testing::conformance::{
        case::{Outcome, checks, ensure, not_applicable, section::*},
        content,
        wire::{Ask, short},
    },
};

pub(super) const CHECKS: &[Check<Bench>] = checks! {
    both "endpoints-are-asked-for", Must, UPDATES,
        "A cluster of type EDS makes its client ask for the endpoints by name." => follows;
    both "types-have-their-own-nonces", Must, ADS,
        "Each answer on an aggregated stream has the nonce of a response of its own type." => own_nonces;
    both "unrequested-is-ignored", Must, NAMES,
        "A resource that was not asked for is accepted and ignored." => unrequested;
    both "endpoints-are-dropped-with-their-cluster", Should, UNSUBSCRIBING,
        "When a cluster is gone its client asks no longer for its endpoints." => dropped;
};

/// Gives the client its world, type by type as it asks, until it has been given `last`. Gives every request heard.
async fn serve(play: &Play, stream: &mut Stream, first: Ask, last: &TypeUrl) -> Outcome<Vec<Ask>> {
    if play.hands().is_ok() {
        return not_applicable("the client is told by hand what to ask for");
    }
    let mut heard = vec![first];
    let mut told: Vec<TypeUrl> = Vec::new();
    loop {
        let wanted = |t: &TypeUrl| {
            let names = stream.names(t);
            names.contains("*") || names.contains(play.world.name())
        };
        match [CDS, EDS, LDS, RDS].into_iter().find(|t| !told.contains(t) && wanted(t)) {
            Some(type_url) => {
                stream.tell(play.told(&type_url, 1)?).await;
                if type_url == *last {
                    return Ok(heard);
                }
                told.push(type_url);
            }
            None => {
                let asked = format!("{} asked for by name", short(last));
                heard.push(stream.next(&asked).await?);
            }
        }
    }
}

async fn follows(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream, first) = bench.begin_alone(variant).await?;
    serve(&play, &mut stream, first, &EDS).await?;
    let names = stream.names(&EDS);
    ensure(names.contains(play.world.name()), "the endpoints by name", || format!("{names:?}"))
}

async fn own_nonces(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream, first) = bench.begin_alone(variant).await?;
    let mut heard = serve(&play, &mut stream, first, &EDS).await?;
    while heard.last().is_none_or(|ask| ask.type_url != EDS || ask.nonce.is_empty()) {
        heard.push(stream.next("an answer to the endpoints").await?);
    }
    for ask in heard.iter().filter(|ask| !ask.nonce.is_empty()) {
        let own = format!("nonce-{}-", short(&ask.type_url).to_lowercase());
        ensure(ask.nonce.starts_with(&own), "a nonce of the type", || ask.to_string())?;
        ensure(ask.error.is_none(), "acceptances", || ask.to_string())?;
    }
    Ok(())
}

async fn unrequested(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream, first) = bench.begin_alone(variant).await?;
    if play.hands().is_ok() {
        return in_hand(bench, variant).await;
    }
    serve(&play, &mut stream, first, &EDS).await?;
    let mut told = play.told(&EDS, 2)?;
    told.items.extend(response(&EDS, &[&content::endpoints("stranger", 1)]).items);
    stream.accepted(told).await?;
    Ok(())
}

async fn in_hand(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream) = bench.watching(variant, &EDS, &["a"]).await?;
    let (a, stranger) = (content::endpoints("a", 1), content::endpoints("stranger", 1));
    stream.accepted(response(&EDS, &[&a, &stranger])).await?;
    play.holds(&EDS, &[&a]).await
}

async fn dropped(bench: &Bench, variant: Variant) -> Outcome {
    let (play, mut stream, first) = bench.begin_alone(variant).await?;
    serve(&play, &mut stream, first, &EDS).await?;
    let gone = match variant {
        Variant::Delta => removal(&CDS, &[play.world.name()]),
        Variant::Sotw => response(&CDS, &[]),
    };
    stream.tell(gone).await;
    while stream.names(&EDS).contains(play.world.name()) {
        stream.next("the endpoints dropped").await?;
    }
    Ok(())
}
