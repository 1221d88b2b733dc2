//! Protocol options toward clients.

use std::time::Duration;

use mesh_xds_api::{
    any,
    envoy::{
        config::core::v3::{
            Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions, KeepaliveSettings,
            http_protocol_options::HeadersWithUnderscoresAction,
            http1_protocol_options::{HeaderKeyFormat, header_key_format::HeaderFormat},
        },
        extensions::{
            filters::network::http_connection_manager::v3::HttpConnectionManager as ProtoManager,
            http::header_formatters::preserve_case::v3::{
                PreserveCaseFormatterConfig, preserve_case_formatter_config::FormatterTypeOnEnvoyHeaders,
            },
        },
        r#type::v3::Percent,
    },
};

use crate::{
    config::{
        cluster::{concurrent_streams, window_size},
        error::{At as _, Translated, refuse, refuse_field},
        matcher::string_matcher,
        value::{duration, enumeration, nonzero_duration, optional_duration, present, unpack},
    },
    model::{HeaderCase, Http1Options, Http2Limits, HttpConnectionManager, Keepalive, Underscores},
    supported,
};

supported! {
    /// Protocols toward clients.
    pub(in crate::config) static OPTIONS =
    envoy.config.core.v3.HttpProtocolOptions {
        carried: idle_timeout, max_connection_duration, max_connection_duration_jitter, max_headers_count,
            max_stream_duration, max_requests_per_connection, headers_with_underscores_action;
        irrelevant: max_response_headers_kb = "concerns hosts";
    }
    envoy.config.core.v3.Http1ProtocolOptions {
        carried: accept_http_10, default_host_for_http_10, header_key_format, allow_chunked_length,
            ignore_http_11_upgrade, allow_custom_methods;
        limited: allow_absolute_url = "true",
            enable_trailers = "true; of responses and of requests those pass that a trailer header announces",
            override_stream_error_on_invalid_http_message = "false";
        irrelevant: use_balsa_parser = "the parser is hyper's",
            send_fully_qualified_url = "concerns hosts";
    }
    envoy.config.core.v3.TypedExtensionConfig {
        carried: typed_config;
        irrelevant: name = "a label; the type of typed_config says what it is";
    }
    envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat {
        carried: proper_case_words, stateful_formatter;
    }
    envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords {}
    envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig {
        limited: formatter_type_on_envoy_headers = "DEFAULT";
    }
    envoy.config.core.v3.Http2ProtocolOptions {
        carried: max_concurrent_streams, initial_stream_window_size, initial_connection_window_size, allow_connect,
            max_consecutive_inbound_frames_with_empty_payload, max_inbound_priority_frames_per_stream,
            max_inbound_window_update_frames_per_data_frame_sent, stream_reset_burst, stream_reset_rate,
            connection_keepalive;
        limited: override_stream_error_on_invalid_http_message = "true, which is what happens to a malformed message";
        irrelevant: hpack_table_size = "the peer's table is bounded by the protocol's default",
            max_outbound_frames = "one answer at most to each control frame is kept, and data by window",
            max_outbound_control_frames = "a frame is not read before the answer to the last one is sent",
            stream_error_on_invalid_http_messaging = "a malformed message resets its stream",
            use_oghttp2_codec = "the codec is h2's";
    }
    envoy.config.core.v3.KeepaliveSettings {
        carried: interval, timeout, interval_jitter;
        irrelevant: connection_idle_interval = "concerns new streams, which a client opens";
    }
}

pub(super) fn apply(value: &ProtoManager, manager: &mut HttpConnectionManager) -> Translated<()> {
    if let Some(options) = &value.common_http_protocol_options {
        common(options, manager).at("common_http_protocol_options")?;
    }
    if let Some(options) = &value.http_protocol_options {
        http1(options, manager).at("http_protocol_options")?;
    }
    if let Some(options) = &value.http2_protocol_options {
        http2(options, manager).at("http2_protocol_options")?;
    }
    Ok(())
}

fn common(value: &HttpProtocolOptions, manager: &mut HttpConnectionManager) -> Translated<()> {
    let action: HeadersWithUnderscoresAction =
        enumeration(value.headers_with_underscores_action, "headers_with_underscores_action")?;
    manager.underscores = match action {
        HeadersWithUnderscoresAction::Allow => Underscores::Allow,
        HeadersWithUnderscoresAction::RejectRequest => Underscores::Reject,
        HeadersWithUnderscoresAction::DropHeader => Underscores::Drop,
    };
    if let Some(idle) = optional_duration(value.idle_timeout.as_ref(), "idle_timeout")? {
        manager.idle_timeout = idle;
    }
    manager.max_connection_duration =
        nonzero_duration(value.max_connection_duration.as_ref(), "max_connection_duration")?;
    let jitter = value.max_connection_duration_jitter.as_ref();
    manager.max_connection_duration_jitter = percent(jitter, 0.0).at("max_connection_duration_jitter")?;
    manager.max_stream_duration = nonzero_duration(value.max_stream_duration.as_ref(), "max_stream_duration")?;
    manager.max_requests_per_connection = value.max_requests_per_connection.filter(|limit| *limit > 0);
    if let Some(count) = value.max_headers_count {
        if count == 0 {
            return refuse_field("max_headers_count", "must be greater than zero");
        }
        manager.max_headers_count = count;
    }
    Ok(())
}

