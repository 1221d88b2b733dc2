//! A CA whose files OpenSSL made: taken, refused by name, changed under way.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh_ca::{
    clock::{Clock, ManualClock},
    issuer::{
        CaFile, CertIssuer, Csr, IssuancePolicy, IssueError, IssueRequest, IssuedCertificate, KeyPolicy, PluggedIn,
        PluggedInConfig, Reload, conformance,
    },
    spiffe::{Crl, KeyType, PrivateKey, Rule, certificates_from_pem, certificates_to_pem, verify},
};

use crate::{
    fixture::{trust_domain, workload},
    openssl::run,
    profile::{LEAF, ROOT, certificate},
};

const SIGNING: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
                       subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid";

/// root ← upper ← lower, made by OpenSSL in `made`; `set` is the folder of the CA, with lower as signing certificate.
struct Pki {
    folder: tempfile::TempDir,
    clock: ManualClock,
}

impl Pki {
    fn new(key: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Self { folder, clock: ManualClock::system() };
        fs::create_dir_all(pki.made()).unwrap();
        fs::create_dir_all(pki.set()).unwrap();
        for name in ["root", "upper", "lower"] {
            let out = format!("{name}.key");
            let mut arguments = vec!["genpkey", "-out", &out];
            arguments.extend(key);
            run(&pki.made(), &arguments);
        }
        pki.make("root", "root", ROOT, "3000");
        pki.make("upper", "root", SIGNING, "300");
        pki.make("lower", "upper", SIGNING, "100");
        pki.put(CaFile::Certificate, &["lower.pem"]);
        pki.put(CaFile::Key, &["lower.key"]);
        pki.put(CaFile::Chain, &["lower.pem", "upper.pem"]);
        pki.put(CaFile::Roots, &["root.pem"]);
        pki
    }

    fn made(&self) -> PathBuf {
        self.folder.path().join("made")
    }

    fn set(&self) -> PathBuf {
        self.folder.path().join("set")
    }

    fn make(&self, name: &str, signer: &str, extensions: &str, days: &str) {
        certificate(&self.made(), name, signer, &format!("/O={name}"), extensions, days);
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.made().join(name)).unwrap()
    }

    fn put(&self, file: CaFile, parts: &[&str]) {
        self.put_bytes(file, &parts.iter().flat_map(|p| self.read(p)).collect::<Vec<_>>());
    }

    fn put_bytes(&self, file: CaFile, content: &[u8]) {
        fs::write(self.set().join(file.name()), content).unwrap();
    }

    async fn open(&self) -> Result<PluggedIn, String> {
        let config = PluggedInConfig::new(trust_domain());
        // OpenSSL's certificates begin in the second they are made.
        self.clock.set_wall(SystemTime::now());
        PluggedIn::open(self.set(), config, Arc::new(self.clock.clone())).await.map_err(|e| e.to_string())
    }

    /// Makes `crl.pem` of `signer`, with these certificates on it.
    fn revoke(&self, signer: &str, names: &[&str]) {
        let config = "[ca]\ndefault_ca=x\n[x]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=30\n\
                      crlnumber=number\n";
        fs::write(self.made().join("ca.cnf"), config).unwrap();
        fs::write(self.made().join("index.txt"), "").unwrap();
        fs::write(self.made().join("number"), "01").unwrap();
        let (pem, key) = (format!("{signer}.pem"), format!("{signer}.key"));
        let base = ["ca", "-config", "ca.cnf", "-cert", &pem, "-keyfile", &key];
        for name in names {
            run(&self.made(), &[&base[..], &["-revoke", &format!("{name}.pem")]].concat());
        }
        run(&self.made(), &[&base[..], &["-gencrl", "-out", "crl.pem"]].concat());
    }
}

const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

async fn issue(issuer: &PluggedIn, kind: KeyType, lifetime: Duration) -> Result<IssuedCertificate, IssueError> {
    let id = workload("a");
    let key = PrivateKey::generate(kind).unwrap();
    let csr = Csr::from_pem(&Csr::create_pem(&key, &id, &[]).unwrap()).unwrap();
    issuer.issue(IssueRequest { csr, id, dns_names: vec![], lifetime: Some(lifetime) }).await
}

fn openssl_believes(folder: &Path, chain: &str, roots: &[u8]) {
    let (leaf, rest) = chain.split_at(chain[1..].find("-----BEGIN").unwrap() + 1);
    fs::write(folder.join("leaf.pem"), leaf).unwrap();
    fs::write(folder.join("rest.pem"), rest).unwrap();
    fs::write(folder.join("roots.pem"), roots).unwrap();
    let verdict =
        run(folder, &["verify", "-purpose", "sslserver", "-CAfile", "roots.pem", "-untrusted", "rest.pem", "leaf.pem"]);
    assert_eq!(verdict.trim(), "leaf.pem: OK");
}

