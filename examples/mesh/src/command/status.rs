//! `mesh proxy-status` and `mesh proxy-config`.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::block_on;
use crate::{
    cli::{ProxyConfigArgs, ProxyConfigKind, ProxyStatusArgs, TextOrJson},
    exit, net,
};

const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// What each connected proxy has acknowledged, refused or not answered yet. Exit code 1 if any has refused something.
pub(crate) fn proxy_status(args: ProxyStatusArgs) -> anyhow::Result<u8> {
    let (_, body) = block_on(net::get(args.control_plane, "/debug/syncz", READ_TIMEOUT))
        .context("the control plane does not answer: is --control-plane its admin address?")?;
    let proxies: Vec<Value> =
        serde_json::from_slice(&body).context("the control plane's answer is no list of proxies")?;
    let states =
        || proxies.iter().flat_map(|p| p["types"].as_object().into_iter().flatten().map(move |(t, s)| (p, t, s)));
    match args.output {
        TextOrJson::Json => println!("{}", serde_json::to_string_pretty(&proxies)?),
        TextOrJson::Text => {
            println!("{:<40} {:<6} {:<7} {:>9}  MESSAGE", "PROXY", "TYPE", "STATE", "RESOURCES");
            for (proxy, kind, state) in states() {
                println!(
                    "{:<40} {kind:<6} {:<7} {:>9}  {}",
                    proxy["node"].as_str().unwrap_or("?"),
                    state["state"].as_str().unwrap_or("?"),
                    state["resources"].as_object().map_or(0, serde_json::Map::len),
                    state["error"].as_str().unwrap_or("")
                );
            }
        }
    }
    let refused = states().any(|(.., state)| state["state"] == "NACKED");
    Ok(if refused { exit::NO } else { exit::OK })
}

/// What one proxy holds, from its own admin interface.
pub(crate) fn proxy_config(args: ProxyConfigArgs) -> anyhow::Result<u8> {
    let path = match args.what {
        ProxyConfigKind::All => "/config_dump?include_eds",
        ProxyConfigKind::Clusters => "/clusters",
        ProxyConfigKind::Listeners => "/listeners",
        ProxyConfigKind::Routes => "/config_dump?resource=dynamic_route_configs",
    };
    let (status, body) = block_on(net::get(args.admin, path, READ_TIMEOUT))
        .context("the proxy does not answer: is --admin its admin address?")?;
    anyhow::ensure!(status == 200, "http://{}{path} answered {status}: {}", args.admin, String::from_utf8_lossy(&body));
    println!("{}", String::from_utf8_lossy(&body));
    Ok(exit::OK)
}
