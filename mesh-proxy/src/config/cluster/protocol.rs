//! Protocol toward hosts: `upstreams.http.v3.HttpProtocolOptions`, and the older fields of `Cluster`.

use std::time::Duration;

use mesh_xds_api::{
    any,
    envoy::{
        config::{
            cluster::v3::{Cluster as ProtoCluster, cluster::ClusterProtocolSelection},
            core::v3::{Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as CommonOptions},
        },
        extensions::{
            filters::{
                http::upstream_codec::v3::UpstreamCodec,
                network::http_connection_manager::v3::{HttpFilter, http_filter::ConfigType},
            },
            upstreams::http::v3::{
                HttpProtocolOptions,
                http_protocol_options::{UpstreamProtocolOptions, explicit_http_config::ProtocolConfig},
            },
        },
    },
};

use crate::{
    config::{
        error::{At as _, Translated, refuse_field},
        hcm::{header_case, keepalive},
        value::{enumeration, nonzero_duration, optional_duration, unpack},
    },
    model::{HttpProtocol, PoolOptions},
    supported,
};

supported! {
    /// Protocols toward hosts.
    pub(in crate::config) static PROTOCOLS =
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions {
        carried: common_http_protocol_options, explicit_http_config, use_downstream_protocol_config, auto_config;
        limited: http_filters = "envoy.extensions.filters.http.upstream_codec alone";
    }
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig {
        carried: http_protocol_options, http2_protocol_options;
    }
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig {
        carried: http_protocol_options, http2_protocol_options;
        irrelevant: http3_protocol_options = "no client speaks HTTP/3 to this proxy";
    }
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig {
        carried: http_protocol_options, http2_protocol_options;
    }
    envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter {
        carried: name, typed_config;
    }
    envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec {}
    envoy.config.core.v3.HttpProtocolOptions {
        carried: idle_timeout, max_connection_duration, max_headers_count, max_stream_duration,
            max_requests_per_connection, max_response_headers_kb;
        irrelevant: headers_with_underscores_action = "concerns clients";
    }
    envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat {
        carried: proper_case_words, stateful_formatter;
    }
    envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords {}
    envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig {
        limited: formatter_type_on_envoy_headers = "DEFAULT";
    }
    envoy.config.core.v3.KeepaliveSettings {
        carried: interval, timeout, interval_jitter;
    }
    envoy.config.core.v3.Http1ProtocolOptions {
        carried: header_key_format, send_fully_qualified_url;
        limited: enable_trailers = "true; of requests those pass that a trailer header announces";
        irrelevant: ignore_http_11_upgrade = "concerns clients", allow_absolute_url = "responses have no URL",
            use_balsa_parser = "the parser is hyper's",
            allow_custom_methods = "every method is forwarded",
            accept_http_10 = "concerns clients",
            default_host_for_http_10 = "concerns clients",
            override_stream_error_on_invalid_http_message = "a malformed response ends its connection";
    }
    envoy.config.core.v3.Http2ProtocolOptions {
        carried: max_concurrent_streams, initial_stream_window_size, initial_connection_window_size,
            connection_keepalive;
        irrelevant: allow_connect = "concerns clients; a host says itself whether it takes extended CONNECT",
            stream_reset_burst = "the streams are the proxy's own",
            stream_reset_rate = "the streams are the proxy's own",
            hpack_table_size = "the peer's table is bounded by the protocol's default",
            max_outbound_frames = "hyper bounds what it queues",
            max_outbound_control_frames = "hyper bounds what it queues",
            max_consecutive_inbound_frames_with_empty_payload = "hyper bounds what a peer may waste",
            max_inbound_priority_frames_per_stream = "priorities are not looked at",
            max_inbound_window_update_frames_per_data_frame_sent = "hyper bounds what a peer may waste",
            override_stream_error_on_invalid_http_message = "a malformed message resets its stream",
            stream_error_on_invalid_http_messaging = "a malformed message resets its stream",
            use_oghttp2_codec = "the codec is h2's";
    }
}

/// Windows of HTTP/2 (RFC 9113, 6.9.1 and 6.9.2).
const WINDOW_MIN: u32 = 65_535;
const WINDOW_MAX: u32 = (1 << 31) - 1;

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

pub(super) fn protocol(value: &ProtoCluster) -> Translated<(HttpProtocol, PoolOptions)> {
    let mut pool = PoolOptions::default();
    if let Some(common) = &value.common_http_protocol_options {
        common_options(common, &mut pool).at("common_http_protocol_options")?;
    }
    if let Some(limit) = value.max_requests_per_connection {
        pool.max_requests_per_connection = Some(limit).filter(|limit| *limit > 0);
    }
    let mut protocol = HttpProtocol::Http1;
    if let Some(options) = &value.http2_protocol_options {
        http2(options, &mut pool).at("http2_protocol_options")?;
        protocol = HttpProtocol::Http2;
    }
    let selection: ClusterProtocolSelection = enumeration(value.protocol_selection, "protocol_selection")?;
    if selection == ClusterProtocolSelection::UseDownstreamProtocol {
        protocol = HttpProtocol::Downstream;
    }
    for (name, config) in &value.typed_extension_protocol_options {
        let field = format!("typed_extension_protocol_options[{name:?}]");
        if !any::is::<HttpProtocolOptions>(config) {
            return refuse_field(
                field,
                format!("{} is not carried under {name}; expected is {OPTIONS}", config.type_url),
            );
        }
        let options: HttpProtocolOptions = unpack(config).at(&field)?;
        protocol = extension(&options, &mut pool).at(field)?;
    }
    Ok((protocol, pool))
}

