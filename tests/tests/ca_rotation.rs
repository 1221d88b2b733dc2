//! The authority of `mesh control-plane`, from the command line: its root changes under traffic, its state says so, and a
//! folder of somebody else's files takes its place.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use mesh_tests::{control_plane::ControlPlane, demo::Demo, peer, process::Process, wait};
use serde_json::Value;

fn mesh(args: &[&str]) -> Output {
    Command::new(peer::mesh()).args(args).output().expect("mesh runs")
}

fn openssl(folder: &Path, args: &[&str]) -> (bool, String) {
    let out = Command::new("openssl").args(args).current_dir(folder).stdin(Stdio::null()).output();
    let out = out.expect("openssl is needed: install it (Debian: apt-get install openssl)");
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.success(), text)
}

/// `mesh ca rotate STEP` at an admin address: exit code and what it says.
fn rotate(step: &str, admin: &str) -> (Option<i32>, Value) {
    let out = mesh(&["ca", "rotate", step, "--control-plane", admin, "--output", "json"]);
    let said = [out.stdout.as_slice(), out.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&said).into_owned();
    (out.status.code(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[test]
fn the_root_of_a_running_mesh_changes_and_no_request_fails() {
    let demo = Demo::start(&["--duration", "80s", "--certificate-ttl", "16s", "--rate", "20"]);
    let admin = demo.control_plane_admin().to_string();
    let (code, steady) = rotate("status", &admin);
    assert_eq!((code, &steady["phase"]), (Some(0), &"steady".into()), "{steady}");
    let root = steady["roots"][0]["id"].clone();
    let (code, started) = rotate("start", &admin);
    assert_eq!((code, &started["phase"]), (Some(0), &"distributing".into()), "{started}");
    let (code, refused) = rotate("start", &admin);
    assert_eq!(code, Some(1), "{refused}");
    let mut phases = vec!["distributing".to_owned()];
    let last = wait::until("the root has changed", Duration::from_secs(75), || {
        let (_, status) = rotate("status", &admin);
        let phase = status["phase"].as_str().expect("a phase").to_owned();
        if phases.last() != Some(&phase) {
            phases.push(phase.clone());
        }
        (phase == "steady").then_some(status)
    });
    assert_eq!(phases, ["distributing", "activated", "tainted", "steady"]);
    assert_ne!(last["roots"][0]["id"], root);
    assert_eq!((last["roots"].as_array().map(Vec::len), &last["sequence"]), (Some(1), &3.into()), "{last}");
    let logs = demo.logs();
    let (summary, code) = demo.finish(Duration::from_secs(120));
    assert_eq!((code, &summary["unexpected_failures"]), (0, &serde_json::json!(0)), "{summary:#}\n{logs}");
}

#[test]
fn an_operator_is_told_and_obeyed() {
    let plane = ControlPlane::start(&[]);
    let admin = plane.admin.to_string();
    for name in [
        "citadel_server_root_cert_expiry_timestamp",
        "citadel_server_cert_chain_expiry_timestamp",
        "mesh_ca_serving_cert_expiry_seconds",
        "mesh_ca_root_rotation_phase{phase=\"steady\"}",
    ] {
        assert!(plane.metrics().get(name).is_some_and(|v| *v > 0), "{name}: {:?}", plane.metrics());
    }
    assert_eq!(plane.get("/ready").status, 200);

    // A second one on the same folder is told who holds it.
    let second = mesh(
        &["control-plane", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"]
            .into_iter()
            .chain([
                plane.folder().join("config").to_str().expect("UTF-8"),
                "--state",
                plane.state().to_str().expect("UTF-8"),
            ])
            .collect::<Vec<_>>(),
    );
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains("is in use by process") && said.contains("mesh"), "{said}");

    // The roots in force are public at each phase, and OpenSSL believes the control plane by them.
    let believes = || {
        let roots = plane.roots();
        let listen = plane.listen.to_string();
        let args = ["s_client", "-connect", &listen, "-CAfile", roots.to_str().expect("UTF-8"), "-verify_return_error"];
        let (ok, text) = openssl(plane.folder(), &args);
        assert!(ok && text.contains("Verify return code: 0 (ok)"), "{text}\n{}", plane.log());
        fs::read_to_string(roots).expect("a file").matches("BEGIN CERTIFICATE").count()
    };
    assert_eq!(believes(), 1);
    assert_eq!(rotate("abort", &admin).0, Some(1), "there is nothing to abort");
    assert_eq!(rotate("start", &admin).0, Some(0));
    assert_eq!(believes(), 2);
    assert_eq!(rotate("abort", &admin).0, Some(0));
    assert_eq!(believes(), 1);
    assert_eq!(rotate("start", &admin).0, Some(0));
    let (code, approved) = rotate("approve", &admin);
    assert_eq!((code, &approved["approved"]), (Some(0), &true.into()), "{approved}");
    wait::until("the new root signs", Duration::from_secs(10), || {
        (rotate("status", &admin).1["phase"] == "activated").then_some(())
    });
    assert_eq!(believes(), 2);
    let text = mesh(&["ca", "rotate", "status", "--control-plane", &admin]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("phase     activated since 2") && text.contains("signs, ends 2"), "{text}");

    // Nothing is done for a web page.
    let forged = mesh_tests::process::request("POST", plane.admin, "admin", "/ca/rotation/abort", &[]);
    assert_eq!(forged.expect("an answer").status, 403);
    let unknown = mesh(&["ca", "revoke", "00:ff", "--control-plane", &admin]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert_eq!(mesh(&["ca", "revoke", "zz", "--control-plane", &admin]).status.code(), Some(2));

    // The control plane's own certificate is taken back: it stands on the list, by its serial number.
    let listen = plane.listen.to_string();
    let (_, shown) = openssl(plane.folder(), &["s_client", "-connect", &listen]);
    let start = shown.find("-----BEGIN CERTIFICATE-----").expect("a certificate");
    fs::write(plane.folder().join("leaf.pem"), &shown[start..]).expect("a file");
    let (_, serial) = openssl(plane.folder(), &["x509", "-in", "leaf.pem", "-noout", "-serial"]);
    let serial = serial.trim().trim_start_matches("serial=").to_owned();
    let revoked = mesh(&["ca", "revoke", &serial, "--reason", "superseded", "--control-plane", &admin]);
    assert_eq!(revoked.status.code(), Some(0), "{revoked:?}");
    let list = plane.state().join("ca-crl.pem");
    let (_, text) = openssl(plane.folder(), &["crl", "-in", list.to_str().expect("UTF-8"), "-noout", "-text"]);
    let second_list = fs::read_to_string(&list).expect("a file").matches("BEGIN X509 CRL").count();
    assert_eq!(second_list, 2, "one of each root");
    let all = fs::read_to_string(plane.state().join("revocations.json")).expect("a file");
    assert!(all.contains(&serial.to_lowercase()) && text.contains("X509v3 CRL Number"), "{all}\n{text}");
}

#[test]
fn a_folder_of_files_is_the_authority() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let dir = folder.path();
    for made in ["config", "cacerts"] {
        fs::create_dir(dir.join(made)).expect("a folder can be made");
    }
    let run = |args: &[&str]| {
        let (ok, text) = openssl(&dir.join("cacerts"), args);
        assert!(ok, "{text}");
    };
    let extensions = "[root]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectAltName=URI:spiffe://cluster.local\n";
    fs::write(dir.join("cacerts/ext"), extensions).expect("a file");
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let root = [
        "req",
        "-x509",
        "-keyout",
        "root-key.pem",
        "-out",
        "root-cert.pem",
        "-days",
        "30",
        "-subj",
        "/O=files/CN=root",
    ];
    let root_extensions =
        ["-addext", "keyUsage=critical,keyCertSign,cRLSign", "-addext", "subjectAltName=URI:spiffe://cluster.local"];
    run(&[&root[..], &key, &root_extensions].concat());
    let request = ["req", "-new", "-keyout", "ca-key.pem", "-out", "ca.csr", "-subj", "/O=files/CN=intermediate"];
    run(&[&request[..], &key].concat());
    run(&[
        "x509",
        "-req",
        "-in",
        "ca.csr",
        "-CA",
        "root-cert.pem",
        "-CAkey",
        "root-key.pem",
        "-CAcreateserial",
        "-out",
        "ca-cert.pem",
        "-days",
        "20",
        "-extfile",
        "ext",
        "-extensions",
        "root",
    ]);

    let addresses = dir.join("addresses.json");
    let mut command = Command::new(peer::mesh());
    command.args(["control-plane", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"]);
    command.arg(dir.join("config")).arg("--state").arg(dir.join("state")).arg("--addresses-path").arg(&addresses);
    command.arg("--ca-dir").arg(dir.join("cacerts"));
    let mut plane = Process::start(&mut command, &dir.join("log"));
    let facts: Value = wait::until("the control plane is up", Duration::from_secs(20), || {
        assert!(plane.ended().is_none(), "{}", plane.output());
        serde_json::from_str(&fs::read_to_string(&addresses).ok()?).ok()
    });
    let (listen, admin) = (facts["listen"].as_str().expect("an address"), facts["admin"].as_str().expect("an address"));
    let args = ["s_client", "-connect", listen, "-CAfile", "cacerts/root-cert.pem", "-verify_return_error"];
    let (ok, text) = openssl(dir, &args);
    assert!(ok && text.contains("Verify return code: 0 (ok)") && text.contains("intermediate"), "{text}");
    let (code, said) = rotate("start", admin);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.as_str().is_some_and(|s| s.contains("--ca-dir")), "it says what to do: {said}");
}
