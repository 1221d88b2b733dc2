//! The command line as a script sees it: exit codes and output.

use std::{
    fs,
    io::Write,
    process::{Command, Output, Stdio},
};

fn mesh(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mesh")).args(args).output().expect("the binary runs")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

const GOOD: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - name: v1
    labels: {version: v1}
---
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec:
  ports: [{name: http, port: 9080}]
";

/// The subset on line 9 does not exist.
const ROUTE: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: {host: reviews, subset: v9}
";

#[test]
fn help_is_no_failure_and_nonsense_is() {
    assert_eq!(code(&mesh(&["--help"])), Some(0));
    assert_eq!(code(&mesh(&["--version"])), Some(0));
    assert_eq!(code(&mesh(&["no-such-command"])), Some(2));
    assert_eq!(code(&mesh(&["demo", "--duration", "soon"])), Some(2));
}

#[test]
fn analyze_tells_where_and_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fs::write(folder.path().join("good.yaml"), GOOD).unwrap();
    assert_eq!(code(&mesh(&["analyze", path])), Some(0));

    fs::write(folder.path().join("route.yaml"), ROUTE).unwrap();
    let out = mesh(&["analyze", "--output", "json", path]);
    assert_eq!(code(&out), Some(1));
    let findings: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let finding = &findings[0];
    assert_eq!((&finding["code"], &finding["level"]), (&"IST0101".into(), &"error".into()), "{findings}");
    assert_eq!((&finding["resource"], &finding["line"]), (&"VirtualService reviews".into(), &9.into()), "{findings}");

    // A finding across objects is none of a single object's.
    assert_eq!(code(&mesh(&["validate", path])), Some(0));
    fs::write(folder.path().join("bad.yaml"), ROUTE.replace("hosts: [reviews]", "hosts: []")).unwrap();
    let out = mesh(&["validate", "--output", "json", path]);
    assert_eq!(code(&out), Some(1));
    let answer: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(answer["accepted"], false, "{answer}");
    assert!(!answer["errors"].as_array().unwrap().is_empty(), "{answer}");
}

#[test]
fn the_standard_input_is_one_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good.yaml"), GOOD).unwrap();
    let told = |args: &[&str], input: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesh"));
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (code(&output), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = told(&["analyze", "-", folder.path().to_str().unwrap()], ROUTE);
    assert_eq!(code, Some(1));
    assert!(text.contains("IST0101") && text.contains("-:9:") && text.contains("subset: v9"), "{text}");
    assert_eq!(told(&["validate", "-"], ROUTE).0, Some(0));
    let (code, text) = told(&["validate", "-"], &ROUTE.replace("hosts:", "host:"));
    assert!(code == Some(1) && text.contains("host"), "{text}");
}

#[test]
fn findings_can_be_suppressed_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fs::write(folder.path().join("good.yaml"), GOOD).unwrap();
    fs::write(folder.path().join("route.yaml"), ROUTE).unwrap();
    assert_eq!(code(&mesh(&["analyze", path])), Some(1));
    assert_eq!(code(&mesh(&["analyze", "--suppress", "IST0101=VirtualService *", path])), Some(0));
    assert_eq!(code(&mesh(&["analyze", "--suppress", "IST0101", path])), Some(2));
    let annotated =
        ROUTE.replace("{name: reviews}", "{name: reviews, annotations: {galley.istio.io/analyze-suppress: IST0101}}");
    fs::write(folder.path().join("route.yaml"), annotated).unwrap();
    assert_eq!(code(&mesh(&["analyze", path])), Some(0));

    let out = mesh(&["explain", "ist0101"]);
    assert_eq!(code(&out), Some(0));
    assert!(String::from_utf8_lossy(&out.stdout).starts_with("IST0101 ReferencedResourceNotFound (error)"));
    let out = mesh(&["explain", "--output", "json"]);
    let all: Vec<serde_json::Value> = serde_json::from_slice(&out.stdout).unwrap();
    assert!(all.iter().any(|row| row["code"] == "IST0173" && row["level"] == "error"));
    assert_eq!(code(&mesh(&["explain", "IST9999"])), Some(2));
}

#[test]
fn diff_names_objects_fields_and_hosts() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.yaml"), folder.path().join("new.yaml"));
    fs::write(&old, format!("{GOOD}---{ROUTE}")).unwrap();
    fs::write(&new, format!("{}---{ROUTE}", GOOD.replace("version: v1", "version: v2"))).unwrap();
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    assert_eq!(code(&mesh(&["diff", old, old])), Some(0));
    let out = mesh(&["diff", "--output", "json", old, new]);
    assert_eq!(code(&out), Some(1));
    let rows: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let expected = serde_json::json!([{
        "change": "changed", "object": "DestinationRule default/reviews",
        "fields": ["spec.subsets[0].labels.version"], "hosts": ["reviews.default.svc.cluster.local"],
    }]);
    assert_eq!(rows, expected);
}

