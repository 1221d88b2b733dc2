//! The control side against the server of mesh-xds, over loopback.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use mesh_xds::{
    Resource, TypeUrl,
    server::{ListenConfig, XdsServer, serve},
    store::{Batch, SingleView, View},
};
use mesh_xds_api::json;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::{ControlHandle, start};
use crate::{
    cluster::ClusterDeps,
    config::{Bootstrap, Translator},
    filter::FilterRegistry,
    model::Secret,
    state::Snapshot,
    stats::Stats,
    tls::SecretSource,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    server: XdsServer,
    address: SocketAddr,
    view: Arc<View>,
}

impl Server {
    async fn start() -> Self {
        let view = View::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = XdsServer::builder(SingleView(view.clone())).build();
        let config = ListenConfig { drain_timeout: Duration::from_millis(50), ..ListenConfig::default() };
        tokio::spawn(serve(listener, None, server.routes(), config, server.stopped()));
        Self { server, address, view }
    }

    fn put(&self, resources: impl IntoIterator<Item = Resource>) {
        self.view.update(resources.into_iter().fold(Batch::new(), Batch::put));
    }

    fn state_of(&self, type_url: &TypeUrl, name: &str) -> Option<&'static str> {
        let reports = self.server.status().node("node-1");
        let types = reports.iter().flat_map(|report| &report.types).filter(|t| t.type_url == *type_url);
        types.flat_map(|t| &t.resources).find(|r| r.name == name).map(|r| r.state.as_str())
    }
}

struct Control {
    handle: ControlHandle,
    stats: Stats,
    run: JoinHandle<()>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.run.abort();
    }
}

impl Control {
    fn start(bootstrap: &str, secrets: HashMap<String, Arc<dyn SecretSource>>) -> Self {
        let bootstrap = Bootstrap::from_text(bootstrap, &FilterRegistry::empty()).unwrap();
        let deps = ClusterDeps::default();
        let stats = deps.stats.clone();
        let translator = bootstrap.translator(FilterRegistry::empty(), stats.clone());
        let (handle, run) = start(bootstrap, translator, deps, secrets).unwrap();
        Self { handle, stats, run: tokio::spawn(run) }
    }

    async fn until(&self, what: &str, condition: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let mut snapshots = self.handle.snapshots();
        let found = tokio::time::timeout(PATIENCE, snapshots.wait_for(|snapshot| condition(snapshot))).await;
        found.unwrap_or_else(|_| panic!("{what}: not in time")).unwrap().clone()
    }

    async fn ready(&self) {
        let mut ready = self.handle.ready();
        tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready)).await.expect("ready in time").unwrap();
    }
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

fn bootstrap(address: SocketAddr, dynamic: &str) -> String {
    format!(
        "{{node: {{id: node-1}}, dynamic_resources: {{{dynamic}}}, static_resources: {{clusters: [{{name: xds-grpc, \
         http2_protocol_options: {{}}, load_assignment: {{cluster_name: xds-grpc, endpoints: [{{lb_endpoints: \
         [{{endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}}}]}}]}}}}]}}}}",
        address.ip(),
        address.port()
    )
}

fn ads(address: SocketAddr, api_type: &str) -> String {
    let source = "{ads: {}, initial_fetch_timeout: 0s, resource_api_version: V3}";
    let ads = format!("{{api_type: {api_type}, grpc_services: [{{envoy_grpc: {{cluster_name: xds-grpc}}}}]}}");
    bootstrap(address, &format!("ads_config: {ads}, lds_config: {source}, cds_config: {source}"))
}

fn resource(type_url: &TypeUrl, mut value: Value) -> Resource {
    value["@type"] = type_url.as_str().into();
    Resource::from_any(json::any_from_value(&value).unwrap()).unwrap()
}

fn eds(name: &str) -> Resource {
    let source = json!({"ads": {}, "initial_fetch_timeout": "0s"});
    let value = json!({"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": source}});
    resource(&TypeUrl::CLUSTER, value)
}