fn extension(value: &HttpProtocolOptions, pool: &mut PoolOptions) -> Translated<HttpProtocol> {
    if let Some(common) = &value.common_http_protocol_options {
        common_options(common, pool).at("common_http_protocol_options")?;
    }
    for (i, filter) in value.http_filters.iter().enumerate() {
        if !is_codec(filter) {
            return refuse_field(format!("http_filters[{i}]"), "no upstream filter but the codec is carried");
        }
    }
    if let Some((field, options)) = http1_options(value) {
        http1(options, pool).at("http_protocol_options").at(field)?;
    }
    let (protocol, field, options) = match &value.upstream_protocol_options {
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(config)) => match &config.protocol_config {
            Some(ProtocolConfig::HttpProtocolOptions(_)) => (HttpProtocol::Http1, "", None),
            Some(ProtocolConfig::Http2ProtocolOptions(options)) => {
                (HttpProtocol::Http2, "explicit_http_config", Some(options))
            }
            Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
                return refuse_field("explicit_http_config.http3_protocol_options", "is not carried");
            }
            None => return refuse_field("explicit_http_config", "a protocol is required"),
        },
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(config)) => {
            let options = config.http2_protocol_options.as_ref();
            (HttpProtocol::Downstream, "use_downstream_protocol_config", options)
        }
        Some(UpstreamProtocolOptions::AutoConfig(config)) => {
            (HttpProtocol::Auto, "auto_config", config.http2_protocol_options.as_ref())
        }
        None => return refuse_field("explicit_http_config", "a protocol is required"),
    };
    if let Some(options) = options {
        http2(options, pool).at("http2_protocol_options").at(field)?;
    }
    Ok(protocol)
}

/// The options of HTTP/1, and the field they are in.
fn http1_options(value: &HttpProtocolOptions) -> Option<(&'static str, &Http1ProtocolOptions)> {
    match value.upstream_protocol_options.as_ref()? {
        UpstreamProtocolOptions::ExplicitHttpConfig(config) => match config.protocol_config.as_ref()? {
            ProtocolConfig::HttpProtocolOptions(options) => Some(("explicit_http_config", options)),
            _ => None,
        },
        UpstreamProtocolOptions::UseDownstreamProtocolConfig(config) => {
            Some(("use_downstream_protocol_config", config.http_protocol_options.as_ref()?))
        }
        UpstreamProtocolOptions::AutoConfig(config) => Some(("auto_config", config.http_protocol_options.as_ref()?)),
    }
}

fn http1(value: &Http1ProtocolOptions, pool: &mut PoolOptions) -> Translated<()> {
    let case = value.header_key_format.as_ref().map(header_case).transpose().at("header_key_format")?;
    pool.http1_header_case = case.unwrap_or_default();
    pool.http1_fully_qualified = value.send_fully_qualified_url;
    pool.http1_trailers = value.enable_trailers;
    Ok(())
}

fn is_codec(filter: &HttpFilter) -> bool {
    matches!(&filter.config_type, Some(ConfigType::TypedConfig(config)) if any::is::<UpstreamCodec>(config))
}

fn common_options(value: &CommonOptions, pool: &mut PoolOptions) -> Translated<()> {
    if let Some(idle) = optional_duration(value.idle_timeout.as_ref(), "idle_timeout")? {
        pool.idle_timeout = idle;
    }
    pool.max_connection_duration = longest(value.max_connection_duration.as_ref(), "max_connection_duration")?;
    pool.max_stream_duration = longest(value.max_stream_duration.as_ref(), "max_stream_duration")?;
    if let Some(limit) = value.max_requests_per_connection {
        pool.max_requests_per_connection = Some(limit).filter(|limit| *limit > 0);
    }
    if let Some(count) = value.max_headers_count {
        if count == 0 {
            return refuse_field("max_headers_count", "must be greater than zero");
        }
        pool.max_headers_count = count;
    }
    pool.max_response_headers_bytes = match value.max_response_headers_kb {
        Some(kib @ 1..=8192) => Some(kib * 1024),
        Some(_) => return refuse_field("max_response_headers_kb", "must be between 1 and 8192"),
        None => None,
    };
    Ok(())
}

fn longest(value: Option<&prost_types::Duration>, field: &str) -> Translated<Option<Duration>> {
    nonzero_duration(value, field)
}

fn http2(value: &Http2ProtocolOptions, pool: &mut PoolOptions) -> Translated<()> {
    if let Some(streams) = value.max_concurrent_streams {
        pool.http2_max_concurrent_streams = concurrent_streams(streams)?;
    }
    if let Some(window) = value.initial_stream_window_size {
        pool.http2_stream_window = window_size(window, "initial_stream_window_size")?;
    }
    if let Some(window) = value.initial_connection_window_size {
        pool.http2_connection_window = window_size(window, "initial_connection_window_size")?;
    }
    if let Some(settings) = &value.connection_keepalive {
        pool.http2_keepalive = keepalive(settings).at("connection_keepalive")?;
    }
    Ok(())
}

pub(in crate::config) fn concurrent_streams(value: u32) -> Translated<u32> {
    if (1..=WINDOW_MAX).contains(&value) {
        Ok(value)
    } else {
        refuse_field("max_concurrent_streams", format!("must be between 1 and {WINDOW_MAX}"))
    }
}

pub(in crate::config) fn window_size(value: u32, field: &str) -> Translated<u32> {
    if (WINDOW_MIN..=WINDOW_MAX).contains(&value) {
        Ok(value)
    } else {
        refuse_field(field, format!("must be between {WINDOW_MIN} and {WINDOW_MAX}"))
    }
}
