//! Keeps the page of each code true: pages are made from the catalogue and from examples, which give their code.
//!
//! After a change of the catalogue or of an example, run this test with `MESH_WRITE_PAGES=1` to write the pages anew.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use mesh_config::{Code, analyze_all, load_str};

/// Codes of Istio's that are not found here, and why.
const NOT_FOUND_HERE: [(&str, &str); 9] = [
    ("IST0001", "an error within Istio's own analyzers"),
    ("IST0141", "asks a cluster whether the user may install"),
    ("IST0142", "asks a cluster for its version"),
    ("IST0143", "asks running proxies which addresses applications listen on"),
    ("IST0156", "compares the files of an installation that is to be upgraded"),
    ("IST0168", "compares settings of the installer between versions"),
    ("IST0169", "compares settings of the installer between versions"),
    ("IST0172", "compares settings of the installer between versions"),
    ("IST0104, IST0105, IST0113–IST0115, IST0117, IST0119–IST0122, IST0124", "retired by Istio"),
];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn example(code: Code) -> Option<String> {
    fs::read_to_string(docs().join(format!("examples/{code}.yaml"))).ok()
}

fn page(code: Code) -> String {
    let mut text = format!("# {code} {}\n\n{}\n\n", code.name(), code.doc());
    writeln!(text, "- Level: {}\n- Message: `{}`", code.level(), code.template()).unwrap();
    if let Some(upstream) = code.upstream_page() {
        writeln!(text, "- Istio's page: <{upstream}>").unwrap();
    }
    writeln!(text, "\n## What to do\n\n{}", code.fix()).unwrap();
    if let Some(example) = example(code) {
        writeln!(text, "\n## Example\n\nThis gives the finding:\n\n```yaml\n{}\n```", example.trim_end()).unwrap();
    }
    text
}

fn index() -> String {
    let mut text = "# Findings\n\n| Code | Level | Meaning |\n|---|---|---|\n".to_owned();
    for code in Code::all() {
        writeln!(text, "| [{code}]({code}.md) | {} | {} |", code.level(), code.doc()).unwrap();
    }
    text.push_str("\n## Istio's codes that are not found here\n\n| Code | Why |\n|---|---|\n");
    for (code, why) in NOT_FOUND_HERE {
        writeln!(text, "| {code} | {why} |").unwrap();
    }
    text
}

#[test]
fn pages_are_those_of_the_catalogue() {
    let folder = docs().join("codes");
    let mut pages: BTreeMap<String, String> = Code::all().map(|code| (format!("{code}.md"), page(code))).collect();
    pages.insert("README.md".to_owned(), index());
    if std::env::var_os("MESH_WRITE_PAGES").is_some() {
        for (name, text) in &pages {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    for (name, text) in &pages {
        let found = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(found == *text, "{name} is not as the catalogue says: run this test with MESH_WRITE_PAGES=1");
    }
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(pages.contains_key(&name), "{name} is about no code");
    }
}

#[test]
fn examples_give_their_codes() {
    for entry in fs::read_dir(docs().join("examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let code = Code::named(name.trim_end_matches(".yaml")).unwrap_or_else(|| panic!("{name} is about no code"));
        let loaded = load_str(&name, &example(code).unwrap());
        let across = analyze_all(loaded.all_objects());
        let found: Vec<_> = loaded.diagnostics.iter().chain(&across).collect();
        assert!(found.iter().any(|finding| finding.code == code), "{code}: {found:?}");
    }
}
