mod peers;
mod sessions;

use std::{sync::Arc, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SanType as RcgenSan, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    Alpn, ClientTlsHandle, SecretStore, ServerTlsHandle, TlsError, TlsStats, VerifyFailure, check_secret, client_info,
    failure_text, server_config, server_info,
};
use crate::{
    filter::TlsInfo,
    model::{
        CertificateSource, ClientTls, ConfigSource, PeerRules, SanMatcher, SanType, Secret, SecretRef, SecretValue,
        ServerTls, StringMatcher, TlsCommon, TlsVersion, ValidationSource,
    },
    stats::Stats,
};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate with one URI and one DNS SAN.
fn leaf(ca: &Ca, name: &str, uri: &str, dns: &str) -> Arc<Secret> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = vec![RcgenSan::URI(uri.try_into().unwrap()), RcgenSan::DnsName(dns.try_into().unwrap())];
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "mesh, inc");
    params.serial_number = Some(SerialNumber::from(7u64));
    let certificate = params.signed_by(&key, ca).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let value = SecretValue::Certificate { chain: vec![certificate.der().clone()], key: Arc::new(key) };
    Arc::new(Secret { name: name.to_owned(), value })
}

fn roots_of(cas: &[&Ca]) -> Arc<Secret> {
    let roots = cas.iter().map(|ca| ca.der().clone()).collect();
    let value = SecretValue::Validation { roots, crls: Vec::new(), rules: Arc::default() };
    Arc::new(Secret { name: "ROOTCA".into(), value })
}

fn trust(roots: &Arc<Secret>) -> ValidationSource {
    ValidationSource { roots: Some(roots.clone()), ..ValidationSource::default() }
}

fn ruled(roots: &Arc<Secret>, edit: impl FnOnce(&mut PeerRules)) -> ValidationSource {
    let mut validation = trust(roots);
    edit(&mut validation.rules);
    validation
}

fn common(certificate: Option<&Arc<Secret>>, validation: Option<ValidationSource>) -> TlsCommon {
    let certificates = certificate.cloned().map(CertificateSource::Static).into_iter().collect();
    TlsCommon { certificates, validation, ..TlsCommon::default() }
}

fn server(common: TlsCommon, require_client_certificate: bool) -> ServerTlsHandle {
    let config = ServerTls { common, require_client_certificate, ..ServerTls::default() };
    server_config(&Arc::new(config), &SecretStore::default())
}

fn client(common: TlsCommon) -> ClientTlsHandle {
    let config = ClientTls { common, sni: "web.example".into(), ..ClientTls::default() };
    ClientTlsHandle::new(&Arc::new(config), &SecretStore::default())
}

/// What both sides learned, or the error of the side that noticed first.
type Outcome = (Result<Arc<TlsInfo>, std::io::Error>, Result<Arc<TlsInfo>, std::io::Error>);

/// A handshake and one byte each way, so that TLS 1.3 client authentication and tickets are through.
async fn meet(client: &ClientTlsHandle, server: &ServerTlsHandle, alpn: Alpn) -> Outcome {
    let (near, far) = duplex(64 << 10);
    tokio::join!(connect(client, near, alpn), accept(server, far))
}

async fn connect(client: &ClientTlsHandle, io: DuplexStream, alpn: Alpn) -> Result<Arc<TlsInfo>, std::io::Error> {
    let built = client.built(alpn).unwrap();
    let mut stream = TlsConnector::from(built.rustls(None, None)).connect(client.server_name(""), io).await?;
    stream.write_all(b"x").await?;
    stream.read_u8().await?;
    let connection = stream.get_ref().1;
    let resumed = connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    let mut info = (*client_info(connection, &built, UnixTime::now())).clone();
    if resumed {
        info.cipher = "resumed".to_owned();
    }
    Ok(Arc::new(info))
}

