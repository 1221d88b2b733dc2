use std::{sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::tests::{LocalExec, answer, call, local, run};
use crate::{
    balancer::PickContext,
    cluster::{ClusterDeps, ClusterHandle, testing},
    dial::{self, ConnectError},
    model::{
        CertificateSource, ClientTls, Cluster, HttpProtocol, PeerRules, Secret, SecretValue, ServerTls, TlsCommon,
        UpstreamSocket, ValidationSource,
    },
    tls::{SecretStore, server_config},
};

/// A self-signed server certificate, and the same as root.
fn secrets() -> (Arc<Secret>, Arc<Secret>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["web.example".into()]).unwrap().self_signed(&key).unwrap();
    let der = certificate.der().clone();
    let key = Arc::new(PrivateKeyDer::try_from(key.serialize_der()).unwrap());
    let own = SecretValue::Certificate { chain: vec![der.clone()], key };
    let roots = SecretValue::Validation { roots: vec![der], crls: Vec::new(), rules: Arc::default() };
    let named = |value| Arc::new(Secret { name: "s".into(), value });
    (named(own), named(roots))
}

/// An HTTPS server that speaks what ALPN says.
async fn serve(own: &Arc<Secret>, alpn: &[&str]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let common = TlsCommon {
        certificates: vec![CertificateSource::Static(own.clone())],
        alpn: alpn.iter().map(|p| p.as_bytes().to_vec()).collect(),
        ..TlsCommon::default()
    };
    let config = ServerTls { common, ..ServerTls::default() };
    let acceptor = TlsAcceptor::from(server_config(&Arc::new(config), &SecretStore::default()).current().unwrap());
    tokio::task::spawn_local(async move {
        for number in 1.. {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let service = service_fn(move |request| answer(number, request));
            tokio::task::spawn_local(async move {
                let io = TokioIo::new(stream);
                if http2 {
                    let _ = hyper::server::conn::http2::Builder::new(LocalExec).serve_connection(io, service).await;
                } else {
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                }
            });
        }
    });
    address
}

fn socket(validation: Option<ValidationSource>) -> UpstreamSocket {
    let common = TlsCommon { validation, ..TlsCommon::default() };
    UpstreamSocket::Tls(Arc::new(ClientTls { common, sni: "web.example".into(), ..ClientTls::default() }))
}

fn pinned(roots: &Arc<Secret>, hash: [u8; 32]) -> ValidationSource {
    let rules = PeerRules { certificate_hashes: vec![hash], ..PeerRules::default() };
    ValidationSource { roots: Some(roots.clone()), sds: None, rules }
}

#[test]
fn the_protocol_follows_alpn() {
    run(async {
        let (own, _) = secrets();
        for (alpn, http2) in [(&["h2", "http/1.1"][..], true), (&["http/1.1"], false), (&[], false)] {
            let address = serve(&own, alpn).await;
            let config = Cluster { protocol: HttpProtocol::Auto, socket: socket(None), ..testing::cluster(&[address]) };
            let (cluster, deps) = local(config);
            let host = cluster.pick(&PickContext::default()).unwrap();
            let sender = cluster.http(&host, None, false).await.unwrap();
            assert_eq!(sender.is_http2(), http2, "{alpn:?}");
            let tls = sender.info().tls.clone().unwrap();
            assert_eq!((&tls.peer_dns[..], tls.version), (&["web.example".to_owned()][..], "TLSv1.3"));
            drop(sender);
            assert_eq!(call(&cluster, address, "/").await, 1);
            assert_eq!(deps.stats.value("cluster.c.ssl.handshake"), Some(1));
        }
    });
}

#[test]
fn a_burst_to_a_host_without_http2_gets_a_connection_each() {
    run(async {
        let (own, _) = secrets();
        let address = serve(&own, &["http/1.1"]).await;
        let config = Cluster { protocol: HttpProtocol::Auto, socket: socket(None), ..testing::cluster(&[address]) };
        let (cluster, deps) = local(config);
        futures::future::join_all((0..4).map(|_| call(&cluster, address, "/slow/300"))).await;
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_http1_total"), Some(4));
    });
}

#[test]
fn refused_certificates_are_told_and_counted() {
    run(async {
        let (own, roots) = secrets();
        let address = serve(&own, &[]).await;
        let config = Cluster { socket: socket(Some(pinned(&roots, [0; 32]))), ..testing::cluster(&[address]) };
        let (cluster, deps) = local(config);
        let host = cluster.pick(&PickContext::default()).unwrap();
        let error = cluster.http(&host, None, false).await.unwrap_err();
        assert!(matches!(error, ConnectError::Tls(_)), "{error}");
        assert_eq!(
            error.to_string(),
            "TLS_error: certificate verify failed: the certificate's hash is not among the accepted ones"
        );
        assert_eq!(deps.stats.value("cluster.c.ssl.fail_verify_cert_hash"), Some(1));
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_connect_fail"), Some(1));
    });
}

#[test]
fn a_host_that_never_shakes_hands_times_out() {
    run(async {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = Cluster {
            socket: socket(None),
            connect_timeout: Duration::from_millis(50),
            ..testing::cluster(&[silent.local_addr().unwrap()])
        };
        let (cluster, deps) = local(config);
        let host = cluster.pick(&PickContext::default()).unwrap();
        assert!(cluster.http(&host, None, false).await.unwrap_err().is_timeout());
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_connect_timeout"), Some(1));
    });
}

#[test]
fn the_control_thread_dials_without_a_pool() {
    run(async {
        let (own, _) = secrets();
        let address = serve(&own, &["h2"]).await;
        let config = Cluster { socket: socket(None), ..testing::cluster(&[address]) };
        let deps = ClusterDeps::default();
        let handle = ClusterHandle::new(Arc::new(config), &deps);
        let (stream, info) = dial::connect(&handle, true, 1).await.unwrap();
        assert_eq!(info.tls.unwrap().alpn.as_deref(), Some(&b"h2"[..]));
        fn is_send<T: Send + 'static>(_: &T) {}
        is_send(&stream);
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_active"), Some(1));
        drop(stream);
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_active"), Some(0));
        let nobody = ClusterHandle::new(Arc::new(testing::cluster(&[])), &deps);
        assert!(matches!(dial::connect(&nobody, true, 1).await, Err(ConnectError::Pick(_))));
    });
}
