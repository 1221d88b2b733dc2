//! The example of a Rust service, called through a rotation by rustls and by OpenSSL.

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use mesh_ca::{
    agent::{AgentConfig, IdentityWatch, IssuerSource, WorkloadIdentity},
    spiffe::{X509Svid, certificates_to_pem},
    tls::{self, PeerPolicy},
};
use rustls_pki_types::CertificateDer;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;

use crate::fixture::{Ca, workload};

/// Its `main` is run by hand.
#[allow(dead_code)]
#[path = "../../examples/rotating_mtls.rs"]
mod rotating_mtls;

/// What the service says, and the certificate that it shows.
async fn call(address: SocketAddr, caller: &IdentityWatch) -> std::io::Result<(String, CertificateDer<'static>)> {
    let config = tls::client_config(caller, PeerPolicy::id(workload("alice"))).unwrap();
    let tcp = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(address.ip().into(), tcp).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    Ok((answer, shown))
}

/// The same by `openssl s_client`, which verifies the chain; its whole output.
async fn call_by_openssl(ca: &Ca, address: SocketAddr, caller: &X509Svid) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let roots = certificates_to_pem(ca.bundles().iter().flat_map(|b| b.roots()).map(|r| r.certificate()));
    let (chain, key, roots) =
        (file("chain.pem", &caller.chain_pem()), file("key.pem", &caller.key().to_pem()), file("roots.pem", &roots));
    let address = address.to_string();
    let run = move || {
        let arguments = [
            "s_client",
            "-connect",
            &address,
            "-cert",
            &chain,
            "-key",
            &key,
            "-CAfile",
            &roots,
            "-verify_return_error",
            "-ign_eof",
        ];
        let out = Command::new("openssl").args(arguments).stdin(Stdio::null()).output();
        let out = out.expect("the tests need the openssl command; on Debian: apt-get install openssl");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let answer = tokio::task::spawn_blocking(run).await.unwrap();
    drop(folder);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_of_the_example_goes_on_through_rotations() {
    let ca = Ca::new().await;
    let config = AgentConfig::new(workload("alice")).with_lifetime(Duration::from_secs(3600));
    let alice = WorkloadIdentity::spawn(config, Arc::new(IssuerSource::new(ca.issuer.clone())), ca.clock());
    alice.watch().ready().await.unwrap();
    let (bob, carol) = (ca.identity("bob").await, ca.identity("carol").await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = tokio::spawn(rotating_mtls::serve(listener, alice.watch(), workload("bob")));

    let mut shown = Vec::new();
    for rotation in 0..3 {
        let (answer, certificate) = call(address, &bob).await.unwrap();
        assert_eq!(answer, "hello");
        let held = alice.watch().svid().unwrap();
        assert_eq!(certificate, held.chain()[0], "what is in force is shown");
        assert!(!shown.contains(&certificate), "rotation {rotation}");
        shown.push(certificate);
        let answer = call_by_openssl(&ca, address, &bob.svid().unwrap()).await;
        assert!(answer.contains("hello") && answer.contains("Verify return code: 0 (ok)"), "{answer}");
        assert!(call(address, &carol).await.is_err(), "carol may not call");

        let mut states = alice.watch().subscribe();
        let before = states.borrow_and_update().rotations;
        alice.renew_now();
        states.wait_for(|s| s.rotations > before).await.unwrap();
    }
    service.abort();
}
