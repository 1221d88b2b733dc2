//! OpenSSL as a peer: it verifies our chains, we take its requests, and refuse its bad ones.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use mesh_ca::{
    issuer::{CertIssuer, Csr, CsrError, IssueRequest},
    spiffe::{KeyType, PrivateKey, SpiffeId, certificates_to_pem},
};

use crate::fixture::{Ca, trust_domain, workload};

/// Runs `openssl` in a folder and gives its output; fails the test when it fails.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> String {
    let out = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the tests need the openssl command; on Debian: apt-get install openssl");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "openssl {arguments:?}: {errors}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A request made by OpenSSL: `key` are the arguments of `openssl req -newkey`, `extensions` lines of its config.
pub(crate) fn request(folder: &Path, key: &[&str], extensions: &str) -> String {
    let config = format!("[req]\ndistinguished_name=dn\nprompt=no\nreq_extensions=ext\n[dn]\n[ext]\n{extensions}\n");
    fs::write(folder.join("req.cnf"), config).unwrap();
    let mut arguments = vec!["req", "-new", "-nodes", "-subj", "/", "-config", "req.cnf", "-keyout", "key.pem"];
    arguments.push("-newkey");
    arguments.extend(key);
    run(folder, &arguments)
}

const P256: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

async fn issue(ca: &Ca, csr: &str, id: &SpiffeId) -> Result<mesh_ca::issuer::IssuedCertificate, String> {
    let csr = Csr::from_pem(csr).map_err(|e| e.to_string())?;
    let request = IssueRequest { csr, id: id.clone(), dns_names: vec![], lifetime: Some(Duration::from_secs(600)) };
    ca.issuer.issue(request).await.map_err(|e| e.to_string())
}

#[tokio::test]
async fn openssl_verifies_what_we_sign_for_its_keys() {
    let ca = Ca::new().await;
    let id = workload("reviews");
    let kinds: [&[&str]; 4] = [P256, &["ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"], &["rsa:2048"], &["ed25519"]];
    for kind in kinds {
        let folder = tempfile::tempdir().unwrap();
        let csr = request(folder.path(), kind, &format!("subjectAltName=URI:{id}\nsubjectKeyIdentifier=hash"));
        let issued = issue(&ca, &csr, &id).await.unwrap();
        fs::write(folder.path().join("leaf.pem"), certificates_to_pem(&issued.chain)).unwrap();
        fs::write(folder.path().join("root.pem"), ca.issuer.trust_bundle().to_pem()).unwrap();
        for purpose in ["sslserver", "sslclient"] {
            let arguments = ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", "root.pem", "leaf.pem"];
            assert_eq!(run(folder.path(), &arguments).trim(), "leaf.pem: OK", "{kind:?}");
        }
        let text = run(folder.path(), &["x509", "-in", "leaf.pem", "-noout", "-text"]);
        assert!(text.contains(&format!("URI:{id}")), "{text}");
        assert!(text.contains("X509v3 Subject Alternative Name: critical"), "{text}");
        assert!(text.contains("CA:FALSE"), "{text}");
        assert_eq!(text.contains("Key Encipherment"), kind == ["rsa:2048"], "{text}");
        // The key is the one OpenSSL made.
        let ours = run(folder.path(), &["x509", "-in", "leaf.pem", "-noout", "-pubkey"]);
        assert_eq!(ours, run(folder.path(), &["pkey", "-in", "key.pem", "-pubout"]));
    }
}

#[tokio::test]
async fn keys_and_requests_of_ours_are_read_by_openssl() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Ed25519, KeyType::Rsa3072] {
        let key = PrivateKey::generate(kind).unwrap();
        fs::write(folder.path().join("key.pem"), key.to_pem().as_bytes()).unwrap();
        let csr = Csr::create_pem(&key, &workload("a"), &["a.example".into()]).unwrap();
        fs::write(folder.path().join("req.pem"), csr).unwrap();
        run(folder.path(), &["pkey", "-in", "key.pem", "-check", "-noout"]);
        let text = run(folder.path(), &["req", "-in", "req.pem", "-verify", "-noout", "-text"]);
        assert!(text.contains("URI:spiffe://cluster.local/ns/default/sa/a"), "{text}");
    }
}

