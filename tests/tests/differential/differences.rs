//! The differences that are known, each with a line in `mesh-proxy/docs/differences.md`.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::case::Case;

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
];

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
    let documented: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let known: Vec<&str> = KNOWN.iter().map(|known| known.id).collect();
    assert_eq!(documented, known);
}
