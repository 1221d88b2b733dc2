//! `filters.network.http_connection_manager.v3.HttpConnectionManager`.

mod client;
mod options;
mod replies;

use std::{sync::Arc, time::Duration};

use mesh_xds_api::envoy::config::core::v3::{SchemeHeaderTransformation, scheme_header_transformation::Transformation};
use mesh_xds_api::{
    TypeUrl, any,
    envoy::extensions::{
        filters::{
            http::router::v3::Router,
            network::http_connection_manager::v3::{
                HttpConnectionManager as ProtoManager, HttpFilter, RequestIdExtension,
                http_connection_manager::{
                    CodecType, ForwardClientCertDetails, ForwardClientCertFormat, PathWithEscapedSlashesAction,
                    RouteSpecifier, ServerHeaderTransformation, SetCurrentClientCertDetails, StripPortMode,
                    UpgradeConfig,
                },
                http_filter::ConfigType,
            },
        },
        request_id::uuid::v3::UuidRequestIdConfig,
    },
};

use super::{
    access_log::access_logs,
    error::{At as _, Translated, refuse, refuse_field},
    route,
    source::Context,
    value::{duration_or, enumeration, optional_duration, present, required, unpack},
};
use crate::{
    filter::FilterContext,
    model::{
        ClientCertForwarding, Codec, EscapedSlashes, Http1Options, Http2Limits, HttpConnectionManager, HttpFilterEntry,
        RouteSource, RouterOptions, ServerHeader, StrictHeader, StripPort, Underscores,
    },
    supported,
};

supported! {
    /// HTTP connection managers.
    pub(super) static MANAGERS =
    envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager {
        carried: internal_address_config, codec_type, stat_prefix, rds, route_config, http_filters, common_http_protocol_options,
            http_protocol_options, http2_protocol_options, server_name, server_header_transformation,
            max_request_headers_kb, stream_idle_timeout, request_timeout, request_headers_timeout,
            access_log, use_remote_address, xff_num_trusted_hops, skip_xff_append, via, generate_request_id,
            preserve_external_request_id, always_set_request_id_in_response, forward_client_cert_details,
            set_current_client_cert_details, upgrade_configs, normalize_path, merge_slashes, strip_any_host_port,
            tracing, path_with_escaped_slashes_action, strip_matching_host_port, strip_trailing_host_dot,
            append_x_forwarded_port, represent_ipv4_remote_address_as_ipv4_mapped_ipv6,
            original_ip_detection_extensions, local_reply_config, scheme_header_transformation, stream_flush_timeout, access_log_options,
            flush_access_log_on_new_request, proxy_100_continue, delayed_close_timeout;
        limited: add_user_agent = "false",
            stream_error_on_invalid_http_message = "false",
            request_id_extension = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig";
        irrelevant: http3_protocol_options = "HTTP/3 is not served, and codec_type HTTP3 is refused",
            drain_timeout = "the final GOAWAY follows once the client has answered a ping, not after a fixed time",
            drain_timeout_jitter = "the final GOAWAY follows once the client has answered a ping, not after a fixed time",
            append_local_overload = "there is no overload manager that could reject a request",
            http1_safe_max_connection_duration = "a connection past its time is always drained safely";
    }
    envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing {
        irrelevant: client_sampling = "nothing samples without a provider, which is refused",
            random_sampling = "nothing samples without a provider, which is refused",
            overall_sampling = "nothing samples without a provider, which is refused",
            verbose = "there are no spans without a provider, which is refused",
            max_path_tag_length = "there are no spans without a provider, which is refused",
            custom_tags = "there are no spans without a provider, which is refused",
            spawn_upstream_span = "there are no spans without a provider, which is refused",
            operation = "there are no spans without a provider, which is refused",
            upstream_operation = "there are no spans without a provider, which is refused",
            no_context_propagation = "there are no spans without a provider, which is refused";
    }
    envoy.extensions.filters.network.http_connection_manager.v3.Rds {
        carried: config_source, route_config_name;
    }
    envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter {
        carried: name, typed_config, is_optional, disabled;
    }
    envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension {
        carried: typed_config;
    }
    envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails {
        carried: subject, cert, chain, dns, uri, issuer;
        limited: format = "TEXT";
    }
    envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig {
        carried: upgrade_type, enabled;
    }
    envoy.config.core.v3.SchemeHeaderTransformation {
        carried: scheme_to_overwrite;
    }
    envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.HcmAccessLogOptions {
        carried: flush_access_log_on_new_request;
    }
    envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig {
        irrelevant: pack_trace_reason = "there is no tracing",
            use_request_id_for_trace_sampling = "there is no tracing";
    }
    envoy.extensions.filters.http.router.v3.Router {
        carried: suppress_envoy_headers, respect_expected_rq_timeout;
        limited: strict_check_headers = "x-envoy-upstream-rq-timeout-ms, x-envoy-upstream-rq-per-try-timeout-ms, \
                x-envoy-max-retries, x-envoy-retry-on, x-envoy-retry-grpc-on";
        irrelevant: dynamic_stats = "per-cluster statistics are always kept",
            start_child_span = "there is no tracing",
            suppress_grpc_request_failure_code_stats = "no such statistics are kept",
            reject_connect_request_early_data = "no early data is taken from clients";
    }
}
pub(super) use self::{
    client::CLIENTS,
    options::{OPTIONS as DOWNSTREAM_OPTIONS, header_case, keepalive},
    replies::REPLIES,
};

