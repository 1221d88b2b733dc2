//! The bootstrap of the data plane: the same for mesh-proxy and Envoy.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::cli::{Interception, SidecarArgs};

const TYPE: &str = "type.googleapis.com/envoy.extensions.";
/// Cluster of the control plane.
const XDS: &str = "xds-grpc";
/// Cluster of the agent, which gives secrets.
pub(super) const SDS: &str = "sds-grpc";

/// A bootstrap as Envoy reads it.
pub(super) fn bootstrap(args: &SidecarArgs, sds_socket: &Path) -> anyhow::Result<Value> {
    let source = || json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
    Ok(json!({
        "node": node(args)?,
        "admin": {"address": address(&args.admin.ip().to_string(), args.admin.port())},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": XDS}}],
            },
            "cds_config": source(),
            "lds_config": source(),
        },
        "static_resources": {"clusters": [sds_cluster(sds_socket), xds_cluster(args)?]},
    }))
}

fn node(args: &SidecarArgs) -> anyhow::Result<Value> {
    let (namespace, name) = (&args.namespace, &args.name);
    let kind = if args.router { "router" } else { "sidecar" };
    let labels = labels(&args.labels)?;
    let workload = labels.get("app").map_or(name.clone(), |app| match labels.get("version") {
        Some(version) => format!("{app}-{version}"),
        None => app.clone(),
    });
    let mut metadata = json!({
        "NAME": name, "NAMESPACE": namespace, "SERVICE_ACCOUNT": args.service_account, "WORKLOAD_NAME": workload,
        "LABELS": labels, "CLUSTER_ID": "Kubernetes", "MESH_ID": args.trust_domain,
    });
    if args.interception == Interception::None {
        metadata["INTERCEPTION_MODE"] = "NONE".into();
        metadata["OUTBOUND_BIND"] = args.outbound_bind.to_string().into();
        metadata["APP_ADDRESS"] = args.app_address.to_string().into();
    }
    Ok(json!({
        "id": format!("{kind}~{}~{name}.{namespace}~{namespace}.svc.cluster.local", args.ip),
        "cluster": format!("{workload}.{namespace}"),
        "metadata": metadata,
    }))
}

fn labels(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let pairs = text.split(',').filter(|p| !p.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').with_context(|| format!("--labels: {pair:?} is not key=value"))?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}

fn address(host: &str, port: u16) -> Value {
    json!({"socket_address": {"address": host, "port_value": port}})
}

fn http2() -> Value {
    json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": format!("{TYPE}upstreams.http.v3.HttpProtocolOptions"),
        "explicit_http_config": {"http2_protocol_options": {}},
    }})
}

fn sds_cluster(socket: &Path) -> Value {
    json!({
        "name": SDS, "type": "STATIC", "connect_timeout": "1s",
        "typed_extension_protocol_options": http2(),
        "load_assignment": {"cluster_name": SDS, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"pipe": {"path": socket}}}}]}]},
    })
}

fn xds_cluster(args: &SidecarArgs) -> anyhow::Result<Value> {
    let (host, port) = args
        .control_plane
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host.trim_matches(['[', ']']), port.parse().ok()?)))
        .with_context(|| format!("--control-plane {}: write HOST:PORT", args.control_plane))?;
    let kind = if host.parse::<std::net::IpAddr>().is_ok() { "STATIC" } else { "STRICT_DNS" };
    let secrets = || {
        json!({"api_config_source": {"api_type": "GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": true,
        "grpc_services": [{"envoy_grpc": {"cluster_name": SDS}}]}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"})
    };
    Ok(json!({
        "name": XDS, "type": kind, "connect_timeout": "1s",
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 30, "keepalive_interval": 5, "keepalive_probes": 3}},
        "typed_extension_protocol_options": http2(),
        "load_assignment": {"cluster_name": XDS, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(host, port)}}]}]},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": format!("{TYPE}transport_sockets.tls.v3.UpstreamTlsContext"),
            "sni": host,
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": secrets()}],
                "combined_validation_context": {
                    "default_validation_context": {"match_typed_subject_alt_names": [
                        {"san_type": "URI", "matcher": {"exact": crate::control_plane::identity(&args.trust_domain)}}]},
                    "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": secrets()},
                },
            },
        }},
    }))
}

#[cfg(test)]
mod tests {
    use mesh_xds_api::{envoy::config::bootstrap::v3::Bootstrap, json};

    use super::*;

    #[test]
    fn is_a_bootstrap_by_envoys_own_schema() {
        use clap::Parser as _;
        let line = "mesh sidecar --name a-1 --ip 127.0.0.9 --labels app=a,version=v1 --root-cert r --token t --control-plane cp.example:15012";
        let cli = crate::cli::Cli::parse_from(line.split(' '));
        let crate::cli::Command::Sidecar(args) = cli.command else { panic!("a sidecar") };
        let made = bootstrap(&args, Path::new("sds.sock")).unwrap();
        let parsed: Bootstrap = json::from_value(&made).unwrap();
        let node = parsed.node.unwrap();
        assert_eq!(node.id, "sidecar~127.0.0.9~a-1.default~default.svc.cluster.local");
        assert_eq!(node.cluster, "a-v1.default");
        assert_eq!(parsed.static_resources.unwrap().clusters.len(), 2);
        assert!(labels("app").is_err());
    }
}
