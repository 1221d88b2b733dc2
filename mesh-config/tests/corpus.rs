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

/// Codes whose findings are compared with Istio's, where a case says that they are complete.
const COMPARED: [&str; 2] = ["IST0109", "IST0132"];

/// Cases about kinds that are not modelled yet: the Gateway API's `Gateway`.
const NOT_MODELLED: [&str; 1] = ["040"];

#[test]
fn istio_analyzer_cases_come_out_as_labelled() {
    let text = std::fs::read_to_string(corpus().join("cases/analyzers.json")).unwrap();
    let cases: Value = serde_json::from_str(&text).unwrap();
    let (mut compared, mut wrong) = (0, Vec::new());
    for case in cases["cases"].as_array().unwrap() {
        let list = |field: &str| case[field].as_array().into_iter().flatten().filter_map(Value::as_str);
        let codes: Vec<_> = list("exact_codes").filter(|code| COMPARED.contains(code)).collect();
        if codes.is_empty() || NOT_MODELLED.contains(&case["id"].as_str().unwrap()) {
            continue;
        }
        let folder = corpus().join("cases/analyzers-input");
        let files = list("files").map(|file| folder.join(file.trim_start_matches("testdata/")));
        let loaded = load_path(files).unwrap();
        let of_codes = |code: &str| codes.contains(&code);
        let expected = case["expected"].as_array().unwrap().iter();
        let expected = expected.filter(|row| of_codes(row["code"].as_str().unwrap()));
        let mut expected: Vec<_> = expected
            .map(|row| format!("{} {}", row["code"].as_str().unwrap(), row["resource"].as_str().unwrap()))
            .collect();
        let found = analyze_all(loaded.all_objects());
        let found = found.iter().filter(|finding| of_codes(finding.code.as_str()));
        let mut found: Vec<_> = found.map(|finding| format!("{} {}", finding.code, finding.resource)).collect();
        expected.sort();
        found.sort();
        compared += 1;
        if expected != found {
            wrong.push(format!("{} {}\n  expected {expected:?}\n  found    {found:?}", case["id"], case["name"]));
        }
    }
    assert!(compared > 0 && wrong.is_empty(), "{} of {compared} disagree:\n{}", wrong.len(), wrong.join("\n"));
}