/// Envoy's defaults.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
const DELAYED_CLOSE: Duration = Duration::from_secs(1);
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

pub(super) fn manager(value: &ProtoManager, cx: &Context<'_>) -> Translated<HttpConnectionManager> {
    refused_values(value)?;
    let stat_prefix = required(&value.stat_prefix, "stat_prefix")?.to_owned();
    let mut manager = plain(value, stat_prefix, routes(value, cx)?)?;
    manager.filters = filters(&value.http_filters, &format!("http.{}.", value.stat_prefix), cx)?;
    manager.router = router(&value.http_filters)?;
    manager.access_log = access_logs(&value.access_log, "access_log")?;
    manager.upgrades = upgrades(&value.upgrade_configs)?;
    client_certificate(value.set_current_client_cert_details.as_ref(), &mut manager)
        .at("set_current_client_cert_details")?;
    options::apply(value, &mut manager)?;
    client::apply(value, &mut manager)?;
    manager.local_replies =
        value.local_reply_config.as_ref().map(replies::local_replies).transpose().at("local_reply_config")?;
    Ok(manager)
}

/// Fields that are taken with some values only.
fn refused_values(value: &ProtoManager) -> Translated<()> {
    if value.add_user_agent == Some(true) {
        return refuse_field("add_user_agent", "only false is carried");
    }
    if value.stream_error_on_invalid_http_message == Some(true) {
        return refuse_field("stream_error_on_invalid_http_message", "only false is carried");
    }
    value.request_id_extension.as_ref().map_or(Ok(()), request_id).at("request_id_extension")
}

fn request_id(value: &RequestIdExtension) -> Translated<()> {
    match &value.typed_config {
        None => Ok(()),
        Some(config) if any::is::<UuidRequestIdConfig>(config) => Ok(()),
        Some(config) => refuse_field("typed_config", format!("{} is not carried", config.type_url)),
    }
}

