//! Every rule of the X.509-SVID profile, broken one at a time by certificates that OpenSSL makes.

use std::{fs, path::Path, time::SystemTime};

use mesh_ca::spiffe::{
    Rule, RuleBroken, TrustBundle, TrustBundles, TrustDomain, VerifiedSvid, certificates_from_pem, verify_pem,
};

use crate::openssl::run;

pub(crate) const ROOT: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
                    subjectAltName=URI:spiffe://cluster.local";
pub(crate) const LEAF: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
                    extendedKeyUsage=serverAuth,clientAuth\n\
                    subjectAltName=critical,URI:spiffe://cluster.local/ns/default/sa/a";

/// Makes `name.pem` and `name.key`, signed by `signer` (itself when that is the same name).
pub(crate) fn certificate(folder: &Path, name: &str, signer: &str, subject: &str, extensions: &str, days: &str) {
    fs::write(folder.join("ext.cnf"), extensions).unwrap();
    let (key, out) = (format!("{name}.key"), format!("{name}.pem"));
    if !folder.join(&key).exists() {
        run(folder, &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &key]);
    }
    run(folder, &["req", "-new", "-key", &key, "-subj", subject, "-out", "new.csr"]);
    let (signer_pem, signer_key) = (format!("{signer}.pem"), format!("{signer}.key"));
    let mut arguments = vec!["x509", "-req", "-in", "new.csr", "-extfile", "ext.cnf", "-days", days, "-out", &out];
    if name == signer {
        arguments.extend(["-key", &key]);
    } else {
        arguments.extend(["-CA", &signer_pem, "-CAkey", &signer_key]);
    }
    run(folder, &arguments);
}

struct Pki {
    folder: tempfile::TempDir,
}

impl Pki {
    fn new() -> Self {
        Self::of("cluster.local")
    }

    /// With a root of this trust domain.
    fn of(trust_domain: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = ROOT.replace("spiffe://cluster.local", &format!("spiffe://{trust_domain}"));
        certificate(folder.path(), "root", "root", "/O=test", &root, "30");
        Self { folder }
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(format!("{name}.pem"))).unwrap()
    }

    fn make(&self, name: &str, signer: &str, subject: &str, extensions: &str) {
        certificate(self.folder.path(), name, signer, subject, extensions, "10");
    }

    /// Verifies a leaf with these extensions, signed by the root.
    fn leaf(&self, subject: &str, extensions: &str) -> Result<VerifiedSvid, RuleBroken> {
        self.make("leaf", "root", subject, extensions);
        verify_pem(&self.read("leaf"), None, &self.read("root"), SystemTime::now())
    }

    /// Verifies a good leaf below an intermediate with these extensions.
    fn below(&self, intermediate: &str) -> Result<VerifiedSvid, RuleBroken> {
        self.make("middle", "root", "/O=middle", intermediate);
        self.make("leaf", "middle", "/", LEAF);
        verify_pem(&self.read("leaf"), Some(&self.read("middle")), &self.read("root"), SystemTime::now())
    }
}

