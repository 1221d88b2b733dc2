//! What a test of the xDS server with a real Envoy needs: a view and its server, upstreams to send requests to, an
//! authority.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mesh_xds::{
    Resource,
    store::{Batch, View},
};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::{
    certs::Authority,
    envoy::{Envoy, EnvoyConfig},
    fetch::{Reply, Target},
    upstream::Upstream,
    wait,
    xds::{
        PATIENCE, Transport, Xds,
        resources::{Resources, certificate, endpoints, header_filter, listener, routes, virtual_host},
    },
};

/// Upstreams of each kind.
const UPSTREAMS: usize = 4;

/// A server with its view, and what its clients need to be of use.
#[derive(Debug)]
pub struct Lab {
    /// The server.
    pub xds: Xds,
    /// What it serves.
    pub view: Arc<View>,
    /// Makes resources whose references use the transport.
    pub make: Resources,
    /// Upstreams without TLS.
    pub plain: Vec<Upstream>,
    /// Upstreams that ask for a certificate of the authority.
    pub secure: Vec<Upstream>,
    /// Whom everybody trusts.
    pub authority: Authority,
    /// Upstreams and traffic run on it.
    pub runtime: Runtime,
    transport: Transport,
}

/// A listener's name, and the last byte of its address (see [`Resources::http_listener`]).
pub type Name = (&'static str, u8);
/// The plain listener of [`Lab::one_of_everything`].
pub const FRONT: Name = ("front", 2);
/// The listener with TLS of [`Lab::one_of_everything`].
pub const SECURE: Name = ("secure", 3);

impl Lab {
    /// A server with an empty view.
    ///
    /// # Panics
    /// If something cannot be started.
    #[must_use]
    pub fn new(transport: Transport) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let (runtime, authority, view) = (runtime.expect("a runtime can be made"), Authority::new(), View::new());
        let server = authority.server();
        let plain = (0..UPSTREAMS).map(|_| Upstream::start(runtime.handle(), None)).collect();
        let secure = (0..UPSTREAMS).map(|_| Upstream::start(runtime.handle(), Some(server.clone()))).collect();
        let (xds, make) = (Xds::start(&view), Resources::new(transport));
        Self { xds, view, make, plain, secure, authority, runtime, transport }
    }

    /// Starts an Envoy that asks by `transport`.
    #[must_use]
    pub fn envoy(&self, node: &str) -> Envoy {
        self.envoy_by(node, self.transport)
    }

    /// Starts an Envoy that asks by another transport.
    #[must_use]
    pub fn envoy_by(&self, node: &str, transport: Transport) -> Envoy {
        EnvoyConfig { node: node.to_owned(), xds: self.xds.address(), transport }.start()
    }

    /// A cluster `a` of the first plain upstream, to which the routes `r` send `a.test`; the listeners [`FRONT`] with a
    /// discovered filter `f` that adds `x-filter: 1`, and [`SECURE`] with the secret `server`; runtime.
    #[must_use]
    pub fn one_of_everything(&self) -> Vec<Resource> {
        let make = &self.make;
        vec![
            make.cluster("a"),
            endpoints("a", &[self.plain[0].address]),
            listener(make.http_listener(FRONT, make.rds("r"), vec![make.discovered_filter("f")])),
            self.secure_listener(SECURE, "server", "r"),
            routes("r", vec![virtual_host("a.test", &[("a", 1)])]),
            certificate("server", &self.authority.issue()),
            header_filter("f", "1"),
            runtime(1),
        ]
    }

    /// A listener with TLS.
    #[must_use]
    pub fn secure_listener(&self, name: Name, secret: &str, routes: &str) -> Resource {
        let mut message = self.make.http_listener(name, self.make.rds(routes), vec![]);
        message["filter_chains"][0]["transport_socket"] = self.make.downstream_tls(secret);
        listener(message)
    }

    /// Changes the view, and waits until a proxy has taken the change.
    pub fn step(&self, envoy: &Envoy, batch: Batch) {
        self.view.update(batch);
        self.xds.settle(envoy.node());
    }

    /// As [`Lab::step`], for resources put.
    pub fn put(&self, envoy: &Envoy, resources: impl IntoIterator<Item = Resource>) {
        self.step(envoy, resources.into_iter().collect());
    }

    /// Where a listener of a proxy is.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn target(&self, envoy: &Envoy, listener: &str, tls: bool) -> Target {
        let address = wait::until("the listener is open", PATIENCE, || envoy.listener(listener));
        Target { address, tls: tls.then(|| self.authority.client()) }
    }

    /// What a listener answers to a request for `host`.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn ask(&self, target: &Target, host: &str, headers: &[(&str, &str)]) -> Reply {
        self.runtime.block_on(target.fetch(host, headers)).unwrap_or_else(|e| panic!("{host} at {target:?}: {e}"))
    }

    /// Waits until a request for `host` is answered as `wanted` says.
    ///
    /// # Panics
    /// If it is not.
    pub fn ask_until(&self, what: &str, target: &Target, host: &str, wanted: impl Fn(&Reply) -> bool) {
        // A proxy's workers follow its main thread, which is who acknowledges.
        let end = Instant::now() + PATIENCE;
        loop {
            let reply = self.ask(target, host, &[]);
            if wanted(&reply) {
                return;
            }
            assert!(Instant::now() < end, "{what}: but {reply:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Some runtime, which every bootstrap of ours asks for.
#[must_use]
pub fn runtime(answer: u64) -> Resource {
    crate::xds::resources::runtime(json!({ "tests.answer": answer }))
}
