//! What is known of foreign peers.

use std::collections::BTreeSet;

use mesh_xds::testing::conformance::Report;

/// Cases that a peer fails, and what is known of it.
pub(crate) struct Deviation {
    cases: &'static [&'static str],
    /// It depends on what comes first.
    sometimes: bool,
}

/// A deviation that shows each time. `_why` says where it is known from.
pub(crate) const fn always(_why: &'static str, cases: &'static [&'static str]) -> Deviation {
    Deviation { cases, sometimes: false }
}

/// One that does not.
pub(crate) const fn sometimes(_why: &'static str, cases: &'static [&'static str]) -> Deviation {
    Deviation { cases, sometimes: true }
}

/// Prints the report, and compares the cases that failed with `known`.
pub(crate) fn compare(peer: &str, report: &Report, known: &[&[Deviation]]) {
    println!("{peer}\n{report}\n");
    let failed: BTreeSet<&str> = report.failures().map(|(case, _)| case.name).collect();
    let known = || known.iter().copied().flatten();
    let all: BTreeSet<&str> = known().flat_map(|d| d.cases).copied().collect();
    let sure: BTreeSet<&str> = known().filter(|d| !d.sometimes).flat_map(|d| d.cases).copied().collect();
    let new: Vec<_> = failed.difference(&all).collect();
    let gone: Vec<_> = sure.difference(&failed).collect();
    assert!(new.is_empty() && gone.is_empty(), "{peer}: new deviations {new:?}, deviations that are gone {gone:?}");
}