#[tokio::test]
async fn every_kind_of_signing_key_conforms_and_openssl_believes_the_chain() {
    let kinds: [&[&str]; 4] = [
        P256,
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        &["-algorithm", "ED25519"],
    ];
    for kind in kinds {
        let pki = Pki::new(kind);
        let issuer = pki.open().await.unwrap();
        conformance::check_issuer(&issuer, pki.clock.now().wall).await;
        let issued = issue(&issuer, KeyType::EcdsaP256, Duration::from_secs(600)).await.unwrap();
        assert_eq!(issued.chain.len(), 3, "leaf, lower, upper: each once and no root");
        assert_eq!(
            certificates_to_pem([&issued.root]),
            certificates_to_pem(&certificates_from_pem(&pki.read("root.pem")).unwrap())
        );
        openssl_believes(pki.folder.path(), &certificates_to_pem(&issued.chain), &pki.read("root.pem"));
    }
}

#[tokio::test]
async fn nothing_outlives_the_shortest_of_its_signers() {
    let pki = Pki::new(P256);
    // The signing certificate is good for longer than the one above it.
    pki.make("upper", "root", SIGNING, "5");
    pki.make("lower", "upper", SIGNING, "100");
    pki.put(CaFile::Certificate, &["lower.pem"]);
    pki.put(CaFile::Chain, &["upper.pem"]);
    let issuer = pki.open().await.unwrap();
    let issued = issue(&issuer, KeyType::EcdsaP256, Duration::from_secs(50 * 86400)).await.unwrap();
    assert_eq!(issued.not_after, issuer.expires());
    let days = issuer.expires().duration_since(SystemTime::now()).unwrap().as_secs_f64() / 86400.0;
    assert!((4.9..5.1).contains(&days), "{days}");
    pki.clock.advance(Duration::from_secs(6 * 86400));
    let refused = issue(&issuer, KeyType::EcdsaP256, Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(refused, IssueError::SignerNotValid), "{refused}");
}

#[tokio::test]
async fn a_signing_certificate_may_be_a_root_or_stand_directly_below_one() {
    let pki = Pki::new(P256);
    pki.put(CaFile::Certificate, &["root.pem"]);
    pki.put(CaFile::Key, &["root.key"]);
    fs::remove_file(pki.set().join(CaFile::Chain.name())).unwrap();
    let issued = issue(&pki.open().await.unwrap(), KeyType::EcdsaP256, Duration::from_secs(60)).await.unwrap();
    assert_eq!(issued.chain.len(), 1);
    pki.put(CaFile::Certificate, &["upper.pem"]);
    pki.put(CaFile::Key, &["upper.key"]);
    // Of several roots the one that the chain ends at is given.
    certificate(&pki.made(), "other", "other", "/O=other", ROOT, "30");
    pki.put(CaFile::Roots, &["other.pem", "root.pem"]);
    let issuer = pki.open().await.unwrap();
    let issued = issue(&issuer, KeyType::EcdsaP256, Duration::from_secs(60)).await.unwrap();
    assert_eq!((issued.chain.len(), issuer.trust_bundle().roots().len()), (2, 2));
    assert_eq!(issued.root, certificates_from_pem(&pki.read("root.pem")).unwrap()[0]);
}

#[tokio::test]
async fn the_policy_decides_on_keys() {
    let pki = Pki::new(P256);
    let mut keys = KeyPolicy::default();
    (keys.ecdsa_p256, keys.ed25519, keys.min_rsa_bits) = (false, false, None);
    let config = PluggedInConfig::new(trust_domain()).with_policy(IssuancePolicy::default().with_keys(keys));
    pki.clock.set_wall(SystemTime::now());
    let issuer = PluggedIn::open(pki.set(), config, Arc::new(pki.clock.clone())).await.unwrap();
    let hour = Duration::from_secs(3600);
    assert!(issue(&issuer, KeyType::EcdsaP384, hour).await.is_ok());
    for kind in [KeyType::EcdsaP256, KeyType::Ed25519, KeyType::Rsa2048] {
        let refused = issue(&issuer, kind, hour).await.unwrap_err();
        assert!(matches!(refused, IssueError::KeyNotAllowed(_)) && refused.is_request_fault(), "{kind}: {refused}");
    }
}

/// What is changed in a good set, and what the refusal must say.
type Case<'a> = (&'a str, Vec<(CaFile, Vec<u8>)>, &'a [&'a str]);