#[test]
fn leaf_rules() {
    let pki = Pki::new();
    assert_eq!(pki.leaf("/", LEAF).unwrap().id.as_str(), "spiffe://cluster.local/ns/default/sa/a");
    assert!(pki.leaf("/CN=a", &LEAF.replace("Name=critical,", "Name=")).is_ok(), "with a subject the SAN may be plain");
    assert!(pki.leaf("/", &LEAF.replace("URI:", "DNS:a.example,IP:10.0.0.1,URI:")).is_ok(), "other names are fine");
    let no_eku = LEAF.replace("extendedKeyUsage=serverAuth,clientAuth\n", "");
    assert!(pki.leaf("/", &no_eku).is_ok(), "extended key usage may be absent");

    let san = "critical,URI:spiffe://cluster.local/ns/default/sa/a";
    let usage = "critical,digitalSignature";
    let cases = [
        (Rule::OneUriSan, LEAF.replace(san, &format!("{san},URI:spiffe://cluster.local/ns/b/sa/b"))),
        (Rule::OneUriSan, LEAF.replace(san, &format!("{san},URI:https://example.com"))),
        (Rule::OneUriSan, LEAF.replace(san, "critical,DNS:example.com")),
        (Rule::OneUriSan, LEAF.replace(&format!("subjectAltName={san}"), "")),
        (Rule::SpiffeId, LEAF.replace(san, "critical,URI:https://cluster.local/a")),
        (Rule::SpiffeId, LEAF.replace(san, "critical,URI:spiffe://Cluster.local/a")),
        (Rule::SpiffeId, LEAF.replace(san, "critical,URI:spiffe://cluster.local/a/")),
        (Rule::LeafPath, LEAF.replace(san, "critical,URI:spiffe://cluster.local")),
        (Rule::LeafNotCa, LEAF.replace("CA:FALSE", "CA:TRUE")),
        (Rule::KeyUsagePresent, LEAF.replace(&format!("keyUsage={usage}\n"), "")),
        (Rule::KeyUsageCritical, LEAF.replace(usage, "digitalSignature")),
        (Rule::LeafDigitalSignature, LEAF.replace(usage, "critical,keyEncipherment")),
        (Rule::LeafNoKeyCertSign, LEAF.replace(usage, "critical,digitalSignature,keyCertSign")),
        (Rule::LeafNoCrlSign, LEAF.replace(usage, "critical,digitalSignature,cRLSign")),
        (Rule::SanCritical, LEAF.replace("critical,URI", "URI")),
        (Rule::LeafExtendedKeyUsage, LEAF.replace("serverAuth,clientAuth", "serverAuth")),
        (Rule::LeafExtendedKeyUsage, LEAF.replace("serverAuth,clientAuth", "clientAuth")),
        (Rule::CriticalExtension, format!("{LEAF}\n1.2.3.4=critical,ASN1:NULL")),
    ];
    for (rule, extensions) in cases {
        let broken = pki.leaf("/", &extensions).expect_err(rule.name());
        assert_eq!(broken.rule, rule, "{broken}");
    }
}

#[test]
fn signing_rules() {
    let pki = Pki::new();
    let good =
        "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectAltName=URI:spiffe://cluster.local";
    assert_eq!(pki.below(good).unwrap().intermediates, 1);
    let plain = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign";
    assert!(pki.below(plain).is_ok(), "a plain CA need not be an SVID");
    let cases = [
        (Rule::SigningCa, good.replace("CA:TRUE", "CA:FALSE")),
        (Rule::SigningKeyCertSign, good.replace("keyCertSign", "digitalSignature")),
        (Rule::KeyUsagePresent, good.replace("keyUsage=critical,keyCertSign\n", "")),
        (Rule::KeyUsageCritical, good.replace("critical,keyCertSign", "keyCertSign")),
        (Rule::SigningNoPath, good.replace("spiffe://cluster.local", "spiffe://cluster.local/ca")),
        (Rule::SpiffeId, good.replace("spiffe://cluster.local", "spiffe://CLUSTER")),
        (Rule::SigningTrustDomain, good.replace("spiffe://cluster.local", "spiffe://other.org")),
        (Rule::OneUriSan, good.replace("URI:spiffe://cluster.local", "URI:spiffe://cluster.local,URI:spiffe://b")),
        (Rule::SigningExtendedKeyUsage, format!("{good}\nextendedKeyUsage=codeSigning")),
        (Rule::NameConstraints, format!("{good}\nnameConstraints=critical,permitted;URI:.example.com")),
    ];
    for (rule, extensions) in cases {
        let broken = pki.below(&extensions).expect_err(rule.name());
        assert_eq!(broken.rule, rule, "{broken}");
    }
}

