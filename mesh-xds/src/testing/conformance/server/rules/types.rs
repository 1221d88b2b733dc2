//! Types beside each other, and services of one type.

use std::collections::BTreeSet;

use super::{
    Bench, CDS, Check, EDS, LDS, RDS,
    content::*,
    stream::{Service, Stream},
};
use crate::{
    TypeUrl,
    protocol::Variant,
    testing::conformance::{
        case::{Finding, Outcome, checks, ensure, section::*},
        wire::Ask,
    },
};

pub(super) const CHECKS: &[Check<Bench>] = checks! {
    both "types-apart", Must, ADS,
        "Names dropped and responses refused of one type mean nothing for another." => apart;
    both "responses-are-well-formed", Must, DUPLICATES,
        "A response names its type, holds resources of that type only, and no name twice." => shape;
    both "no-type-on-the-aggregated-service", Practice, TYPE_URL,
        "A request without a type ends an aggregated stream with INVALID_ARGUMENT." => no_type;
    both "service-of-one-type", Must, TYPE_URL,
        "A service of one type serves it, also when requests leave the type out." => one_type;
    both "service-of-one-type-has-no-other", Practice, TYPE_URL,
        "A service of one type does not serve another." => other_type;
};

async fn apart(bench: &Bench, variant: Variant) -> Outcome {
    let (c, e, r) = (cluster("c", 1), endpoints("n", 1), routes("n", "x"));
    bench.put(&[&c, &e, &r]).await?;
    let mut stream = bench.open(variant).await?;
    stream.subscribe(&EDS, &["n"]).await;
    stream.hear(&EDS, &[&e], &[]).await?;
    stream.subscribe(&RDS, &["n"]).await;
    stream.hear(&RDS, &[&r], &[]).await?;
    stream.unsubscribe(&EDS, &["n"]).await;
    // When this is answered, that was taken.
    stream.subscribe(&CDS, &["c"]).await;
    stream.hear(&CDS, &[&c], &[]).await?;
    let r2 = routes("n", "y");
    bench.put(&[&r2]).await?;
    let told = stream.next_of(&RDS, "RDS +n").await?;
    stream.nack(&told).await;
    let e3 = endpoints("n", 3);
    bench.put(&[&e3]).await?;
    stream.subscribe(&EDS, &["n"]).await;
    stream.hear(&EDS, &[&e3], &[]).await?;
    let r3 = routes("n", "z");
    bench.put(&[&r3]).await?;
    stream.hear(&RDS, &[&r3], &[]).await?;
    Ok(())
}

async fn shape(bench: &Bench, variant: Variant) -> Outcome {
    let resources = [
        cluster("n", 1),
        cluster("m", 1),
        endpoints("n", 1),
        endpoints("m", 1),
        listener("n", 1),
        listener("m", 1),
        routes("n", "n"),
        routes("m", "m"),
    ];
    bench.put(&resources.each_ref()).await?;
    let mut stream = bench.open(variant).await?;
    for (index, type_url) in [CDS, EDS, LDS, RDS].into_iter().enumerate() {
        stream.subscribe(&type_url, &["n", "m"]).await;
        stream.hear(&type_url, &[&resources[2 * index], &resources[2 * index + 1]], &[]).await?;
    }
    stream.log().iter().try_for_each(|told| {
        let mut names = BTreeSet::new();
        let unique = told.items.iter().map(|i| &i.name).chain(&told.removed).all(|name| names.insert(name));
        ensure(unique, "each name once in a response", || told.to_string())?;
        let foreign = told.items.iter().filter_map(|i| i.any.as_ref()).find(|a| a.type_url != told.type_url.as_str());
        ensure(foreign.is_none(), "resources of the response's type", || {
            foreign.map(|any| any.type_url.clone()).unwrap_or_default()
        })
    })
}

async fn no_type(bench: &Bench, variant: Variant) -> Outcome {
    let mut stream = bench.open(variant).await?;
    stream.send(Ask::new(&TypeUrl::from("")).subscribe(&["*"])).await;
    let expected = "the end of the stream with INVALID_ARGUMENT";
    let code = stream.end(expected).await?;
    ensure(code == tonic::Code::InvalidArgument, expected, || format!("the end of the stream with {code:?}"))
}

/// A stream of the service of each type, with a name of a resource there.
async fn services(bench: &Bench, variant: Variant) -> Outcome<Vec<(TypeUrl, Stream)>> {
    let mut streams = Vec::new();
    for (type_url, service) in
        [(CDS, Service::Clusters), (EDS, Service::Endpoints), (LDS, Service::Listeners), (RDS, Service::Routes)]
    {
        streams.push((type_url, bench.open_service(variant, service).await?));
    }
    Ok(streams)
}

async fn one_type(bench: &Bench, variant: Variant) -> Outcome {
    let resources = [cluster("n", 1), endpoints("n", 1), listener("n", 1), routes("n", "n")];
    bench.put(&resources.each_ref()).await?;
    for (index, (type_url, mut stream)) in services(bench, variant).await?.into_iter().enumerate() {
        stream.send(Ask::new(&"".into()).subscribe(&["n"])).await;
        stream.hear(&type_url, &[&resources[index]], &[]).await?;
    }
    Ok(())
}

async fn other_type(bench: &Bench, variant: Variant) -> Outcome {
    bench.put(&[&cluster("n", 1), &endpoints("n", 1), &listener("n", 1), &routes("n", "n")]).await?;
    for (index, (type_url, mut stream)) in services(bench, variant).await?.into_iter().enumerate() {
        let other = [LDS, RDS, CDS, EDS][index].clone();
        stream.send(Ask::new(&other).subscribe(&["n"])).await;
        let expected = format!("a service of {} that has no {}", type_url.message_name(), other.message_name());
        match stream.no_news_of(&other, "n", &expected).await {
            // It may as well end the stream.
            Err(Finding::Broken { saw, .. }) if saw.starts_with("the end of the stream") => {}
            outcome => outcome?,
        }
    }
    Ok(())
}
