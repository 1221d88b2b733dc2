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
const DIFFERENCES: &[(&str, &str)] = &[
    ("te-twice-identity", CODEC_ANSWERS),
    ("te-chunked-identity", CODEC_ANSWERS),
    ("te-identity", CODEC_ANSWERS),
    ("te-x-chunked", CODEC_ANSWERS),
    ("te-chunked-param", CODEC_ANSWERS),
    ("te-quoted", CODEC_ANSWERS),
    ("te-empty", CODEC_ANSWERS),
    ("te-http10", CODEC_ANSWERS),
    ("version-12", CODEC_ANSWERS),
    ("version-20", CODEC_ANSWERS),
    ("version-09", CODEC_ANSWERS),
    ("simple-request", CODEC_ANSWERS),
    ("te-folded", FOLDED),
    ("obs-fold", FOLDED),
    ("obs-fold-tab", FOLDED),
    ("chunk-bare-lf-data", "a chunk ends with CR LF (RFC 9112, section 7.1)"),
    ("chunk-data-too-long", "a chunk ends where it said (RFC 9112, section 7.1)"),
    ("bare-cr-in-value", "a bare CR makes a message invalid (RFC 9112, section 2.2); Envoy takes it out"),
    ("empty-host", "no virtual host can be meant by it"),
    ("two-hosts", "more than one host header must be answered with 400 (RFC 9112, section 3.2)"),
    ("two-equal-hosts", "more than one host header must be answered with 400 (RFC 9112, section 3.2)"),
    ("host-with-user", USER),
    ("absolute-form-user", USER),
    ("two-spaces", REQUEST_LINE),
    ("tab-delimiter", REQUEST_LINE),
    ("trailing-space", REQUEST_LINE),
    ("quotes-in-path", "the target holds characters that no URI has (RFC 3986, appendix A)"),
    (
        "upgrade-with-length",
        "both refuse; Envoy because the upgrade is not allowed, here a body before an upgrade never is",
    ),
    ("h2-path-fragment", "the codec cuts a fragment off; what goes on has none"),
];

const CODEC_ANSWERS: &str = "both refuse and close; the codec answers 400 by itself";
const FOLDED: &str = "a server may refuse folded lines, and here it does (RFC 9112, section 5.2)";
const USER: &str = "user information in an authority is an error (RFC 9110, section 4.2.4)";
const REQUEST_LINE: &str = "one space stands between the parts of a request line (RFC 9112, section 3)";

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