fn endpoints(name: &str, port: u16) -> Resource {
    let address = json!({"socket_address": {"address": "10.0.0.1", "port_value": port}});
    let value = json!({"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]});
    resource(&TypeUrl::ENDPOINT, value)
}

fn listener(name: &str, routes: &str) -> Resource {
    let rds = json!({"route_config_name": routes, "config_source": {"ads": {}, "initial_fetch_timeout": "0s"}});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "s", "rds": rds, "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]});
    let value = json!({"name": name, "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}]});
    resource(&TypeUrl::LISTENER, value)
}

fn routes(name: &str, cluster: &str) -> Resource {
    let value = json!({"name": name, "virtual_hosts": [{"name": "v", "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}]}]});
    resource(&TypeUrl::ROUTE, value)
}

async fn follows_the_server(api_type: &str) {
    let server = Server::start().await;
    server.view.replace([eds("a"), endpoints("a", 80), listener("l", "r"), routes("r", "a")]);
    let control = Control::start(&ads(server.address, api_type), HashMap::new());
    control.ready().await;
    let snapshot = control.handle.snapshots().borrow().clone();
    assert!(snapshot.listeners.contains_key("l") && snapshot.routes.contains_key("r"));
    assert_eq!(snapshot.clusters["a"].hosts().len(), 1);
    assert_eq!(control.stats.value("control_plane.connected_state"), Some(1));

    // Refused: the last good one stays, and the server knows why.
    let check = json!({"timeout": "1s", "interval": "1s", "unhealthy_threshold": 1, "healthy_threshold": 1,
        "tcp_health_check": {}});
    let bad = json!({"name": "a", "type": "EDS", "health_checks": [check],
        "eds_cluster_config": {"eds_config": {"ads": {}}}});
    server.put([resource(&TypeUrl::CLUSTER, bad), eds("b"), endpoints("b", 81)]);
    let snapshot = control.until("b", |snapshot| snapshot.clusters.contains_key("b")).await;
    assert!(snapshot.clusters.contains_key("a"));
    eventually("the NACK", || server.state_of(&TypeUrl::CLUSTER, "a") == Some("NACKED")).await;
    let dump = control.handle.config();
    let refused = dump.clusters.resources.iter().find(|cluster| cluster.name == "a").unwrap();
    assert!(refused.error.as_ref().unwrap().details.contains("health_checks[0]: is not carried"));

    // Mended, changed, removed.
    server.put([eds("a"), listener("l", "r2"), routes("r2", "b")]);
    control.until("r2", |snapshot| snapshot.routes.contains_key("r2") && !snapshot.routes.contains_key("r")).await;
    server.view.update(Batch::new().remove(TypeUrl::LISTENER, "l"));
    control.until("no listener", |snapshot| snapshot.listeners.is_empty() && snapshot.routes.is_empty()).await;
}

#[tokio::test]
async fn follows_a_delta_server() {
    follows_the_server("DELTA_GRPC").await;
}

#[tokio::test]
async fn follows_a_sotw_server() {
    follows_the_server("GRPC").await;
}

#[tokio::test]
async fn a_stream_for_each_type() {
    let server = Server::start().await;
    let source = "{api_config_source: {api_type: DELTA_GRPC, grpc_services: [{envoy_grpc: {cluster_name: xds-grpc}}]}}";
    server.view.replace([resource(&TypeUrl::CLUSTER, json!({"name": "a"}))]);
    let control = Control::start(&bootstrap(server.address, &format!("cds_config: {source}")), HashMap::new());
    control.until("a", |snapshot| snapshot.clusters.contains_key("a")).await;
    control.ready().await;
}

/// Secrets of this process, as an agent in the same process has them.
#[derive(Debug)]
struct Secrets(watch::Receiver<Option<Arc<Secret>>>);

impl SecretSource for Secrets {
    fn watch(&self, _: &str) -> watch::Receiver<Option<Arc<Secret>>> {
        self.0.clone()
    }
}

fn certificate(name: &str) -> Arc<Secret> {
    let key = KeyPair::generate().unwrap();
    let chain = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let value = json!({"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "name": name,
        "tls_certificate": {"certificate_chain": {"inline_string": chain.pem()},
            "private_key": {"inline_string": key.serialize_pem()}}});
    Arc::new(Translator::default().secret(&json::any_from_value(&value).unwrap()).unwrap())
}

#[tokio::test]
async fn a_cluster_waits_for_a_secret_of_this_process() {
    let text = r#"
static_resources:
  clusters:
  - name: tls
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context:
          tls_certificate_sds_secret_configs:
          - name: default
            sds_config: {initial_fetch_timeout: 0s, api_config_source: {api_type: GRPC, grpc_services: [{envoy_grpc: {cluster_name: sds-grpc}}]}}
"#;
    let (sender, secrets) = watch::channel(None);
    let source: Arc<dyn SecretSource> = Arc::new(Secrets(secrets));
    let control = Control::start(text, HashMap::from([("sds-grpc".to_owned(), source)]));
    tokio::task::yield_now().await;
    assert!(!*control.handle.ready().borrow());
    sender.send_replace(Some(certificate("default")));
    control.ready().await;
    assert_eq!(control.handle.secrets().len(), 1);
    let shown = format!("{:?}", control.handle.config().secrets.resources[0].active.as_ref().unwrap().config);
    assert!(shown.contains("[redacted]") && !shown.contains("PRIVATE KEY"));
}

#[tokio::test]
async fn follows_files() {
    let folder = tempfile::tempdir().unwrap();
    let (cds, lds) = (folder.path().join("cds.yaml"), folder.path().join("lds.json"));
    let cluster = |name: &str| {
        format!("resources: [{{'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster, name: {name}}}]")
    };
    std::fs::write(&cds, cluster("one")).unwrap();
    std::fs::write(&lds, "{\"resources\": []}").unwrap();
    let source = |path: &std::path::Path| format!("{{path_config_source: {{path: {}}}}}", path.display());
    let text = format!(
        "{{node: {{id: node-1}}, dynamic_resources: {{cds_config: {}, lds_config: {}}}}}",
        source(&cds),
        source(&lds)
    );
    let control = Control::start(&text, HashMap::new());
    control.ready().await;
    control.until("one", |snapshot| snapshot.clusters.contains_key("one")).await;
    // Not understood: the last good content stays. Then another.
    std::fs::write(&cds, "resources: [").unwrap();
    std::fs::write(folder.path().join("next"), cluster("another")).unwrap();
    std::fs::rename(folder.path().join("next"), &cds).unwrap();
    let snapshot = control.until("another", |snapshot| snapshot.clusters.contains_key("another")).await;
    assert!(!snapshot.clusters.contains_key("one"));
}

/// A certificate and its key, in PEM.
fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[tokio::test]
async fn files_of_a_secret_swap_live() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (first, key) = pair();
    std::fs::write(path("cert.pem"), &first).unwrap();
    std::fs::write(path("key.pem"), &key).unwrap();
    let secret = json!({
        "@type": TypeUrl::SECRET.as_str(), "name": "own", "tls_certificate": {
            "certificate_chain": {"filename": path("cert.pem")}, "private_key": {"filename": path("key.pem")}},
    });
    std::fs::write(path("sds.yaml"), json!({"resources": [secret]}).to_string()).unwrap();
    let sds = json!({"name": "own", "sds_config": {"path_config_source": {"path": path("sds.yaml")}}});
    let context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {"tls_certificate_sds_secret_configs": [sds]},
    });
    let cluster = json!({"name": "c", "type": "STATIC", "load_assignment": {"cluster_name": "c"},
        "transport_socket": {"name": "tls", "typed_config": context}});
    let bootstrap = json!({"node": {"id": "node-1"}, "static_resources": {"clusters": [cluster]}});
    let control = Control::start(&bootstrap.to_string(), HashMap::new());
    let shows = |pem: &str| {
        use rustls_pki_types::{CertificateDer, pem::PemObject};
        let wanted = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        control.handle.secrets().iter().any(|secret| {
            matches!(&secret.value, crate::model::SecretValue::Certificate { chain, .. } if chain[0] == wanted)
        })
    };
    eventually("the first certificate", || shows(&first)).await;
    let (second, key) = pair();
    std::fs::write(path("cert.pem"), &second).unwrap();
    // Long enough for a look: torn, it is not taken.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(shows(&first));
    std::fs::write(path("key.pem"), &key).unwrap();
    eventually("the second certificate", || shows(&second)).await;
}
