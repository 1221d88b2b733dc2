//! What cannot run says in one line what to do, and exits with 2.

use std::{fs, net::TcpListener, process::Command};

use mesh_tests::peer;

fn refused(args: &[&str]) -> String {
    let out = Command::new(peer::mesh()).args(args).output().expect("mesh runs");
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{args:?}: {text}");
    let last = text.lines().filter(|l| l.starts_with("mesh: ")).count();
    assert_eq!(last, 1, "{args:?}: one line that says what to do: {text}");
    text
}

#[test]
fn a_missing_folder() {
    for args in [
        &["control-plane", "--config", "no/such/folder", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"][..],
        &["xds", "--resources", "no/such/folder", "--listen", "127.0.0.1:0"],
        &["proxy", "-c", "no/such/file.yaml"],
        &["analyze", "no/such/folder"],
        &["validate", "no/such/folder"],
        &["translate", "--config", "no/such/folder", "--node", "sidecar~127.0.0.1~a.b~b.svc.cluster.local"],
    ] {
        assert!(refused(args).contains("no/such"), "{args:?}");
    }
}

#[test]
fn a_port_in_use() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("bound").to_string();
    let dir = folder.path().to_str().expect("a path in UTF-8");
    let state = folder.path().join("state");
    let state = state.to_str().expect("a path in UTF-8");
    let text =
        refused(&["control-plane", "--config", dir, "--state", state, "--listen", &taken, "--admin", "127.0.0.1:0"]);
    assert!(text.contains(&taken) && text.contains("--listen"), "{text}");
    let text = refused(&["xds", "--resources", dir, "--listen", &taken]);
    assert!(text.contains(&taken) && text.contains("--listen"), "{text}");

    let bootstrap = format!(
        "{{\"static_resources\": {{\"listeners\": [{{\"name\": \"l\", \"address\": {{\"socket_address\": {{\"address\": \"127.0.0.1\", \"port_value\": {}}}}}, \
         \"filter_chains\": [{{\"filters\": [{{\"name\": \"envoy.filters.network.tcp_proxy\", \"typed_config\": {{\
         \"@type\": \"type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\", \"stat_prefix\": \"t\", \"cluster\": \"c\"}}}}]}}]}}], \
         \"clusters\": [{{\"name\": \"c\", \"type\": \"STATIC\", \"load_assignment\": {{\"cluster_name\": \"c\"}}}}]}}}}",
        taken.rsplit(':').next().expect("a port")
    );
    let file = folder.path().join("bootstrap.json");
    fs::write(&file, bootstrap).expect("the bootstrap can be written");
    let text = refused(&["proxy", "-c", file.to_str().expect("a path in UTF-8")]);
    assert!(text.contains(&taken), "{text}");
}

#[test]
fn a_bootstrap_that_cannot_be_carried() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (content, named) in [
        (
            "static_resources: {clusters: [{name: c, type: STATIC, lb_subset_config: {fallback_policy: ANY_ENDPOINT}}]}",
            "lb_subset_config",
        ),
        ("static_resources: {clusters: [{nmae: c}]}", "nmae"),
        ("static_resources: [", "bootstrap"),
    ] {
        let file = folder.path().join("bootstrap.yaml");
        fs::write(&file, content).expect("the bootstrap can be written");
        let text = refused(&["proxy", "-c", file.to_str().expect("a path in UTF-8")]);
        assert!(text.contains(named), "{text}");
    }
}
