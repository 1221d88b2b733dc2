//! The outside world's configuration and labelled cases (folder named by `MESH_CORPUS`).
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use mesh_config::{Code, Diagnostic, analyze_all, analyze_all_in, load_path, load_str, parse_mesh_config};
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

/// The errors of one object, checked as an admission check would.
fn errors(object: &Value) -> Vec<Diagnostic> {
    let loaded = load_str("case.json", &object.to_string());
    loaded.diagnostics.into_iter().filter(Diagnostic::is_error).collect()
}

/// Cases whose object lost in the writing down what its label is about, so that no rule could tell.
const UNDECIDABLE: [&str; 4] = [
    // The Gateway had the annotation of those that are made from the Gateway API; without it, it is refused.
    "ValidateK8sGateway/happy k8s gateway-api server with no attached routes",
    // The delay was out of range; the object has 3s.
    "ValidateHTTPFaultInjectionDelay/invalid delay",
    // The route was checked as one of a delegate; the object has hosts, as the accepted ones do.
    "ValidateDelegateHTTPRoute/delegate route with delegate",
    // The tag was null; the object has no tag.
    "ValidateTelemetry/tracing with a nil custom tag",
];

/// Compares every row with its label, prints how many came out right by kind, and fails with those that did not.
fn judge(file: &str, accepted: impl Fn(&Value) -> bool) {
    let mut score: BTreeMap<(String, bool), (usize, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in rows(file) {
        let (want, found) = (accepted(&row), errors(&row["object"]));
        let right = usize::from(found.is_empty() == want);
        for group in [row["object"]["kind"].as_str().unwrap(), "in all"] {
            let entry = score.entry((group.to_owned(), want)).or_default();
            *entry = (entry.0 + right, entry.1 + 1);
        }
        if right == 0 && !UNDECIDABLE.contains(&row["id"].as_str().unwrap()) {
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            let want = if want { "accepted" } else { "refused" };
            wrong.push(format!("{} should be {want}: {} {found:?}", row["id"], row["object"]));
        }
    }
    println!("{file:<24} {:<24} {:>20} {:>20}", "kind", "rightly accepted", "rightly refused");
    let groups: BTreeSet<_> = score.keys().map(|(group, _)| group.clone()).collect();
    for group in groups {
        let column = |want| {
            let (right, all) = score.get(&(group.clone(), want)).copied().unwrap_or_default();
            format!("{right} of {all}")
        };
        println!("{:<24} {group:<24} {:>20} {:>20}", "", column(true), column(false));
    }
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn istio_validation_cases_come_out_as_labelled() {
    judge("istio_validation.json", |row| row["valid"].as_bool().unwrap());
}

#[test]
fn crd_cases_come_out_as_labelled() {
    judge("crd_cel.json", |row| row["error"].is_null());
}

#[test]
fn gateway_api_cases_come_out_as_labelled() {
    judge("gwapi_cel.json", |row| row["errors"].as_array().is_none_or(Vec::is_empty));
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
        let mut found = analyze_all(loaded.all_objects());
        // The workloads of some subsets are in files of their own.
        found.retain(|finding| finding.code != Code::SubsetWithoutPods);
        let errors: Vec<_> =
            loaded.diagnostics.iter().filter(|one| one.is_error() && one.code != Code::DuplicateObject).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

#[test]
fn istio_analyzer_cases_come_out_as_labelled() {
    let text = std::fs::read_to_string(corpus().join("cases/analyzers.json")).unwrap();
    let cases: Value = serde_json::from_str(&text).unwrap();
    let (mut score, mut wrong) = (BTreeMap::<String, (usize, usize)>::new(), Vec::new());
    for case in cases["cases"].as_array().unwrap() {
        let list = |field: &str| case[field].as_array().into_iter().flatten().filter_map(Value::as_str);
        // Istio runs one analyzer for each case, so that only these codes are known to be complete.
        let codes: Vec<_> = list("exact_codes").collect();
        let folder = corpus().join("cases/analyzers-input");
        let path = |file: &str| folder.join(file.trim_start_matches("testdata/"));
        let loaded = load_path(list("files").map(path)).unwrap();
        let mesh = case["mesh_config"].as_str().map(|file| std::fs::read_to_string(path(file)).unwrap());
        let expected = case["expected"].as_array().unwrap().iter();
        let expected = expected.map(|row| (row["code"].as_str().unwrap(), row["resource"].as_str().unwrap()));
        let expected = expected.filter(|(code, _)| codes.contains(code));
        let mut expected: Vec<_> = expected.map(|(code, resource)| format!("{code} {resource}")).collect();
        let across = match mesh {
            Some(text) => analyze_all_in(loaded.all_objects(), &parse_mesh_config("mesh.yaml", &text).unwrap()),
            None => analyze_all(loaded.all_objects()),
        };
        let found = loaded.diagnostics.iter().chain(&across).filter(|finding| codes.contains(&finding.code.as_str()));
        let mut found: Vec<_> = found.map(|finding| format!("{} {}", finding.code, finding.resource)).collect();
        expected.sort();
        found.sort();
        for group in [case["analyzer"].as_str().unwrap(), "in all"] {
            let entry = score.entry(group.to_owned()).or_default();
            *entry = (entry.0 + usize::from(expected == found), entry.1 + 1);
        }
        if expected != found {
            wrong.push(format!("{} {}\n  expected {expected:?}\n  found    {found:?}", case["id"], case["name"]));
        }
    }
    println!("{:<24} {:<52} {:>20}", "analyzers.json", "analyzer", "as labelled");
    for (analyzer, (right, all)) in &score {
        println!("{:<24} {analyzer:<52} {:>20}", "", format!("{right} of {all}"));
    }
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
}
