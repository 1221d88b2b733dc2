//! Rules that peers must satisfy.

use rcgen::{OtherNameValue, string::Ia5String};

use super::*;

/// A chain: leaf, intermediate; and the authority that signed the leaf.
fn below(root: &Ca, edit: impl FnOnce(&mut CertificateParams)) -> (Arc<Secret>, Ca) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, "intermediate");
    let middle = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), root).unwrap();
    let secret = signed(&middle, edit, &[middle.der().clone()]);
    (secret, middle)
}

fn signed(ca: &Ca, edit: impl FnOnce(&mut CertificateParams), more: &[CertificateDer<'static>]) -> Arc<Secret> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.serial_number = Some(SerialNumber::from(7u64));
    edit(&mut params);
    let mut chain = vec![params.signed_by(&key, ca).unwrap().der().clone()];
    chain.extend_from_slice(more);
    let key = Arc::new(PrivateKeyDer::try_from(key.serialize_der()).unwrap());
    Arc::new(Secret { name: "s".into(), value: SecretValue::Certificate { chain, key } })
}

fn uri(params: &mut CertificateParams, uri: &str) {
    params.subject_alt_names.push(RcgenSan::URI(Ia5String::try_from(uri).unwrap()));
}

/// The client's verdict on a server with this certificate.
async fn verdict(certificate: &Arc<Secret>, validation: ValidationSource) -> Result<(), String> {
    let server = server(common(Some(certificate), None), false);
    let (near, _) = meet(&client(common(None, Some(validation))), &server, Alpn::None).await;
    near.map(drop).map_err(|error| failure_text(&error))
}

fn list(ca: &Ca, serials: &[u64], until: i32) -> rustls_pki_types::CertificateRevocationListDer<'static> {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: rcgen::date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2024, 1, 1),
        next_update: rcgen::date_time_ymd(until, 1, 1),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(ca).unwrap().der().clone()
}

#[tokio::test]
async fn revocation_lists_speak_of_the_chain_or_of_the_leaf() {
    let root = ca("root");
    let (certificate, middle) = below(&root, |_| {});
    let trusting = |crls, leaf_crl_only| {
        let rules = Arc::new(PeerRules { leaf_crl_only, ..PeerRules::default() });
        let value = SecretValue::Validation { roots: vec![root.der().clone()], crls, rules };
        trust(&Arc::new(Secret { name: "r".into(), value }))
    };
    let fine = || list(&middle, &[], 2099);
    let revoked = || list(&middle, &[7], 2099);
    for (name, crls, leaf_only, expected) in [
        ("no list", vec![], false, None),
        ("the leaf's issuer alone", vec![fine()], false, Some("UnknownRevocationStatus")),
        ("the leaf alone is asked about", vec![fine()], true, None),
        ("both issuers", vec![fine(), list(&root, &[], 2099)], false, None),
        ("revoked", vec![revoked(), list(&root, &[], 2099)], false, Some("Revoked")),
        ("revoked, leaf only", vec![revoked()], true, Some("Revoked")),
        ("the list has ended", vec![list(&middle, &[], 2025)], true, Some("expired")),
    ] {
        let found = verdict(&certificate, trusting(crls, leaf_only)).await;
        match (found, expected) {
            (Ok(()), None) => {}
            (Err(text), Some(part)) => {
                assert!(text.to_lowercase().contains(&part.to_lowercase()), "{name}: {text}");
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
    }
}

#[tokio::test]
async fn expired_certificates_only_if_allowed() {
    let root = ca("root");
    let roots = roots_of(&[&root]);
    let old = signed(&root, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1), &[]);
    let future = signed(&root, |params| params.not_before = rcgen::date_time_ymd(2090, 1, 1), &[]);
    let stranger = signed(&ca("other"), |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1), &[]);
    for certificate in [&old, &future] {
        assert!(verdict(certificate, trust(&roots)).await.is_err());
        verdict(certificate, ruled(&roots, |rules| rules.allow_expired = true)).await.unwrap();
    }
    assert!(verdict(&stranger, ruled(&roots, |rules| rules.allow_expired = true)).await.is_err());
}

