//! rustls on both sides, over a pipe in memory, on a clock in hand.

use std::{sync::Arc, time::Duration};

use mesh_ca::{
    agent::{AgentConfig, IdentityWatch, IssuerSource, WorkloadIdentity},
    issuer::CertIssuer,
    spiffe::{SpiffeId, TrustDomain, X509Svid},
    tls::{self, ClientAuth, PeerPolicy},
};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::fixture::{Ca, trust_domain, workload};

/// Serial numbers that server and client saw of each other.
type Seen = (Option<String>, Option<String>);

/// One connection: handshake, a byte each way, and who was seen. The byte matters: TLS 1.3 servers refuse clients after the
/// client believes the handshake is over.
async fn talk(server: ServerConfig, client: ClientConfig) -> Result<Seen, String> {
    let (a, b) = tokio::io::duplex(64 * 1024);
    let serve = async {
        let mut tls = TlsAcceptor::from(Arc::new(server)).accept(a).await.map_err(|e| e.to_string())?;
        let byte = tls.read_u8().await.map_err(|e| e.to_string())?;
        tls.write_u8(byte).await.map_err(|e| e.to_string())?;
        tls.flush().await.map_err(|e| e.to_string())?;
        Ok::<_, String>(serial(tls.get_ref().1.peer_certificates()))
    };
    let call = async {
        let name = "some.name".try_into().unwrap();
        let mut tls = TlsConnector::from(Arc::new(client)).connect(name, b).await.map_err(|e| e.to_string())?;
        tls.write_u8(7).await.map_err(|e| e.to_string())?;
        tls.flush().await.map_err(|e| e.to_string())?;
        assert_eq!(tls.read_u8().await.map_err(|e| e.to_string())?, 7);
        Ok::<_, String>(serial(tls.get_ref().1.peer_certificates()))
    };
    match tokio::join!(serve, call) {
        (Ok(client), Ok(server)) => Ok((client, server)),
        (a, b) => Err(format!("server: {:?}, client: {:?}", a.err(), b.err())),
    }
}

fn serial(chain: Option<&[rustls::pki_types::CertificateDer<'_>]>) -> Option<String> {
    use x509_parser::prelude::FromDer;
    let leaf = chain?.first()?;
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(leaf).unwrap();
    Some(parsed.raw_serial().iter().map(|b| format!("{b:02x}")).collect())
}

fn server(identity: &IdentityWatch, policy: PeerPolicy) -> ServerConfig {
    tls::server_config(identity, ClientAuth::Required, policy).unwrap()
}

fn client(identity: &IdentityWatch, policy: PeerPolicy) -> ClientConfig {
    tls::client_config(identity, policy).unwrap()
}

#[tokio::test]
async fn both_sides_know_each_other() {
    let ca = Ca::new().await;
    let (a, b) = (ca.identity("a").await, ca.identity("b").await);
    let seen =
        talk(server(&a, PeerPolicy::id(workload("b"))), client(&b, PeerPolicy::id(workload("a")))).await.unwrap();
    let serials = (Some(b.svid().unwrap().serial().to_owned()), Some(a.svid().unwrap().serial().to_owned()));
    assert_eq!(seen, serials);
}

#[tokio::test]
async fn tls12_too() {
    let ca = Ca::new().await;
    let (a, b) = (ca.identity("a").await, ca.identity("b").await);
    let mut old = client(&b, PeerPolicy::AnyTrusted);
    let provider = Arc::clone(old.crypto_provider());
    let resolver = Arc::clone(&old.client_auth_cert_resolver);
    let verifier = tls::SpiffeServerVerifier::new(Arc::new(b.clone()), PeerPolicy::AnyTrusted, Arc::clone(&provider));
    old = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(resolver);
    talk(server(&a, PeerPolicy::AnyTrusted), old).await.unwrap();
}

#[tokio::test]
async fn whoever_the_policy_does_not_name_is_refused() {
    let ca = Ca::new().await;
    let (a, b) = (ca.identity("a").await, ca.identity("b").await);
    let any = PeerPolicy::AnyTrusted;
    let only_c = PeerPolicy::id(workload("c"));
    let by_server = talk(server(&a, only_c.clone()), client(&b, any.clone())).await.unwrap_err();
    assert!(by_server.contains("not allowed by the policy"), "{by_server}");
    let by_client = talk(server(&a, any), client(&b, only_c)).await.unwrap_err();
    assert!(by_client.contains("not allowed by the policy"), "{by_client}");
}

#[tokio::test]
async fn strangers_are_refused() {
    let ca = Ca::new().await;
    let a = ca.identity("a").await;
    let any = || PeerPolicy::AnyTrusted;
    // Another CA of the same trust domain.
    let impostor = Ca::of(trust_domain(), ca.clock.clone()).await;
    let svid = impostor.svid(&workload("b"), Duration::from_secs(60)).await;
    let fake = IdentityWatch::fixed(Some(Arc::new(svid)), ca.bundles(), ca.clock());
    assert!(talk(server(&a, any()), client(&fake, any())).await.is_err());
    assert!(talk(server(&fake, any()), client(&a, any())).await.is_err());
    // A trust domain that we have no bundle for.
    let other = Ca::of(TrustDomain::parse("other.example").unwrap(), ca.clock.clone()).await;
    let id = SpiffeId::parse("spiffe://other.example/ns/a/sa/b").unwrap();
    let foreign_svid: Arc<X509Svid> = Arc::new(other.svid(&id, Duration::from_secs(60)).await);
    let mut both = (*ca.bundles()).clone();
    both.insert((*other.issuer.trust_bundle()).clone());
    let both = Arc::new(both);
    let foreign = IdentityWatch::fixed(Some(foreign_svid), Arc::clone(&both), ca.clock());
    assert!(talk(server(&a, any()), client(&foreign, any())).await.is_err());
    // With the bundle it is welcome: federation.
    let federated = IdentityWatch::fixed(a.svid(), both, ca.clock());
    talk(server(&federated, any()), client(&foreign, any())).await.unwrap();
}

#[tokio::test]
async fn client_certificates_can_be_optional() {
    let ca = Ca::new().await;
    let (a, b) = (ca.identity("a").await, ca.identity("b").await);
    let bare = || {
        let bundles = Arc::new(ca.bundles());
        tls::client_config_without_identity(bundles, PeerPolicy::id(workload("a")), &ca.clock()).unwrap()
    };
    let optional = || tls::server_config(&a, ClientAuth::Optional, PeerPolicy::id(workload("b"))).unwrap();
    let (seen, _) = talk(optional(), bare()).await.unwrap();
    assert_eq!(seen, None);
    let (seen, _) = talk(optional(), client(&b, PeerPolicy::AnyTrusted)).await.unwrap();
    assert!(seen.is_some());
    let c = ca.identity("c").await;
    assert!(talk(optional(), client(&c, PeerPolicy::AnyTrusted)).await.is_err(), "what is shown must be good");
    assert!(talk(server(&a, PeerPolicy::AnyTrusted), bare()).await.is_err());
}

#[tokio::test]
async fn nothing_is_shown_after_its_end() {
    let ca = Ca::new().await;
    let short = ca.svid(&workload("a"), Duration::from_secs(60)).await;
    let a = IdentityWatch::fixed(Some(Arc::new(short)), ca.bundles(), ca.clock());
    let b = ca.identity("b").await;
    let any = || PeerPolicy::AnyTrusted;
    talk(server(&a, any()), client(&b, any())).await.unwrap();
    ca.clock.advance(Duration::from_secs(61));
    assert!(a.svid().is_none());
    assert!(talk(server(&a, any()), client(&b, any())).await.is_err());
    assert!(talk(server(&b, any()), client(&a, any())).await.is_err());
}

#[tokio::test]
async fn rotation_under_traffic() {
    let ca = Ca::new().await;
    let spawn = |account: &str| {
        let config = AgentConfig::new(workload(account)).with_lifetime(Duration::from_secs(60));
        WorkloadIdentity::spawn(config, Arc::new(IssuerSource::new(ca.issuer.clone())), ca.clock())
    };
    let (a, b) = (spawn("a"), spawn("b"));
    let (watch_a, watch_b) = (a.watch(), b.watch());
    watch_a.ready().await.unwrap();
    watch_b.ready().await.unwrap();
    // The same configurations all the time: what is in force changes below them.
    let (serve, call) =
        (server(&watch_a, PeerPolicy::id(workload("b"))), client(&watch_b, PeerPolicy::id(workload("a"))));
    let mut serials = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let (seen, _) = talk(serve.clone(), call.clone()).await.unwrap();
        serials.insert(seen.unwrap());
        ca.clock.advance(Duration::from_secs(5));
        // Lets a renewal that is due run to its end before the clock moves on.
        settle(&watch_a).await;
        settle(&watch_b).await;
    }
    // 300 seconds at half of 60 each: nine renewals or so.
    assert!(serials.len() >= 8, "{}", serials.len());
    assert_eq!(watch_a.state().failures + watch_b.state().failures, 0);
}