/// Each set is refused by name, and what was in force before goes on.
#[tokio::test]
async fn bad_sets_are_refused_by_name_and_the_old_one_stays() {
    let pki = Pki::new(P256);
    let issuer = pki.open().await.unwrap();
    let before = issuer.status();
    let good: Vec<_> = CaFile::ALL.map(|f| (f, fs::read(pki.set().join(f.name())).ok())).into();
    let key = String::from_utf8(pki.read("lower.key")).unwrap();

    certificate(&pki.made(), "other", "other", "/O=other", ROOT, "30");
    certificate(&pki.made(), "leaf", "upper", "/", LEAF, "10");
    let foreign = format!("{SIGNING}\nsubjectAltName=URI:spiffe://other.example");
    certificate(&pki.made(), "foreign", "upper", "/O=foreign", &foreign, "10");
    let ended = SystemTime::now() + Duration::from_secs(101 * 86400);
    pki.revoke("upper", &["lower"]);
    let revoked = pki.read("crl.pem");

    let one = |file, parts: &[&str]| vec![(file, parts.iter().flat_map(|p| pki.read(p)).collect::<Vec<u8>>())];
    let cases: Vec<Case<'_>> = vec![
        ("no PEM", vec![(CaFile::Certificate, b"hello".to_vec())], &["ca-cert.pem", "no CERTIFICATE block"]),
        ("two certificates", one(CaFile::Certificate, &["lower.pem", "upper.pem"]), &["ca-cert.pem", "2 certificates"]),
        ("a leaf", one(CaFile::Certificate, &["leaf.pem"]), &["ca-cert.pem", "signing-ca"]),
        ("another key", one(CaFile::Key, &["upper.key"]), &["ca-key.pem", "not the key of ca-cert.pem"]),
        ("no key", one(CaFile::Key, &["lower.pem"]), &["ca-key.pem"]),
        ("half a key", vec![(CaFile::Key, key.as_bytes()[..key.len() / 2].to_vec())], &["ca-key.pem"]),
        ("no chain", one(CaFile::Chain, &["lower.pem"]), &["does not verify against root-cert.pem", "trusted-root"]),
        ("a leaf in the chain", one(CaFile::Chain, &["upper.pem", "leaf.pem"]), &["cert-chain.pem", "signing-ca"]),
        ("another root", one(CaFile::Roots, &["other.pem"]), &["root-cert.pem", "trusted-root"]),
        ("no root", vec![(CaFile::Roots, Vec::new())], &["root-cert.pem"]),
        ("a list that is none", vec![(CaFile::Crl, b"hello".to_vec())], &["ca-crl.pem"]),
        ("taken back", vec![(CaFile::Crl, revoked)], &["revoked"]),
        (
            "of another trust domain",
            [one(CaFile::Certificate, &["foreign.pem"]), one(CaFile::Key, &["foreign.key"])].concat(),
            &["signing-trust-domain"],
        ),
        ("too large", vec![(CaFile::Chain, vec![b'x'; 1024 * 1024 + 1])], &["cert-chain.pem", "larger than"]),
    ];
    // OpenSSL's certificates begin in the second they are made.
    pki.clock.set_wall(SystemTime::now());
    for (n, (name, change, reasons)) in cases.iter().enumerate() {
        for (file, content) in change {
            pki.put_bytes(*file, content);
        }
        for _ in 0..2 {
            let refused = issuer.reload().await.expect_err(name).to_string();
            assert!(reasons.iter().all(|r| refused.contains(r)), "{name}: {refused}");
            assert!(!refused.contains(key.lines().nth(1).unwrap()), "{name} shows the key");
        }
        let status = issuer.status();
        assert_eq!((status.serial.as_str(), status.reloads), (before.serial.as_str(), 0), "{name}");
        assert!(status.refused.is_some(), "{name}");
        assert_eq!(status.refusals, n as u64 + 1, "{name}: the same set counts once");
        assert!(issue(&issuer, KeyType::EcdsaP256, Duration::from_secs(60)).await.is_ok(), "{name}");
        for (file, content) in &good {
            match content {
                Some(content) => pki.put_bytes(*file, content),
                None => drop(fs::remove_file(pki.set().join(file.name()))),
            }
        }
        assert_eq!(issuer.reload().await.unwrap(), Reload::Unchanged, "{name}");
        assert_eq!(issuer.status().refused, None, "{name}");
    }

    fs::remove_file(pki.set().join(CaFile::Key.name())).unwrap();
    let refused = issuer.reload().await.unwrap_err().to_string();
    assert!(refused.contains("ca-key.pem") && refused.contains("cannot read"), "{refused}");
    pki.put(CaFile::Key, &["lower.key"]);
    // A set that would have to be refused by now: a start with it fails, by name.
    pki.clock.set_wall(ended);
    let config = PluggedInConfig::new(trust_domain());
    let refused = PluggedIn::open(pki.set(), config, Arc::new(pki.clock.clone())).await.unwrap_err().to_string();
    assert!(refused.contains("ca-cert.pem") && refused.contains("expired at"), "{refused}");
}

