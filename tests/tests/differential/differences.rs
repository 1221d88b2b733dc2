//! The differences that are known, each with a line in `mesh-proxy/docs/differences.md`.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::case::{Case, Payload};

/// One thing that differs for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) aspect: String,
    pub(crate) mesh: String,
    pub(crate) envoy: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: mesh {:?}, envoy {:?}", self.aspect, self.mesh, self.envoy)
    }
}

/// A difference that stays.
pub(crate) struct Known {
    /// As in the documented list.
    pub(crate) id: &'static str,
    pub(crate) explains: fn(&Case, &Difference) -> bool,
}

/// All of them.
pub(crate) const KNOWN: &[Known] = &[
    Known { id: "fragment", explains: |case, _| !case.http2 && case.path.contains('#') },
    Known { id: "bad-request-line", explains: |case, _| !case.http2 && case.path.contains([' ', 'ü']) },
    Known {
        id: "early-answer",
        explains: |case, d| {
            !case.http2 && case.body != Payload::None && d.aspect == "response header connection" && d.mesh == "none"
        },
    },
    Known {
        id: "head-framing",
        explains: |case, d| {
            !case.http2 && case.method == "HEAD" && d.aspect == "response header transfer-encoding" && d.mesh == "none"
        },
    },
    Known {
        id: "repeated-lines",
        explains: |_, d| d.aspect.contains("header ") && joined(&d.mesh) == joined(&d.envoy),
    },
    Known {
        id: "expected-timeout",
        explains: |_, d| d.aspect.ends_with("x-envoy-expected-rq-timeout-ms") && close(&d.mesh, &d.envoy),
    },
    Known {
        id: "impossible-authority",
        explains: |case, d| case.http2 && d.aspect.ends_with("header :authority") && d.envoy.contains('/'),
    },
    Known {
        id: "local-response-code",
        explains: |_, d| d.aspect == "response header x-formats" && d.envoy.starts_with("[\"0 "),
    },
    Known {
        id: "refused-redirect-log",
        explains: |case, d| {
            case.host == "internal.test" && ["log route", "log cluster", "log host"].contains(&d.aspect.as_str())
        },
    },
    Known { id: "redirect-bytes", explains: |case, d| case.host == "internal.test" && d.aspect == "log received" },
    Known {
        id: "unread-body",
        explains: |case, d| case.path.contains("/dead") && d.aspect == "log received" && d.mesh == "0",
    },
];

/// Times in milliseconds that only the clock has made different.
fn close(mesh: &str, envoy: &str) -> bool {
    let number = |text: &str| text.trim_matches(['[', ']', '"']).parse::<i64>().ok();
    number(mesh).zip(number(envoy)).is_some_and(|(mesh, envoy)| (mesh - envoy).abs() < 1000)
}

/// The values of a header as one list (RFC 9110, section 5.3; cookies: RFC 9113, section 8.2.3).
fn joined(values: &str) -> String {
    values
        .replace("\", \"", ",")
        .replace([' ', ';'], ",")
        .split(',')
        .filter(|item| !item.is_empty())
        .collect::<Vec<_>>()
        .join(",")
}

/// By kind, with how many there are and the first two requests: one cause mostly shows in many requests.
pub(crate) fn report(found: &[(Arc<Case>, Difference)]) -> String {
    let mut kinds: BTreeMap<String, Vec<&Case>> = BTreeMap::new();
    for (case, difference) in found {
        kinds.entry(difference.to_string()).or_default().push(case);
    }
    let mut shown = String::new();
    for (kind, cases) in kinds {
        shown.push_str(&format!("{:4} x {kind}\n", cases.len()));
        for case in &cases[..cases.len().min(2)] {
            shown.push_str(&format!("           {case}\n"));
        }
    }
    shown
}

#[test]
fn the_documented_list_is_this_one() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../mesh-proxy/docs/differences.md");
    let page = std::fs::read_to_string(page).expect("the list is there");
    let documented: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let known: Vec<&str> = KNOWN.iter().map(|known| known.id).collect();
    assert_eq!(documented, known);
}
