//! Resumption, the choice of certificates, and logs of secrets.

use super::*;
use crate::model::{KeyLogFile, Resumption, SessionTicketKey, SessionTickets};

fn resuming(certificate: &Arc<Secret>, max_version: TlsVersion, resumption: Resumption) -> Arc<ServerTls> {
    let common = TlsCommon { max_version: Some(max_version), ..common(Some(certificate), None) };
    Arc::new(ServerTls { common, resumption, ..ServerTls::default() })
}

/// Whether the second of two connections is resumed.
async fn resumes(client: &ClientTlsHandle, first: &ServerTlsHandle, second: &ServerTlsHandle) -> bool {
    assert_ne!(meet(client, first, Alpn::None).await.0.unwrap().cipher, "resumed");
    meet(client, second, Alpn::None).await.0.unwrap().cipher == "resumed"
}

#[tokio::test]
async fn each_kind_of_resumption_can_be_off() {
    let ca = ca("root");
    let certificate = leaf(&ca, "s", WEB, "web.example");
    let off = || Resumption { tickets: SessionTickets::Off, ..Resumption::default() };
    let ended = Resumption { timeout: Some(Duration::ZERO), ..Resumption::default() };
    for (name, version, resumption, expected) in [
        ("tickets", TlsVersion::V1_3, Resumption::default(), true),
        ("tickets of TLS 1.2", TlsVersion::V1_2, Resumption::default(), true),
        ("none in TLS 1.3 without tickets", TlsVersion::V1_3, off(), false),
        ("by id in TLS 1.2", TlsVersion::V1_2, off(), true),
        ("neither", TlsVersion::V1_2, Resumption { stateless_only: true, ..off() }, false),
        ("over at once", TlsVersion::V1_3, ended, false),
    ] {
        let server = server_config(&resuming(&certificate, version, resumption), &SecretStore::default());
        assert_eq!(resumes(&client(common(None, None)), &server, &server).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_client_can_keep_no_sessions() {
    let ca = ca("root");
    let certificate = leaf(&ca, "s", WEB, "web.example");
    for (max_session_keys, expected) in [(None, true), (Some(1), true), (Some(0), false)] {
        let config = ClientTls { sni: "web.example".into(), max_session_keys, ..ClientTls::default() };
        let client = ClientTlsHandle::new(&Arc::new(config), &SecretStore::default());
        let server = server(common(Some(&certificate), None), false);
        assert_eq!(resumes(&client, &server, &server).await, expected, "{max_session_keys:?}");
    }
}

#[tokio::test]
async fn workers_share_sessions_and_so_do_proxies_with_the_same_keys() {
    let ca = ca("root");
    let certificate = leaf(&ca, "s", WEB, "web.example");
    let config = resuming(&certificate, TlsVersion::V1_3, Resumption::default());
    let secrets = SecretStore::default();
    let (one, two) = (server_config(&config, &secrets), server_config(&config, &secrets));
    assert!(resumes(&client(common(None, None)), &one, &two).await);

    let keys = |byte| Secret {
        name: "keys".into(),
        value: SecretValue::SessionTicketKeys([SessionTicketKey([byte; 80])].into()),
    };
    let proxy = |byte, version| {
        let tickets = SessionTickets::Static(Arc::new(keys(byte)));
        let resumption = Resumption { tickets, stateless_only: true, ..Resumption::default() };
        server_config(&resuming(&certificate, version, resumption), &SecretStore::default())
    };
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let any = || client(common(None, None));
        assert!(resumes(&any(), &proxy(1, version), &proxy(1, version)).await);
        assert!(!resumes(&any(), &proxy(1, version), &proxy(2, version)).await);
    }
}

#[tokio::test]
async fn ticket_keys_swap_live() {
    let ca = ca("root");
    let secrets = SecretStore::default();
    let resumption = Resumption { tickets: SessionTickets::Sds(sds("keys")), ..Resumption::default() };
    let config = resuming(&leaf(&ca, "s", WEB, "web.example"), TlsVersion::V1_3, resumption);
    let server = server_config(&config, &secrets);
    assert!(matches!(server.current(), Err(TlsError::NotReady(name)) if name == "keys"));
    let set = |bytes: &[u8]| {
        let keys = bytes.iter().map(|byte| SessionTicketKey([*byte; 80])).collect();
        let secret = Secret { name: "keys".into(), value: SecretValue::SessionTicketKeys(keys) };
        secrets.set(&sds("keys"), Arc::new(secret));
    };
    set(&[1]);
    let client = client(common(None, None));
    assert!(resumes(&client, &server, &server).await);
    set(&[2, 1]);
    assert_eq!(meet(&client, &server, Alpn::None).await.0.unwrap().cipher, "resumed", "the old key still opens");
}

#[tokio::test]
async fn the_certificate_fits_the_name() {
    let ca = ca("root");
    let names = ["spiffe://a/wild", "spiffe://a/exact", "spiffe://a/other"];
    let secrets: Vec<_> = [("*.example", names[0]), ("web.example", names[1]), ("app.test", names[2])]
        .iter()
        .map(|(dns, uri)| leaf(&ca, "s", uri, dns))
        .collect();
    let common = TlsCommon {
        certificates: secrets.iter().cloned().map(CertificateSource::Static).collect(),
        ..TlsCommon::default()
    };
    let server = server(common, false);
    for (sni, expected) in [("web.example", 1), ("a.example", 0), ("app.test", 2), ("unknown.name", 0), ("", 0)] {
        let config = ClientTls { sni: sni.into(), ..ClientTls::default() };
        let client = ClientTlsHandle::new(&Arc::new(config), &SecretStore::default());
        let info = meet(&client, &server, Alpn::None).await.0.unwrap();
        assert_eq!(info.peer_uris, [names[expected]], "{sni:?}");
    }
}

#[tokio::test]
async fn the_hybrid_group_is_the_default() {
    let ca = ca("root");
    let server = server(common(Some(&leaf(&ca, "s", WEB, "web.example")), None), false);
    let classic = TlsCommon { groups: vec!["X25519".into()], ..common(None, None) };
    for (client, expected) in [
        (client(common(None, None)), rustls::NamedGroup::X25519MLKEM768),
        (client(classic), rustls::NamedGroup::X25519),
    ] {
        let (near, far) = duplex(64 << 10);
        let built = client.built(Alpn::None).unwrap();
        let connector = TlsConnector::from(built.rustls(None, None));
        let (near, far) = tokio::join!(connector.connect(client.server_name(""), near), async {
            let stream = TlsAcceptor::from(server.current().unwrap()).accept(far).await.unwrap();
            stream.get_ref().1.negotiated_key_exchange_group().map(|group| group.name())
        });
        near.unwrap();
        assert_eq!(far, Some(expected));
    }
}

#[tokio::test]
async fn secrets_of_connections_are_logged_where_asked() {
    let ca = ca("root");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let file = KeyLogFile { path: path.clone(), local: vec!["192.0.2.0/24".parse().unwrap()], remote: vec![] };
    let certificate = leaf(&ca, "s", WEB, "web.example");
    let server = server(TlsCommon { key_log: Some(file), ..common(Some(&certificate), None) }, false);
    assert!(meet(&client(common(None, None)), &server, Alpn::None).await.1.is_ok());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "", "its address is not in the range");
    let (near, far) = duplex(64 << 10);
    let config = server.built().unwrap().rustls(Some("192.0.2.7".parse().unwrap()), None);
    let client = client(common(None, None));
    let (near, far) = tokio::join!(connect(&client, near, Alpn::None), async {
        let mut stream = TlsAcceptor::from(config).accept(far).await?;
        stream.read_u8().await?;
        stream.write_all(b"y").await?;
        stream.flush().await
    });
    near.unwrap();
    far.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for label in ["CLIENT_HANDSHAKE_TRAFFIC_SECRET ", "SERVER_TRAFFIC_SECRET_0 "] {
        let line = text.lines().find_map(|line| line.strip_prefix(label)).unwrap();
        let (random, secret) = line.split_once(' ').unwrap();
        assert_eq!(random.len(), 64);
        assert!(secret.len() >= 64 && secret.bytes().all(|b| b.is_ascii_hexdigit()));
    }
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
