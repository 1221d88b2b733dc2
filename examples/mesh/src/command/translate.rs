//! `mesh translate`.

use std::collections::BTreeSet;

use anyhow::Context as _;
use mesh_config::{Event, Store, StoreOptions};
use mesh_xds::translate::ProxyNode;
use mesh_xds_api::{envoy::config::core::v3::Node, json};

use crate::{cli::TranslateArgs, control_plane::Reader, exit};

/// What a node would be sent, as YAML, in a stable order. Findings go to standard error.
pub(crate) fn translate(args: TranslateArgs) -> anyhow::Result<u8> {
    let metadata: serde_json::Value = serde_json::from_str(&args.metadata).context("--metadata is no JSON object")?;
    let node: Node =
        json::from_value(&serde_json::json!({"id": args.node, "metadata": metadata})).context("--metadata")?;
    let node = ProxyNode::from_node(&node).context("--node")?;
    let mut scanner = mesh_config::DirectoryScanner::new([&args.config]);
    let objects = scanner.scan().with_context(|| format!("--config {}", args.config.display()))?;
    let state = Store::new(StoreOptions::default()).apply(Event::Snapshot(objects));
    let configured = Reader::new(&args.trust_domain, None).read(state, &BTreeSet::new());
    let translation = configured.context.translate(&node);
    for finding in &configured.diagnostics {
        eprintln!("{finding}");
    }
    for notice in &translation.notices {
        eprintln!("{}", notice.diagnostic(&configured.state.snapshot));
    }
    print!("{}", translation.to_yaml());
    Ok(exit::OK)
}
