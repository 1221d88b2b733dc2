//! What would a proxy be sent? Translates a folder of Istio and Kubernetes objects for one node.
//!
//! ```text
//! cargo run -p mesh-xds --features translate --example translate -- DIR NODE_ID [METADATA_JSON] [--bootstrap]
//! cargo run -p mesh-xds --features translate --example translate -- \
//!     bookinfo sidecar~10.0.0.1~reviews-v1.default~default.svc.cluster.local '{"LABELS":{"app":"reviews"}}'
//! ```
//!
//! With `--bootstrap` the output is an Envoy bootstrap for `envoy --mode validate`. Findings go to standard error.

use std::{error::Error, process::ExitCode};

use mesh_config::{Snapshot, load_path};
use mesh_xds::{
    discovery::{RegistryOptions, registry_of},
    translate::{MeshOptions, ProxyNode, Translator},
};
use mesh_xds_api::{envoy::config::core::v3::Node, json};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let bootstrap = arguments.iter().any(|argument| argument == "--bootstrap");
    arguments.retain(|argument| argument != "--bootstrap");
    let [folder, id, metadata @ ..] = arguments.as_slice() else {
        return Err("usage: translate DIR NODE_ID [METADATA_JSON] [--bootstrap]".into());
    };
    let metadata = metadata.first().map_or("{}", String::as_str);
    let node = format!(r#"{{"id": "{id}", "metadata": {metadata}}}"#);
    let node = ProxyNode::from_node(&json::from_value::<Node>(&json::value_from_yaml(&node)?)?)?;

    let loaded = load_path([folder])?;
    let snapshot = Snapshot::from_objects(loaded.objects);
    let (registry, found) = registry_of(&snapshot, &RegistryOptions::default());
    let context = Translator::new(MeshOptions::default()).prepare(&snapshot, &registry);
    let translation = context.translate(&node);

    let notices = found.iter().chain(context.notices()).chain(&translation.notices);
    let findings = notices.map(|notice| notice.diagnostic(&snapshot));
    for finding in loaded.diagnostics.into_iter().chain(findings) {
        eprintln!("{finding}");
    }
    if bootstrap {
        println!("{}", translation.static_bootstrap());
    } else {
        print!("{}", translation.to_yaml());
    }
    Ok(())
}
