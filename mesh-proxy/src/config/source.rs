//! Where dynamic resources come from.

use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

use mesh_xds_api::{
    TypeUrl,
    envoy::config::core::v3::{
        self as core, ApiConfigSource, ApiVersion, api_config_source::ApiType, config_source::ConfigSourceSpecifier,
        grpc_service::TargetSpecifier,
    },
};

use super::{
    error::{At as _, Translated, refuse, refuse_field},
    value::{duration_or, enumeration, required},
};
use crate::{
    filter::FilterRegistry,
    model::{ConfigSource, Secret},
    stats::Stats,
    supported,
};

supported! {
    /// Sources of configuration.
    pub(super) static SOURCES =
    envoy.config.core.v3.ConfigSource {
        carried: path, path_config_source, api_config_source, ads, initial_fetch_timeout;
        limited: resource_api_version = "V3, or unset";
    }
    envoy.config.core.v3.PathConfigSource {
        carried: path;
        irrelevant: watched_directory = "the file is watched by name, through any change of the folders above it",
            poll_interval = "changes are looked for at a fixed interval below a second";
    }
    envoy.config.core.v3.AggregatedConfigSource {}
    envoy.config.core.v3.ApiConfigSource {
        carried: api_type, grpc_services;
        limited: transport_api_version = "V3, or unset";
        irrelevant: set_node_on_first_message_only = "the node is sent once for each stream, as every v3 server expects",
            request_timeout = "only REST has one";
    }
    envoy.config.core.v3.GrpcService {
        carried: envoy_grpc;
        irrelevant: timeout = "a stream has none";
    }
    envoy.config.core.v3.GrpcService.EnvoyGrpc {
        carried: cluster_name;
        irrelevant: skip_envoy_headers = "no x-envoy headers are sent on such streams";
    }
}

/// How long a resource is waited for when nothing is said (`ConfigSource.initial_fetch_timeout`).
const INITIAL_FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// What a resource needs before it is warm.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dependency {
    /// Type of the resource needed.
    pub type_url: TypeUrl,
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub source: ConfigSource,
    /// How long the resource that needs it waits before it goes on without; `None` = for ever.
    pub initial_fetch_timeout: Option<Duration>,
}

/// What translators are given beside the message, and where they note what it depends on.
pub(super) struct Context<'a> {
    pub(super) filters: &'a FilterRegistry,
    /// Where filters count.
    pub(super) stats: &'a Stats,
    /// Secrets of the bootstrap, by name.
    pub(super) secrets: &'a HashMap<String, Arc<Secret>>,
    pub(super) dependencies: RefCell<Vec<Dependency>>,
}

impl Context<'_> {
    /// Notes that the resource at hand needs another one.
    pub(super) fn needs(&self, type_url: TypeUrl, name: &str, source: &core::ConfigSource) -> Translated<ConfigSource> {
        let (source, timeout) = config_source(source)?;
        let dependency = Dependency {
            type_url,
            name: name.to_owned(),
            source: source.clone(),
            initial_fetch_timeout: (!timeout.is_zero()).then_some(timeout),
        };
        let mut dependencies = self.dependencies.borrow_mut();
        if !dependencies.contains(&dependency) {
            dependencies.push(dependency);
        }
        Ok(source)
    }
}

/// A source, and how long to wait for it (zero = for ever).
pub(super) fn config_source(value: &core::ConfigSource) -> Translated<(ConfigSource, Duration)> {
    version(value.resource_api_version, "resource_api_version")?;
    let source = match &value.config_source_specifier {
        Some(ConfigSourceSpecifier::Ads(_)) => ConfigSource::Ads,
        Some(ConfigSourceSpecifier::ApiConfigSource(api)) => api_source(api).at("api_config_source")?,
        Some(ConfigSourceSpecifier::Path(path)) => ConfigSource::File(path.into()),
        Some(ConfigSourceSpecifier::PathConfigSource(file)) => {
            ConfigSource::File(required(&file.path, "path_config_source.path")?.into())
        }
        Some(ConfigSourceSpecifier::Self_(_)) => return refuse_field("self", "is not carried"),
        None => return refuse("one of ads, api_config_source, path_config_source is required"),
    };
    let timeout = duration_or(value.initial_fetch_timeout.as_ref(), "initial_fetch_timeout", INITIAL_FETCH_TIMEOUT)?;
    Ok((source, timeout))
}

fn version(value: i32, field: &str) -> Translated<()> {
    match enumeration(value, field)? {
        ApiVersion::V3 | ApiVersion::Auto => Ok(()),
        ApiVersion::V2 => refuse_field(field, "only V3 is spoken"),
    }
}

/// A gRPC stream to one of our clusters.
pub(super) fn api_source(value: &ApiConfigSource) -> Translated<ConfigSource> {
    version(value.transport_api_version, "transport_api_version")?;
    let delta = match enumeration(value.api_type, "api_type")? {
        ApiType::Grpc => false,
        ApiType::DeltaGrpc => true,
        ApiType::AggregatedGrpc | ApiType::AggregatedDeltaGrpc => return Ok(ConfigSource::Ads),
        other => return refuse_field("api_type", format!("{} is not carried", other.as_str_name())),
    };
    let [service] = value.grpc_services.as_slice() else {
        return refuse_field("grpc_services", "exactly one is expected");
    };
    match &service.target_specifier {
        Some(TargetSpecifier::EnvoyGrpc(target)) => {
            let cluster = required(&target.cluster_name, "grpc_services[0].envoy_grpc.cluster_name")?;
            Ok(ConfigSource::Grpc { cluster: cluster.to_owned(), delta })
        }
        Some(TargetSpecifier::GoogleGrpc(_)) => refuse_field("grpc_services[0].google_grpc", "is not carried"),
        None => refuse_field("grpc_services[0].envoy_grpc", "is required"),
    }
}