#[tokio::test]
async fn old_key_forms_of_openssl_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for (make, file) in [
        (&["ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", "ec.pem"][..], "ec.pem"),
        (&["ecparam", "-genkey", "-noout", "-name", "secp384r1", "-out", "ec384.pem"][..], "ec384.pem"),
        (&["genrsa", "-traditional", "-out", "rsa.pem", "2048"][..], "rsa.pem"),
    ] {
        run(folder.path(), make);
        let pem = fs::read(folder.path().join(file)).unwrap();
        let key = PrivateKey::from_pem(&pem).unwrap();
        fs::write(folder.path().join("ours.pem"), key.to_pem().as_bytes()).unwrap();
        let theirs = run(folder.path(), &["pkey", "-in", file, "-pubout"]);
        assert_eq!(run(folder.path(), &["pkey", "-in", "ours.pem", "-pubout"]), theirs, "{file}");
    }
}

#[tokio::test]
async fn bad_requests_are_refused_by_name() {
    let ca = Ca::new().await;
    let id = workload("reviews");
    let own = format!("subjectAltName=URI:{id}");
    let cases: [(&str, &[&str], String, &str); 10] = [
        ("another id", P256, "subjectAltName=URI:spiffe://cluster.local/ns/default/sa/admin".into(), "sa/admin"),
        ("its own id and another", P256, format!("{own},URI:spiffe://cluster.local/ns/x/sa/y"), "ns/x/sa/y"),
        ("an endless id", P256, format!("subjectAltName=URI:spiffe://cluster.local/{}", "x".repeat(4000)), "spiffe"),
        ("a DNS name", P256, format!("{own},DNS:example.com"), "example.com"),
        ("an address", P256, format!("{own},IP:10.0.0.1"), "neither URI nor DNS"),
        ("a mail address", P256, format!("{own},email:a@b.example"), "neither URI nor DNS"),
        ("the CA bit", P256, format!("{own}\nbasicConstraints=critical,CA:TRUE"), "CA certificate"),
        ("a small key", &["rsa:1024"], own.clone(), "1024 bits"),
        ("a huge key", &["rsa:5120"], own.clone(), "5120 bits"),
        ("an odd curve", &["ec", "-pkeyopt", "ec_paramgen_curve:secp521r1"], own.clone(), "curve"),
    ];
    for (name, key, extensions, reason) in cases {
        let folder = tempfile::tempdir().unwrap();
        let csr = request(folder.path(), key, &extensions);
        let refused = issue(&ca, &csr, &id).await.expect_err(name);
        assert!(refused.contains(reason), "{name}: {refused}");
        assert!(refused.len() < 400, "{name}: {refused}");
    }
}

#[test]
fn proof_of_possession_and_form() {
    let folder = tempfile::tempdir().unwrap();
    let csr = request(folder.path(), P256, "subjectAltName=URI:spiffe://cluster.local/ns/default/sa/a");
    assert!(Csr::from_pem(&csr).is_ok());
    // The last bytes are the signature.
    let mut der = pem_body(&csr);
    let last = der.len() - 3;
    der[last] ^= 1;
    let refused = Csr::from_der(&der).unwrap_err();
    assert!(matches!(refused, CsrError::ProofOfPossession | CsrError::Malformed(_)), "{refused}");
    // A name inside, changed after signing.
    let mut der = pem_body(&csr);
    let at = der.windows(4).position(|w| w == b"sa/a").unwrap();
    der[at + 3] = b'b';
    assert_eq!(Csr::from_der(&der).unwrap_err(), CsrError::ProofOfPossession);

    let sha1 = {
        run(folder.path(), &["genrsa", "-out", "rsa.pem", "2048"]);
        run(folder.path(), &["req", "-new", "-key", "rsa.pem", "-sha1", "-subj", "/CN=x"])
    };
    assert_eq!(Csr::from_pem(&sha1).unwrap_err(), CsrError::WeakSignature);
    for bad in ["", "hello", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"] {
        assert!(matches!(Csr::from_pem(bad), Err(CsrError::Malformed(_))), "{bad:?}");
    }
    assert!(matches!(Csr::from_pem(&"x".repeat(20_000)), Err(CsrError::TooLarge(20_000))));
    let mut long = pem_body(&csr);
    long.push(0);
    assert!(matches!(Csr::from_der(&long), Err(CsrError::Malformed(_))));
}

