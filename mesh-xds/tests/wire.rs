//! The server as a foreign client meets it: single services, CSDS, TLS, and requests that break the rules.
#![cfg(all(feature = "server", feature = "client"))]
#![allow(clippy::unwrap_used)] // helpers of a test

mod common;

use std::{sync::Arc, time::Duration};

use common::{PATIENCE, Running, Target, added, cluster, endpoints, eventually, node, update};
use mesh_xds::{
    TypeUrl,
    client::Client,
    protocol::Subscription,
    server::{ListenConfig, PeerInfo, ServerLimits, ServerLoad, StreamAuthorizer, XdsServer, serve},
    store::{Refusal, SingleView, View},
};
use mesh_xds_api::{
    envoy::config::core::v3::Node,
    envoy::service::{
        cluster::v3::cluster_discovery_service_client::ClusterDiscoveryServiceClient,
        discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
        endpoint::v3::endpoint_discovery_service_client::EndpointDiscoveryServiceClient,
        status::v3::{
            ClientStatusRequest, ConfigStatus,
            client_status_discovery_service_client::ClientStatusDiscoveryServiceClient,
        },
    },
    envoy::r#type::matcher::v3::{
        NodeMatcher, StringMatcher, StructMatcher, ValueMatcher,
        string_matcher::MatchPattern,
        struct_matcher::{self, path_segment},
        value_matcher,
    },
    google::rpc::Status as RpcStatus,
};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_rustls::{TlsConnector, rustls};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};

async fn channel(running: &Running) -> Channel {
    tonic::transport::Endpoint::from_shared(format!("http://{}", running.address)).unwrap().connect().await.unwrap()
}

/// A SotW stream by hand.
struct Sotw {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
}

impl Sotw {
    async fn open(running: &Running, first: DiscoveryRequest) -> Self {
        let (requests, receiver) = mpsc::channel(8);
        requests.send(first).await.unwrap();
        let mut client = AggregatedDiscoveryServiceClient::new(channel(running).await);
        let responses = client.stream_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Self { requests, responses }
    }

    async fn next(&mut self) -> Result<DiscoveryResponse, Status> {
        let next = timeout(PATIENCE, self.responses.message()).await.expect("an answer in time");
        next.map(|message| message.expect("not the end"))
    }
}

fn request(type_url: &TypeUrl) -> DiscoveryRequest {
    DiscoveryRequest { node: Some(node("n")), type_url: type_url.as_str().into(), ..Default::default() }
}

async fn two_clusters() -> Running {
    let view = View::new();
    view.replace([cluster("a", "1"), cluster("b", "1"), endpoints("a")]);
    Running::start(XdsServer::builder(SingleView(view))).await
}

