//! What became of each object is told, whole at first and then as it changes.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use mesh_config::{
    Event, FileStatusSink, MemoryStatusSink, ObjectChange, ObjectKey, ObjectReport, QuarantineReason, State,
    StatusError, StatusSink, StatusWriter, Store, StoreOptions, Verdict, parse,
};

fn service(weights: (i32, i32)) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v, generation: 7}}\nspec: {{hosts: \
         [v], http: [{{route: [{{destination: {{host: s}}, weight: {}}}, {{destination: {{host: s}}, weight: {}}}]}}]}}\n",
        weights.0, weights.1
    )
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{name: http, port: 80}]}\n";

fn changes(text: &str) -> Vec<ObjectChange> {
    parse("a.yaml", text).objects.into_iter().map(ObjectChange::Applied).collect()
}

fn key(state: &State, name: &str) -> ObjectKey {
    state.reports().into_iter().map(|report| report.key).find(|key| &*key.name == name).unwrap()
}

#[test]
fn a_report_says_what_is_in_force_and_why() {
    let mut store = Store::new(StoreOptions::default());
    let state = store.apply(Event::Snapshot(changes(&(SERVICE.to_owned() + &service((40, 60))))));
    let key = key(&state, "v");
    let verdict = |state: &State| state.report(&key).map(|report| (report.verdict, report.reason));
    assert_eq!(verdict(&state), Some((Verdict::InForce, None)));
    let state = store.apply(Event::Changes(changes(&service((90, 60)))));
    assert_eq!(verdict(&state), Some((Verdict::OlderInForce, Some(QuarantineReason::DoesNotFit))));
    assert!(state.quarantine[&key].wanted.is_some() && state.quarantine[&key].in_force.is_some());
    let state = store.apply(Event::Changes(changes(&service((-1, 60)))));
    assert_eq!(verdict(&state), Some((Verdict::OlderInForce, Some(QuarantineReason::Refused))));
    let report = state.report(&key).unwrap();
    assert_eq!(report.generation, Some(7));
    assert!(report.diagnostics.iter().any(|found| found.is_error()));
    let state = store.apply(Event::Changes(vec![ObjectChange::Deleted(key.clone())]));
    assert_eq!(verdict(&state), None);
    assert!(state.quarantine.is_empty() && state.diagnostics.is_empty());
}

#[test]
fn the_last_good_version_stays_only_if_the_policy_says_so() {
    let mut options = StoreOptions::default();
    options.keep_last_good = false;
    let mut store = Store::new(options);
    let state = store.apply(Event::Snapshot(changes(&(SERVICE.to_owned() + &service((40, 60))))));
    let key = key(&state, "v");
    let state = store.apply(Event::Changes(changes(&service((-1, 60)))));
    assert_eq!(state.report(&key).unwrap().verdict, Verdict::NotInForce);
    // The others go on.
    assert_eq!((state.snapshot.len(), state.change.removed.len()), (1, 1));
    let state = store.apply(Event::Changes(changes(&service((40, 60)))));
    assert_eq!(state.report(&key).unwrap().verdict, Verdict::InForce);
}

/// Fails as often as it is told to.
#[derive(Debug)]
struct Failing(u32, MemoryStatusSink);

impl StatusSink for Failing {
    fn write(&mut self, reports: &[ObjectReport], gone: &[ObjectKey]) -> Result<(), StatusError> {
        if self.0 > 0 {
            self.0 -= 1;
            return Err(StatusError("no".into()));
        }
        self.1.write(reports, gone)
    }
}

#[test]
fn a_writer_tells_what_changed_and_what_a_sink_missed() {
    let sink = MemoryStatusSink::new();
    let mut writer = StatusWriter::new(Failing(1, sink.clone()));
    let mut store = Store::new(StoreOptions::default());
    let state = store.apply(Event::Snapshot(changes(&(SERVICE.to_owned() + &service((40, 60))))));
    assert!(writer.write(&state).is_err() && sink.reports().is_empty());
    assert_eq!(writer.write(&state).unwrap(), 2);
    assert_eq!(writer.write(&state).unwrap(), 0);
    let state = store.apply(Event::Changes(changes(&service((90, 60)))));
    assert_eq!(writer.write(&state).unwrap(), 1);
    let state = store.apply(Event::Changes(vec![ObjectChange::Deleted(key(&state, "v"))]));
    assert_eq!(writer.write(&state).unwrap(), 1);
    assert_eq!(sink.reports().len(), 1);
}

#[test]
fn a_file_holds_all_reports() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("status.json");
    let mut writer = StatusWriter::new(FileStatusSink::new(&path));
    let mut store = Store::new(StoreOptions::default());
    let state = store.apply(Event::Snapshot(changes(&(SERVICE.to_owned() + &service((90, 60))))));
    writer.write(&state).unwrap();
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let objects = written["objects"].as_array().unwrap();
    assert_eq!(objects.len(), 2);
    assert_eq!(
        (&objects[1]["resource"], &objects[1]["verdict"]),
        (&"VirtualService default/v".into(), &"InForce".into())
    );
    assert_eq!((&objects[1]["generation"], &objects[1]["diagnostics"][0]["code"]), (&7.into(), &"MESH0102".into()));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(StatusWriter::new(FileStatusSink::new("/nonexistent/status.json")).write(&state).is_err());
}