async fn accept(server: &ServerTlsHandle, io: DuplexStream) -> Result<Arc<TlsInfo>, std::io::Error> {
    let built = server.built().unwrap();
    let mut stream = TlsAcceptor::from(built.rustls(None, None)).accept(io).await?;
    stream.read_u8().await?;
    stream.write_all(b"y").await?;
    stream.flush().await?;
    Ok(server_info(stream.get_ref().1, &built, UnixTime::now()))
}

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";
const APP: &str = "spiffe://cluster.local/ns/default/sa/app";

#[tokio::test]
async fn mutual_tls_tells_who_is_there() {
    let ca = ca("root");
    let roots = roots_of(&[&ca]);
    let server = server(common(Some(&leaf(&ca, "s", WEB, "web.example")), Some(trust(&roots))), true);
    let client = client(common(Some(&leaf(&ca, "c", APP, "app.example")), Some(trust(&roots))));
    let (near, far) = meet(&client, &server, Alpn::Http2).await;
    let (near, far) = (near.unwrap(), far.unwrap());
    assert_eq!((&near.peer_uris[0][..], &near.local_uris[0][..]), (WEB, APP));
    assert_eq!((&far.peer_uris[0][..], &far.local_uris[0][..]), (APP, WEB));
    assert_eq!(far.peer_dns, ["app.example"]);
    assert!(near.peer_verified && far.peer_verified);
    assert_eq!(far.version, "TLSv1.3");
    assert!(["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"].contains(&&*far.cipher), "{}", far.cipher);
    assert_eq!(far.peer_subject, "O=mesh\\, inc,CN=rcgen self signed cert");
    assert_eq!(far.peer_fingerprint.len(), 64);
    assert_eq!(near.alpn, None, "the server has no protocols");
}

#[tokio::test]
async fn clients_are_verified() {
    let (ours, other) = (ca("ours"), ca("other"));
    let stats = TlsStats::new(&Stats::default(), "listener.l.ssl.");
    let certificate = leaf(&ours, "s", WEB, "web.example");
    let roots = roots_of(&[&ours]);
    let stranger = client(common(Some(&leaf(&other, "c", APP, "a.b")), None));
    let nobody = client(common(None, None));
    let app = client(common(Some(&leaf(&ours, "c", APP, "a.b")), None));

    let strict = server(common(Some(&certificate), Some(trust(&roots))), true);
    for peer in [&nobody, &stranger] {
        stats.failed(&meet(peer, &strict, Alpn::None).await.1.unwrap_err());
    }
    assert_eq!((stats.fail_verify_no_cert.value(), stats.fail_verify_error.value()), (1, 1));
    assert!(meet(&app, &strict, Alpn::None).await.1.is_ok());

    let optional = server(common(Some(&certificate), Some(trust(&roots))), false);
    let info = meet(&nobody, &optional, Alpn::None).await.1.unwrap();
    assert!(info.peer_chain.is_empty() && !info.peer_verified);
    assert!(meet(&stranger, &optional, Alpn::None).await.1.is_err());

    let open = ruled(&roots, |rules| rules.accept_untrusted = true);
    let open = server(common(Some(&certificate), Some(open)), true);
    assert!(!meet(&stranger, &open, Alpn::None).await.1.unwrap().peer_verified);
    assert!(meet(&app, &open, Alpn::None).await.1.unwrap().peer_verified);
}

