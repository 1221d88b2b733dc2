//! Whole sets: listeners and clusters in SotW.

use super::{Bench, CDS, Check, EDS, LDS, content::*};
use crate::{
    Resource, TypeUrl,
    protocol::Variant,
    testing::conformance::case::{Outcome, checks, section::*},
};

pub(super) const CHECKS: &[Check<Bench>] = checks! {
    sotw "a-change-brings-the-whole-set", Must, GROUPING,
        "When one cluster or listener changes, all of them are sent." => whole;
    sotw "absence-deletes", Must, DELETING,
        "A cluster or listener that was removed is not in the next response, which comes for that reason." => absence;
    sotw "the-last-is-removed", Must, DELETING,
        "When the last one was removed, an empty response comes." => empty;
    sotw "endpoints-absent-stay", Must, DELETING,
        "Endpoints that were removed and others that changed: the response is of the others, and the stream goes on." => endpoints_stay;
};

/// Makes a resource of a name and revision.
type Make = fn(&str, u32) -> Resource;

/// The types whose responses are whole sets.
const KINDS: [(TypeUrl, Make); 2] = [(CDS, cluster), (LDS, listener)];

async fn whole(bench: &Bench, variant: Variant) -> Outcome {
    for (type_url, make) in KINDS {
        let (a, b, c, b2) = (make("a", 1), make("b", 1), make("c", 1), make("b", 2));
        bench.put(&[&a, &b, &c]).await?;
        let mut stream = bench.open(variant).await?;
        stream.subscribe(&type_url, &[]).await;
        stream.hear(&type_url, &[&a, &b, &c], &[]).await?;
        bench.put(&[&b2]).await?;
        stream.hear(&type_url, &[&a, &b2, &c], &[]).await?;
    }
    Ok(())
}

async fn absence(bench: &Bench, variant: Variant) -> Outcome {
    for (type_url, make) in KINDS {
        let (a, b) = (make("a", 1), make("b", 1));
        bench.put(&[&a, &b]).await?;
        let mut stream = bench.open(variant).await?;
        stream.subscribe(&type_url, &[]).await;
        stream.hear(&type_url, &[&a, &b], &[]).await?;
        bench.remove(&[(&type_url, "b")]).await?;
        stream.hear(&type_url, &[&a], &[]).await?;
    }
    Ok(())
}

async fn empty(bench: &Bench, variant: Variant) -> Outcome {
    for (type_url, make) in KINDS {
        let a = make("a", 1);
        bench.put(&[&a]).await?;
        let mut stream = bench.open(variant).await?;
        stream.subscribe(&type_url, &[]).await;
        stream.hear(&type_url, &[&a], &[]).await?;
        bench.remove(&[(&type_url, "a")]).await?;
        stream.hear(&type_url, &[], &[]).await?;
    }
    Ok(())
}

async fn endpoints_stay(bench: &Bench, variant: Variant) -> Outcome {
    let (a, b) = (endpoints("a", 1), endpoints("b", 1));
    bench.put(&[&a, &b]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["a", "b"]).await;
    stream.hear(&EDS, &[&a, &b], &[]).await?;
    let b2 = endpoints("b", 2);
    bench.update(&[&b2], &[(&EDS, "a")]).await?;
    stream.hear(&EDS, &[&b2], &[]).await?;
    let a3 = endpoints("a", 3);
    bench.put(&[&a3]).await?;
    stream.hear(&EDS, &[&a3], &[]).await?;
    Ok(())
}
