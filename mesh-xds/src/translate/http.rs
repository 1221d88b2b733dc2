//! The HTTP connection manager and what goes with it.

use std::time::Duration;

use mesh_xds_api::{
    any,
    envoy::{
        config::{
            accesslog::v3::{AccessLog, access_log::ConfigType},
            core::v3::{SubstitutionFormatString, substitution_format_string},
            listener::v3::Filter,
            route::v3::RouteConfiguration,
        },
        extensions::{
            access_loggers::file::v3::{FileAccessLog, file_access_log::AccessLogFormat},
            filters::{
                http::{cors::v3::Cors, fault::v3::HttpFault, router::v3::Router},
                network::http_connection_manager::v3::{
                    HttpConnectionManager, HttpFilter, Rds,
                    http_connection_manager::{
                        ForwardClientCertDetails, RouteSpecifier, SetCurrentClientCertDetails, UpgradeConfig,
                    },
                },
            },
        },
    },
};

use super::{MeshOptions, proto};

/// Where the routes are.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Routes {
    /// A resource of this name.
    Named(String),
    /// In place.
    Inline(Box<RouteConfiguration>),
}

/// Which side of the proxy the requests come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The workload's own calls.
    Outbound,
    /// Calls to the workload.
    Inbound,
    /// Calls from outside the mesh.
    Gateway,
}

/// All that a connection manager depends on.
#[derive(Debug)]
pub(super) struct HttpKey<'a> {
    pub(super) stat_prefix: String,
    pub(super) routes: Routes,
    pub(super) side: Side,
    /// Filters that decide who may call.
    pub(super) authorization: Vec<HttpFilter>,
    /// Whether any route has cross-origin rules.
    pub(super) cors: bool,
    pub(super) options: &'a MeshOptions,
}

/// The connection manager as a network filter.
pub(super) fn manager(key: HttpKey<'_>) -> Filter {
    let mut filters = key.authorization;
    if key.side != Side::Inbound {
        filters.push(proto::http_filter("envoy.filters.http.fault", &HttpFault::default()));
    }
    if key.cors {
        let cors = proto::http_filter("envoy.filters.http.cors", &Cors {});
        filters.push(HttpFilter { is_optional: true, ..cors });
    }
    filters.push(proto::http_filter("envoy.filters.http.router", &Router::default()));
    let takes_certificates = key.side != Side::Outbound;
    let manager = HttpConnectionManager {
        stat_prefix: key.stat_prefix,
        http_filters: filters,
        route_specifier: Some(match key.routes {
            Routes::Named(name) => {
                RouteSpecifier::Rds(Rds { config_source: Some(proto::ads()), route_config_name: name })
            }
            Routes::Inline(routes) => RouteSpecifier::RouteConfig(*routes),
        }),
        server_name: if takes_certificates { "istio-envoy".to_owned() } else { String::new() },
        use_remote_address: Some(key.side == Side::Gateway),
        forward_client_cert_details: if takes_certificates {
            ForwardClientCertDetails::SanitizeSet.into()
        } else {
            ForwardClientCertDetails::Sanitize.into()
        },
        set_current_client_cert_details: takes_certificates.then(|| SetCurrentClientCertDetails {
            subject: Some(true),
            dns: true,
            uri: true,
            ..Default::default()
        }),
        normalize_path: Some(true),
        stream_idle_timeout: Some(proto::duration(Duration::ZERO)),
        upgrade_configs: vec![UpgradeConfig { upgrade_type: "websocket".to_owned(), ..Default::default() }],
        access_log: access_log(key.options),
        ..Default::default()
    };
    proto::network_filter("envoy.filters.network.http_connection_manager", &manager)
}

/// Access logs as the mesh options ask for them.
pub(super) fn access_log(options: &MeshOptions) -> Vec<AccessLog> {
    let Some(path) = &options.access_log_file else { return Vec::new() };
    let format = options.access_log_format.as_ref().map(|text| {
        AccessLogFormat::LogFormat(SubstitutionFormatString {
            format: Some(substitution_format_string::Format::TextFormatSource(proto::inline_text(text))),
            ..Default::default()
        })
    });
    let file = FileAccessLog { path: path.clone(), access_log_format: format };
    vec![AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        config_type: Some(ConfigType::TypedConfig(any::pack(&file))),
        ..Default::default()
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_xds_api::json;

    fn made(side: Side, options: &MeshOptions) -> serde_json::Value {
        let filter = manager(HttpKey {
            stat_prefix: "x".into(),
            routes: Routes::Named("9080".into()),
            side,
            authorization: Vec::new(),
            cors: true,
            options,
        });
        json::to_value(&filter)["typed_config"].clone()
    }

    #[test]
    fn filters_end_with_the_router() {
        let json = made(Side::Outbound, &MeshOptions::default());
        let names: Vec<&str> =
            json["http_filters"].as_array().unwrap().iter().filter_map(|f| f["name"].as_str()).collect();
        assert_eq!(names, ["envoy.filters.http.fault", "envoy.filters.http.cors", "envoy.filters.http.router"]);
        assert_eq!(json["rds"]["route_config_name"], "9080");
        assert!(json.get("access_log").is_none());
    }

    #[test]
    fn inbound_tells_who_called() {
        let options = MeshOptions { access_log_file: Some("/dev/stdout".into()), ..MeshOptions::default() };
        let json = made(Side::Inbound, &options);
        assert_eq!(json["forward_client_cert_details"], "SANITIZE_SET");
        assert_eq!(json["set_current_client_cert_details"]["uri"], true);
        assert_eq!(json["access_log"][0]["typed_config"]["path"], "/dev/stdout");
    }
}
