//! Protocol options toward clients.

use mesh_xds_api::envoy::{
    config::core::v3::{
        Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions,
        http_protocol_options::HeadersWithUnderscoresAction,
    },
    extensions::filters::network::http_connection_manager::v3::HttpConnectionManager as ProtoManager,
};

use crate::{
    config::{
        cluster::{concurrent_streams, window_size},
        error::{At as _, Translated, refuse_field},
        value::{enumeration, nonzero_duration, optional_duration},
    },
    model::HttpConnectionManager,
    supported,
};

supported! {
    /// Protocols toward clients.
    pub(in crate::config) static OPTIONS =
    envoy.config.core.v3.HttpProtocolOptions {
        carried: idle_timeout, max_connection_duration, max_headers_count, max_stream_duration,
            max_requests_per_connection;
        limited: headers_with_underscores_action = "ALLOW";
    }
    envoy.config.core.v3.Http1ProtocolOptions {
        carried: accept_http_10;
        limited: allow_absolute_url = "true",
            override_stream_error_on_invalid_http_message = "false";
        irrelevant: use_balsa_parser = "the parser is hyper's",
            allow_custom_methods = "every method is forwarded";
    }
    envoy.config.core.v3.Http2ProtocolOptions {
        carried: max_concurrent_streams, initial_stream_window_size, initial_connection_window_size;
        limited: override_stream_error_on_invalid_http_message = "true, which is what happens to a malformed message";
        irrelevant: hpack_table_size = "the peer's table is bounded by the protocol's default",
            max_outbound_frames = "hyper bounds what it queues",
            max_outbound_control_frames = "hyper bounds what it queues",
            max_consecutive_inbound_frames_with_empty_payload = "hyper bounds what a peer may waste",
            max_inbound_priority_frames_per_stream = "priorities are not looked at",
            max_inbound_window_update_frames_per_data_frame_sent = "hyper bounds what a peer may waste",
            use_oghttp2_codec = "the codec is h2's";
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
    if action != HeadersWithUnderscoresAction::Allow {
        return refuse_field("headers_with_underscores_action", "only ALLOW is carried");
    }
    if let Some(idle) = optional_duration(value.idle_timeout.as_ref(), "idle_timeout")? {
        manager.idle_timeout = idle;
    }
    manager.max_connection_duration =
        nonzero_duration(value.max_connection_duration.as_ref(), "max_connection_duration")?;
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
    manager.accept_http_10 = value.accept_http_10;
    Ok(())
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
    Ok(())
}
