//! The outside world's configuration and labelled cases (folder named by `MESH_CORPUS`).
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::{collections::BTreeMap, path::PathBuf};

use mesh_config::{Code, Diagnostic, Kind, analyze_all, load_path, load_str};
use serde_json::Value;

/// The corpus folder; CI sets the variable, and without it these tests fail rather than pass unseen.
fn corpus() -> PathBuf {
    let folder = std::env::var_os("MESH_CORPUS").unwrap_or_else(|| "../../shared/corpus".into());
    let folder = PathBuf::from(folder);
    assert!(folder.is_dir(), "no corpus at {}: set MESH_CORPUS to its folder", folder.display());
    folder
}

fn rows(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(corpus().join("cases").join(file)).unwrap();
    let cases: Value = serde_json::from_str(&text).unwrap();
    cases["rows"].as_array().unwrap().clone()
}

fn is_modelled(object: &Value) -> bool {
    let name = object["kind"].as_str().unwrap_or_default();
    name.parse::<Kind>().is_ok_and(Kind::is_strict)
}

/// The errors of one object, checked as an admission check would.
fn errors(object: &Value) -> Vec<Diagnostic> {
    let loaded = load_str("case.json", &object.to_string());
    loaded.diagnostics.into_iter().filter(Diagnostic::is_error).collect()
}

/// Cases whose object lost in the writing down what its label is about, so that no rule could tell.
const UNDECIDABLE: [&str; 2] = [
    // The delay was out of range; the object has 3s.
    "ValidateHTTPFaultInjectionDelay/invalid delay",
    // The route was checked as one of a delegate; the object has hosts, as the accepted ones do.
    "ValidateDelegateHTTPRoute/delegate route with delegate",
];

fn judge(rows: &[Value], accepted: impl Fn(&Value) -> bool) {
    let mut score: BTreeMap<(String, bool), (usize, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in rows.iter().filter(|row| is_modelled(&row["object"])) {
        let (want, found) = (accepted(row), errors(&row["object"]));
        let entry = score.entry((row["object"]["kind"].to_string(), want)).or_default();
        entry.1 += 1;
        if found.is_empty() == want {
            entry.0 += 1;
        } else if !UNDECIDABLE.contains(&row["id"].as_str().unwrap()) {
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            wrong.push(format!(
                "{} should be {}: {} {found:?}",
                row["id"],
                if want { "accepted" } else { "refused" },
                row["object"]
            ));
        }
    }
    for ((kind, want), (right, all)) in score {
        println!("{kind} {}: {right} of {all}", if want { "accepted" } else { "refused" });
    }
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn istio_validation_cases_come_out_as_labelled() {
    judge(&rows("istio_validation.json"), |row| row["valid"].as_bool().unwrap());
}

#[test]
fn crd_cases_come_out_as_labelled() {
    judge(&rows("crd_cel.json"), |row| row["error"].is_null());
}

#[test]
fn istio_samples_are_accepted() {
    let loaded = load_path([corpus().join("istio-samples")]).unwrap();
    // Samples are alternatives of each other, so the same object stands in several files.
    let errors: Vec<_> = loaded
        .diagnostics
        .iter()
        .filter(|finding| finding.is_error() && finding.code != Code::DuplicateObject)
        .map(ToString::to_string)
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    assert!(loaded.files > 50 && loaded.objects.len() > 50, "{} files, {} objects", loaded.files, loaded.objects.len());
}

#[test]
fn bookinfo_analyses_without_errors() {
    let bookinfo = corpus().join("istio-samples/bookinfo");
    let networking = bookinfo.join("networking");
    let base = [bookinfo.join("platform/kube/bookinfo.yaml"), networking.join("destination-rule-all.yaml")];
    for file in std::fs::read_dir(&networking).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("virtual-service-") && !name.starts_with("fault-") {
            continue;
        }
        let loaded = load_path(base.iter().cloned().chain([file])).unwrap();
        let found = analyze_all(loaded.all_objects());
        let errors: Vec<_> =
            loaded.diagnostics.iter().filter(|finding| finding.code != Code::DuplicateObject).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}