/// What needs no more than a look at one field.
fn plain(value: &ProtoManager, stat_prefix: String, routes: RouteSource) -> Translated<HttpConnectionManager> {
    let timeout = |duration, field, default| duration_or(duration, field, default);
    let server_name = if value.server_name.is_empty() { "envoy" } else { &value.server_name };
    Ok(HttpConnectionManager {
        stat_prefix,
        codec: match enumeration(value.codec_type, "codec_type")? {
            CodecType::Auto => Codec::Auto,
            CodecType::Http1 => Codec::Http1,
            CodecType::Http2 => Codec::Http2,
            CodecType::Http3 => return refuse_field("codec_type", "HTTP3 is not carried"),
        },
        routes,
        filters: Vec::new(),
        server_name: server_name.to_owned(),
        server_header: match enumeration(value.server_header_transformation, "server_header_transformation")? {
            ServerHeaderTransformation::Overwrite => ServerHeader::Overwrite,
            ServerHeaderTransformation::AppendIfAbsent => ServerHeader::AppendIfAbsent,
            ServerHeaderTransformation::PassThrough => ServerHeader::PassThrough,
        },
        use_remote_address: value.use_remote_address.unwrap_or(false),
        xff_trusted_hops: value.xff_num_trusted_hops,
        skip_xff_append: value.skip_xff_append,
        via: value.via.clone(),
        generate_request_id: value.generate_request_id.unwrap_or(true),
        preserve_external_request_id: value.preserve_external_request_id,
        always_set_request_id_in_response: value.always_set_request_id_in_response,
        forward_client_cert: match enumeration(value.forward_client_cert_details, "forward_client_cert_details")? {
            ForwardClientCertDetails::Sanitize => ClientCertForwarding::Sanitize,
            ForwardClientCertDetails::ForwardOnly => ClientCertForwarding::ForwardOnly,
            ForwardClientCertDetails::AppendForward => ClientCertForwarding::AppendForward,
            ForwardClientCertDetails::SanitizeSet => ClientCertForwarding::SanitizeSet,
            ForwardClientCertDetails::AlwaysForwardOnly => ClientCertForwarding::AlwaysForwardOnly,
        },
        xfcc_subject: false,
        xfcc_uri: false,
        xfcc_dns: false,
        xfcc_cert: false,
        xfcc_chain: false,
        xfcc_issuer: false,
        normalize_path: value.normalize_path.unwrap_or(false),
        merge_slashes: value.merge_slashes,
        escaped_slashes: escaped_slashes(value.path_with_escaped_slashes_action)?,
        strip_port: strip_port(value)?,
        strip_trailing_host_dot: value.strip_trailing_host_dot,
        underscores: Underscores::Allow,
        scheme: value.scheme_header_transformation.as_ref().map(scheme).transpose()?,
        append_x_forwarded_port: value.append_x_forwarded_port,
        map_ipv4: value.represent_ipv4_remote_address_as_ipv4_mapped_ipv6,
        internal_addresses: None,
        ip_detection: Vec::new(),
        local_replies: None,
        idle_timeout: IDLE_TIMEOUT,
        delayed_close: timeout(value.delayed_close_timeout.as_ref(), "delayed_close_timeout", DELAYED_CLOSE)?,
        max_connection_duration: None,
        max_connection_duration_jitter: 0.0,
        max_stream_duration: None,
        stream_idle_timeout: timeout(value.stream_idle_timeout.as_ref(), "stream_idle_timeout", STREAM_IDLE_TIMEOUT)?,
        stream_flush_timeout: optional_duration(value.stream_flush_timeout.as_ref(), "stream_flush_timeout")?,
        request_timeout: timeout(value.request_timeout.as_ref(), "request_timeout", Duration::ZERO)?,
        request_headers_timeout: timeout(
            value.request_headers_timeout.as_ref(),
            "request_headers_timeout",
            Duration::ZERO,
        )?,
        max_request_headers_bytes: headers_bytes(value.max_request_headers_kb)?,
        max_headers_count: 100,
        max_requests_per_connection: None,
        http2_max_concurrent_streams: 1024,
        http2_stream_window: 16 << 20,
        http2_connection_window: 24 << 20,
        http2_limits: Http2Limits::default(),
        http2_keepalive: None,
        http2_allow_connect: false,
        http1: Http1Options::default(),
        proxy_100_continue: value.proxy_100_continue,
        upgrades: Vec::new(),
        log_new_requests: logs_new_requests(value),
        router: RouterOptions::default(),
        access_log: Vec::new(),
        tracing_enabled: value.tracing.is_some(),
    })
}

#[allow(deprecated)] // the older place of the same setting
fn logs_new_requests(value: &ProtoManager) -> bool {
    value.flush_access_log_on_new_request
        || value.access_log_options.as_ref().is_some_and(|o| o.flush_access_log_on_new_request)
}

fn escaped_slashes(value: i32) -> Translated<EscapedSlashes> {
    Ok(match enumeration(value, "path_with_escaped_slashes_action")? {
        PathWithEscapedSlashesAction::ImplementationSpecificDefault | PathWithEscapedSlashesAction::KeepUnchanged => {
            EscapedSlashes::Keep
        }
        PathWithEscapedSlashesAction::RejectRequest => EscapedSlashes::Reject,
        PathWithEscapedSlashesAction::UnescapeAndRedirect => EscapedSlashes::UnescapeAndRedirect,
        PathWithEscapedSlashesAction::UnescapeAndForward => EscapedSlashes::UnescapeAndForward,
    })
}

fn scheme(value: &SchemeHeaderTransformation) -> Translated<&'static str> {
    match &value.transformation {
        Some(Transformation::SchemeToOverwrite(scheme)) if scheme == "http" => Ok("http"),
        Some(Transformation::SchemeToOverwrite(scheme)) if scheme == "https" => Ok("https"),
        _ => refuse_field("scheme_header_transformation.scheme_to_overwrite", "must be http or https"),
    }
}

fn strip_port(value: &ProtoManager) -> Translated<StripPort> {
    match (value.strip_matching_host_port, &value.strip_port_mode) {
        (true, Some(StripPortMode::StripAnyHostPort(true))) => {
            refuse_field("strip_any_host_port", "only one of it and strip_matching_host_port may be set")
        }
        (true, _) => Ok(StripPort::Matching),
        (_, Some(StripPortMode::StripAnyHostPort(true))) => Ok(StripPort::Any),
        _ => Ok(StripPort::None),
    }
}

fn headers_bytes(kib: Option<u32>) -> Translated<u32> {
    match kib.unwrap_or(60) {
        kib @ 1..=8192 => Ok(kib * 1024),
        _ => refuse_field("max_request_headers_kb", "must be between 1 and 8192"),
    }
}

