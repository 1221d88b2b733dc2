//! Trying a server while another is in use: it counts as back when it has answered a request (gRFC A71).

use std::sync::Arc;

use futures::StreamExt;
use mesh_xds_api::envoy::config::core::v3::Node as NodeMessage;
use tonic::transport::Channel;

use super::{
    ClientConfig, Connect,
    channel::{self, chain},
    session::take,
    shared::Shared,
    stream::{self, Duplex, REQUEST_QUEUE, Received},
};
use crate::protocol::Request;

/// A server that has answered.
pub(super) struct Probe {
    channel: Channel,
    stream: Duplex,
    /// What it was asked.
    asked: Vec<Request>,
    /// Its first answer; `None`: nothing is subscribed, so that it was asked nothing.
    first: Option<Received>,
}

/// Opens a stream to server `index`, asks what would be asked first, and waits for an answer. Changes nothing in the core.
pub(super) async fn probe(
    shared: &Shared,
    connect: Arc<dyn Connect>,
    config: &ClientConfig,
    node: NodeMessage,
    index: usize,
) -> Result<Probe, String> {
    let channel = channel::open(connect, config.channel()).await?;
    let mut stream = stream::open(channel.clone(), config, node);
    let asked = shared.with(|core| core.state.first_requests(index as u64, REQUEST_QUEUE));
    for request in &asked {
        // There is room for so many.
        if let Err(error) = stream.requests.try_send(request.clone()) {
            return Err(error.to_string());
        }
    }
    if asked.is_empty() {
        return Ok(Probe { channel, stream, asked, first: None });
    }
    match stream.responses.next().await {
        Some(Ok(first)) => Ok(Probe { channel, stream, asked, first: Some(first) }),
        Some(Err(status)) => Err(chain(&status)),
        None => Err("the server closed the stream".into()),
    }
}

impl Probe {
    /// Connects the core to server `index`, and gives the stream to go on with: the one that was tried, if what was asked
    /// on it is still what is to be asked; otherwise a new one on the same connection.
    pub(super) fn adopt(
        self,
        shared: &Shared,
        config: &ClientConfig,
        node: NodeMessage,
        index: usize,
    ) -> (Duplex, bool) {
        let still_so = shared.with(|core| {
            core.state.connected_to(index as u64);
            let again: Vec<Request> = self.asked.iter().map_while(|_| core.state.poll()).collect();
            let still_so = again == self.asked && self.first.is_some();
            if !still_so {
                core.state.connected_to(index as u64);
            }
            still_so
        });
        match self.first.filter(|_| still_so) {
            Some(first) => {
                take(shared, first);
                (self.stream, true)
            }
            None => (stream::open(self.channel, config, node), false),
        }
    }
}
