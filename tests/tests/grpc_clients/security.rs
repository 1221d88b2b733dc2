//! TLS: between clients and backends as xDS tells them, and to the management server.

use std::{path::PathBuf, sync::Arc};

use mesh_xds::{
    Node, Resource, TypeUrl,
    server::{PeerInfo, StreamAuthorizer},
    store::{Batch, Refusal},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};

use crate::{
    grpc::Implementation,
    management::Management,
    resources::{cluster_with, endpoints, listener, route_to},
    servers,
    world::{NODE, World, plaintext},
};

with_every! {
    backends_are_who_xds_says_they_are: Core Node Go;
    clients_and_servers_prove_themselves_to_each_other: Core Node Go;
    // JavaScript knows no TLS towards the management server but Google's own.
    the_management_server_knows_its_clients_by_certificate: Core Go;
}

const BACKEND: &str = "spiffe://mesh.test/ns/default/sa/backend";
const CLIENT: &str = "spiffe://mesh.test/ns/default/sa/client";
const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";

/// A certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

struct Identity {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for an id and for loopback.
    fn issue(&self, id: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        // Named otherwise than its issuer, or it counts as signed by itself.
        params.distinguished_name.push(DnType::CommonName, "workload");
        params.subject_alt_names.push(SanType::URI(id.try_into().unwrap()));
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key }
    }

    /// TLS of a server that asks for certificates of this authority.
    fn server(&self, identity: &Identity) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
        let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_client_cert_verifier(verifier);
        let mut config = builder.with_single_cert(vec![identity.certificate.clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.into()
    }
}

/// The files of an identity, as bootstraps name them.
fn files(world: &World, authority: &Authority, identity: &Identity) -> Value {
    let write = |name: &str, content: &str| -> PathBuf { world.file(name, content) };
    json!({
        "certificate_file": write("client.pem", &identity.pem),
        "private_key_file": write("client.key", &identity.key.serialize_pem()),
        "ca_certificate_file": write("roots.pem", &authority.0.pem()),
        "refresh_interval": "600s",
    })
}

/// A bootstrap whose certificate provider `default` has these files.
fn bootstrap(world: &World, files: &Value) -> Value {
    json!({
        "xds_servers": [plaintext(world.management.address)],
        "certificate_providers": {"default": {"plugin_name": "file_watcher", "config": files}},
        "server_listener_resource_name_template": servers::TEMPLATE,
    })
}

/// The transport socket of a cluster or filter chain: certificates of the provider `default`, and the peer is `who`.
fn transport_socket(context: &str, who: Option<&str>) -> Value {
    let mut validation = json!({"ca_certificate_provider_instance": {"instance_name": "default"}});
    if let Some(who) = who {
        validation["match_subject_alt_names"] = json!([{"exact": who}]);
    }
    let mut message = json!({
        "@type": format!("{TLS}.{context}"),
        "common_tls_context": {
            "tls_certificate_provider_instance": {"instance_name": "default"}, "validation_context": validation,
        },
    });
    if context == "DownstreamTlsContext" {
        message["require_client_certificate"] = true.into();
    }
    json!({"name": "envoy.transport_sockets.tls", "typed_config": message})
}

/// A cluster with the endpoints `s`, whose backends must be `who`.
fn cluster_of(name: &str, who: &str) -> Resource {
    cluster_with(name, "s", &json!({"transport_socket": transport_socket("UpstreamTlsContext", Some(who))}))
}

