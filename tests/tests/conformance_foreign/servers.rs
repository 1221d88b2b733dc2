//! go-control-plane's server, with each of its caches.

use std::{process::Command, sync::Arc, time::Duration};

use mesh_tests::{peer, process::Process, wait};
use mesh_xds::testing::conformance::server::{HttpFixture, Target, run};
use serde_json::Value;

use crate::deviations::{Deviation, always, compare, sometimes};

/// What all caches have in common.
const ALL: &[Deviation] = &[
    always("github.com/envoyproxy/go-control-plane/issues/565", &["delta/missing-name-is-answered"]),
    always("github.com/envoyproxy/go-control-plane/issues/962 and 46", &["sotw/refused-is-not-repeated"]),
    always("a version is taken to be held once it was sent", &["delta/refused-removal-comes-again"]),
    always(
        "a subscribed name is not answered again while its version is the same",
        &["delta/resubscribed-is-told-again"],
    ),
    always(
        "endpoints are not told again for a cluster that warms",
        &["delta/endpoints-follow-a-changed-cluster", "sotw/endpoints-are-answered-for-a-changed-cluster"],
    ),
    always(
        "an empty first request is a wildcard for every type",
        &["delta/endpoints-have-no-legacy-wildcard", "sotw/endpoints-have-no-legacy-wildcard"],
    ),
    always(
        "a service of one type serves the type that is asked for",
        &["delta/service-of-one-type-has-no-other", "sotw/service-of-one-type-has-no-other"],
    ),
    sometimes(
        "types are watched apart: nothing orders them, and removals go with additions",
        &[
            "delta/added-in-order",
            "sotw/added-in-order",
            "delta/removed-cluster-goes-last",
            "sotw/removed-cluster-goes-last",
        ],
    ),
];

/// What snapshot caches have besides.
const SNAPSHOT: &[Deviation] = &[
    always(
        "github.com/envoyproxy/go-control-plane/pull/1300: in SotW * is a name like others, and who asks for it is \
         answered without end; an empty list means everything also after names",
        &[
            "sotw/wildcard-explicit",
            "sotw/wildcard-continues-with-a-name",
            "sotw/wildcard-to-names",
            "sotw/wildcard-again",
            "sotw/empty-after-names-is-nothing",
        ],
    ),
    always("github.com/envoyproxy/go-control-plane/pull/1300", &["delta/wildcard-again"]),
    always(
        "times to live are of SotW only, and said to every client",
        &["delta/ttl-is-told", "delta/ttl-heartbeat", "delta/ttl-is-taken-away", "sotw/ttl-needs-the-client-feature"],
    ),
];

/// What the ADS mode has besides: it answers only who names all there is (the documentation of `NewSnapshotCache`, and
/// github.com/envoyproxy/go-control-plane/issues/426).
const ADS: &[Deviation] = &[always(
    "named requests are answered when they name all of the snapshot",
    &[
        "sotw/names-added",
        "sotw/names-added-under-the-same-nonce",
        "sotw/listener-names-added",
        "sotw/names-removed",
        "sotw/missing-listener-is-answered",
        "sotw/older-version-is-no-refusal",
        "sotw/refusal-at-the-same-version",
        "sotw/stale-nonce-is-not-answered",
        "sotw/resumed-with-another-list",
    ],
)];

fn check(cache: &str, known: &[&[Deviation]]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut command = Command::new(peer::go_control_plane());
    let mut process = Process::start(command.args(["-cache", cache]), &folder.path().join("log"));
    let ports: Value = wait::until("go-control-plane is up", Duration::from_secs(20), || {
        assert!(process.ended().is_none(), "{}", process.output());
        serde_json::from_str(process.output().lines().next()?).ok()
    });
    let address = |name: &str| format!("127.0.0.1:{}", ports[name]);
    let target = Target::plain(address("xds")).patience(Duration::from_secs(2));
    let fixture = Arc::new(HttpFixture::new(address("http")));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let report = runtime.block_on(run(&target, fixture));
    compare(&format!("go-control-plane, {cache} cache"), &report, known);
}

#[test]
fn snapshot_cache_for_ads() {
    check("ads", &[ALL, SNAPSHOT, ADS]);
}

#[test]
fn snapshot_cache() {
    check("snapshot", &[ALL, SNAPSHOT]);
}

#[test]
fn linear_caches() {
    check("linear", &[ALL]);
}
