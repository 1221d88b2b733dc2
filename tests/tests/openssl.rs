//! OpenSSL looks at our certificates, and we at its.

use std::{fs, path::Path, process::Command, time::Duration};

use mesh_tests::{peer, process::Process, wait};

fn openssl(args: &[&str]) -> (bool, String) {
    let out = Command::new("openssl").args(args).stdin(std::process::Stdio::null()).output();
    let out = out.expect("openssl is needed: install it (Debian: apt-get install openssl)");
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.success(), text)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn openssl_verifies_the_control_plane() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let dir = folder.path();
    fs::create_dir(dir.join("config")).expect("a folder can be made");
    let addresses = dir.join("addresses.json");
    let mut command = Command::new(peer::mesh());
    command.args(["control-plane", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"]);
    command.arg(dir.join("config")).arg("--state").arg(dir.join("state")).arg("--addresses-path").arg(&addresses);
    let plane = Process::start(&mut command, &dir.join("log"));
    let facts: serde_json::Value = wait::until("the control plane is up", Duration::from_secs(20), || {
        serde_json::from_str(&fs::read_to_string(&addresses).ok()?).ok()
    });
    let listen = facts["listen"].as_str().expect("an address");

    let root =
        Command::new(peer::mesh()).args(["ca", "root", "--state"]).arg(dir.join("state")).output().expect("mesh runs");
    assert!(root.status.success(), "{}", String::from_utf8_lossy(&root.stderr));
    let root_file = dir.join("root.pem");
    fs::write(&root_file, &root.stdout).expect("the root can be written");

    let (ok, text) =
        openssl(&["s_client", "-connect", listen, "-CAfile", path(&root_file), "-verify_return_error", "-showcerts"]);
    assert!(ok && text.contains("Verify return code: 0 (ok)"), "{text}\n{}", plane.output());
    let start = text.find("-----BEGIN CERTIFICATE-----").expect("a certificate");
    let end = text[start..].find("-----END CERTIFICATE-----").expect("its end") + start + 25;
    let leaf = dir.join("leaf.pem");
    fs::write(&leaf, format!("{}\n", &text[start..end])).expect("the leaf can be written");

    let (_, text) = openssl(&["x509", "-in", path(&leaf), "-noout", "-text"]);
    assert!(text.contains("URI:spiffe://cluster.local/ns/istio-system/sa/istiod"), "{text}");
    assert!(text.contains("CA:FALSE") && text.contains("Digital Signature"), "{text}");

    // The same leaf by our own rules, now and long after its end.
    let verify = |time: &str| {
        let mut command = Command::new(peer::mesh());
        command.args(["ca", "verify", "--trust", path(&root_file), path(&leaf)]);
        if !time.is_empty() {
            command.args(["--time", time]);
        }
        command.output().expect("mesh runs")
    };
    assert_eq!(verify("").status.code(), Some(0), "{:?}", verify(""));
    let late = verify("2099-01-01T00:00:00Z");
    assert_eq!(late.status.code(), Some(1), "{late:?}");
}

#[test]
fn certificates_made_by_openssl_are_judged_by_the_profile() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let dir = folder.path();
    let (root_key, root) = (dir.join("root.key"), dir.join("root.pem"));
    let (ok, text) = openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        path(&root_key),
        "-out",
        path(&root),
        "-days",
        "30",
        "-subj",
        "/O=test",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
        "-addext",
        "subjectAltName=URI:spiffe://example.org",
    ]);
    assert!(ok, "{text}");
    let issue = |name: &str, extensions: &str| {
        let (key, csr, cert, ext) = (dir.join("k"), dir.join("csr"), dir.join(name), dir.join("ext"));
        fs::write(&ext, extensions).expect("the extensions can be written");
        let (ok, text) = openssl(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            path(&key),
            "-out",
            path(&csr),
            "-subj",
            "/O=leaf",
        ]);
        assert!(ok, "{text}");
        let (ok, text) = openssl(&[
            "x509",
            "-req",
            "-in",
            path(&csr),
            "-CA",
            path(&root),
            "-CAkey",
            path(&root_key),
            "-CAcreateserial",
            "-out",
            path(&cert),
            "-days",
            "10",
            "-extfile",
            path(&ext),
        ]);
        assert!(ok, "{text}");
        cert
    };
    let base = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n";
    let cases = [
        ("good", format!("{base}subjectAltName=URI:spiffe://example.org/ns/a/sa/b\n"), 0),
        ("no-uri", format!("{base}subjectAltName=DNS:a.example.org\n"), 1),
        ("two-uris", format!("{base}subjectAltName=URI:spiffe://example.org/a,URI:spiffe://example.org/b\n"), 1),
        ("foreign-domain", format!("{base}subjectAltName=URI:spiffe://other.org/a\n"), 1),
        ("ca", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature\nsubjectAltName=URI:spiffe://example.org/a\n".into(), 1),
        ("cert-sign", "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyCertSign\nsubjectAltName=URI:spiffe://example.org/a\n".into(), 1),
        ("no-signature", "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,keyEncipherment\nsubjectAltName=URI:spiffe://example.org/a\n".into(), 1),
    ];
    for (name, extensions, code) in cases {
        let cert = issue(name, &extensions);
        let out = Command::new(peer::mesh())
            .args(["ca", "verify", "--trust", path(&root), path(&cert)])
            .output()
            .expect("mesh runs");
        assert_eq!(out.status.code(), Some(code), "{name}: {out:?}");
    }
}
