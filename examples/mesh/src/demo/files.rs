//! The demo's configuration folder.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;

use super::plan::{Plan, SERVICE_PORT};

const FILES: [(&str, &str); 4] = [
    ("services.yaml", include_str!("../../demo/config/services.yaml")),
    ("destination-rules.yaml", include_str!("../../demo/config/destination-rules.yaml")),
    ("reviews.yaml", include_str!("../../demo/config/reviews.yaml")),
    ("security.yaml", include_str!("../../demo/config/security.yaml")),
];

/// Fills `dir`. Files that are there already stay, but for `endpoints.yaml`, which is made from the plan.
pub(crate) fn write(dir: &Path, plan: &Plan) -> anyhow::Result<()> {
    let why = || format!("cannot write the demo's configuration to {}", dir.display());
    fs::create_dir_all(dir).with_context(why)?;
    for (name, content) in FILES {
        let path = dir.join(name);
        if !path.exists() {
            fs::write(&path, content).with_context(why)?;
        }
    }
    fs::write(dir.join("endpoints.yaml"), endpoints(plan)).with_context(why)
}

/// What a cluster would tell: a Pod for each workload, and an `EndpointSlice` for each service.
fn endpoints(plan: &Plan) -> String {
    let mut out = String::from("# Written by `mesh demo` at every start: edits are lost.\n");
    for workload in &plan.workloads {
        let (name, app, version) = (workload.name(), workload.app, workload.version);
        let (account, ip) = (workload.service_account(), plan.workload_ip(workload));
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  labels: {{app: {app}, version: {version}, security.istio.io/tlsMode: istio}}\n\
             spec:\n  serviceAccountName: {account}\nstatus:\n  phase: Running\n  podIP: {ip}\n---\n"
        );
    }
    for service in ["productpage", "details", "reviews", "ratings"] {
        let _ = write!(
            out,
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}\n  labels: {{kubernetes.io/service-name: {service}}}\n\
             addressType: IPv4\nports:\n- name: http\n  port: {SERVICE_PORT}\nendpoints:\n"
        );
        for workload in plan.workloads.iter().filter(|w| w.app == service) {
            let (name, ip) = (workload.name(), plan.workload_ip(workload));
            let _ = write!(
                out,
                "- addresses: [\"{ip}\"]\n  conditions: {{ready: true}}\n  targetRef: {{kind: Pod, name: {name}}}\n"
            );
        }
        out.push_str("---\n");
    }
    out
}
