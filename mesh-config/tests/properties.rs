//! What must hold for any configuration, however it came about.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::{collections::BTreeSet, sync::Arc};

use mesh_config::{Diagnostic, Event, Kind, Object, ObjectChange, Store, StoreOptions, load_str, parse};
use proptest::prelude::*;

/// A valid object of each kind, one value in a line.
fn kinds() -> Vec<&'static str> {
    include_str!("common/kinds.yaml").split("---\n").collect()
}

fn errors(text: &str) -> Vec<Diagnostic> {
    load_str("case.yaml", text).diagnostics.into_iter().filter(Diagnostic::is_error).collect()
}

/// An object as JSON, as it would be applied.
fn written(object: &Object) -> serde_json::Value {
    let spec = serde_json::to_value(&object.spec).unwrap();
    let mut written = serde_json::json!({
        "apiVersion": object.api_version, "kind": object.kind().as_str(), "metadata": object.meta,
    });
    if object.kind().is_strict() {
        written["spec"] = spec;
    } else if object.kind() != Kind::Secret {
        // The platform's kinds have their content beside the metadata.
        written.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    }
    written
}

/// Whether a finding is about a changed line: it stands there, or at the field or item that the line belongs to, or it is
/// that what is still called by the old text is missing.
fn points_at(finding: &Diagnostic, text: &str, line: usize, old: &str) -> bool {
    let at = finding.position.line as usize;
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    let lines: Vec<&str> = text.lines().collect();
    let least = |at: usize| indent(lines[at - 1]) + usize::from(!lines[at - 1].trim_start().starts_with('-'));
    at == line
        || (at < line && lines[at..line].iter().all(|inner| indent(inner) >= least(at)))
        || finding.message.contains(&format!("{old:?}"))
}

/// The value in a line.
fn value_of(text: &str, line: usize) -> &str {
    let line = text.lines().nth(line - 1).unwrap().trim_start_matches([' ', '-']);
    line.split_once(": ").map_or(line, |(_, value)| value)
}

/// A text with one line changed: a letter put into its key, or its value replaced. The head of the object stays.
fn mutated(text: &str, pick: usize, into_key: bool, value: &str) -> (String, usize) {
    let lines: Vec<&str> = text.lines().collect();
    let own: Vec<usize> = (0..lines.len()).filter(|at| *at > 3 && !lines[*at].starts_with("spec")).collect();
    let at = own[pick % own.len()];
    let line = lines[at];
    let changed = match line.split_once(": ") {
        Some((key, _)) if !into_key => format!("{key}: {value}"),
        Some((key, old)) => format!("{key}x: {old}"),
        None if line.ends_with(':') => line.replace(':', "x:"),
        None => format!("{}- {value}", &line[..line.find('-').unwrap()]),
    };
    let mut lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
    lines[at] = changed;
    (lines.join("\n"), at + 1)
}

fn values() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[0-9]{1,6}",
        Just("-1".to_owned()),
        Just("'!! ??'".to_owned()),
        Just("{a: b}".to_owned())
    ]
}

#[test]
fn there_is_a_valid_object_of_each_kind() {
    let mut seen = BTreeSet::new();
    for text in kinds() {
        let loaded = load_str("case.yaml", text);
        assert_eq!(loaded.diagnostics, [], "{text}");
        seen.insert(loaded.objects[0].kind());
    }
    assert_eq!(seen, Kind::all().collect());
}

#[test]
fn the_round_trip_loses_nothing() {
    for text in kinds() {
        let first = parse("a.yaml", text).objects.remove(0);
        let again = parse("a.json", &written(&first).to_string());
        assert!(again.diagnostics.is_empty(), "{:?}", again.diagnostics);
        let again = &again.objects[0];
        assert_eq!(again.meta, first.meta, "{text}");
        // What is secret is not written down.
        if first.kind() != Kind::Secret {
            assert_eq!(again.spec, first.spec, "{text}");
        }
        if first.kind().is_strict() {
            // Every value of the text is in what is written.
            let wanted: Vec<&str> =
                text.lines().skip(5).filter_map(|line| line.split_once(": ")).map(|(_, v)| v).collect();
            let written = written(&first).to_string();
            for value in wanted {
                assert!(written.contains(value.trim_matches('"')), "{value} of\n{text}\nis not in {written}");
            }
        }
    }
}

