//! mesh-xds' server under test: started, killed and started again at one address, and what it knows of its clients.

pub mod resources;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use mesh_xds::{
    ResourceKey, TypeUrl, Version,
    protocol::{
        Variant,
        server::{ResourceState, TypeReport},
    },
    server::{ListenConfig, Nack, StreamEvent, XdsServer, serve},
    store::{SingleView, View},
    testing::RecordingObserver,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::wait;

/// Longer than anything takes that should happen at all.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How a client asks for resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transport {
    /// State of the world, or delta.
    pub variant: Variant,
    /// One stream for all, or the services of the types.
    pub aggregated: bool,
}

/// A server over one view. Killed when dropped: connections break without a word, as with a process that dies.
#[derive(Debug)]
pub struct Xds {
    view: Arc<View>,
    server: XdsServer,
    address: SocketAddr,
    events: RecordingObserver,
    runtime: Option<Runtime>,
}

impl Transport {
    /// Everything over one stream.
    #[must_use]
    pub const fn ads(variant: Variant) -> Self {
        Self { variant, aggregated: true }
    }

    /// A stream of its own for each subscription.
    #[must_use]
    pub const fn separate(variant: Variant) -> Self {
        Self { variant, aggregated: false }
    }

    /// A `ConfigSource`.
    #[must_use]
    pub fn source(self) -> Value {
        if self.aggregated {
            json!({ "ads": {}, "resource_api_version": "V3" })
        } else {
            json!({ "api_config_source": self.api(), "resource_api_version": "V3" })
        }
    }

    /// `ads_config` of a bootstrap file, if there is one.
    #[must_use]
    pub fn ads_config(self) -> Option<Value> {
        self.aggregated.then(|| self.api())
    }

    fn api(self) -> Value {
        let api_type = match self.variant {
            Variant::Sotw => "GRPC",
            Variant::Delta => "DELTA_GRPC",
        };
        // Envoy's own waiting after a broken stream is half a second to half a minute.
        let retry = json!({ "retry_back_off": { "base_interval": "0.05s", "max_interval": "0.2s" } });
        json!({
            "api_type": api_type,
            "transport_api_version": "V3",
            "set_node_on_first_message_only": true,
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds", "retry_policy": retry } }],
        })
    }
}

impl Xds {
    /// A server on a free port.
    #[must_use]
    pub fn start(view: &Arc<View>) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), view)
    }

    /// A server where another was.
    ///
    /// # Panics
    /// If the address is not to be had.
    #[must_use]
    pub fn start_at(address: SocketAddr, view: &Arc<View>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let listener = wait::until("the address is free", PATIENCE, || {
            runtime.block_on(TcpListener::bind(address)).map_err(|e: io::Error| eprintln!("{address}: {e}")).ok()
        });
        let address = listener.local_addr().expect("a listener has an address");
        let events = RecordingObserver::default();
        let server = XdsServer::builder(SingleView(view.clone())).observer(events.clone()).build();
        runtime.spawn(serve(listener, None, server.routes(), ListenConfig::default(), server.stopped()));
        Self { view: view.clone(), server, address, events, runtime: Some(runtime) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it serves.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The server itself.
    #[must_use]
    pub fn server(&self) -> &XdsServer {
        &self.server
    }

    /// Every refusal so far, with the node it came from.
    #[must_use]
    pub fn nacks(&self) -> Vec<(String, Nack)> {
        let nack = |(node, event): (mesh_xds::NodeId, StreamEvent)| match event {
            StreamEvent::Nacked(nack) => Some((node.as_str().to_owned(), nack)),
            _ => None,
        };
        self.events.events().into_iter().filter_map(nack).collect()
    }

    /// Why streams have ended so far.
    #[must_use]
    pub fn endings(&self) -> Vec<String> {
        let reason = |(_, event)| match event {
            StreamEvent::Disconnected { reason } => Some(reason),
            _ => None,
        };
        self.events.events().into_iter().filter_map(reason).collect()
    }

    /// What a node has of one type, over all its streams.
    #[must_use]
    pub fn reports(&self, node: &str, type_url: &TypeUrl) -> Vec<TypeReport> {
        let streams = self.server.status().node(node);
        streams.into_iter().flat_map(|s| s.types).filter(|t| t.type_url == *type_url).collect()
    }

    /// Waits until a node holds exactly what the view has, and has acknowledged all of it.
    ///
    /// # Panics
    /// If that does not come true; the message tells what is missing.
    pub fn settle(&self, node: &str) {
        let end = Instant::now() + PATIENCE;
        while let Err(why) = self.settled(node) {
            assert!(Instant::now() < end, "{node} is not settled: {why}\n{:#}", self.server.status().to_json());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether a node holds exactly what the view has.
    ///
    /// # Errors
    /// With what differs.
    pub fn settled(&self, node: &str) -> Result<(), String> {
        // The view first: what changes after that is not lost from sight, for the caller is who changes it.
        let wanted: BTreeMap<ResourceKey, Version> =
            self.view.snapshot().iter().map(|(key, r)| (key.clone(), r.version().clone())).collect();
        let mut held = BTreeMap::new();
        for report in self.server.status().node(node).into_iter().flat_map(|s| s.types) {
            let kind = report.type_url.short().unwrap_or("other").to_owned();
            if report.state() != ResourceState::Acked {
                return Err(format!("{kind} is {:?}", report.state()));
            }
            for resource in report.resources {
                if resource.state != ResourceState::Acked {
                    return Err(format!("{kind} {} is {:?}", resource.name, resource.state));
                }
                held.insert(ResourceKey { type_url: report.type_url.clone(), name: resource.name }, resource.version);
            }
        }
        let missing = wanted.iter().find(|(key, version)| held.get(key) != Some(version));
        let surplus = held.keys().find(|key| !wanted.contains_key(key));
        match (missing, surplus) {
            (Some((key, _)), _) => Err(format!("{key:?} is not held as it is")),
            (None, Some(key)) => Err(format!("{key:?} is held but no more")),
            (None, None) => Ok(()),
        }
    }

    /// Ends the server as a process dies, and gives its address.
    pub fn kill(mut self) -> SocketAddr {
        self.end();
        self.address
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Tasks are dropped where they stand, and their sockets with them.
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

impl Drop for Xds {
    fn drop(&mut self) {
        self.end();
    }
}
