//! Envoy's own verdict on what the validator refuses, and on what it lets pass.
//!
//! For every rule of the API that can be broken in the places below, Envoy is offered the resource that breaks it and
//! nothing else, and the one that just keeps it. It must refuse the first, naming the message and the field that the
//! validator names, and must have nothing to say about the rules of the second (what else it needs, such as a file that
//! exists, is no rule).
//!
//! Where Envoy differs from what protoc-gen-validate documents:
//!
//! - A negative duration is refused wherever it stands, before any rule is asked ([`NEGATIVE`]).
//! - Some extensions are not held to the rules of their configuration ([`UNASKED`]): Envoy takes what breaks them, or
//!   refuses it by checks of its own. The validator refuses it all the same, as the API says.

mod places;

use std::collections::{BTreeSet, HashSet};

use mesh_tests::{
    breach::{self, Case},
    file_envoy::FileEnvoy,
};
use mesh_xds_api::{any::Any, validate};

/// How Envoy begins when a rule is broken.
const BROKEN: &str = "Proto constraint validation failed (";
/// What it says of a negative duration.
const NEGATIVE: &str = "Invalid duration: Expected positive duration";
/// Rules which only the bootstrap states (an overload monitor, the buckets of histograms): Envoy reads it once.
const ELSEWHERE: &[&str] = &["int64.gt", "repeated.items.double.gt"];

/// Extensions whose rules Envoy does not ask.
const UNASKED: &[&str] = &[
    "envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
    "envoy.extensions.load_balancing_policies.load_aware_locality.v3.LoadAwareLocality",
    "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
];

/// Whether Envoy takes a resource, and why not.
type Verdict = Result<(), String>;

/// The innermost message and field of Envoy's text. Of a `oneof` it tells no message.
fn named(said: &str) -> Option<(Option<String>, String)> {
    let inner = said.split(BROKEN).nth(1)?.rsplit("caused by ").next()?;
    if let Some(oneof) = inner.split("field: \"").nth(1) {
        return Some((None, oneof.split('"').next()?.to_owned()));
    }
    let (message, rest) = inner.split_once("ValidationError.")?;
    Some((Some(message.rsplit([' ', '(']).next()?.to_owned()), rest.split([':', '[']).next()?.to_owned()))
}

/// Envoy writes names in its own case.
fn plain(name: &str) -> String {
    name.replace('_', "").to_lowercase()
}

/// What the validator says of a case, if it is not just what it should be.
fn own_fault(case: &Case, broken: &Any, sound: &Any) -> Option<String> {
    if let Err(violations) = validate::any(sound) {
        return Some(format!("{}: sound, but: {violations}", case.name()));
    }
    let Err(violations) = validate::any(broken) else { return Some(format!("{}: not found", case.name())) };
    let field = |path: &str| path.rsplit('.').next().and_then(|last| last.split('[').next()) == Some(&case.field);
    let right = violations.as_slice().iter().all(|v| v.message == case.message && field(&v.path));
    let found = violations.as_slice().iter().any(|v| v.rule == case.rule);
    (!right || !found).then(|| format!("{}: found as {violations:?}", case.name()))
}

/// What Envoy says of a case, if it is not what is expected.
fn envoys_fault(case: &Case, asked: bool, broken: &Verdict, sound: &Verdict) -> Option<String> {
    let by_rule = |verdict: &Verdict| verdict.as_ref().is_err_and(|said| said.contains(BROKEN));
    if by_rule(sound) {
        return Some(format!("{}: sound, but Envoy: {sound:?}", case.name()));
    }
    if !asked {
        return by_rule(broken).then(|| format!("{}: Envoy asks after all: {broken:?}", case.name()));
    }
    let Err(said) = broken else { return Some(format!("{}: Envoy takes it", case.name())) };
    let message = case.message.rsplit('.').next().unwrap_or_default();
    let agrees = match named(said) {
        Some((told, field)) => told.is_none_or(|m| m == message) && plain(&field) == plain(&case.field),
        None => case.rule == "duration.gte" && said.contains(NEGATIVE),
    };
    (!agrees).then(|| format!("{}: Envoy: {said}", case.name()))
}

#[test]
fn envoy_agrees_on_every_rule() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut envoy = FileEnvoy::start(&places::base(folder.path()), folder);
    let (mut seen, mut rules, mut faults) = (HashSet::new(), BTreeSet::new(), Vec::new());
    for (package, name, place) in places::ROOTS {
        let root = format!("{package}.{name}");
        for case in breach::cases(&root).into_iter().filter(|c| seen.insert(c.name())) {
            let put = |bytes: &[u8]| {
                place(Any { type_url: format!("type.googleapis.com/{root}"), value: bytes.to_vec().into() })
            };
            let ((followed, broken), (_, sound)) = (put(&case.broken), put(&case.sound));
            faults.extend(own_fault(&case, &broken, &sound));
            let verdicts = (envoy.offer(followed, &[broken]), envoy.offer(followed, &[sound]));
            let asked = !UNASKED.contains(&root.as_str());
            faults.extend(envoys_fault(&case, asked, &verdicts.0, &verdicts.1));
            rules.insert(case.rule);
        }
    }
    assert_eq!(faults, [] as [&str; 0], "{}", faults.join("\n"));
    assert!(seen.len() > 500, "only {} cases", seen.len());
    let missing: Vec<String> = breach::all_rules().difference(&rules).cloned().collect();
    assert_eq!(missing, ELSEWHERE, "rules that are not asked about");
}