#[tokio::test]
async fn names_and_pins_of_the_server() {
    let ca = ca("root");
    let roots = roots_of(&[&ca]);
    let certificate = leaf(&ca, "s", WEB, "*.example");
    let SecretValue::Certificate { chain, .. } = &certificate.value else { unreachable!() };
    let hash = crate::hash::sha256(&chain[0]);
    let server = server(common(Some(&certificate), None), false);
    let stats = TlsStats::new(&Stats::default(), "cluster.c.ssl.");
    let san = |san_type, matcher| {
        ruled(&roots, |rules| rules.sans = vec![SanMatcher { san_type, matcher, oid: String::new() }])
    };
    let pin = |hash| ruled(&roots, |rules| rules.certificate_hashes = vec![hash]);
    let cases = [
        (trust(&roots), None),
        (san(SanType::Uri, StringMatcher::Exact(WEB.into())), None),
        (san(SanType::Uri, StringMatcher::Prefix("spiffe://cluster.local/".into(), false)), None),
        (san(SanType::Uri, StringMatcher::Exact(APP.into())), Some(VerifyFailure::San)),
        (san(SanType::Dns, StringMatcher::Exact(WEB.into())), Some(VerifyFailure::San)),
        (san(SanType::Dns, StringMatcher::Exact("web.example".into())), None),
        (san(SanType::Dns, StringMatcher::Exact("a.web.example".into())), Some(VerifyFailure::San)),
        (pin(hash), None),
        (pin([0; 32]), Some(VerifyFailure::Hash)),
    ];
    let (mut sans, mut pins) = (0, 0);
    for (at, (validation, expected)) in cases.into_iter().enumerate() {
        let (near, _) = meet(&client(common(None, Some(validation))), &server, Alpn::None).await;
        match expected {
            None => assert!(near.unwrap().peer_verified, "case {at}"),
            Some(expected) => {
                let error = near.unwrap_err();
                assert!(failure_text(&error).contains(&expected.to_string()), "case {at}: {error}");
                stats.failed(&error);
                match expected {
                    VerifyFailure::San => sans += 1,
                    VerifyFailure::Hash => pins += 1,
                    other => panic!("{other}"),
                }
            }
        }
    }
    assert_eq!((stats.fail_verify_san.value(), stats.fail_verify_cert_hash.value()), (sans, pins));
}

#[tokio::test]
async fn revoked_certificates_are_refused() {
    let ca = ca("root");
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(7u64),
        revocation_time: rcgen::date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = |revoked_certs| {
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&ca).unwrap().der().clone()
    };
    let server = server(common(Some(&leaf(&ca, "s", WEB, "web.example")), None), false);
    for (revoked, accepted) in [(vec![revoked], false), (Vec::new(), true)] {
        let value =
            SecretValue::Validation { roots: vec![ca.der().clone()], crls: vec![list(revoked)], rules: Arc::default() };
        let roots = Arc::new(Secret { name: "ROOTCA".into(), value });
        let (near, _) = meet(&client(common(None, Some(trust(&roots)))), &server, Alpn::None).await;
        assert_eq!(near.is_ok(), accepted);
    }
}

#[tokio::test]
async fn protocols_and_versions() {
    let ca = ca("root");
    let certificate = leaf(&ca, "s", WEB, "web.example");
    let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let max_version = Some(TlsVersion::V1_2);
    let cipher_suites = vec!["ECDHE-ECDSA-AES128-GCM-SHA256".to_owned()];
    let server = server(TlsCommon { alpn, max_version, cipher_suites, ..common(Some(&certificate), None) }, false);
    let any = client(common(None, None));
    for (alpn, expected) in [
        (Alpn::None, None),
        (Alpn::Http1, Some(&b"http/1.1"[..])),
        (Alpn::Http2, Some(b"h2")),
        (Alpn::Auto, Some(b"h2")),
    ] {
        let (near, far) = meet(&any, &server, alpn).await;
        let (near, far) = (near.unwrap(), far.unwrap());
        assert_eq!(near.alpn.as_deref(), expected, "{alpn:?}");
        assert_eq!(far.version, "TLSv1.2");
        assert_eq!(far.cipher, "ECDHE-ECDSA-AES128-GCM-SHA256");
        assert!(!near.peer_verified, "nothing was asked for");
    }
}

fn sds(name: &str) -> SecretRef {
    SecretRef { name: name.to_owned(), source: ConfigSource::Ads }
}

