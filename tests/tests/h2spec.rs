//! The HTTP/2 conformance suite h2spec (generic, HTTP/2 and HPACK parts, strict cases too) against `mesh proxy`.
//!
//! In the same run Envoy 1.40 passes 133 of the 146.

use std::process::Command;

use mesh_tests::{
    data_plane::{DataPlane, Kind, forwarding},
    peer,
    recorder::Recorder,
};

/// Cases that fail, and why that is accepted.
const ACCEPTED: &[(&str, &str)] = &[(
    "2: Sends invalid connection preface",
    "codec_type AUTO takes what does not begin as HTTP/2 for HTTP/1, and answers it so",
)];

/// The cases that failed, each with the lines that say how.
fn failures(report: &str) -> Vec<String> {
    let failed = report.split("Failures:").nth(1).unwrap_or_default();
    let titles = failed.lines().map(str::trim).filter_map(|line| line.strip_prefix("× "));
    titles.map(str::to_owned).collect()
}

#[test]
fn passes_what_can_be_passed() {
    let host = Recorder::start();
    let proxy = DataPlane::start(Kind::Mesh, &forwarding(host.address, |_| {}));
    let port = proxy.listener("l").port().to_string();
    let run = Command::new(peer::h2spec()).args(["--strict", "-h", "127.0.0.1", "-o", "3", "-p", &port]).output();
    let run = run.expect("h2spec can be started");
    let report = String::from_utf8_lossy(&run.stdout);
    let summary = report.lines().find(|line| line.contains(" tests, ")).unwrap_or_default();
    assert!(summary.starts_with("146 tests, ") && summary.contains(" 0 skipped"), "{report}");
    let failed = failures(&report);
    let accepted: Vec<&str> = ACCEPTED.iter().map(|(title, _)| *title).collect();
    assert_eq!(failed, accepted, "{report}");
}
