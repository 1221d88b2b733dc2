//! A fixture in another process.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mesh_xds_api::json::any_to_value;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Fixture, FixtureError, Removal};
use crate::Resource;

/// How long the other process may take for a change.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks another process by HTTP/1.1 to change what its xDS server serves.
///
/// # Contract
/// The process answers `POST /update` with a body such as
///
/// ```json
/// {
///   "put": [{"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "a", "...": "..."}],
///   "remove": [{"type_url": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "b"}]
/// }
/// ```
///
/// where `put` holds resources in protobuf's JSON form and may add `"ttl": "3s"` beside `"put"` for all of them. It
/// answers 200 when the change is in force as [`Fixture`] demands, 501 if it has no TTLs and was given one, any other
/// status with the reason as body if it failed.
#[derive(Debug, Clone)]
pub struct HttpFixture {
    address: Arc<str>,
}

impl HttpFixture {
    /// Asks the process at `HOST:PORT`.
    pub fn new(address: impl Into<Arc<str>>) -> Self {
        Self { address: address.into() }
    }

    async fn post(&self, body: &serde_json::Value) -> Result<(), FixtureError> {
        let answer = timeout(PATIENCE, self.exchange(&body.to_string())).await;
        let answer = answer.map_err(|_| FixtureError::Failed(format!("no answer within {PATIENCE:?}")))?;
        let answer = answer.map_err(|e| FixtureError::Failed(format!("http://{}: {e}", self.address)))?;
        let status = answer.split_whitespace().nth(1).unwrap_or_default();
        match status {
            "200" => Ok(()),
            "501" => Err(FixtureError::Unsupported("TTLs")),
            _ => Err(FixtureError::Failed(format!("http://{}/update: {answer}", self.address))),
        }
    }

    async fn exchange(&self, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&*self.address).await?;
        let head = format!(
            "POST /update HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

fn put(resources: &[Resource]) -> Vec<serde_json::Value> {
    resources.iter().map(|r| any_to_value(r.any())).collect()
}

#[async_trait]
impl Fixture for HttpFixture {
    async fn update(&self, resources: &[Resource], remove: &[Removal]) -> Result<(), FixtureError> {
        let remove: Vec<_> =
            remove.iter().map(|k| json!({"type_url": k.type_url.as_str(), "name": k.name.as_str()})).collect();
        self.post(&json!({"put": put(resources), "remove": remove})).await
    }

    async fn put_with_ttl(&self, resource: &Resource, ttl: Duration) -> Result<(), FixtureError> {
        let ttl = format!("{}s", ttl.as_secs_f64());
        self.post(&json!({"put": put(std::slice::from_ref(resource)), "remove": [], "ttl": ttl})).await
    }
}
