//! Envoy, and gRPC's client on the C core. They decide for themselves what to ask for.

use std::{fs, net::SocketAddr, process::Command, sync::Arc, time::Duration};

use async_trait::async_trait;
use mesh_tests::{peer, process::Process};
use mesh_xds::{
    protocol::Variant,
    testing::conformance::client::{ClientUnderTest, Patience, Running, StartError, World, run},
};
use serde_json::{Value, json};

use crate::deviations::{Deviation, always, compare};

/// A process, and the folder it has its files in.
struct Started {
    _process: Process,
    _folder: tempfile::TempDir,
}

fn folder() -> Result<tempfile::TempDir, StartError> {
    tempfile::tempdir().map_err(|e| StartError::Failed(e.to_string()))
}

fn check(client: impl ClientUnderTest + 'static, name: &str, known: &[&[Deviation]]) {
    let patience = Patience { due: Duration::from_secs(10), ..Patience::default() };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let report = runtime.block_on(run(Arc::new(client), patience));
    compare(name, &report, known);
}

struct Envoy;

fn bootstrap(server: SocketAddr, api_type: &str) -> Value {
    let source = json!({ "ads": {}, "resource_api_version": "V3" });
    let address = json!({ "socket_address": { "address": "127.0.0.1", "port_value": server.port() } });
    let endpoint = json!({ "endpoint": { "address": address } });
    json!({
        "node": { "id": "conformance", "cluster": "tests" },
        "dynamic_resources": {
            "ads_config": {
                "api_type": api_type,
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds" } }],
            },
            "cds_config": source,
            "lds_config": source,
        },
        "static_resources": { "clusters": [{
            "name": "xds",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": {} },
                },
            },
            "load_assignment": { "cluster_name": "xds", "endpoints": [{ "lb_endpoints": [endpoint] }] },
        }] },
    })
}

#[async_trait]
impl ClientUnderTest for Envoy {
    async fn start(&self, server: SocketAddr, variant: Variant) -> Result<Running, StartError> {
        let folder = folder()?;
        let config = folder.path().join("envoy.json");
        let api_type = if variant == Variant::Delta { "DELTA_GRPC" } else { "GRPC" };
        fs::write(&config, bootstrap(server, api_type).to_string()).map_err(|e| StartError::Failed(e.to_string()))?;
        let mut command = Command::new(peer::envoy());
        command.arg("-c").arg(&config).args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
        let process = Process::start(&mut command, &folder.path().join("log"));
        Ok(Running::ByItself(Box::new(Started { _process: process, _folder: folder })))
    }

    fn world(&self) -> World {
        World::proxy("conformance")
    }
}

/// A channel to `xds:///conformance` that wants to be connected.
struct GrpcCore;

#[async_trait]
impl ClientUnderTest for GrpcCore {
    async fn start(&self, server: SocketAddr, variant: Variant) -> Result<Running, StartError> {
        if variant == Variant::Delta {
            return Err(StartError::NoVariant(variant));
        }
        let folder = folder()?;
        let bootstrap = json!({
            "xds_servers": [{
                "server_uri": server.to_string(),
                "channel_creds": [{ "type": "insecure" }],
                "server_features": ["xds_v3"],
            }],
            "node": { "id": "conformance", "cluster": "tests" },
        });
        let path = folder.path().join("bootstrap.json");
        fs::write(&path, bootstrap.to_string()).map_err(|e| StartError::Failed(e.to_string()))?;
        let mut command = Command::new(peer::python());
        command.arg(peer::script("grpc_watch.py")).arg("xds:///conformance").env("GRPC_XDS_BOOTSTRAP", &path);
        let process = Process::start(&mut command, &folder.path().join("log"));
        Ok(Running::ByItself(Box::new(Started { _process: process, _folder: folder })))
    }

    fn world(&self) -> World {
        World::grpc("conformance")
    }
}

#[test]
fn envoy() {
    check(Envoy, "Envoy", &[]);
}

#[test]
fn grpc_core() {
    let known = &[
        always("github.com/grpc/grpc/pull/23910, which was not merged", &["sotw/duplicates-are-refused"]),
        always("an answer to the last response stands for those before", &["sotw/every-response-is-answered"]),
    ];
    check(GrpcCore, "gRPC's C core", &[known]);
}
