//! One HTTP/2 connection to a server.

use std::{error::Error, sync::Arc, time::Duration};

use tonic::transport::{Channel, Endpoint};

use super::Connect;

/// How connections are made.
#[derive(Debug, Clone)]
pub(super) struct ChannelConfig {
    pub(super) authority: String,
    pub(super) connect_timeout: Duration,
    pub(super) keepalive: Duration,
}

/// Opens a connection. The error says why not.
pub(super) async fn open(connect: Arc<dyn Connect>, config: ChannelConfig) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{}", config.authority))
        .map_err(|e| format!("authority {:?}: {e}", config.authority))?
        .http2_keep_alive_interval(config.keepalive)
        .keep_alive_timeout(config.keepalive)
        .keep_alive_while_idle(true);
    let connector = tower::service_fn(move |_: http::Uri| {
        let opening = connect.connect();
        async move { opening.await.map(hyper_util::rt::TokioIo::new) }
    });
    match tokio::time::timeout(config.connect_timeout, endpoint.connect_with_connector(connector)).await {
        Ok(opened) => opened.map_err(|e| chain(&e)),
        Err(_) => Err("connecting took too long".into()),
    }
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
