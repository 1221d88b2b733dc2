//! The client under test, and what moves it.

use std::{collections::BTreeMap, fmt, net::SocketAddr};

use async_trait::async_trait;
use bytes::Bytes;

use super::super::content;
use crate::{Resource, TypeUrl, protocol::Variant};

/// Starts the client under test.
///
/// # Contract
/// Each call starts a client that holds nothing yet, and which uses the aggregated service at `server`, cleartext, in
/// that variant. It ends, its connection too, when what is returned is dropped.
#[async_trait]
pub trait ClientUnderTest: Send + Sync {
    /// Starts a client.
    ///
    /// # Errors
    /// [`StartError`]: the case is not applicable, and says why.
    async fn start(&self, server: SocketAddr, variant: Variant) -> Result<Running, StartError>;

    /// What it is given. It must be something that the client accepts, and goes on from to the endpoints.
    fn world(&self) -> World;
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The client does not speak the variant.
    #[error("the client does not speak {}", _0.as_str())]
    NoVariant(Variant),
    /// It should have started.
    #[error("the client does not start: {0}")]
    Failed(String),
}

/// A started client. Dropping it ends it.
pub enum Running {
    /// It asks for what it wants by itself, and judges by itself. The value is what keeps it running.
    ByItself(Box<dyn Send + Sync>),
    /// It does as it is told.
    InHand(Box<dyn Hands>),
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByItself(_) => "ByItself",
            Self::InHand(_) => "InHand",
        })
    }
}

/// Moves a client.
///
/// # Contract
/// Nothing blocks, and nothing waits for the server. The client asks for nothing before it is told to watch it. It
/// accepts every update but for what [`Hands::refuse`] names and what cannot be decoded.
pub trait Hands: Send + Sync {
    /// Watches names of a type, besides those it watches. `*` is everything.
    fn watch(&self, type_url: &TypeUrl, names: &[&str]);

    /// Drops names.
    fn unwatch(&self, type_url: &TypeUrl, names: &[&str]);

    /// Refuses every update that has a resource of this name, from now on.
    fn refuse(&self, type_url: &TypeUrl, name: &str);

    /// What is in force: names, with the encoded messages.
    fn held(&self, type_url: &TypeUrl) -> BTreeMap<String, Bytes>;
}

/// The resources a client is given: a listener, its routes, their cluster, its endpoints, all of one name.
#[derive(Debug, Clone)]
pub struct World {
    name: String,
    listener: fn(&str, u32) -> Resource,
}

impl World {
    /// A world for proxies: the listener listens on a free port of loopback.
    pub fn proxy(name: impl Into<String>) -> Self {
        Self { name: name.into(), listener: content::listener }
    }

    /// A world for gRPC's clients of `xds:///NAME`.
    pub fn grpc(name: impl Into<String>) -> Self {
        Self { name: name.into(), listener: content::api_listener }
    }

    /// The name of everything.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The resource of a type, if the world has one. `revision` makes its content differ.
    #[must_use]
    pub fn resource(&self, type_url: &TypeUrl, revision: u32) -> Option<Resource> {
        let name = self.name.as_str();
        Some(match type_url.short()? {
            "CDS" => content::cluster(name, revision),
            "EDS" => content::endpoints(name, revision),
            "LDS" => (self.listener)(name, revision),
            "RDS" => content::routes(name, name),
            _ => return None,
        })
    }
}
