//! A server on loopback, and what a server expects of those it asks.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    Node,
    server::{ListenConfig, LoadReporting, PeerInfo, ServerBuilder, StreamAuthorizer, XdsServer, serve},
    store::{Attach, Refusal, ViewSource},
};

/// A server on a free port of loopback, without TLS, CSDS included. Ends when dropped.
#[derive(Debug)]
pub struct TestServer {
    server: XdsServer,
    address: SocketAddr,
    _serving: JoinHandle<io::Result<()>>,
}

impl TestServer {
    /// Starts it.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start(builder: ServerBuilder) -> io::Result<Self> {
        Self::start_as(builder, None).await
    }

    /// Starts one that takes load reports too.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start_with_load(builder: ServerBuilder, reporting: LoadReporting) -> io::Result<Self> {
        Self::start_as(builder, Some(reporting)).await
    }

    async fn start_as(builder: ServerBuilder, reporting: Option<LoadReporting>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = builder.build();
        let mut routes = tonic::service::Routes::builder();
        server.add_to(&mut routes);
        server.add_status_to(&mut routes);
        if let Some(reporting) = reporting {
            server.add_load_reporting_to(&mut routes, reporting);
        }
        let config = ListenConfig { drain_timeout: Duration::from_millis(50), ..Default::default() };
        let serving = tokio::spawn(serve(listener, None, routes.routes(), config, server.stopped()));
        Ok(Self { server, address, _serving: serving })
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &XdsServer {
        &self.server
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.server.shutdown();
    }
}

/// Checks a [`ViewSource`] with a client that it should accept: clients may attach at the same time and see the same; a
/// client may go away while it waits; a view can be had again after its last client has left.
///
/// # Panics
/// With what does not hold.
pub async fn view_source_suite(source: &dyn ViewSource, accepted: &Attach) {
    let attach = || async {
        match source.attach(accepted).await {
            Ok(handle) => handle,
            Err(refusal) => panic!("the client should be accepted: {refusal}"),
        }
    };
    let (first, second) = futures::join!(attach(), attach());
    let content = first.snapshot();
    assert_eq!(second.snapshot(), content, "clients alike see the same, from the start");
    drop(first);
    assert_eq!(second.snapshot(), content, "a client that leaves takes nothing from another");
    drop(second);
    // Polled once and dropped, as when the client goes away.
    futures::future::select(Box::pin(source.attach(accepted)), futures::future::ready(())).await;
    assert_eq!(attach().await.snapshot(), content, "a view can be had again");
}

/// Checks a [`StreamAuthorizer`] with clients that it should accept and clients that it should refuse: its decisions do
/// not depend on what it decided before, and a refusal has a reason.
///
/// # Panics
/// With what does not hold.
pub async fn authorizer_suite(
    authorizer: &dyn StreamAuthorizer,
    accepted: &[(PeerInfo, Node)],
    refused: &[(PeerInfo, Node)],
) {
    for round in 0..2 {
        for (peer, node) in accepted {
            let decision = authorizer.authorize(peer, node).await;
            assert!(decision.is_ok(), "round {round}: {} should be accepted: {decision:?}", node.id());
        }
        for (peer, node) in refused {
            match authorizer.authorize(peer, node).await {
                Ok(identity) => panic!("round {round}: {} should be refused, became {identity:?}", node.id()),
                Err(Refusal::Denied(reason) | Refusal::Unauthenticated(reason) | Refusal::NotReady(reason)) => {
                    assert!(!reason.is_empty(), "a refusal has a reason");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        server::AllowAll,
        store::{GroupedViews, SingleView, View},
        testing::RecordingObserver,
    };

    fn attach() -> Attach {
        Attach { node: Node::default(), identity: None, peer_addr: None }
    }

    #[tokio::test]
    async fn our_sources_keep_the_contract() {
        view_source_suite(&SingleView(View::new()), &attach()).await;
        view_source_suite(&GroupedViews::per_node(), &attach()).await;
    }

    #[tokio::test]
    async fn allow_all_keeps_the_contract() {
        authorizer_suite(&AllowAll, &[(PeerInfo::default(), Node::default())], &[]).await;
    }

    #[cfg(feature = "client")]
    #[tokio::test]
    async fn tcp_keeps_the_contract() {
        let observer = RecordingObserver::default();
        let builder = XdsServer::builder(SingleView(View::new())).observer(observer.clone());
        let running = TestServer::start(builder).await.unwrap();
        let connect = crate::client::TcpConnect::new(running.address().to_string());
        crate::testing::connect_suite(&connect).await;
        assert!(observer.events().is_empty());
    }
}