/// A29: certificates from the bootstrap's provider, the peer's name from the cluster.
fn backends_are_who_xds_says_they_are(implementation: Implementation) {
    let world = World::new();
    let authority = Authority::new();
    let a = world.secure_backend("a", Some(authority.server(&authority.issue(BACKEND))));
    let resources = [listener("s", "s"), route_to("s", "s"), cluster_of("s", BACKEND), endpoints("s", &[a.address])];
    world.update(Batch::from_iter(resources));
    let fields = bootstrap(&world, &files(&world, &authority, &authority.issue(CLIENT)));
    let mut client = world.client_with(implementation, &fields);
    client.open("s", "xds:///s");
    client.reaches("s", &["a"]);
    let other = cluster_of("other", "spiffe://mesh.test/ns/default/sa/somebody-else");
    world.update(Batch::from_iter([listener("other", "other"), route_to("other", "other"), other]));
    client.open("other", "xds:///other");
    let error = client.fails("other");
    assert!(error.starts_with("UNAVAILABLE"), "{error}");
    world.update(Batch::new().put(cluster_of("other", BACKEND)));
    client.reaches("other", &["a"]);
    assert_eq!(world.management.server().metrics().nacks, 0);
}

/// A29 and A36: both ends of a connection have their TLS from xDS.
fn clients_and_servers_prove_themselves_to_each_other(implementation: Implementation) {
    let world = World::new();
    let authority = Authority::new();
    // One process is both ends, under one identity.
    let fields = bootstrap(&world, &files(&world, &authority, &authority.issue(BACKEND)));
    let mut client = world.client_with(implementation, &fields);
    let address = client.serve("a");
    let socket = transport_socket("DownstreamTlsContext", None);
    let server = servers::listener(&address, &json!({"transport_socket": socket}));
    let endpoints = endpoints("s", &[address.parse().unwrap()]);
    world.update(Batch::from_iter([
        server,
        listener("s", "s"),
        route_to("s", "s"),
        cluster_of("s", BACKEND),
        endpoints,
    ]));
    client.open("s", "xds:///s");
    client.reaches("s", &["a"]);
    // Without what xDS says of TLS there is none, and the server does not take the call.
    client.open("plain", &address);
    let error = client.fails("plain");
    assert!(error.starts_with("UNAVAILABLE"), "{error}");
    assert_eq!(world.management.server().metrics().nacks, 0);
}

/// Lets in who shows this certificate.
struct Only(CertificateDer<'static>);

#[tonic::async_trait]
impl StreamAuthorizer for Only {
    async fn authorize(&self, peer: &PeerInfo, node: &Node) -> Result<Option<String>, Refusal> {
        match peer.certificates.first() {
            Some(certificate) if *certificate == self.0 => Ok(Some(CLIENT.into())),
            _ => Err(Refusal::Denied(format!("{} is somebody else", node.id()))),
        }
    }
}

/// A65: TLS to the management server, with a certificate of the client's own.
fn the_management_server_knows_its_clients_by_certificate(implementation: Implementation) {
    let authority = Authority::new();
    let (known, unknown) = (authority.issue(CLIENT), authority.issue(CLIENT));
    let tls = authority.server(&authority.issue("spiffe://mesh.test/ns/system/sa/control"));
    let only = Only(known.certificate.clone());
    let world =
        World::managed_by(|runtime| Management::start_with(runtime, Some(tls), |builder| builder.authorizer(only)));
    let a = world.backend("a");
    world.service("s", &[a.address]);
    let fields = |identity: &Identity| {
        let mut server = plaintext(world.management.address);
        server["channel_creds"] = json!([{"type": "tls", "config": files(&world, &authority, identity)}]);
        json!({"xds_servers": [server]})
    };
    let mut stranger = world.client_with(implementation, &fields(&unknown));
    stranger.open("s", "xds:///s");
    let error = stranger.fails("s");
    assert!(error.starts_with("UNAVAILABLE"), "{error}");
    assert!(world.management.server().metrics().streams_refused > 0);
    drop(stranger);

    let mut client = world.client_with(implementation, &fields(&known));
    client.open("s", "xds:///s");
    client.reaches("s", &["a"]);
    world.management.until(NODE, &TypeUrl::ENDPOINT, "s", Some("ACKED"));
    let streams = world.management.server().status().node(NODE);
    assert!(streams.iter().all(|s| s.info.identity.as_deref() == Some(CLIENT)), "{streams:?}");
}