async fn settle(watch: &IdentityWatch) {
    use mesh_ca::agent::RotationPhase;
    let mut states = watch.subscribe();
    let clock = watch.clock().now().wall;
    states.wait_for(|s| matches!(s.phase, RotationPhase::Valid { renew_at } if renew_at > clock)).await.unwrap();
}

#[tokio::test]
async fn a_server_whose_certificate_is_refused_gets_a_new_one() {
    use mesh_ca::{
        agent::{AgentConfig, IssuerSource, WorkloadIdentity},
        server::{IncomingLimits, tls_incoming_renewing},
        tls::RenewOnRefusal,
    };
    let ca = Ca::new().await;
    let source = Arc::new(IssuerSource::new(ca.issuer.clone()));
    let identity = WorkloadIdentity::spawn(AgentConfig::new(workload("a")), source, ca.clock());
    let watch = identity.watch();
    watch.ready().await.unwrap();
    let config = server(&watch, PeerPolicy::AnyTrusted);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let renewal = RenewOnRefusal::new(identity.renewer(), ca.clock());
    let incoming = tls_incoming_renewing(listener, Arc::new(config), IncomingLimits::default(), renewal);
    let serving = tokio::spawn(async move {
        let mut incoming = std::pin::pin!(incoming);
        while let Some(stream) = tokio_stream::StreamExt::next(&mut incoming).await {
            drop(stream);
        }
    });
    // A client of another CA does not know who signed this.
    let stranger = Ca::of(trust_domain(), ca.clock.clone()).await;
    let connect = async |client: &Ca| {
        let config = self::client(&client.identity("b").await, PeerPolicy::AnyTrusted);
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.is_ok()
    };
    assert!(connect(&ca).await);
    assert!(!connect(&stranger).await);
    let mut states = watch.subscribe();
    let renewed = states.wait_for(|s| s.rotations == 2);
    tokio::time::timeout(Duration::from_secs(20), renewed).await.expect("it is renewed").unwrap();
    // Not for each who says so, but again after a while.
    for _ in 0..5 {
        assert!(!connect(&stranger).await);
    }
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(watch.state().rotations, 2);
    ca.clock.advance(Duration::from_secs(61));
    assert!(!connect(&stranger).await);
    let renewed = states.wait_for(|s| s.rotations == 3);
    tokio::time::timeout(Duration::from_secs(20), renewed).await.expect("it is renewed").unwrap();
    serving.abort();
}
