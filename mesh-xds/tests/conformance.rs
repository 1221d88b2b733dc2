//! The protocol's rules, case by case: our server and our client keep them, and peers that break one are found out.
#![cfg(all(feature = "server", feature = "client", feature = "test-util"))]
#![allow(clippy::unwrap_used)] // helpers of a test

#[path = "conformance/fault.rs"]
mod fault;
#[path = "conformance/faulty.rs"]
mod faulty;

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use fault::Fault;
use futures::StreamExt;

use mesh_xds::{
    protocol::{Variant, server::StreamLimits},
    server::{ServerLimits, XdsServer},
    store::{SingleView, View},
    testing::{
        TestServer,
        conformance::{
            Report, Verdict,
            client::{self, ClientUnderTest, MeshClient, Running, StartError, World},
            server::{self, Target, ViewFixture},
        },
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_server_keeps_the_rules() {
    let view = View::new();
    let running = TestServer::start(XdsServer::builder(SingleView(view.clone()))).await.unwrap();
    let target = Target::plain(running.address().to_string()).quiet(Duration::from_millis(150));
    let report = server::run(&target, Arc::new(ViewFixture(view))).await;
    println!("{report}");
    report.assert_passed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_keeps_the_rules() {
    let patience = client::Patience { due: Duration::from_secs(5), quiet: Duration::from_millis(150) };
    let report = client::run(Arc::new(MeshClient), patience).await;
    println!("{report}");
    report.assert_passed();
}

/// Servers that break a rule, and the cases that must find it.
const FAULTY_SERVERS: &[(Fault, &[&str])] = &[
    (Fault::NoLegacyWildcard, &["delta/wildcard-legacy", "sotw/wildcard-legacy"]),
    (Fault::LegacyWildcardForEver, &["delta/empty-after-names-is-nothing", "sotw/empty-after-names-is-nothing"]),
    (
        Fault::EndpointsHaveLegacyWildcard,
        &["delta/endpoints-have-no-legacy-wildcard", "sotw/endpoints-have-no-legacy-wildcard"],
    ),
    (
        Fault::FirstNamesOnly,
        &[
            "delta/names-added",
            "sotw/names-added",
            "sotw/names-added-under-the-same-nonce",
            "sotw/listener-names-added",
            "delta/resubscribed-is-told-again",
            "delta/wildcard-again",
            "sotw/wildcard-again",
        ],
    ),
    (
        Fault::NamesOnlyGrow,
        &[
            "delta/names-removed",
            "sotw/names-removed",
            "delta/wildcard-to-names",
            "sotw/wildcard-to-names",
            "delta/wildcard-subscribed-and-dropped",
            "delta/unsubscribed-under-a-wildcard",
        ],
    ),
    (Fault::SpontaneousDropped, &["delta/spontaneous-request", "delta/names-added"]),
    (Fault::StaleDropped, &["delta/stale-nonce-still-subscribes"]),
    (Fault::StaleAnswered, &["sotw/stale-nonce-is-not-answered"]),
    (Fault::OlderVersionRefuses, &["sotw/older-version-is-no-refusal"]),
    (Fault::RefusalsForgotten, &["delta/refused-removal-comes-again"]),
    (Fault::RepeatsRefused, &["delta/refused-is-not-repeated", "sotw/refused-is-not-repeated"]),
    (Fault::RepeatsAccepted, &["delta/accepted-is-not-repeated", "sotw/accepted-is-not-repeated"]),
    (Fault::RefusedComesAlong, &["delta/refused-bytes-stay-away"]),
    (Fault::OneNonce, &["delta/nonces-differ", "sotw/nonces-differ"]),
    (Fault::DoesNotWait, &["delta/one-response-waits", "sotw/one-response-waits"]),
    (Fault::HeldForgotten, &["delta/resume-skips-what-is-held", "delta/resume-removes-what-vanished"]),
    (
        Fault::HeldTrusted,
        &["delta/resume-sends-what-changed", "sotw/version-of-an-unknown-server", "sotw/resumed-with-another-list"],
    ),
    (Fault::VersionOfTheStream, &["delta/versions-are-of-the-content", "sotw/versions-are-of-the-content"]),
    (Fault::VersionIsOne, &["delta/versions-are-of-the-content", "sotw/versions-are-of-the-content"]),
    (
        Fault::RemovalsLost,
        &[
            "delta/removal-is-told",
            "delta/missing-name-is-answered",
            "delta/resume-then-change",
            "sotw/absence-deletes",
            "sotw/the-last-is-removed",
        ],
    ),
    (Fault::RemovalsRepeated, &["delta/removal-is-told-once"]),
    (
        Fault::UnchangedIsNotSent,
        &[
            "delta/resubscribed-is-told-again",
            "delta/name-back-is-told-again",
            "sotw/name-back-is-told-again",
            "delta/endpoints-follow-a-changed-cluster",
            "sotw/endpoints-are-answered-for-a-changed-cluster",
        ],
    ),
    (Fault::PartOfTheSet, &["sotw/a-change-brings-the-whole-set"]),
    (Fault::AllOfTheSet, &["delta/only-the-change-is-sent"]),
    (Fault::Twice, &["delta/responses-are-well-formed", "sotw/responses-are-well-formed"]),
    (
        Fault::SlowClusters,
        &[
            "delta/added-in-order",
            "sotw/added-in-order",
            "delta/removed-cluster-goes-last",
            "sotw/removed-cluster-goes-last",
        ],
    ),
    (Fault::UnsubscribesAllTypes, &["delta/types-apart", "sotw/types-apart"]),
    (Fault::NoTypeIsIgnored, &["delta/no-type-on-the-aggregated-service", "sotw/no-type-on-the-aggregated-service"]),
    (Fault::NonceOfAnyType, &["delta/nonce-of-another-type", "sotw/nonce-of-another-type"]),
    (Fault::NodeEachTime, &["delta/node-in-the-first-request-only", "sotw/node-in-the-first-request-only"]),
    (Fault::OldNonceDropped, &["delta/nonce-of-an-earlier-stream", "sotw/nonce-of-an-earlier-stream"]),
    (
        Fault::ChangesLost,
        &[
            "delta/wildcard-explicit",
            "sotw/wildcard-explicit",
            "delta/wildcard-continues-with-a-name",
            "sotw/wildcard-continues-with-a-name",
            "delta/refused-then-changed",
            "sotw/refused-then-changed",
            "delta/refusal-spares-other-types",
            "sotw/refusal-spares-other-types",
            "delta/a-change-is-told",
            "sotw/a-change-is-told",
            "delta/missing-name-is-told-when-created",
            "delta/name-removed-and-created-again",
            "sotw/name-removed-and-created-again",
            "sotw/endpoints-absent-stay",
            "sotw/refusal-at-the-same-version",
            "delta/changes-merge",
            "sotw/changes-merge",
            "delta/phantom-unsubscription",
        ],
    ),
    (Fault::EmptyIsNotSent, &["sotw/missing-listener-is-answered", "sotw/the-last-is-removed"]),
];

/// Clients that break a rule, and the cases that must find it.
const FAULTY_CLIENTS: &[(Fault, &[&str])] = &[
    (
        Fault::NoNode,
        &[
            "delta/first-request-has-the-node",
            "sotw/first-request-has-the-node",
            "delta/reconnect-introduces-itself-again",
            "sotw/reconnect-introduces-itself-again",
        ],
    ),
    (Fault::WrongNonce, &["delta/acceptance-echoes", "sotw/acceptance-echoes"]),
    (Fault::NoVersion, &["sotw/acceptance-echoes", "sotw/list-grows-under-the-last-nonce"]),
    (
        Fault::NeverRefuses,
        &[
            "delta/refusal-has-a-reason",
            "sotw/refusal-has-a-reason",
            "delta/good-after-bad",
            "sotw/good-after-bad",
            "delta/duplicates-are-refused",
            "sotw/duplicates-are-refused",
            "delta/foreign-type-is-refused",
            "sotw/foreign-type-is-refused",
            "delta/refused-update-is-not-held",
            "sotw/refused-update-is-not-held",
        ],
    ),
    (Fault::RefusesWithTheNewVersion, &["sotw/refusal-keeps-the-version"]),
    (Fault::AnswersEverySecond, &["delta/every-response-is-answered", "sotw/every-response-is-answered"]),
    (Fault::AddsTheNonce, &["delta/name-added-without-a-nonce"]),
    (Fault::ForgetsVersions, &["delta/reconnect-says-what-is-held", "sotw/reconnect-says-the-version"]),
    (Fault::ForgetsWildcard, &["delta/reconnect-wildcard-with-names"]),
    (
        Fault::FirstNamesOnly,
        &["sotw/list-grows-under-the-last-nonce", "delta/name-watched-again", "sotw/names-dropped"],
    ),
    (
        Fault::UnsubscriptionsLost,
        &[
            "delta/names-dropped",
            "sotw/names-dropped",
            "delta/wildcard-dropped",
            "delta/reconnect-forgets-dropped-names",
            "sotw/reconnect-forgets-dropped-names",
        ],
    ),
    (Fault::RemovalsLost, &["delta/removal-deletes", "sotw/absence-deletes"]),
];

/// Long enough for a sound peer on a busy machine.
const LONG: Duration = Duration::from_secs(10);
/// How long is waited for what a faulty peer will not do.
const SHORT: Duration = Duration::from_secs(2);

/// Runs every case that must find its fault, many at a time, by `run`. Gives those that did not.
async fn unfound<F: Future<Output = Report>>(
    faulty: &'static [(Fault, &'static [&'static str])],
    run: impl Fn(Fault, &'static str) -> F,
) -> Vec<String> {
    let cases = faulty.iter().flat_map(|(fault, names)| names.iter().map(|name| (*fault, *name)));
    let verdicts = cases.map(|(fault, name)| {
        let running = run(fault, name);
        async move { (fault, name, running.await.verdict(name).cloned()) }
    });
    let verdicts: Vec<_> = futures::stream::iter(verdicts).buffer_unordered(16).collect().await;
    let found = |verdict: &Option<Verdict>| matches!(verdict, Some(Verdict::Fail { .. }));
    verdicts.into_iter().filter(|v| !found(&v.2)).map(|v| format!("{v:?}")).collect()
}

/// How long to wait for what is due, and for what is not. A sound peer is not waited for, a faulty one is let show itself.
fn waits(fault: Fault) -> (Duration, Duration) {
    let sound = fault == Fault::Nothing;
    if sound { (LONG, Duration::from_millis(100)) } else { (SHORT, Duration::from_millis(300)) }
}

async fn report_of_server(fault: Fault, wanted: Option<&'static str>) -> Report {
    let view = View::new();
    let mut limits = ServerLimits::default();
    if fault == Fault::SlowClusters {
        // The order is then kept by nothing.
        limits.stream = StreamLimits { max_hold: Duration::ZERO, ..Default::default() };
    }
    let builder = XdsServer::builder(SingleView(view.clone())).limits(limits);
    let running = TestServer::start(builder).await.unwrap();
    let proxy = faulty::start(running.address(), fault).await;
    let (patience, quiet) = waits(fault);
    let target = Target::plain(proxy.to_string()).quiet(quiet).patience(patience);
    let fixture = Arc::new(ViewFixture(view));
    server::run_some(&target, fixture, |case| wanted.is_none_or(|w| w == case.name)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faulty_servers_are_found_out() {
    let sound = report_of_server(Fault::Nothing, None).await;
    sound.assert_passed();
    let unfound = unfound(FAULTY_SERVERS, |fault, name| report_of_server(fault, Some(name))).await;
    assert!(unfound.is_empty(), "{}", unfound.join("\n"));
    let covered: BTreeSet<&str> = FAULTY_SERVERS.iter().flat_map(|(_, wanted)| *wanted).copied().collect();
    let cases = server::cases();
    assert!(covered.len() * 5 > cases.len() * 4, "{} of {} cases were seen to fail", covered.len(), cases.len());
}

/// Our client behind a proxy that breaks a rule.
struct FaultyClient(Fault);

#[async_trait::async_trait]
impl ClientUnderTest for FaultyClient {
    async fn start(&self, server: SocketAddr, variant: Variant) -> Result<Running, StartError> {
        MeshClient.start(faulty::start(server, self.0).await, variant).await
    }

    fn world(&self) -> World {
        MeshClient.world()
    }
}

async fn report_of_client(fault: Fault, wanted: Option<&'static str>) -> Report {
    let (due, quiet) = waits(fault);
    let patience = client::Patience { due, quiet };
    client::run_some(Arc::new(FaultyClient(fault)), patience, |case, _| wanted.is_none_or(|w| w == case.name)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faulty_clients_are_found_out() {
    let sound = report_of_client(Fault::Nothing, None).await;
    sound.assert_passed();
    let unfound = unfound(FAULTY_CLIENTS, |fault, name| report_of_client(fault, Some(name))).await;
    assert!(unfound.is_empty(), "{}", unfound.join("\n"));
}