fn pem_body(pem: &str) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let body: String = pem.lines().filter(|l| !l.starts_with("-----")).collect();
    STANDARD.decode(body).unwrap()
}

/// `openssl s_client` talks to a server of ours and is known by its certificate.
#[tokio::test]
async fn the_time_of_day_counts() {
    let ca = Ca::new().await;
    let svid = ca.svid(&workload("a"), Duration::from_secs(60)).await;
    let roots = ca.issuer.trust_bundle().to_pem();
    let verify =
        |now: SystemTime| mesh_ca::spiffe::verify_pem(svid.chain_pem().as_bytes(), None, roots.as_bytes(), now);
    let now = SystemTime::now();
    assert_eq!(verify(now).unwrap().id, workload("a"));
    assert_eq!(verify(now + Duration::from_secs(3600)).unwrap_err().rule, mesh_ca::spiffe::Rule::Expired);
    assert_eq!(verify(now - Duration::from_secs(3600)).unwrap_err().rule, mesh_ca::spiffe::Rule::NotYetValid);
}

#[test]
fn a_root_with_a_key_of_an_unknown_kind_spoils_no_bundle() {
    use mesh_ca::spiffe::{SpiffeBundle, TrustBundle};
    let folder = tempfile::tempdir().unwrap();
    let root = |name: &str, curve: &str| {
        let curve = format!("ec_paramgen_curve:{curve}");
        let (key, file) = (format!("{name}.key"), format!("{name}.pem"));
        run(
            folder.path(),
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                &curve,
                "-nodes",
                "-keyout",
                &key,
                "-out",
                &file,
                "-days",
                "30",
                "-subj",
                "/O=cluster.local",
                "-addext",
                "basicConstraints=critical,CA:TRUE",
                "-addext",
                "keyUsage=critical,keyCertSign,cRLSign",
                "-addext",
                "subjectAltName=URI:spiffe://cluster.local",
            ],
        );
        std::fs::read_to_string(folder.path().join(file)).unwrap()
    };
    let (known, unknown) = (root("known", "P-256"), root("unknown", "secp256k1"));
    let both = TrustBundle::from_pem(trust_domain(), format!("{known}{unknown}").as_bytes()).unwrap();
    assert_eq!(both.roots().len(), 2);
    let written = SpiffeBundle::new(both).to_jwks();
    let document: serde_json::Value = serde_json::from_str(&written).unwrap();
    let kinds: Vec<_> = document["keys"].as_array().unwrap().iter().map(|k| k["kty"].clone()).collect();
    assert_eq!(kinds, ["EC"], "RFC 7517 section 4.1: each has its kty; {written}");
    let read = SpiffeBundle::from_jwks(trust_domain(), written.as_bytes()).unwrap();
    assert_eq!(read.x509.to_pem().trim(), known.trim());

    // Somebody else's document with such an element: it is passed over.
    let mut document = document;
    let mut element = document["keys"][0].clone();
    element["x5c"] = serde_json::json!([base64_of(&unknown)]);
    for parameter in ["crv", "x", "y"] {
        element.as_object_mut().unwrap().remove(parameter);
    }
    element["kty"] = "EC".into();
    element["crv"] = "secp256k1".into();
    let mut bare = element.clone();
    bare.as_object_mut().unwrap().remove("kty");
    document["keys"].as_array_mut().unwrap().extend([element, bare]);
    let read = SpiffeBundle::from_jwks(trust_domain(), document.to_string().as_bytes()).unwrap();
    assert_eq!(read.x509.roots().len(), 1);
}

/// What stands between the lines of a PEM text.
fn base64_of(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with('-')).collect()
}
