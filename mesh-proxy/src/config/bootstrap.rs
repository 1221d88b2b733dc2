//! `bootstrap.v3.Bootstrap`.

use std::{collections::HashSet, time::Duration};

use mesh_xds_api::{
    TypeUrl,
    any::{self, Any},
    envoy::config::{
        bootstrap::v3::{
            Bootstrap as ProtoBootstrap, LayeredRuntime, RuntimeLayer, bootstrap::DynamicResources,
            runtime_layer::LayerSpecifier,
        },
        core::v3::{ApiConfigSource, ConfigSource as ProtoSource, Node, api_config_source::ApiType},
        listener::v3::Listener as ProtoListener,
    },
};
use prost::Name;
use prost_types::value::Kind;

use super::{
    audit::Audit,
    error::{At as _, Rejection, Translated, refuse, refuse_field},
    source::{SOURCES, api_source, config_source},
    translator::{Translator, read},
    value::{VALUES, ip_address},
};
use crate::{
    filter::FilterRegistry,
    model::{Address, ConfigSource, Secret},
    stats::Stats,
    supported,
};

supported! {
    /// Bootstraps. Static resources are checked one by one, with the tables of their kinds.
    pub(super) static BOOTSTRAPS =
    envoy.config.bootstrap.v3.Bootstrap {
        carried: node, dynamic_resources, admin;
        limited: layered_runtime = "static layers of known keys, and an empty admin layer",
            static_resources = "resources are checked one by one, as their kinds are";
        irrelevant: stats_flush_interval = "there are no sinks to flush to; they are refused",
            stats_flush_on_admin = "there are no sinks to flush to; they are refused",
            watchdog = "there is no watchdog",
            watchdogs = "there is no watchdog",
            enable_dispatcher_stats = "only adds statistics",
            flags_path = "there are no flag files",
            default_regex_engine = "expressions take linear time and bounded space whatever the engine is called",
            typed_dns_resolver_config = "names are resolved by the system",
            node_context_params = "only names of the xdstp scheme have context parameters",
            memory_allocator_manager = "the allocator is another one";
    }
    envoy.config.core.v3.Node {
        irrelevant: id = "sent to the control plane as it is",
            cluster = "sent to the control plane as it is",
            metadata = "sent to the control plane as it is",
            dynamic_parameters = "sent to the control plane as it is",
            locality = "sent to the control plane as it is",
            user_agent_name = "sent to the control plane as it is",
            user_agent_version = "sent to the control plane as it is",
            user_agent_build_version = "sent to the control plane as it is",
            extensions = "sent to the control plane as it is",
            client_features = "sent to the control plane as it is",
            listening_addresses = "sent to the control plane as it is";
    }
    envoy.config.bootstrap.v3.Bootstrap.StaticResources {
        irrelevant: listeners = "checked one by one", clusters = "checked one by one", secrets = "checked one by one";
    }
    envoy.config.bootstrap.v3.Bootstrap.DynamicResources {
        carried: lds_config, cds_config, ads_config;
    }
    envoy.config.bootstrap.v3.Admin {
        carried: address;
        irrelevant: profile_path = "there is no profiler",
            access_log = "requests to the admin interface are not logged",
            access_log_path = "requests to the admin interface are not logged",
            ignore_global_conn_limit = "there is no global limit";
    }
    envoy.config.bootstrap.v3.LayeredRuntime {
        carried: layers;
    }
    envoy.config.bootstrap.v3.RuntimeLayer {
        limited: static_layer = "envoy.reloadable_features.*, envoy.restart_features.*, envoy.deprecated_features.*, \
                re2.max_program_size.*, overload.global_downstream_max_connections (not below 1000000)",
            admin_layer = "taken; the admin interface cannot change it";
        irrelevant: name = "a label";
    }
    envoy.config.bootstrap.v3.RuntimeLayer.AdminLayer {}
}

pub(super) static BOOTSTRAP: Audit = Audit::new(&[BOOTSTRAPS, SOURCES, VALUES]);

/// A bootstrap, checked: what a proxy starts from.
///
/// Static resources were translated once to prove them right; they are kept as they came for the admin interface.
#[derive(Clone, Debug, Default)]
pub struct Bootstrap {
    /// Who this proxy is, as the control plane is told.
    pub node: Node,
    /// Static clusters.
    pub clusters: Vec<StaticResource>,
    /// Static listeners.
    pub listeners: Vec<StaticResource>,
    /// Static secrets.
    pub secrets: Vec<Secret>,
    /// Static secrets as they came.
    pub raw_secrets: Vec<StaticResource>,
    /// The aggregated stream: always a [`ConfigSource::Grpc`].
    pub ads: Option<ConfigSource>,
    /// Where listeners come from, and how long they are waited for (zero = for ever).
    pub lds: Option<(ConfigSource, Duration)>,
    /// Where clusters come from, and how long they are waited for (zero = for ever).
    pub cds: Option<(ConfigSource, Duration)>,
    /// Where the admin interface listens; `None` = there is none.
    pub admin: Option<Address>,
    /// The bootstrap as it came, for the admin interface.
    pub raw: Any,
}