fn routes(value: &ProtoManager, cx: &Context<'_>) -> Translated<RouteSource> {
    match &value.route_specifier {
        Some(RouteSpecifier::RouteConfig(table)) => {
            route::table(table, true, cx).at("route_config").map(|table| RouteSource::Inline(Arc::new(table)))
        }
        Some(RouteSpecifier::Rds(rds)) => {
            let name = required(&rds.route_config_name, "rds.route_config_name")?;
            let source = present(rds.config_source.as_ref(), "rds.config_source")?;
            let source = cx.needs(TypeUrl::ROUTE, name, source).at("rds.config_source")?;
            Ok(RouteSource::Rds { name: name.to_owned(), source })
        }
        Some(RouteSpecifier::ScopedRoutes(_)) => refuse_field("scoped_routes", "is not carried"),
        None => refuse("one of rds, route_config is required"),
    }
}

/// The filters before the router, which must be the last one and the only one of its kind.
fn filters(values: &[HttpFilter], stat_prefix: &str, cx: &Context<'_>) -> Translated<Vec<HttpFilterEntry>> {
    let Some((last, others)) = values.split_last() else {
        return refuse_field("http_filters", "the last one must be envoy.filters.http.router");
    };
    if !is_router(last) {
        return refuse_field(
            format!("http_filters[{}]", others.len()),
            format!("{}: the last filter must be envoy.filters.http.router", last.name),
        );
    }
    let mut entries = Vec::with_capacity(others.len());
    for (i, value) in others.iter().enumerate() {
        if let Some(entry) = filter(value, stat_prefix, cx).at(format_args!("http_filters[{i}]"))? {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// The options of the router, which ends the filters.
fn router(values: &[HttpFilter]) -> Translated<RouterOptions> {
    let Some((last, others)) = values.split_last() else { return Ok(RouterOptions::default()) };
    let Some(ConfigType::TypedConfig(config)) = &last.config_type else { return Ok(RouterOptions::default()) };
    let field = format!("http_filters[{}].typed_config", others.len());
    let config: Router = unpack(config).at(&field)?;
    let strict = |(i, name): (usize, &String)| match StrictHeader::ALL.iter().find(|header| header.name() == name) {
        Some(header) => Ok(*header),
        None => refuse_field(format!("{field}.strict_check_headers[{i}]"), format!("{name} is not checked")),
    };
    Ok(RouterOptions {
        suppress_envoy_headers: config.suppress_envoy_headers,
        respect_expected_timeout: config.respect_expected_rq_timeout,
        strict_headers: config.strict_check_headers.iter().enumerate().map(strict).collect::<Translated<_>>()?,
    })
}

fn is_router(filter: &HttpFilter) -> bool {
    match &filter.config_type {
        Some(ConfigType::TypedConfig(config)) => any::is::<Router>(config),
        Some(ConfigType::ConfigDiscovery(_)) => false,
        None => filter.name == "envoy.filters.http.router",
    }
}

fn filter(value: &HttpFilter, stat_prefix: &str, cx: &Context<'_>) -> Translated<Option<HttpFilterEntry>> {
    if is_router(value) {
        return refuse("the router must be the last filter");
    }
    let name = required(&value.name, "name")?.to_owned();
    let Some(ConfigType::TypedConfig(config)) = &value.config_type else {
        return refuse_field("typed_config", "is required");
    };
    let Some(factory) = cx.filters.http(&config.type_url) else {
        if value.is_optional {
            return Ok(None);
        }
        return refuse_field("typed_config", format!("no filter of type {} is registered", config.type_url));
    };
    let filter = factory.filter(config, &FilterContext { stats: cx.stats, stat_prefix }).at("typed_config")?;
    Ok(Some(HttpFilterEntry { name, disabled: value.disabled, filter }))
}

fn upgrades(values: &[UpgradeConfig]) -> Translated<Vec<String>> {
    let mut found = Vec::new();
    for (i, value) in values.iter().enumerate() {
        let kind = required(&value.upgrade_type, "upgrade_type").at(format_args!("upgrade_configs[{i}]"))?;
        if value.enabled.unwrap_or(true) {
            found.push(kind.to_ascii_lowercase());
        }
    }
    Ok(found)
}

fn client_certificate(
    value: Option<&SetCurrentClientCertDetails>,
    manager: &mut HttpConnectionManager,
) -> Translated<()> {
    let Some(value) = value else { return Ok(()) };
    if enumeration::<ForwardClientCertFormat>(value.format, "format")? != ForwardClientCertFormat::Text {
        return refuse_field("format", "only TEXT is carried");
    }
    manager.xfcc_subject = value.subject.unwrap_or(false);
    manager.xfcc_uri = value.uri;
    manager.xfcc_dns = value.dns;
    manager.xfcc_cert = value.cert;
    manager.xfcc_chain = value.chain;
    manager.xfcc_issuer = value.issuer;
    Ok(())
}
