//! A management server: ours, in this process, that can go away and come back.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mesh_tests::wait;
use mesh_xds::{
    TypeUrl,
    server::{ListenConfig, Nack, ServerBuilder, StreamEvent, StreamInfo, XdsServer, serve},
    store::{SingleView, View},
};
use parking_lot::Mutex;
use tokio::{net::TcpListener, runtime::Handle, task::JoinHandle};

use crate::grpc::PATIENCE;

/// A server over one view.
pub(crate) struct Management {
    pub(crate) view: Arc<View>,
    pub(crate) address: SocketAddr,
    runtime: Handle,
    tls: Option<Arc<rustls::ServerConfig>>,
    running: Option<(XdsServer, JoinHandle<std::io::Result<()>>)>,
    nacks: Arc<Mutex<Vec<(String, Nack)>>>,
}

impl Management {
    pub(crate) fn start(runtime: &Handle, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        Self::start_with(runtime, tls, |builder| builder)
    }

    pub(crate) fn start_with(
        runtime: &Handle,
        tls: Option<Arc<rustls::ServerConfig>>,
        build: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let (view, runtime) = (View::new(), runtime.clone());
        let address = "127.0.0.1:0".parse().unwrap();
        let mut made = Self { view, address, runtime, tls, running: None, nacks: Arc::default() };
        made.run(build);
        made
    }

    /// Runs at the same address as before, after [`Management::stop`].
    pub(crate) fn start_again(&mut self) {
        self.run(|builder| builder);
    }

    fn run(&mut self, build: impl FnOnce(ServerBuilder) -> ServerBuilder) {
        let nacks = self.nacks.clone();
        let observer = move |stream: &StreamInfo, event: &StreamEvent| {
            if let StreamEvent::Nacked(nack) = event {
                nacks.lock().push((stream.node.id().to_string(), nack.clone()));
            }
        };
        let server = build(XdsServer::builder(SingleView(self.view.clone())).observer(observer)).build();
        let listener = self.runtime.block_on(TcpListener::bind(self.address)).unwrap();
        self.address = listener.local_addr().unwrap();
        let mut routes = tonic::service::Routes::builder();
        server.add_to(&mut routes);
        server.add_status_to(&mut routes);
        let config = ListenConfig { drain_timeout: Duration::from_millis(50), ..Default::default() };
        let serving = serve(listener, self.tls.clone(), routes.routes(), config, server.stopped());
        self.running = Some((server, self.runtime.spawn(serving)));
    }

    /// Ends every stream and takes no connection any more.
    pub(crate) fn stop(&mut self) {
        let (server, serving) = self.running.take().expect("it runs");
        server.shutdown();
        self.runtime.block_on(serving).unwrap().unwrap();
    }

    pub(crate) fn server(&self) -> &XdsServer {
        &self.running.as_ref().expect("it runs").0
    }

    /// Waits for the next refusal, and gives it with the node's id.
    pub(crate) fn nack(&self) -> (String, Nack) {
        wait::until("a refusal", PATIENCE, || {
            let mut nacks = self.nacks.lock();
            (!nacks.is_empty()).then(|| nacks.remove(0))
        })
    }

    /// The refusals that [`Management::nack`] has not given.
    pub(crate) fn other_nacks(&self) -> Vec<(String, Nack)> {
        std::mem::take(&mut self.nacks.lock())
    }

    /// Waits until the node stands like this to a resource, e.g. `ACKED`.
    pub(crate) fn until(&self, node: &str, type_url: &TypeUrl, name: &str, state: Option<&str>) {
        let found = || {
            let streams = self.server().status().node(node);
            let resources = streams.iter().flat_map(|s| &s.types).filter(|t| t.type_url == *type_url);
            resources.flat_map(|t| &t.resources).find(|r| r.name == name).map(|r| r.state.as_str())
        };
        wait::until(&format!("{node} has {name} as {state:?}"), PATIENCE, || (found() == state).then_some(()));
    }
}