/// A resource of the bootstrap.
#[derive(Clone, Debug)]
pub struct StaticResource {
    /// Its name.
    pub name: String,
    /// The resource as it came.
    pub raw: Any,
}

impl Bootstrap {
    /// Checks a bootstrap, its static resources included.
    ///
    /// # Errors
    /// The first resource that is refused, or the bootstrap itself.
    pub fn from_message(message: &ProtoBootstrap, filters: &FilterRegistry) -> Result<Self, Rejection> {
        let raw = any::pack(message);
        let name = |message: &ProtoBootstrap| message.node.as_ref().map(|node| node.id.clone()).unwrap_or_default();
        let mut bootstrap = read(&BOOTSTRAP, &raw, name, plain)?;
        bootstrap.raw = raw;
        bootstrap.take_static(message, filters)?;
        bootstrap.sources_exist()?;
        Ok(bootstrap)
    }

    /// Streams go to static clusters: others could only come by such a stream.
    fn sources_exist(&self) -> Result<(), Rejection> {
        let collections = [("lds_config", &self.lds), ("cds_config", &self.cds)];
        let sources = collections.into_iter().filter_map(|(field, source)| Some((field, &source.as_ref()?.0)));
        for (field, source) in sources.chain(self.ads.iter().map(|source| ("ads_config", source))) {
            if let ConfigSource::Grpc { cluster, .. } = source
                && !self.clusters.iter().any(|known| known.name == *cluster)
            {
                let reason =
                    format!("unknown gRPC client cluster '{cluster}': it must be in static_resources.clusters");
                return Err(Rejection {
                    type_url: TypeUrl::from(ProtoBootstrap::type_url()),
                    resource: self.node.id.clone(),
                    fields: vec![super::FieldError::new(format!("dynamic_resources.{field}"), reason)],
                });
            }
        }
        Ok(())
    }

    /// A translator that knows the filters and the secrets of this bootstrap.
    #[must_use]
    pub fn translator(&self, filters: FilterRegistry, stats: Stats) -> Translator {
        Translator::new(filters, stats).with_secrets(self.secrets.iter().cloned())
    }

    fn take_static(&mut self, message: &ProtoBootstrap, filters: &FilterRegistry) -> Result<(), Rejection> {
        let Some(resources) = &message.static_resources else { return Ok(()) };
        let list = |field: &str, i: usize| {
            let field = format!("static_resources.{field}[{i}]");
            move |mut rejection: Rejection| {
                rejection.fields = rejection.fields.into_iter().map(|error| error.within(&field)).collect();
                rejection
            }
        };
        // What is made here is only proved right, and let go: it counts nowhere.
        let plain = Translator::new(filters.clone(), Stats::default());
        for (i, secret) in resources.secrets.iter().enumerate() {
            let raw = any::pack(secret);
            self.secrets.push(plain.secret(&raw).map_err(list("secrets", i))?);
            self.raw_secrets.push(StaticResource { name: secret.name.clone(), raw });
        }
        let translator = self.translator(filters.clone(), Stats::default());
        let mut names = HashSet::new();
        for (i, cluster) in resources.clusters.iter().enumerate() {
            let raw = any::pack(cluster);
            translator.cluster(&raw).map_err(list("clusters", i))?;
            if !names.insert(cluster.name.as_str()) {
                return Err(list("clusters", i)(twice(TypeUrl::CLUSTER, &cluster.name)));
            }
            self.clusters.push(StaticResource { name: cluster.name.clone(), raw });
        }
        let mut names = HashSet::new();
        for (i, listener) in resources.listeners.iter().enumerate() {
            let name = listener_name(listener, i);
            let raw = any::pack(&ProtoListener { name: name.clone(), ..listener.clone() });
            translator.listener(&raw).map_err(list("listeners", i))?;
            if !names.insert(name.clone()) {
                return Err(list("listeners", i)(twice(TypeUrl::LISTENER, &name)));
            }
            self.listeners.push(StaticResource { name, raw });
        }
        Ok(())
    }
}