#[tokio::test]
async fn secrets_swap_live_and_old_sessions_do_not_survive_new_roots() {
    let (old, new) = (ca("old"), ca("new"));
    let secrets = SecretStore::default();
    let validation = ValidationSource { sds: Some(sds("ROOTCA")), ..ValidationSource::default() };
    let context = TlsCommon {
        certificates: vec![CertificateSource::Sds(sds("default"))],
        validation: Some(validation),
        ..TlsCommon::default()
    };
    let config = ServerTls { common: context, require_client_certificate: true, ..ServerTls::default() };
    let server = server_config(&Arc::new(config), &secrets);
    assert!(matches!(server.current(), Err(TlsError::NotReady(name)) if name == "default"));
    secrets.set(&sds("default"), leaf(&old, "default", WEB, "web.example"));
    assert!(matches!(server.current(), Err(TlsError::NotReady(name)) if name == "ROOTCA"));
    secrets.set(&sds("ROOTCA"), roots_of(&[&old]));
    let app = client(common(Some(&leaf(&old, "c", APP, "a.b")), None));
    assert!(meet(&app, &server, Alpn::None).await.1.is_ok());
    let (near, far) = meet(&app, &server, Alpn::None).await;
    assert_eq!(near.unwrap().cipher, "resumed");
    assert_eq!(far.unwrap().peer_uris, [APP], "a resumed session knows the peer");
    let before = server.current().unwrap();
    assert!(Arc::ptr_eq(&before, &server.current().unwrap()));

    secrets.set(&sds("ROOTCA"), roots_of(&[&new]));
    assert!(!Arc::ptr_eq(&before, &server.current().unwrap()));
    assert!(meet(&app, &server, Alpn::None).await.1.is_err(), "its session was made under roots that are gone");
    let app = client(common(Some(&leaf(&new, "c", APP, "a.b")), None));
    assert!(meet(&app, &server, Alpn::None).await.1.is_ok());

    let (one, two) = (leaf(&new, "x", WEB, "a.b"), leaf(&new, "x", WEB, "a.b"));
    let (SecretValue::Certificate { chain, .. }, SecretValue::Certificate { key, .. }) = (&one.value, &two.value)
    else {
        unreachable!()
    };
    let value = SecretValue::Certificate { chain: chain.clone(), key: key.clone() };
    let torn = Secret { name: "default".into(), value };
    assert!(matches!(check_secret(&torn), Err(TlsError::Key { .. })));
    secrets.set(&sds("default"), Arc::new(torn));
    assert!(server.current().is_ok(), "the last good one stays");
}

#[test]
fn secrets_are_checked() {
    let ca = ca("root");
    assert!(check_secret(&leaf(&ca, "x", WEB, "a.b")).is_ok());
    assert!(check_secret(&roots_of(&[&ca])).is_ok());
    let validation = |roots| Secret {
        name: "r".into(),
        value: SecretValue::Validation { roots, crls: Vec::new(), rules: Arc::default() },
    };
    let broken = check_secret(&validation(vec![ca.der().clone(), CertificateDer::from(vec![1, 2, 3])]));
    assert!(matches!(broken, Err(TlsError::Root { index: 1, .. })), "{broken:?}");
}

/// `openssl s_client` and `s_server` as the other side.
#[tokio::test]
async fn openssl_agrees() {
    let ca = ca("root");
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root.pem");
    std::fs::write(&root, ca.pem()).unwrap();
    let certificate = leaf(&ca, "s", WEB, "web.example");
    let server = server(common(Some(&certificate), None), false);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (io, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(server.current().unwrap()).accept(io).await.unwrap();
        stream.write_all(b"hello from rustls\n").await.unwrap();
        stream.shutdown().await.unwrap();
        // Closed only after the peer has read everything.
        let _ = stream.read(&mut [0; 1]).await;
    });
    let run = tokio::process::Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-servername", "web.example"])
        .args(["-verify_hostname", "web.example", "-verify_return_error", "-CAfile"])
        .arg(&root)
        .stdin(std::process::Stdio::null())
        .output();
    let output = tokio::time::timeout(Duration::from_secs(20), run).await.unwrap();
    let output = output.expect("this test needs the openssl program; install the package openssl");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Verify return code: 0 (ok)"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    serving.abort();
}
