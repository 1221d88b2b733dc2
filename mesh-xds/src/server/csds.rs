//! CSDS: what each client holds, as `envoy.service.status.v3.ClientStatusDiscoveryService` tells it.

mod matcher;

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt};
use mesh_xds_api::envoy::{
    admin::v3::{ClientResourceStatus, UpdateFailureState},
    service::status::v3::{
        ClientConfig, ClientStatusRequest, ClientStatusResponse, ConfigStatus,
        client_config::GenericXdsConfig,
        client_status_discovery_service_server::{ClientStatusDiscoveryService, ClientStatusDiscoveryServiceServer},
    },
};
use tonic::{Request, Response, Status as Code, Streaming, async_trait};

use self::matcher::matches;
use super::{Inner, Status, status::Entry};
use crate::{
    TypeUrl,
    protocol::server::{ResourceReport, ResourceState, TypeReport},
};

pub(super) fn add(inner: &Arc<Inner>, builder: &mut tonic::service::RoutesBuilder) {
    builder.add_service(ClientStatusDiscoveryServiceServer::new(Csds { inner: inner.clone() }));
}

/// The service.
struct Csds {
    inner: Arc<Inner>,
}

#[async_trait]
impl ClientStatusDiscoveryService for Csds {
    type StreamClientStatusStream = Pin<Box<dyn Stream<Item = Result<ClientStatusResponse, Code>> + Send>>;

    async fn stream_client_status(
        &self,
        request: Request<Streaming<ClientStatusRequest>>,
    ) -> Result<Response<Self::StreamClientStatusStream>, Code> {
        let status = self.inner.status.clone();
        let answers = request.into_inner().map(move |message| respond(&status, &message?));
        let stop = self.inner.stop.clone().cancelled_owned();
        Ok(Response::new(Box::pin(answers.take_until(stop))))
    }

    async fn fetch_client_status(
        &self,
        request: Request<ClientStatusRequest>,
    ) -> Result<Response<ClientStatusResponse>, Code> {
        respond(&self.inner.status, request.get_ref()).map(Response::new)
    }
}

fn respond(status: &Status, request: &ClientStatusRequest) -> Result<ClientStatusResponse, Code> {
    let mut config = Vec::new();
    for entry in status.entries() {
        if matches(&request.node_matchers, &entry.info.node)? {
            config.push(client_config(&entry, !request.exclude_resource_contents));
        }
    }
    Ok(ClientStatusResponse { config })
}

fn client_config(entry: &Entry, contents: bool) -> ClientConfig {
    let types = entry.report().types;
    let configs = types.iter().flat_map(|t| t.resources.iter().map(|r| one(entry, t, r, contents)));
    ClientConfig {
        node: Some(entry.info.node.message().clone()),
        generic_xds_configs: configs.collect(),
        ..Default::default()
    }
}

fn one(entry: &Entry, kind: &TypeReport, resource: &ResourceReport, contents: bool) -> GenericXdsConfig {
    let current = entry.view.get(&kind.type_url, resource.name.as_str());
    // Only the version that the client was sent is what it holds.
    let sent = current.filter(|r| r.version() == &resource.version);
    let contents = contents && kind.type_url != TypeUrl::SECRET;
    let (config_status, client_status, error) = match &resource.state {
        ResourceState::Acked => (ConfigStatus::Synced, ClientResourceStatus::Acked, None),
        ResourceState::Stale => (ConfigStatus::Stale, ClientResourceStatus::Requested, None),
        ResourceState::Nacked(message) => (ConfigStatus::Error, ClientResourceStatus::Nacked, Some(message)),
    };
    GenericXdsConfig {
        type_url: kind.type_url.as_str().to_owned(),
        name: resource.name.as_str().to_owned(),
        version_info: resource.version.as_str().to_owned(),
        xds_config: sent.filter(|_| contents).map(|r| r.any().clone()),
        config_status: config_status.into(),
        client_status: client_status.into(),
        error_state: error.map(|message| UpdateFailureState {
            details: message.to_string(),
            version_info: resource.version.as_str().to_owned(),
            last_update_attempt: entry.refused_at(&kind.type_url).map(Into::into),
            ..Default::default()
        }),
        ..Default::default()
    }
}
