//! One rule, and what became of it.

use std::{fmt, time::Duration};

use futures::future::BoxFuture;

use crate::protocol::Variant;

/// One rule of the protocol, in one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// `delta/...` or `sotw/...`, and the rule.
    pub name: &'static str,
    /// The section of the protocol page, or the other document, that the rule is from.
    pub section: &'static str,
    /// The rule, in one sentence.
    pub what: &'static str,
    /// How strongly it binds.
    pub weight: Weight,
}

/// How strongly a rule binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// The page demands it, or clients do not work without it.
    Must,
    /// The page recommends it.
    Should,
    /// The page does not say it. It is what careful peers do, and others rely on.
    Practice,
}

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The rule was kept.
    Pass,
    /// It was broken.
    Fail {
        /// What the rule demands.
        expected: String,
        /// What happened instead.
        saw: String,
    },
    /// The peer, or who drives it, cannot be asked.
    NotApplicable {
        /// Why.
        why: String,
    },
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::Practice => "practice",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Fail { expected, saw } => write!(f, "FAIL: expected {expected}; saw {saw}"),
            Self::NotApplicable { why } => write!(f, "n/a: {why}"),
        }
    }
}

/// Why a case ends early.
#[derive(Debug)]
pub(super) enum Finding {
    Broken { expected: String, saw: String },
    NotApplicable(String),
}

/// What a step of a case gives.
pub(super) type Outcome<T = ()> = Result<T, Finding>;

pub(super) fn broken<T>(expected: impl Into<String>, saw: impl Into<String>) -> Outcome<T> {
    Err(Finding::Broken { expected: expected.into(), saw: saw.into() })
}

pub(super) fn not_applicable<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Finding::NotApplicable(why.into()))
}

/// Breaks the case unless `holds`.
pub(super) fn ensure(holds: bool, expected: &str, saw: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { broken(expected, saw()) }
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Ok(()) => Self::Pass,
            Err(Finding::Broken { expected, saw }) => Self::Fail { expected, saw },
            Err(Finding::NotApplicable(why)) => Self::NotApplicable { why },
        }
    }
}

/// Runs a check to its end, or for as long as ten of its steps may take: a peer may talk for ever.
pub(super) async fn judge(check: BoxFuture<'_, Outcome>, patience: Duration) -> Verdict {
    let limit = patience * 10;
    match tokio::time::timeout(limit, check).await {
        Ok(outcome) => outcome.into(),
        Err(_) => Verdict::Fail { expected: "an end".into(), saw: format!("none within {limit:?}") },
    }
}

/// A rule with the check of it, for the variants that have it. `B` is what the check works on.
pub(super) struct Check<B: ?Sized> {
    pub(super) names: &'static [(Variant, &'static str)],
    pub(super) weight: Weight,
    pub(super) section: &'static str,
    pub(super) what: &'static str,
    pub(super) run: for<'a> fn(&'a B, Variant) -> BoxFuture<'a, Outcome>,
}

impl<B: ?Sized> Check<B> {
    /// One case for each variant.
    pub(super) fn cases(&'static self) -> impl Iterator<Item = (Variant, Case)> {
        self.names.iter().map(|(variant, name)| {
            (*variant, Case { name, section: self.section, what: self.what, weight: self.weight })
        })
    }
}

/// The names of a rule: `both`, `delta` or `sotw`.
macro_rules! names {
    (both $name:literal) => {
        &[
            ($crate::protocol::Variant::Delta, concat!("delta/", $name)),
            ($crate::protocol::Variant::Sotw, concat!("sotw/", $name)),
        ]
    };
    (delta $name:literal) => {
        &[($crate::protocol::Variant::Delta, concat!("delta/", $name))]
    };
    (sotw $name:literal) => {
        &[($crate::protocol::Variant::Sotw, concat!("sotw/", $name))]
    };
}

/// A table of checks: `both "name", Weight, SECTION, "what" => function;`.
macro_rules! checks {
    ($($which:ident $name:literal, $weight:ident, $section:expr, $what:literal => $run:path;)*) => {
        &[$($crate::testing::conformance::case::Check {
            names: $crate::testing::conformance::case::names!($which $name),
            weight: $crate::testing::conformance::Weight::$weight,
            section: $section,
            what: $what,
            run: |bench, variant| Box::pin($run(bench, variant)),
        },)*]
    };
}

pub(super) use {checks, names};

/// Headings of the protocol page.
pub(super) mod section {
    pub(crate) const BASIC: &str = "Basic Protocol Overview";
    pub(crate) const VERSIONS: &str = "ACK/NACK and resource type instance version";
    pub(crate) const ACK: &str = "ACK and NACK semantics summary";
    pub(crate) const NACK: &str = "NACK";
    pub(crate) const WHEN: &str = "When to send an update";
    pub(crate) const NAMES: &str = "How the client specifies what resources to return";
    pub(crate) const GROUPING: &str = "Grouping Resources into Responses";
    pub(crate) const DUPLICATES: &str = "Duplicate Resource Names";
    pub(crate) const DELETING: &str = "Deleting Resources";
    pub(crate) const MISSING: &str = "Knowing When a Requested Resource Does Not Exist";
    pub(crate) const UNSUBSCRIBING: &str = "Unsubscribing From Resources";
    pub(crate) const UPDATES: &str = "Resource updates";
    pub(crate) const WARMING: &str = "Resource warming";
    pub(crate) const ORDER: &str = "Eventual consistency considerations";
    pub(crate) const TTL: &str = "TTL";
    pub(crate) const ADS: &str = "Aggregated Discovery Service";
    pub(crate) const DELTA: &str = "Incremental xDS";
    pub(crate) const DELTA_SUBSCRIBE: &str = "Incremental xDS: Subscribing to Resources";
    pub(crate) const DELTA_UNSUBSCRIBE: &str = "Incremental xDS: Unsubscribing from Resources";
    pub(crate) const DELTA_MISSING: &str = "Incremental xDS: Knowing When a Requested Resource Does Not Exist";
    pub(crate) const TYPE_URL: &str = "discovery.proto: DiscoveryRequest.type_url";
}
