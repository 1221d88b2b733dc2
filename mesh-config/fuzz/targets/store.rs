//! A store that is told texts one after the other ends with the findings of the last one.
//!
//! The input is cut at `%%`; each piece is the whole content of a source. What is in force at the end may be older than
//! the last piece, but only where the last piece has errors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_config::{Analyzers, Event, IncrementalAnalysis, ObjectChange, Snapshot, Store, StoreOptions, parse};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut store = Store::new(StoreOptions::default());
    let mut analysis = IncrementalAnalysis::new(Analyzers::standard());
    for piece in text.split("%%").take(8) {
        let parsed = parse("piece.yaml", piece);
        let mut seen = std::collections::BTreeSet::new();
        let objects: Vec<_> = parsed.objects.into_iter().filter(|object| seen.insert(object.key().clone())).collect();
        let state = store.apply(Event::Snapshot(objects.iter().cloned().map(ObjectChange::Applied).collect()));
        assert!(state.quarantine.keys().all(|key| seen.contains(key)));
        let snapshot = Snapshot::from_objects(objects);
        analysis.update(&snapshot);
        let mut found: Vec<_> = analysis.diagnostics().map(|found| format!("{found:?}")).collect();
        let mut whole: Vec<_> =
            Analyzers::standard().analyze(&snapshot).diagnostics.iter().map(|found| format!("{found:?}")).collect();
        found.sort();
        whole.sort();
        assert_eq!(found, whole);
    }
});