#[tokio::test]
async fn the_chain_is_as_long_as_it_may_be() {
    let root = ca("root");
    let roots = roots_of(&[&root]);
    let (certificate, _) = below(&root, |_| {});
    let within = |depth| ruled(&roots, |rules| rules.max_depth = Some(depth));
    verdict(&certificate, within(2)).await.unwrap();
    assert!(verdict(&certificate, within(1)).await.is_err());
    verdict(&signed(&root, |_| {}, &[]), within(1)).await.unwrap();
}

#[tokio::test]
async fn trust_domains_have_their_own_roots() {
    let (one, two) = (ca("one"), ca("two"));
    let trust_domains = [("one.example", &one), ("two.example", &two)];
    let domains = || ValidationSource {
        rules: PeerRules {
            trust_domains: trust_domains
                .iter()
                .map(|(name, ca)| ((*name).to_owned(), vec![ca.der().clone()]))
                .collect(),
            ..PeerRules::default()
        },
        ..ValidationSource::default()
    };
    let id = |ca: &Ca, id: &str| signed(ca, |params| uri(params, id), &[]);
    verdict(&id(&one, "spiffe://one.example/a"), domains()).await.unwrap();
    verdict(&id(&two, "spiffe://two.example/a"), domains()).await.unwrap();
    let authority = signed(
        &one,
        |params| {
            uri(params, "spiffe://one.example/a");
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        },
        &[],
    );
    for (certificate, expected) in [
        (id(&two, "spiffe://one.example/a"), "UnknownIssuer"),
        (id(&one, "spiffe://three.example/a"), "no trust domain that is trusted"),
        (id(&one, "https://one.example/a"), "no trust domain that is trusted"),
        (signed(&one, |_| {}, &[]), "no trust domain that is trusted"),
        (authority, "an authority's"),
    ] {
        let found = verdict(&certificate, domains()).await.unwrap_err();
        assert!(found.contains(expected), "{expected}: {found}");
    }
    let mut named = domains();
    let matcher = StringMatcher::Exact("spiffe://one.example/b".into());
    named.rules.sans = vec![SanMatcher { san_type: SanType::Uri, matcher, oid: String::new() }];
    assert!(verdict(&id(&one, "spiffe://one.example/a"), named.clone()).await.is_err());
    verdict(&id(&one, "spiffe://one.example/b"), named).await.unwrap();
}

#[tokio::test]
async fn other_names_by_their_type() {
    let root = ca("root");
    let roots = roots_of(&[&root]);
    // A user principal name.
    let certificate = signed(
        &root,
        |params| {
            let value = OtherNameValue::Utf8String("web@example".into());
            params.subject_alt_names.push(RcgenSan::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], value)));
        },
        &[],
    );
    let wanting = |oid: &str, text: &str| {
        let matcher = StringMatcher::Exact(text.into());
        let san = SanMatcher { san_type: SanType::OtherName, matcher, oid: oid.to_owned() };
        ruled(&roots, |rules| rules.sans = vec![san])
    };
    verdict(&certificate, wanting("1.3.6.1.4.1.311.20.2.3", "web@example")).await.unwrap();
    assert!(verdict(&certificate, wanting("1.3.6.1.4.1.311.20.2.3", "app@example")).await.is_err());
    assert!(verdict(&certificate, wanting("1.3.6.1.4.1.311.20.2.4", "web@example")).await.is_err());
}

#[tokio::test]
async fn the_name_that_was_sent_stands_for_the_matchers() {
    let root = ca("root");
    let roots = roots_of(&[&root]);
    let unlike = StringMatcher::Exact("spiffe://other".into());
    let validation = ruled(&roots, |rules| {
        rules.sans = vec![SanMatcher { san_type: SanType::Uri, matcher: unlike, oid: String::new() }];
    });
    for (dns, accepted) in [("web.example", true), ("*.example", true), ("app.example", false)] {
        let server = server(common(Some(&leaf(&root, "s", WEB, dns)), None), false);
        let config = ClientTls {
            common: common(None, Some(validation.clone())),
            sni: "web.example".into(),
            auto_sni_san: true,
            ..ClientTls::default()
        };
        let client = ClientTlsHandle::new(&Arc::new(config), &SecretStore::default());
        assert_eq!(meet(&client, &server, Alpn::None).await.0.is_ok(), accepted, "{dns}");
    }
}