#[test]
fn each_line_that_is_changed_is_accepted_or_pointed_at() {
    let values = ["x", "-1", "'!! ??'", "{a: b}", "[a]", "99999999999", "''", "1.5", "true"];
    let mut lost = Vec::new();
    for text in kinds() {
        let lines = text.lines().filter(|line| !line.starts_with("spec")).count() - 4;
        for pick in 0..lines {
            let keyed = [(true, "")];
            for (into_key, value) in keyed.into_iter().chain(values.map(|value| (false, value))) {
                let (changed, line) = mutated(text, pick, into_key, value);
                let found = errors(&changed);
                if !found.is_empty()
                    && !found.iter().any(|finding| points_at(finding, &changed, line, value_of(text, line)))
                {
                    lost.push(format!(
                        "line {line}, {} : {:?}",
                        changed.lines().nth(line - 1).unwrap(),
                        found[0].to_string()
                    ));
                }
            }
        }
    }
    assert!(lost.is_empty(), "{} changes are not pointed at:\n{}", lost.len(), lost.join("\n"));
}

/// Objects that depend on each other, of which some are missing now and then.
fn pool() -> Vec<Arc<Object>> {
    let mut text = String::new();
    for index in 0..3 {
        text.push_str(&format!(
            "---
apiVersion: v1
kind: Service
metadata: {{name: s{index}}}
spec: {{ports: [{{name: http, port: 80}}, {{port: 81}}], selector: {{app: s{index}}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: d{index}}}
spec: {{host: s{index}, subsets: [{{name: v1, labels: {{version: v1}}}}]}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: g{index}}}
spec: {{selector: {{istio: ingressgateway}}, servers: [{{port: {{number: 80, name: p, protocol: HTTP}}, hosts: ['*']}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: p{index}, labels: {{app: s{index}, version: v1}}}}
"
        ));
    }
    let parsed = parse("pool.yaml", &text);
    assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
    parsed.objects
}

fn store_of(objects: &[Arc<Object>]) -> Vec<String> {
    let changes = objects.iter().cloned().map(ObjectChange::Applied).collect();
    let state = Store::new(StoreOptions::default()).apply(Event::Snapshot(changes));
    state.diagnostics.iter().map(ToString::to_string).collect()
}

proptest! {
    #[test]
    fn an_error_of_a_changed_line_points_at_it(
        which in any::<prop::sample::Index>(), pick in 0..100_usize, into_key: bool, value in values(),
    ) {
        let changeable: Vec<_> = kinds().into_iter().filter(|text| text.lines().count() > 5).collect();
        let object = *which.get(&changeable);
        let (text, line) = mutated(object, pick, into_key, &value);
        let found = errors(&text);
        let here = found.iter().any(|finding| points_at(finding, &text, line, value_of(object, line)));
        prop_assert!(found.is_empty() || here, "line {line} of\n{text}\n{found:?}");
    }

    #[test]
    fn changes_one_by_one_give_what_the_whole_gives(steps in proptest::collection::vec((0..12_usize, any::<bool>()), 1..30)) {
        let pool = pool();
        let mut store = Store::new(StoreOptions::default());
        store.apply(Event::Snapshot(Vec::new()));
        let mut there = vec![false; pool.len()];
        let mut last = Vec::new();
        for (index, add) in steps {
            there[index] = add;
            let change = if add {
                ObjectChange::Applied(Arc::clone(&pool[index]))
            } else {
                ObjectChange::Deleted(pool[index].key().clone())
            };
            let state = store.apply(Event::Changes(vec![change]));
            last = state.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>();
        }
        let whole: Vec<_> = pool.iter().zip(&there).filter(|(_, there)| **there).map(|(object, _)| Arc::clone(object)).collect();
        prop_assert_eq!(last, store_of(&whole));
    }
}
