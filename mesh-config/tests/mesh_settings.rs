//! The settings of the mesh, from wherever they come, and what they decide.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use mesh_config::{Code, Diagnostic, Position, analyze_all, load_mesh_config, load_str};

fn places(found: &[Diagnostic]) -> Vec<(&str, Position)> {
    found.iter().map(|finding| (finding.path.as_str(), finding.position)).collect()
}

#[test]
fn settings_by_themselves_are_checked_where_they_stand() {
    let loaded =
        load_mesh_config("mesh.yaml", "rootNamespace: config\nconnectTimeout: 5h\ndefaultConfig: {concurency: 2}\n");
    let loaded = loaded.unwrap();
    assert_eq!(loaded.mesh.root_namespace, "config");
    let expected = [
        ("connectTimeout", Position { line: 2, column: 17 }),
        ("defaultConfig.concurency", Position { line: 3, column: 29 }),
    ];
    let mut found = places(&loaded.diagnostics);
    found.sort_unstable();
    assert_eq!(found, expected);
    assert!(load_mesh_config("mesh.yaml", "").unwrap().diagnostics.is_empty());
    assert!(load_mesh_config("mesh.yaml", "[a]").is_err());
    assert!(load_mesh_config("mesh.yaml", "a: [").is_err());
}

#[test]
fn settings_are_read_from_objects() {
    let operator = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: a}\nspec:\n  meshConfig:\n    rootNamespace: config\n";
    let loaded = load_mesh_config("mesh.yaml", operator).unwrap();
    assert_eq!((loaded.mesh.root_namespace.as_str(), loaded.diagnostics.len()), ("config", 0));
    let installed = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |-\n    rootNamespace: config\n";
    let loaded = load_mesh_config("mesh.yaml", installed).unwrap();
    assert_eq!(loaded.mesh.root_namespace, "config");
    let other = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";
    assert_eq!(load_mesh_config("mesh.yaml", other).unwrap_err().code, Code::NotAnObject);
    let wrong = operator
        .replace("rootNamespace: config", "connectTimeout: x")
        .replace("  meshConfig", "  meshconfig: {}\n  meshConfig");
    let loaded = load_mesh_config("mesh.yaml", &wrong).unwrap();
    let found = places(&loaded.diagnostics);
    assert!(found.contains(&("spec.meshconfig", Position { line: 5, column: 3 })), "{found:?}");
    assert!(found.iter().any(|(path, at)| *path == "spec.meshConfig.connectTimeout" && at.line == 7), "{found:?}");
}

#[test]
fn the_settings_decide_which_ingresses_count() {
    let service =
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{name: http, port: 80}]}\n";
    let class = "---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: ours}\nspec: {controller: istio.io/ingress-controller}\n---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: theirs}\nspec: {controller: k8s.io/ingress-nginx}\n";
    let found = |mode: &str, head: &str, spec: &str, backend: &str| {
        let mesh = format!(
            "---\napiVersion: mesh.istio.io/v1alpha1\nkind: MeshConfig\nmetadata: {{name: mesh}}\nspec: {{{mode}}}\n"
        );
        let rules = format!("rules: [{{http: {{paths: [{{path: /, pathType: Prefix, backend: {backend}}}]}}}}]");
        let ingress = format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: web{head}}}\nspec: {{{spec}{rules}}}\n"
        );
        let loaded = load_str("ingress.yaml", &format!("{service}{class}{mesh}{ingress}"));
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        let found = analyze_all(loaded.all_objects());
        let found = found.into_iter().filter(|finding| finding.code == Code::IngressBackend);
        found.map(|finding| finding.path).collect::<Vec<_>>()
    };
    let (gone, ours, default) =
        ("{service: {name: x, port: {number: 80}}}", "ingressClassName: ours, ", "ingressControllerMode: DEFAULT");
    let name = ["spec.rules[0].http.paths[0].backend.service.name"];
    let port = ["spec.rules[0].http.paths[0].backend.service.port"];
    let annotated = ", annotations: {kubernetes.io/ingress.class: istio}";
    let nothing: [&str; 0] = [];
    assert_eq!(found("", "", ours, gone), name);
    assert_eq!(found("", "", "ingressClassName: theirs, ", gone), nothing);
    assert_eq!(found("", "", "", gone), nothing);
    assert_eq!(found(default, "", "", gone), name);
    assert_eq!(found("", annotated, "", gone), name);
    assert_eq!(found("ingressClass: other", annotated, "", gone), nothing);
    assert_eq!(found("ingressControllerMode: 'OFF'", annotated, ours, gone), nothing);
    assert_eq!(found("", "", ours, "{service: {name: web, port: {number: 80}}}"), nothing);
    assert_eq!(found("", "", ours, "{service: {name: web, port: {name: http}}}"), nothing);
    assert_eq!(found("", "", ours, "{service: {name: web, port: {number: 81}}}"), port);
    assert_eq!(found("", "", ours, "{service: {name: web, port: {name: web}}}"), port);
    assert_eq!(found("", "", ours, "{resource: {kind: Bucket, name: b}}"), ["spec.rules[0].http.paths[0].backend"]);
}
