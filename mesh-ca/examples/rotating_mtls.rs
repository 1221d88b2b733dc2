//! A Rust service with mutual TLS whose certificates rotate every few seconds, and a client that calls it.
//!
//! ```text
//! cargo run -p mesh-ca --example rotating_mtls
//! ```
//!
//! Prints one line per call: who answered, and the serial numbers of both certificates at that moment.

use std::{error::Error, io, sync::Arc, time::Duration};

use mesh_ca::{
    agent::{AgentConfig, IdentityWatch, IssuerSource, WorkloadIdentity},
    clock::SystemClock,
    issuer::{DirectoryStore, SelfSigned, SelfSignedConfig},
    spiffe::{SpiffeId, TrustDomain},
    tls::{self, ClientAuth, PeerPolicy},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The service: `caller` alone may call it. Its configuration is made once and never touched again: each handshake shows the
/// certificate in force, and verifies by the roots in force.
pub(crate) async fn serve(listener: TcpListener, identity: IdentityWatch, caller: SpiffeId) -> io::Result<()> {
    let config =
        tls::server_config(&identity, ClientAuth::Required, PeerPolicy::id(caller)).map_err(io::Error::other)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (tcp, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // Who may not call is told so by TLS.
            let mut stream = acceptor.accept(tcp).await?;
            stream.write_all(b"hello").await?;
            stream.shutdown().await
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A CA in a folder. In a mesh it lives in the control plane, and `RemoteCa` takes the place of `IssuerSource`.
    let folder = std::env::temp_dir().join(format!("rotating-mtls-{}", std::process::id()));
    let domain = TrustDomain::parse("example.org")?;
    let store = DirectoryStore::open(&folder)?;
    let ca = Arc::new(SelfSigned::open(&store, SelfSignedConfig::new(domain.clone()), Arc::new(SystemClock)).await?);
    let identity = |account: &str| -> Result<_, Box<dyn Error>> {
        let id = SpiffeId::for_workload(&domain, "shop", account)?;
        let config = AgentConfig::new(id.clone()).with_lifetime(Duration::from_secs(4));
        let source = Arc::new(IssuerSource::new(ca.clone()));
        Ok((id, WorkloadIdentity::spawn(config, source, Arc::new(SystemClock))))
    };
    let ((alice_id, alice), (bob_id, bob)) = (identity("alice")?, identity("bob")?);
    alice.watch().ready().await.ok_or("alice was stopped")?;
    bob.watch().ready().await.ok_or("bob was stopped")?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, alice.watch(), bob_id));

    // The client: calls whoever is alice, at whatever address.
    let client = TlsConnector::from(Arc::new(tls::client_config(&bob.watch(), PeerPolicy::id(alice_id.clone()))?));
    for _ in 0..8 {
        let mut stream = client.connect(address.ip().into(), TcpStream::connect(address).await?).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let serial = |who: &WorkloadIdentity| who.watch().svid().map(|s| s.serial()[..8].to_owned());
        println!("{alice_id} says {answer}; serials {:?} and {:?}", serial(&alice), serial(&bob));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