fn http1(value: &Http1ProtocolOptions, manager: &mut HttpConnectionManager) -> Translated<()> {
    if value.allow_absolute_url == Some(false) {
        return refuse_field("allow_absolute_url", "only true is carried");
    }
    if value.override_stream_error_on_invalid_http_message == Some(true) {
        return refuse_field("override_stream_error_on_invalid_http_message", "only false is carried");
    }
    let case = value.header_key_format.as_ref().map(header_case).transpose().at("header_key_format")?;
    let ignored = value.ignore_http_11_upgrade.iter().enumerate();
    let ignored = ignored.map(|(i, m)| string_matcher(m).at(format_args!("ignore_http_11_upgrade[{i}]")));
    manager.http1 = Http1Options {
        accept_http_10: value.accept_http_10,
        default_host_for_http_10: value.default_host_for_http_10.clone(),
        header_case: case.unwrap_or_default(),
        trailers: value.enable_trailers,
        allow_chunked_length: value.allow_chunked_length,
        allow_custom_methods: value.allow_custom_methods,
        ignored_upgrades: ignored.collect::<Result<_, _>>()?,
    };
    Ok(())
}

pub(in crate::config) fn header_case(value: &HeaderKeyFormat) -> Translated<HeaderCase> {
    match &value.header_format {
        Some(HeaderFormat::ProperCaseWords(_)) => Ok(HeaderCase::ProperWords),
        Some(HeaderFormat::StatefulFormatter(formatter)) => {
            let config = present(formatter.typed_config.as_ref(), "stateful_formatter.typed_config")?;
            preserved_case(config).at("stateful_formatter.typed_config")
        }
        None => refuse("one of proper_case_words, stateful_formatter is required"),
    }
}

fn preserved_case(config: &any::Any) -> Translated<HeaderCase> {
    if !any::is::<PreserveCaseFormatterConfig>(config) {
        return refuse(format!("{} is not carried", config.type_url));
    }
    let formatter: PreserveCaseFormatterConfig = unpack(config)?;
    match enumeration(formatter.formatter_type_on_envoy_headers, "formatter_type_on_envoy_headers")? {
        FormatterTypeOnEnvoyHeaders::Default => Ok(HeaderCase::Preserve),
        FormatterTypeOnEnvoyHeaders::ProperCase => {
            refuse_field("formatter_type_on_envoy_headers", "only DEFAULT is carried")
        }
    }
}

/// A share that is no more than the whole.
fn percent(value: Option<&Percent>, default: f64) -> Translated<f64> {
    match value.map_or(default, |p| p.value) {
        value if (0.0..=100.0).contains(&value) => Ok(value),
        _ => refuse_field("value", "must be between 0 and 100"),
    }
}

pub(in crate::config) fn keepalive(value: &KeepaliveSettings) -> Translated<Option<Keepalive>> {
    let least = Duration::from_millis(1);
    let timeout = present(value.timeout.as_ref(), "timeout")?;
    let timeout = duration(timeout).at("timeout")?;
    let interval = optional_duration(value.interval.as_ref(), "interval")?;
    if timeout < least || interval.is_some_and(|i| i < least) {
        return refuse("times must be at least 1 ms");
    }
    let jitter_percent = percent(value.interval_jitter.as_ref(), 15.0).at("interval_jitter")?;
    Ok(interval.map(|interval| Keepalive { interval, timeout, jitter_percent }))
}

fn http2(value: &Http2ProtocolOptions, manager: &mut HttpConnectionManager) -> Translated<()> {
    if value.override_stream_error_on_invalid_http_message == Some(false) {
        return refuse_field("override_stream_error_on_invalid_http_message", "only true is carried");
    }
    if let Some(streams) = value.max_concurrent_streams {
        manager.http2_max_concurrent_streams = concurrent_streams(streams)?;
    }
    if let Some(window) = value.initial_stream_window_size {
        manager.http2_stream_window = window_size(window, "initial_stream_window_size")?;
    }
    if let Some(window) = value.initial_connection_window_size {
        manager.http2_connection_window = window_size(window, "initial_connection_window_size")?;
    }
    manager.http2_allow_connect = value.allow_connect;
    manager.http2_keepalive = match &value.connection_keepalive {
        Some(settings) => keepalive(settings).at("connection_keepalive")?,
        None => None,
    };
    manager.http2_limits = limits(value)?;
    Ok(())
}

fn limits(value: &Http2ProtocolOptions) -> Translated<Http2Limits> {
    let default = Http2Limits::default();
    let window_updates = value.max_inbound_window_update_frames_per_data_frame_sent;
    if window_updates == Some(0) {
        return refuse_field("max_inbound_window_update_frames_per_data_frame_sent", "must be greater than zero");
    }
    Ok(Http2Limits {
        empty_frames: value.max_consecutive_inbound_frames_with_empty_payload.unwrap_or(default.empty_frames),
        priority_per_stream: value.max_inbound_priority_frames_per_stream.unwrap_or(default.priority_per_stream),
        window_updates_per_data: window_updates.unwrap_or(default.window_updates_per_data),
        reset_burst: value.stream_reset_burst.unwrap_or(default.reset_burst),
        reset_rate: value.stream_reset_rate.unwrap_or(default.reset_rate),
    })
}