#[test]
fn path_rules() {
    let pki = Pki::new();
    // OpenSSL's certificates begin in the second they are made: the time is read when each is verified.
    let now = SystemTime::now;
    let signing = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign";
    // A second level below one that allows none.
    pki.make("upper", "root", "/O=upper", &signing.replace("CA:TRUE", "CA:TRUE,pathlen:0"));
    pki.make("lower", "upper", "/O=lower", signing);
    pki.make("leaf", "lower", "/", LEAF);
    let chain = [pki.read("lower"), pki.read("upper")].concat();
    let broken = verify_pem(&pki.read("leaf"), Some(&chain), &pki.read("root"), now()).unwrap_err();
    assert_eq!(broken.rule, Rule::PathLength, "{broken}");

    // The leaf may bring its chain along, in any order.
    pki.make("upper", "root", "/O=upper", signing);
    pki.make("lower", "upper", "/O=lower", signing);
    pki.make("leaf", "lower", "/", LEAF);
    let full = [pki.read("leaf"), pki.read("upper"), pki.read("lower")].concat();
    assert_eq!(verify_pem(&full, None, &pki.read("root"), now()).unwrap().intermediates, 2);
    let broken = verify_pem(&pki.read("leaf"), None, &pki.read("root"), now()).unwrap_err();
    assert_eq!(broken.rule, Rule::TrustedRoot, "without its chain: {broken}");

    // A root by the same name with another key.
    let impostor = Pki::new();
    impostor.make("leaf", "root", "/", LEAF);
    let broken = verify_pem(&impostor.read("leaf"), None, &pki.read("root"), now()).unwrap_err();
    assert!(matches!(broken.rule, Rule::Signature | Rule::TrustedRoot), "{broken}");

    // Roots that are no signing certificates, or have ended.
    pki.make("leaf", "root", "/", LEAF);
    let leaf = pki.read("leaf");
    certificate(pki.folder.path(), "root", "root", "/O=test", "basicConstraints=critical,CA:TRUE", "30");
    assert!(verify_pem(&leaf, None, &pki.read("root"), now()).is_ok(), "a plain root without key usage");
    let bad_root = ROOT.replace("keyCertSign,cRLSign", "digitalSignature");
    certificate(pki.folder.path(), "root", "root", "/O=test", &bad_root, "30");
    let broken = verify_pem(&leaf, None, &pki.read("root"), now()).unwrap_err();
    assert_eq!(broken.rule, Rule::SigningKeyCertSign, "{broken}");
    certificate(pki.folder.path(), "root", "root", "/O=test", ROOT, "1");
    let later = now() + std::time::Duration::from_secs(2 * 86400);
    let broken = verify_pem(&leaf, None, &pki.read("root"), later).unwrap_err();
    assert_eq!((broken.rule, broken.place.to_string().as_str()), (Rule::Expired, "root"), "{broken}");

    for garbage in [&b""[..], b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert_eq!(verify_pem(garbage, None, &pki.read("root"), now()).unwrap_err().rule, Rule::WellFormed);
        assert_eq!(verify_pem(&leaf, None, garbage, now()).unwrap_err().rule, Rule::WellFormed);
    }
}

/// A root speaks for its own trust domain only, however good its signature.
#[test]
fn trust_domains_are_not_pooled() {
    let (ours, theirs) = (Pki::new(), Pki::of("other.example"));
    let bundle = |pki: &Pki, domain: &str| {
        TrustBundle::from_pem(TrustDomain::parse(domain).unwrap(), &pki.read("root")).unwrap()
    };
    let bundles: TrustBundles =
        [bundle(&ours, "cluster.local"), bundle(&theirs, "other.example")].into_iter().collect();
    let foreign = LEAF.replace("spiffe://cluster.local/", "spiffe://other.example/");
    let verify = |signer: &Pki, extensions: &str| {
        signer.make("leaf", "root", "/", extensions);
        let leaf = certificates_from_pem(&signer.read("leaf")).unwrap().remove(0);
        bundles.verify(&leaf, &[], SystemTime::now()).map(|v| v.id.to_string()).map_err(|b| b.rule)
    };
    assert!(verify(&ours, LEAF).is_ok());
    assert!(verify(&theirs, &foreign).is_ok());
    assert!(matches!(verify(&ours, &foreign), Err(Rule::Signature | Rule::TrustedRoot)));
    assert!(matches!(verify(&theirs, LEAF), Err(Rule::Signature | Rule::TrustedRoot)));
    let unknown = LEAF.replace("spiffe://cluster.local/", "spiffe://third.example/");
    assert_eq!(verify(&ours, &unknown), Err(Rule::TrustDomainKnown));
}

#[test]
fn other_algorithms_of_signers() {
    for key in [
        &["-algorithm", "RSA"][..],
        &["-algorithm", "ED25519"],
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut arguments = vec!["genpkey"];
        arguments.extend(key);
        arguments.extend(["-out", "root.key"]);
        run(folder.path(), &arguments);
        certificate(folder.path(), "root", "root", "/O=test", ROOT, "30");
        let pki = Pki { folder };
        assert!(pki.leaf("/", LEAF).is_ok(), "{key:?}");
    }
}
