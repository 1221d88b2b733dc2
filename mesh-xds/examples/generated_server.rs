//! Views made for each proxy: what a proxy is sent depends on who it says it is, and is made anew when the state changes.
//!
//! ```text
//! cargo run -p mesh-xds --example generated_server -- 127.0.0.1:15010 127.0.0.1:10000     # xDS, and where Envoy is to listen
//! envoy -c bootstrap.yaml --service-node kitchen       # the bootstrap file is in custom_server.rs
//! curl 127.0.0.1:10000       # "Hello, kitchen"; after a line such as `Good night` on standard input: "Good night, kitchen"
//! ```
//!
//! Proxies of one name share a view. It lives as long as it has clients.

use std::{error::Error, net::SocketAddr, sync::Arc};

use mesh_xds::{
    Resource,
    server::{ListenConfig, XdsServer, serve},
    store::{Attach, FilledViews, Refusal, View, ViewFiller},
};
use parking_lot::RwLock;
use serde_json::json;

/// The state that resources are made from.
type Greeting = Arc<RwLock<String>>;

struct Greeter {
    greeting: Greeting,
    /// Where proxies listen.
    proxy: SocketAddr,
}

impl ViewFiller for Greeter {
    /// All that matters of a proxy: its name.
    type Target = String;

    fn target(&self, request: &Attach) -> Result<(String, String), Refusal> {
        match request.node.id().as_str() {
            "" => Err(Refusal::Denied("tell node.id".into())),
            name => Ok((name.to_owned(), name.to_owned())),
        }
    }

    fn fill(&self, name: &String, view: &View) -> Result<(), Refusal> {
        let text = format!("{}, {name}\n", self.greeting.read());
        let resource = listener(self.proxy, &text).map_err(|error| Refusal::NotReady(error.to_string()))?;
        view.replace([resource]);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addresses = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<Vec<SocketAddr>, _>>()?;
    let [xds, proxy] = addresses[..] else { return Err("usage: generated_server XDS_ADDRESS PROXY_ADDRESS".into()) };
    let greeting: Greeting = Arc::new(RwLock::new("Hello".into()));
    let views = FilledViews::new(Greeter { greeting: greeting.clone(), proxy });
    let server = XdsServer::builder(views.clone()).build();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            *greeting.write() = line;
            println!("{} views made anew", views.refresh());
        }
    });
    let listener = tokio::net::TcpListener::bind(xds).await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(serve(listener, None, server.routes(), ListenConfig::default(), server.stopped()).await?)
}

/// A listener that answers by itself.
fn listener(at: SocketAddr, text: &str) -> Result<Resource, Box<dyn Error>> {
    let route = json!({
        "match": { "prefix": "/" },
        "direct_response": { "status": 200, "body": { "inline_string": text } },
    });
    let router = json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "greeter",
        "http_filters": [{ "name": "router", "typed_config": router }],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
    });
    let listener = json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": "greeter",
        "address": { "socket_address": { "address": at.ip(), "port_value": at.port() } },
        "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
    });
    Ok(Resource::from_any(mesh_xds_api::json::any_from_value(&listener)?)?)
}