#[test]
fn analyze_reads_the_settings_of_the_mesh() {
    let folder = tempfile::tempdir().unwrap();
    let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: e}\n\
                 spec: {hosts: [a.com], ports: [{number: 22, name: t, protocol: TCP}], resolution: DNS}\n";
    let (file, settings) = (folder.path().join("entry.yaml"), folder.path().join("mesh.yaml"));
    let (file, settings) = (file.to_str().unwrap(), settings.to_str().unwrap());
    fs::write(file, entry).unwrap();
    let analyze = || code(&mesh(&["analyze", "--fail-on", "warning", "--mesh-config", settings, file]));
    assert_eq!(analyze(), Some(2), "there is no such file yet");
    fs::write(settings, "rootNamespace: mesh\n").unwrap();
    assert_eq!(analyze(), Some(1));
    let metadata = "{ISTIO_META_DNS_CAPTURE: 'true', ISTIO_META_DNS_AUTO_ALLOCATE: 'true'}";
    fs::write(settings, format!("defaultConfig: {{proxyMetadata: {metadata}}}\n")).unwrap();
    assert_eq!(analyze(), Some(0));
    // The settings are checked as well.
    fs::write(settings, format!("connectTimeout: 5h\ndefaultConfig: {{proxyMetadata: {metadata}}}\n")).unwrap();
    let out = mesh(&["analyze", "--output", "json", "--mesh-config", settings, file]);
    assert_eq!(code(&out), Some(1));
    let rows: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (&rows[0]["code"], &rows[0]["line"], &rows[0]["path"]),
        (&"IST0106".into(), &1.into(), &"connectTimeout".into())
    );
    assert_eq!(rows[0]["documentation"], "https://istio.io/latest/docs/reference/config/analysis/ist0106/");
}

#[test]
fn analyze_compares_the_services_of_clusters() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, port: u16| {
        let file = folder.path().join(name);
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: a, namespace: b}}\nspec: {{ports: [{{name: http, port: {port}}}]}}\n"
        );
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (here, same, other) = (write("here.yaml", 80), write("same.yaml", 80), write("other.yaml", 81));
    let run = |cluster: &str| {
        mesh(&["analyze", "--output", "json", "--fail-on", "warning", "--cluster", &format!("west={cluster}"), &here])
    };
    assert_eq!(code(&run(&same)), Some(0));
    let out = run(&other);
    assert_eq!(code(&out), Some(1));
    let rows: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&rows[0]["code"], &rows[0]["resource"]), (&"IST0170".into(), &"Service b/a".into()));
}

#[test]
fn translate_is_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good.yaml"), GOOD).unwrap();
    let node = "sidecar~10.0.0.1~a.default~default.svc.cluster.local";
    let args = ["translate", "--config", folder.path().to_str().unwrap(), "--node", node];
    let (first, second) = (mesh(&args), mesh(&args));
    assert_eq!(code(&first), Some(0), "{}", String::from_utf8_lossy(&first.stderr));
    assert_eq!(first.stdout, second.stdout);
    let text = String::from_utf8_lossy(&first.stdout).into_owned();
    assert!(text.contains("outbound|9080|v1|reviews.default.svc.cluster.local"), "{text}");
    assert_eq!(code(&mesh(&["translate", "--config", folder.path().to_str().unwrap(), "--node", "x"])), Some(2));
}

#[test]
fn an_authority_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("ca");
    let root = || mesh(&["ca", "root", "--state", state.to_str().unwrap()]);
    let (first, second) = (root(), root());
    assert_eq!(code(&first), Some(0), "{}", String::from_utf8_lossy(&first.stderr));
    assert!(first.stdout.starts_with(b"-----BEGIN CERTIFICATE-----"));
    assert_eq!(first.stdout, second.stdout);
    let token = mesh(&["ca", "token", "--state", state.to_str().unwrap(), "--service-account", "reviews"]);
    assert_eq!(String::from_utf8_lossy(&token.stdout).trim().split('.').count(), 3);
    // A signing certificate is no leaf.
    let file = folder.path().join("root.pem");
    fs::write(&file, &first.stdout).unwrap();
    let verify = mesh(&["ca", "verify", "--trust", file.to_str().unwrap(), file.to_str().unwrap()]);
    assert_eq!(code(&verify), Some(1), "{verify:?}");
}
