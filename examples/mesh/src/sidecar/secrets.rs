//! The agent's secrets for the data plane: `default` (the own certificate and key) and `ROOTCA` (whom to trust).

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use mesh_ca::{
    agent::{IdentityState, IdentityWatch},
    spiffe::certificates_to_pem,
};
use mesh_proxy::{
    model::{Secret, SecretValue},
    tls::SecretSource,
};
use mesh_xds::{
    Resource,
    server::XdsServer,
    store::{Batch, SingleView, View},
};
use mesh_xds_api::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3 as proto,
};
use tokio::{net::UnixListener, sync::watch};
use tokio_stream::wrappers::UnixListenerStream;

/// Name of the own certificate, as Istio has it.
const OWN: &str = "default";
/// Name of the trust bundle, as Istio has it.
const ROOTS: &str = "ROOTCA";

/// Secrets within this process: keys never leave it.
#[derive(Debug)]
pub(super) struct IdentitySecrets {
    identity: IdentityWatch,
}

impl IdentitySecrets {
    pub(super) fn new(identity: IdentityWatch) -> Self {
        Self { identity }
    }
}

impl SecretSource for IdentitySecrets {
    fn watch(&self, name: &str) -> watch::Receiver<Option<Arc<Secret>>> {
        let make: fn(&IdentityState) -> Option<SecretValue> = match name {
            OWN => own,
            ROOTS => roots,
            _ => |_| None,
        };
        let name = name.to_owned();
        let mut states = self.identity.subscribe();
        let secret =
            move |state: &IdentityState| make(state).map(|value| Arc::new(Secret { name: name.clone(), value }));
        let (sender, receiver) = watch::channel(secret(&states.borrow_and_update()));
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    changed = states.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
                let now = secret(&states.borrow_and_update());
                // Without a valid certificate the last one stays: peers refuse it, which says more than a missing one.
                if now.is_some() {
                    sender.send_if_modified(|held| {
                        let changed = *held != now;
                        *held = now;
                        changed
                    });
                }
            }
        });
        receiver
    }
}

fn own(state: &IdentityState) -> Option<SecretValue> {
    let svid = state.svid.as_ref()?;
    Some(SecretValue::Certificate { chain: svid.chain().to_vec(), key: Arc::new(svid.key().as_der().clone_key()) })
}

fn roots(state: &IdentityState) -> Option<SecretValue> {
    let roots: Vec<_> = state.bundles.iter().flat_map(|b| b.roots()).map(|r| r.certificate().clone()).collect();
    (!roots.is_empty()).then(|| SecretValue::Validation { roots, crls: Vec::new(), rules: Arc::default() })
}

/// Serves the secrets by SDS on a Unix socket that only this user may open, for as long as the process runs.
pub(super) async fn serve_sds(socket: &Path, identity: IdentityWatch) -> anyhow::Result<()> {
    let view = View::new();
    let mut states = identity.subscribe();
    view.update(resources(&states.borrow_and_update()));
    tokio::spawn({
        let view = view.clone();
        async move {
            while states.changed().await.is_ok() {
                view.update(resources(&states.borrow_and_update()));
            }
        }
    });
    let listener =
        bind(socket).with_context(|| format!("cannot listen on {}: choose another --state", socket.display()))?;
    let server = XdsServer::builder(SingleView(view)).build();
    tokio::spawn(async move {
        let serving = tonic::transport::Server::builder().add_routes(server.routes());
        if let Err(error) = serving.serve_with_incoming(UnixListenerStream::new(listener)).await {
            tracing::error!(%error, "the socket for secrets ended");
        }
    });
    Ok(())
}

fn bind(socket: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    // A socket of an earlier process cannot be bound again.
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Some(folder) = socket.parent() {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn resources(state: &IdentityState) -> Batch {
    let inline =
        |bytes: Vec<u8>| DataSource { specifier: Some(Specifier::InlineBytes(bytes.into())), ..Default::default() };
    let mut batch = Batch::new();
    if let Some(svid) = &state.svid {
        let certificate = proto::TlsCertificate {
            certificate_chain: Some(inline(svid.chain_pem().into_bytes())),
            private_key: Some(inline(svid.key().to_pem().as_bytes().to_vec())),
            ..Default::default()
        };
        let secret = proto::Secret { name: OWN.into(), r#type: Some(proto::secret::Type::TlsCertificate(certificate)) };
        batch = batch.put(Resource::pack(OWN, &secret));
    }
    let roots: Vec<_> = state.bundles.iter().flat_map(|b| b.roots()).map(|r| r.certificate()).collect();
    let context = proto::CertificateValidationContext {
        trusted_ca: Some(inline(certificates_to_pem(roots).into_bytes())),
        ..Default::default()
    };
    let secret = proto::Secret { name: ROOTS.into(), r#type: Some(proto::secret::Type::ValidationContext(context)) };
    batch.put(Resource::pack(ROOTS, &secret))
}