fn twice(type_url: TypeUrl, name: &str) -> Rejection {
    let reason = format!("{name}: there is another one of this name");
    Rejection { type_url, resource: name.to_owned(), fields: vec![super::FieldError::new("name", reason)] }
}

/// Static listeners need no name in Envoy; ours are then named after their place.
fn listener_name(listener: &ProtoListener, at: usize) -> String {
    if listener.name.is_empty() { format!("static_listener_{at}") } else { listener.name.clone() }
}

/// All but the static resources.
fn plain(message: &ProtoBootstrap) -> Translated<Bootstrap> {
    if let Some(runtime) = &message.layered_runtime {
        layered_runtime(runtime).at("layered_runtime")?;
    }
    let mut bootstrap = Bootstrap { node: message.node.clone().unwrap_or_default(), ..Bootstrap::default() };
    if let Some(address) = message.admin.as_ref().and_then(|admin| admin.address.as_ref()) {
        bootstrap.admin = Some(ip_address(address).at("admin.address")?);
    }
    if let Some(dynamic) = &message.dynamic_resources {
        dynamic_resources(dynamic, &mut bootstrap).at("dynamic_resources")?;
    }
    let dynamic = bootstrap.ads.is_some() || bootstrap.lds.is_some() || bootstrap.cds.is_some();
    if dynamic && bootstrap.node.id.is_empty() {
        return refuse_field("node.id", "is required with dynamic resources: the control plane knows proxies by it");
    }
    Ok(bootstrap)
}

fn dynamic_resources(value: &DynamicResources, bootstrap: &mut Bootstrap) -> Translated<()> {
    if let Some(ads) = &value.ads_config {
        bootstrap.ads = Some(ads_source(ads).at("ads_config")?);
    }
    let has_ads = bootstrap.ads.is_some();
    let source = |value: &Option<ProtoSource>, field: &str| -> Translated<Option<(ConfigSource, Duration)>> {
        let Some(value) = value else { return Ok(None) };
        let found = config_source(value).at(field)?;
        if found.0 == ConfigSource::Ads && !has_ads {
            return refuse_field(field, "names ads, but there is no ads_config");
        }
        Ok(Some(found))
    };
    bootstrap.lds = source(&value.lds_config, "lds_config")?;
    bootstrap.cds = source(&value.cds_config, "cds_config")?;
    Ok(())
}

/// `ads_config` speaks of the aggregated stream itself.
fn ads_source(value: &ApiConfigSource) -> Translated<ConfigSource> {
    let mut value = value.clone();
    if value.api_type == ApiType::AggregatedGrpc as i32 {
        value.api_type = ApiType::Grpc.into();
    } else if value.api_type == ApiType::AggregatedDeltaGrpc as i32 {
        value.api_type = ApiType::DeltaGrpc.into();
    }
    api_source(&value)
}

fn layered_runtime(value: &LayeredRuntime) -> Translated<()> {
    value.layers.iter().enumerate().try_for_each(|(i, layer)| runtime_layer(layer).at(format_args!("layers[{i}]")))
}

fn runtime_layer(value: &RuntimeLayer) -> Translated<()> {
    match &value.layer_specifier {
        Some(LayerSpecifier::StaticLayer(layer)) => runtime_keys(layer, "").at("static_layer"),
        Some(LayerSpecifier::AdminLayer(_)) => Ok(()),
        Some(LayerSpecifier::DiskLayer(_)) => refuse_field("disk_layer", "is not carried"),
        Some(LayerSpecifier::RtdsLayer(_)) => refuse_field("rtds_layer", "is not carried"),
        None => refuse("one of static_layer, admin_layer is required"),
    }
}

/// Keys may be written with dots or nested.
fn runtime_keys(layer: &prost_types::Struct, prefix: &str) -> Translated<()> {
    const WITHOUT_EFFECT: [&str; 4] =
        ["envoy.reloadable_features.", "envoy.restart_features.", "envoy.deprecated_features", "re2.max_program_size."];
    for (key, value) in &layer.fields {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        if let Some(Kind::StructValue(inner)) = &value.kind {
            runtime_keys(inner, &key)?;
            continue;
        }
        if WITHOUT_EFFECT.iter().any(|known| key.starts_with(known)) {
            continue;
        }
        let number = match &value.kind {
            Some(Kind::NumberValue(number)) => Some(*number),
            Some(Kind::StringValue(text)) => text.parse().ok(),
            _ => None,
        };
        if key == "overload.global_downstream_max_connections" && number.is_some_and(|limit| limit >= 1e6) {
            continue;
        }
        return refuse(format!("runtime key {key} is not carried"));
    }
    Ok(())
}
