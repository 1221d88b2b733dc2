//! Analysis that follows changes finds what analysis from scratch finds.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod common;

use std::{collections::BTreeMap, sync::Arc};

use mesh_config::{
    Analyzers, Event, IncrementalAnalysis, Object, ObjectChange, ObjectKey, Snapshot, Store, StoreOptions, parse,
};
use proptest::prelude::*;

use self::common::{Picks, TEMPLATES, object, picks};

/// What is analysed: objects come, change, and go.
fn steps() -> impl Strategy<Value = Vec<Vec<(bool, Picks)>>> {
    let one = (prop::bool::weighted(0.75), picks());
    prop::collection::vec(prop::collection::vec(one, 1..4), 1..40)
}

fn sorted(found: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort();
    found
}

#[test]
fn every_template_is_an_object() {
    for (index, (kind, _)) in TEMPLATES.iter().enumerate() {
        let picks = Picks { template: index, namespace: 0, name: 0, rest: [0; 6] };
        assert_eq!(object(&picks).kind(), *kind);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn following_changes_is_the_same_as_from_scratch(steps in steps()) {
        let mut objects: BTreeMap<ObjectKey, Arc<Object>> = BTreeMap::new();
        let mut analysis = IncrementalAnalysis::new(Analyzers::standard());
        // Not empty, or the first change would be looked at as a whole.
        let base = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: base}\n";
        for object in parse("base.yaml", base).objects {
            objects.insert(object.key().clone(), object);
        }
        analysis.update(&Snapshot::from_objects(objects.values().cloned()));
        let mut told: BTreeMap<String, isize> = BTreeMap::new();
        for step in steps {
            for (stays, picks) in step {
                let object = object(&picks);
                if stays {
                    objects.insert(object.key().clone(), object);
                } else {
                    objects.remove(object.key());
                }
            }
            let snapshot = Snapshot::from_objects(objects.values().cloned());
            let update = analysis.update(&snapshot);
            for (findings, step) in [(&update.removed, -1), (&update.added, 1)] {
                findings.iter().for_each(|found| *told.entry(format!("{found:?}")).or_default() += step);
            }
            let whole = Analyzers::standard().analyze(&snapshot);
            let expected = sorted(whole.diagnostics.iter().map(|found| format!("{found:?}")));
            let found = sorted(analysis.diagnostics().map(|found| format!("{found:?}")));
            let lost: Vec<_> = expected.iter().filter(|one| !found.contains(one)).collect();
            let stale: Vec<_> = found.iter().filter(|one| !expected.contains(one)).collect();
            prop_assert!(found == expected, "lost: {lost:#?}\nstale: {stale:#?}");
            let sum = told.iter().flat_map(|(text, count)| (0..*count).map(move |_| text.clone()));
            prop_assert_eq!(&sorted(sum), &expected);
            prop_assert_eq!(analysis.blocked().cloned().collect::<Vec<_>>(), whole.blocked.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_store_that_follows_changes_ends_as_one_that_is_told_all_at_once(steps in steps()) {
        let options = || { let mut options = StoreOptions::default(); options.hold_back = false; options };
        let mut store = Store::new(options());
        store.apply(Event::Snapshot(Vec::new()));
        let mut objects: BTreeMap<ObjectKey, Arc<Object>> = BTreeMap::new();
        let mut last = Vec::new();
        for step in steps {
            let mut changes: BTreeMap<ObjectKey, ObjectChange> = BTreeMap::new();
            for (stays, picks) in step {
                let object = object(&picks);
                let key = object.key().clone();
                if stays {
                    objects.insert(key.clone(), Arc::clone(&object));
                    changes.insert(key, ObjectChange::Applied(object));
                } else {
                    objects.remove(&key);
                    changes.insert(key.clone(), ObjectChange::Deleted(key));
                }
            }
            let state = store.apply(Event::Changes(changes.into_values().collect()));
            last = state.diagnostics.iter().filter(|found| found.key.is_some()).map(|found| format!("{found:?}")).collect();
            // What was good once stays in force, which one that is told all at once cannot know.
            for key in state.quarantine.keys() {
                prop_assert!(state.diagnostics.iter().any(|found| found.key.as_ref() == Some(key) && found.is_error()));
            }
            if !state.quarantine.is_empty() {
                return Ok(());
            }
        }
        let whole = objects.into_values().map(ObjectChange::Applied).collect();
        let state = Store::new(options()).apply(Event::Snapshot(whole));
        let expected: Vec<_> = state.diagnostics.iter().map(|found| format!("{found:?}")).collect();
        prop_assert_eq!(last, expected);
    }
}