#[tokio::test]
async fn a_new_set_is_taken_while_certificates_are_issued() {
    let pki = Pki::new(P256);
    let issuer = Arc::new(pki.open().await.unwrap());
    let mut bundles = issuer.subscribe();
    let first = issue(&issuer, KeyType::EcdsaP256, Duration::from_secs(600)).await.unwrap();
    let watch = issuer.watch(Duration::from_secs(10));

    // As Kubernetes does it: a folder beside, and one step that makes the links lead there.
    let next = pki.folder.path().join("next");
    fs::create_dir(&next).unwrap();
    certificate(&pki.made(), "root2", "root2", "/O=root2", ROOT, "3000");
    pki.make("lower2", "root2", SIGNING, "50");
    let both = [pki.read("root.pem"), pki.read("root2.pem")].concat();
    fs::write(next.join("root-cert.pem"), &both).unwrap();
    fs::write(next.join("ca-cert.pem"), pki.read("lower2.pem")).unwrap();
    fs::write(next.join("ca-key.pem"), pki.read("lower2.key")).unwrap();
    fs::rename(pki.set(), pki.folder.path().join("old")).unwrap();
    std::os::unix::fs::symlink(&next, pki.set()).unwrap();
    pki.clock.set_wall(SystemTime::now());
    // The files are read on another thread: the clock moves on until that has been done.
    let mut looks = 0;
    while tokio::time::timeout(Duration::from_millis(20), bundles.changed()).await.is_err() {
        pki.clock.advance(Duration::from_secs(10));
        looks += 1;
        assert!(looks < 500, "{:?}", issuer.status());
    }
    assert_eq!(bundles.borrow_and_update().roots().len(), 2);
    let second = issue(&issuer, KeyType::EcdsaP256, Duration::from_secs(600)).await.unwrap();
    let now = pki.clock.now().wall;
    for issued in [&first, &second] {
        let (leaf, rest) = issued.chain.split_first().unwrap();
        verify(leaf, rest, &issuer.trust_bundle(), now).unwrap();
    }
    openssl_believes(pki.folder.path(), &certificates_to_pem(&second.chain), &both);
    assert_ne!(first.root, second.root);
    assert_eq!((issuer.status().reloads, issuer.status().refusals), (1, 0));
    drop(watch);
}

/// Lists by OpenSSL: what they take back is refused by whoever verifies with the bundle, at every level.
#[tokio::test]
async fn revocation_lists_are_asked() {
    let pki = Pki::new(P256);
    pki.make("middle", "root", SIGNING, "50");
    for name in ["leaf", "sibling"] {
        certificate(&pki.made(), name, "upper", "/", LEAF, "10");
    }
    certificate(&pki.made(), "below", "middle", "/", LEAF, "10");
    let crl = |signer: &str, names: &[&str]| {
        pki.revoke(signer, names);
        pki.read("crl.pem")
    };
    let lists = [crl("upper", &["leaf"]), crl("root", &["middle"])].concat();
    pki.put_bytes(CaFile::Crl, &lists);
    let issuer = pki.open().await.unwrap();
    let bundle = issuer.trust_bundle();
    assert_eq!(bundle.crls().iter().map(Crl::revoked).collect::<Vec<_>>(), [1, 1]);
    let check = |name: &str, above: &str, now: SystemTime| {
        let read = |name: &str| certificates_from_pem(&pki.read(&format!("{name}.pem"))).unwrap();
        verify(&read(name)[0], &read(above), &bundle, now).map(|_| ()).map_err(|b| b.rule)
    };
    let now = SystemTime::now();
    assert_eq!(check("leaf", "upper", now), Err(Rule::Revoked));
    assert_eq!(check("sibling", "upper", now), Ok(()));
    assert_eq!(
        check("below", "middle", now),
        Err(Rule::Revoked),
        "a signer that was taken back takes its leaves along"
    );
    assert!(issue(&issuer, KeyType::EcdsaP256, Duration::from_secs(60)).await.is_ok());
    // The lists say that a next one comes within 30 days.
    let late = now + Duration::from_secs(9 * 86400);
    assert_eq!(check("leaf", "upper", late), Err(Rule::Revoked), "a list is asked however old it is");

    // A list by the right name and a wrong key says nothing about anybody: refused rather than passed over.
    let forger = Pki::new(P256);
    forger.revoke("upper", &[]);
    pki.put_bytes(CaFile::Crl, &forger.read("crl.pem"));
    let refused = issuer.reload().await.unwrap_err().to_string();
    assert!(refused.contains("revocation-list"), "{refused}");
    // PEM both ways.
    let again = Crl::all_from_pem(bundle.crls()[0].to_pem().as_bytes()).unwrap();
    assert_eq!(again[0], bundle.crls()[0]);
}
