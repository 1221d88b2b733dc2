//! Requests that one hop could read in another way than the next: what goes on must be one proper request, or nothing.
//!
//! Each case is sent as raw bytes to `mesh proxy` and to Envoy, both started from the same file, with a server behind that
//! keeps what arrives. Cases are ours; expectations are of three kinds: rules that hold for every case, whether the case may
//! arrive at all, and Envoy's own answer, where every difference is listed with its reason.

#[path = "smuggling/h1.rs"]
mod h1;
#[path = "smuggling/h2.rs"]
mod h2;
#[path = "smuggling/run.rs"]
mod run;

use mesh_tests::{
    data_plane::{DataPlane, Kind, forwarding},
    recorder::Recorder,
};
use run::{Case, Outcome};

/// Where we answer otherwise than Envoy, and why.
const DIFFERENCES: &[(&str, &str)] = &[];

fn check(cases: Vec<Case>) {
    let mut found = Vec::new();
    let run = |kind: Kind| {
        let recorder = Recorder::start();
        let proxy = DataPlane::start(kind, &forwarding(recorder.address, |_| {}));
        run::all(proxy.listener("l"), &recorder, &cases)
    };
    let (ours, envoys) = std::thread::scope(|scope| {
        let envoys = scope.spawn(|| run(Kind::Envoy));
        (run(Kind::Mesh), envoys.join().expect("Envoy's run ends"))
    });
    let mut broken = Vec::new();
    for ((case, ours), envoys) in cases.iter().zip(&ours).zip(&envoys) {
        broken.extend(rules(case, ours).map(|why| format!("{}: {why}: {ours:?}", case.name)));
        if ours.summary(case) != envoys.summary(case) {
            found.push(case.name);
            let listed = DIFFERENCES.iter().any(|(name, _)| *name == case.name);
            if !listed {
                broken.push(format!(
                    "{}:\n  ours   {}\n  Envoy  {}",
                    case.name,
                    ours.summary(case),
                    envoys.summary(case)
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let stale =
        DIFFERENCES.iter().filter(|(name, _)| cases.iter().any(|case| case.name == *name) && !found.contains(name));
    assert_eq!(stale.count(), 0, "no difference any more; found are {found:?}");
}

/// What holds whatever Envoy does.
fn rules(case: &Case, outcome: &Outcome) -> Option<String> {
    if let Some(bad) = outcome.requests.iter().find(|r| r.malformed.is_some()) {
        return Some(format!("a malformed request went on: {bad:?}"));
    }
    if outcome.requests.len() > case.at_most {
        return Some(format!("{} requests went on, {} at most may", outcome.requests.len(), case.at_most));
    }
    if outcome.requests.iter().any(|r| r.line.contains("smuggled")) {
        return Some("a body was taken for a request".to_owned());
    }
    if outcome.requests.is_empty() && outcome.statuses.iter().any(|s| (1..400).contains(s)) {
        return Some("it was answered with success and did not arrive".to_owned());
    }
    None
}

#[test]
fn http1() {
    check(h1::cases());
}

#[test]
fn http2_to_http1() {
    check(h2::cases());
}