#[tokio::test]
async fn single_services_speak_both_variants_and_fetch() {
    let running = two_clusters().await;
    let mut cds = ClusterDiscoveryServiceClient::new(channel(&running).await);
    // The type may be left out: the service has only one.
    let first = tokio_stream::iter([DiscoveryRequest { node: Some(node("n")), ..Default::default() }]);
    let first = futures::StreamExt::chain(first, futures::stream::pending());
    let mut stream = cds.stream_clusters(first).await.unwrap().into_inner();
    let response = timeout(PATIENCE, stream.message()).await.unwrap().unwrap().unwrap();
    assert_eq!((response.type_url.as_str(), response.resources.len()), (TypeUrl::CLUSTER.as_str(), 2));

    let mut eds = EndpointDiscoveryServiceClient::new(channel(&running).await);
    let first = DeltaDiscoveryRequest {
        node: Some(node("n")),
        type_url: TypeUrl::ENDPOINT.as_str().into(),
        resource_names_subscribe: vec!["a".into(), "x".into()],
        ..Default::default()
    };
    let first = futures::StreamExt::chain(tokio_stream::iter([first]), futures::stream::pending());
    let mut stream = eds.delta_endpoints(first).await.unwrap().into_inner();
    let response: DeltaDiscoveryResponse = timeout(PATIENCE, stream.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(response.resources[0].name, "a");
    assert_eq!(response.removed_resources, ["x"]);

    let fetched = cds.fetch_clusters(DiscoveryRequest::default()).await.unwrap().into_inner();
    assert_eq!(fetched.resources.len(), 2);
}

#[tokio::test]
async fn a_service_refuses_foreign_types() {
    let running = two_clusters().await;
    let mut cds = ClusterDiscoveryServiceClient::new(channel(&running).await);
    let first =
        futures::StreamExt::chain(tokio_stream::iter([request(&TypeUrl::LISTENER)]), futures::stream::pending());
    let mut stream = cds.stream_clusters(first).await.unwrap().into_inner();
    let refused = timeout(PATIENCE, stream.message()).await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(running.server.metrics().violations, 1);
}

#[tokio::test]
async fn a_replayed_nonce_is_dropped_and_counted() {
    let running = two_clusters().await;
    let mut old = Sotw::open(&running, request(&TypeUrl::CLUSTER)).await;
    let replayed = old.next().await.unwrap().nonce;
    drop(old);
    let mut stream = Sotw::open(&running, request(&TypeUrl::CLUSTER)).await;
    let response = stream.next().await.unwrap();
    assert_ne!(response.nonce, replayed);
    let nack = RpcStatus { message: "no".into(), ..Default::default() };
    let replay = DiscoveryRequest { response_nonce: replayed, error_detail: Some(nack), ..request(&TypeUrl::CLUSTER) };
    stream.requests.send(replay).await.unwrap();
    eventually("dropped", || running.server.metrics().stale_nonces == 1).await;
    assert_eq!(running.server.metrics().nacks, 0);
    let ack = DiscoveryRequest { response_nonce: response.nonce, ..request(&TypeUrl::CLUSTER) };
    stream.requests.send(ack).await.unwrap();
    eventually("still works", || running.server.metrics().acks == 1).await;
}

#[tokio::test]
async fn an_oversize_request_ends_its_stream_only() {
    let view = View::new();
    let limits = ServerLimits { max_request_bytes: 1000, ..Default::default() };
    let running = Running::start(XdsServer::builder(SingleView(view)).limits(limits)).await;
    let mut good = Sotw::open(&running, request(&TypeUrl::CLUSTER)).await;
    good.next().await.unwrap();
    let large = DiscoveryRequest { resource_names: vec!["x".repeat(2000)], ..request(&TypeUrl::CLUSTER) };
    let mut bad = Sotw::open(&running, large.clone()).await;
    let told = bad.next().await.unwrap_err();
    assert_eq!((told.code(), running.server.metrics().streams_refused), (Code::ResourceExhausted, 1));
    assert!(told.message().contains("at most 1000 bytes"), "{told}");
    // The same later in a stream.
    let mut bad = Sotw::open(&running, request(&TypeUrl::CLUSTER)).await;
    bad.next().await.unwrap();
    bad.requests.send(large).await.unwrap();
    let told = bad.next().await.unwrap_err();
    assert_eq!((told.code(), running.server.metrics().violations), (Code::ResourceExhausted, 1));
    good.requests.send(request(&TypeUrl::LISTENER)).await.unwrap();
    good.next().await.unwrap();
}

#[tokio::test]
async fn streams_are_bounded_and_silent_ones_end() {
    let limits =
        ServerLimits { max_streams: 1, first_request_timeout: Duration::from_millis(50), ..Default::default() };
    let running = Running::start(XdsServer::builder(SingleView(View::new())).limits(limits)).await;
    let mut first = Sotw::open(&running, request(&TypeUrl::CLUSTER)).await;
    first.next().await.unwrap();
    let mut second = Sotw::open(&running, request(&TypeUrl::CLUSTER)).await;
    assert_eq!(second.next().await.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(running.server.metrics().streams_refused, 1);
    drop((first, second));
    eventually("free again", || running.server.metrics().streams_open == 0).await;
    let mut client = AggregatedDiscoveryServiceClient::new(channel(&running).await);
    let silent = futures::stream::pending::<DiscoveryRequest>();
    let mut silent = client.stream_aggregated_resources(silent).await.unwrap().into_inner();
    let ended = timeout(PATIENCE, silent.message()).await.unwrap().unwrap_err();
    assert_eq!((ended.code(), running.server.metrics().streams_refused), (Code::DeadlineExceeded, 2));
}

#[tokio::test]
async fn clients_are_shed_when_the_server_says_so() {
    let shed = |load: &ServerLoad| (load.streams > 1).then(|| "enough for me".to_owned());
    let running = Running::start(XdsServer::builder(SingleView(View::new())).shed(shed)).await;
    let mut first = Sotw::open(&running, request(&TypeUrl::CLUSTER)).await;
    first.next().await.unwrap();
    let mut second = Sotw::open(&running, request(&TypeUrl::CLUSTER)).await;
    let told = second.next().await.unwrap_err();
    assert_eq!((told.code(), told.message()), (Code::Unavailable, "enough for me"));
    let metrics = running.server.metrics();
    assert_eq!((metrics.streams_refused, metrics.streams_shed, metrics.streams_starting), (1, 1, 0));
    // A fetch is no stream.
    let mut cds = ClusterDiscoveryServiceClient::new(channel(&running).await);
    cds.fetch_clusters(request(&TypeUrl::CLUSTER)).await.unwrap();
}

#[tokio::test]
async fn shutdown_ends_streams_with_a_reason() {
    let running = two_clusters().await;
    let mut stream = Sotw::open(&running, request(&TypeUrl::CLUSTER)).await;
    stream.next().await.unwrap();
    running.server.shutdown();
    assert_eq!(stream.next().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn csds_tells_what_clients_hold() {
    let running = two_clusters().await;
    let mut stream = Sotw::open(&running, request(&TypeUrl::CLUSTER)).await;
    let response = stream.next().await.unwrap();
    let status = RpcStatus { message: "b: bad".into(), ..Default::default() };
    let nack =
        DiscoveryRequest { response_nonce: response.nonce, error_detail: Some(status), ..request(&TypeUrl::CLUSTER) };
    stream.requests.send(nack).await.unwrap();
    eventually("refused", || running.server.metrics().nacks == 1).await;
    let mut csds = ClientStatusDiscoveryServiceClient::new(channel(&running).await);
    let told = csds.fetch_client_status(ClientStatusRequest::default()).await.unwrap().into_inner();
    assert_eq!(told.config[0].node.as_ref().unwrap().id, "n");
    let configs = &told.config[0].generic_xds_configs;
    assert_eq!(configs.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(configs[1].config_status(), ConfigStatus::Error);
    assert_eq!(configs[1].error_state.as_ref().unwrap().details, "b: bad");
    assert!(configs[1].xds_config.is_some());
    assert!(configs[1].error_state.as_ref().unwrap().last_update_attempt.is_some());

    // Only those that are asked for, by what they say of themselves.
    let key = |key: &str| struct_matcher::PathSegment { segment: Some(path_segment::Segment::Key(key.into())) };
    let asked = |zone: &str| {
        let exact = StringMatcher { match_pattern: Some(MatchPattern::Exact(zone.into())), ..Default::default() };
        let value = ValueMatcher { match_pattern: Some(value_matcher::MatchPattern::StringMatch(exact)) };
        let zone = StructMatcher { path: vec![key("ZONE")], value: Some(value) };
        let matcher = NodeMatcher { node_metadatas: vec![zone], ..Default::default() };
        ClientStatusRequest { node_matchers: vec![matcher], ..Default::default() }
    };
    let fields = [("ZONE".to_owned(), "a".into())].into_iter().collect();
    let mut first = request(&TypeUrl::CLUSTER);
    first.node = Some(Node { metadata: Some(prost_types::Struct { fields }), ..node("zoned") });
    let mut zoned = Sotw::open(&running, first).await;
    zoned.next().await.unwrap();
    for (zone, expected) in [("a", vec!["zoned"]), ("b", vec![])] {
        let told = csds.fetch_client_status(asked(zone)).await.unwrap().into_inner();
        let nodes: Vec<_> = told.config.iter().map(|c| c.node.as_ref().unwrap().id.as_str()).collect();
        assert_eq!(nodes, expected);
    }
}

/// Certificates of a small authority, made for this run.
struct Tls {
    server: Arc<rustls::ServerConfig>,
    client: Arc<rustls::ClientConfig>,
}

fn tls() -> Tls {
    let issue = |name: &str, issuer: &rcgen::Issuer<'_, rcgen::KeyPair>| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.into()]).unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
        (vec![certificate.der().clone()], key)
    };
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    let roots = Arc::new(roots);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let (chain, key) = issue("localhost", &issuer);
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec()];
    let (chain, key) = issue("client", &issuer);
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    client.alpn_protocols = vec![b"h2".to_vec()];
    Tls { server: Arc::new(server), client: Arc::new(client) }
}

struct NeedsCertificate;

#[async_trait::async_trait]
impl StreamAuthorizer for NeedsCertificate {
    async fn authorize(&self, peer: &PeerInfo, _node: &mesh_xds::Node) -> Result<Option<String>, Refusal> {
        match peer.certificates.first() {
            Some(certificate) => Ok(Some(format!("{} bytes", certificate.len()))),
            None => Err(Refusal::Unauthenticated("no certificate".into())),
        }
    }
}

#[tokio::test]
async fn over_mutual_tls_the_authorizer_sees_the_certificate() {
    let view = View::new();
    view.replace([cluster("a", "1")]);
    let tls = tls();
    let server = XdsServer::builder(SingleView(view)).authorizer(NeedsCertificate).build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = serve(listener, Some(tls.server), server.routes(), ListenConfig::default(), server.stopped());
    tokio::spawn(serving);
    let connector = TlsConnector::from(tls.client);
    let client = Client::builder(node("n"), move || {
        let connector = connector.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            connector.connect("localhost".try_into().unwrap(), stream).await
        }
    })
    .spawn();
    let mut watch = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    let first = update(&mut watch).await;
    assert_eq!(added(&first), ["a"]);
    first.accept();
    assert!(server.status().node("n")[0].info.identity.as_ref().unwrap().ends_with("bytes"));
    // Plain text is no way in.
    let plain = Target::new(address).client("plain", mesh_xds::protocol::Variant::Delta);
    let status = plain.status();
    eventually("refused", || status.borrow().failures > 0).await;
    assert!(!status.borrow().is_connected() || server.status().node("plain").is_empty());
    server.shutdown();
}
