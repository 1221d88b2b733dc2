//! Real Envoy under our control plane, alone and beside mesh-proxy.

use std::time::Duration;

use mesh_tests::{demo::Demo, peer, process};

fn run(envoys: &[&str]) {
    let envoy = peer::envoy();
    let mut args = vec![
        "--duration",
        "25s",
        "--certificate-ttl",
        "16s",
        "--rate",
        "20",
        "--envoy",
        envoy.to_str().expect("a path in UTF-8"),
    ];
    for workload in envoys {
        args.extend(["--envoy-workload", workload]);
    }
    let demo = Demo::start(&args);
    // Both directions across the two data planes, and the same policy on both.
    assert!(demo.reviews_version(&[]).is_some());
    assert_eq!(demo.call("reviews-v2", "ratings", "/ratings/0", &[]).status, 200);
    let denied = demo.call("productpage-v1", "ratings", "/ratings/0", &[]);
    assert_eq!((denied.status, denied.body.as_str()), (403, "RBAC: access denied"));
    let plaintext = process::get((demo.address("ratings-v1", "admin").ip(), 9080).into(), "ratings", "/ratings/0", &[]);
    assert!(plaintext.is_err(), "plaintext was answered: {plaintext:?}");

    // Envoy refused nothing of what it was sent.
    let proxies = process::get(demo.control_plane_admin(), "admin", "/debug/syncz", &[])
        .expect("the control plane answers")
        .json();
    for proxy in proxies.as_array().expect("a list of proxies") {
        for (kind, state) in proxy["types"].as_object().expect("types of a proxy") {
            assert_eq!(state["state"], "ACKED", "{kind} of {}: {state}", proxy["name"]);
        }
    }
    let logs = demo.logs();
    let (summary, code) = demo.finish(Duration::from_secs(90));
    assert_eq!((code, &summary["unexpected_failures"]), (0, &serde_json::json!(0)), "{summary:#}\n{logs}");
    assert_eq!(
        summary["services_reached"],
        serde_json::json!(["details", "productpage", "ratings", "reviews"]),
        "{summary:#}"
    );
}

#[test]
fn envoy_as_every_sidecar() {
    run(&["all"]);
}

#[test]
fn envoy_and_mesh_proxy_call_each_other() {
    // traffic (mesh) -> productpage (Envoy) -> reviews (mesh, Envoy, mesh) -> ratings (Envoy); details is mesh.
    run(&["productpage-v1", "reviews-v2", "ratings-v1"]);
}
