//! Listener filters.

use mesh_xds_api::{
    any,
    envoy::{
        config::listener::v3::{ListenerFilter, listener_filter::ConfigType},
        extensions::filters::listener::{
            http_inspector::v3::HttpInspector, original_dst::v3::OriginalDst, proxy_protocol::v3::ProxyProtocol,
            tls_inspector::v3::TlsInspector,
        },
    },
};

use crate::{
    config::{
        error::{At as _, Translated, refuse_field},
        value::unpack,
    },
    model::ListenerFilters,
    supported,
};

supported! {
    /// Listener filters.
    pub(in crate::config) static LISTENER_FILTERS =
    envoy.config.listener.v3.ListenerFilter {
        carried: name, typed_config;
    }
    envoy.extensions.filters.listener.http_inspector.v3.HttpInspector {}
    envoy.extensions.filters.listener.original_dst.v3.OriginalDst {}
    envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol {
        irrelevant: stat_prefix = "only names statistics";
    }
    envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector {
        limited: enable_ja3_fingerprinting = "false",
            enable_ja4_fingerprinting = "false";
        irrelevant: initial_read_buffer_size = "only sizes a buffer";
    }
}

pub(super) fn listener_filters(values: &[ListenerFilter]) -> Translated<ListenerFilters> {
    let mut filters = ListenerFilters::default();
    for (i, value) in values.iter().enumerate() {
        filter(value, &mut filters).at(format_args!("listener_filters[{i}]"))?;
    }
    Ok(filters)
}

fn filter(value: &ListenerFilter, filters: &mut ListenerFilters) -> Translated<()> {
    let flag = match &value.config_type {
        Some(ConfigType::TypedConfig(config)) if any::is::<ProxyProtocol>(config) => &mut filters.proxy_protocol,
        Some(ConfigType::TypedConfig(config)) if any::is::<OriginalDst>(config) => &mut filters.original_dst,
        Some(ConfigType::TypedConfig(config)) if any::is::<HttpInspector>(config) => &mut filters.http_inspector,
        Some(ConfigType::TypedConfig(config)) if any::is::<TlsInspector>(config) => {
            let inspector: TlsInspector = unpack(config).at("typed_config")?;
            let fingerprints = [inspector.enable_ja3_fingerprinting, inspector.enable_ja4_fingerprinting];
            if fingerprints.contains(&Some(true)) {
                return refuse_field("typed_config", "fingerprinting is not carried");
            }
            &mut filters.tls_inspector
        }
        Some(ConfigType::TypedConfig(config)) => {
            return refuse_field("typed_config", format!("listener filter {} is not carried", config.type_url));
        }
        Some(ConfigType::ConfigDiscovery(_)) => return refuse_field("config_discovery", "is not carried"),
        None => match value.name.as_str() {
            "envoy.filters.listener.proxy_protocol" => &mut filters.proxy_protocol,
            "envoy.filters.listener.original_dst" => &mut filters.original_dst,
            "envoy.filters.listener.http_inspector" => &mut filters.http_inspector,
            "envoy.filters.listener.tls_inspector" => &mut filters.tls_inspector,
            name => return refuse_field("name", format!("listener filter {name} is not carried")),
        },
    };
    *flag = true;
    Ok(())
}
