//! The agent's secrets for the data plane: `default` (the own certificate and key) and `ROOTCA` (whom to trust).

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use mesh_ca::{
    agent::{IdentityState, IdentityWatch},
    sds::{OWN, ROOTS, SdsConfig, SdsServer},
    spiffe::TrustDomain,
};
use mesh_proxy::{
    model::{Secret, SecretValue},
    tls::SecretSource,
};
use tokio::sync::watch;

/// Secrets within this process: keys never leave it.
#[derive(Debug)]
pub(super) struct IdentitySecrets {
    identity: IdentityWatch,
    trust_domain: TrustDomain,
}

impl IdentitySecrets {
    pub(super) fn new(identity: IdentityWatch, trust_domain: TrustDomain) -> Self {
        Self { identity, trust_domain }
    }
}

impl SecretSource for IdentitySecrets {
    fn watch(&self, name: &str) -> watch::Receiver<Option<Arc<Secret>>> {
        let (name, trust_domain) = (name.to_owned(), self.trust_domain.clone());
        let mut states = self.identity.subscribe();
        let secret = move |state: &IdentityState| {
            let value = match name.as_str() {
                OWN => own(state),
                ROOTS => roots(state, &trust_domain),
                _ => None,
            };
            value.map(|value| Arc::new(Secret { name: name.clone(), value }))
        };
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

/// Of the own trust domain alone: another one's roots would vouch for names of ours.
fn roots(state: &IdentityState, trust_domain: &TrustDomain) -> Option<SecretValue> {
    let bundle = state.bundles.bundle(trust_domain)?;
    let roots: Vec<_> = bundle.roots().iter().map(|r| r.certificate().clone()).collect();
    (!roots.is_empty()).then(|| SecretValue::Validation { roots, crls: Vec::new(), rules: Arc::default() })
}

/// Serves the secrets by SDS on a Unix socket that only this user may open, for as long as the process runs.
pub(super) fn serve_sds(socket: &Path, trust_domain: TrustDomain, identity: &IdentityWatch) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some(folder) = socket.parent() {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
            .with_context(|| format!("cannot close {} to others: choose another --state", folder.display()))?;
    }
    let server = SdsServer::spawn(SdsConfig::new(trust_domain), identity);
    let serving = server
        .bind(socket)
        .with_context(|| format!("cannot listen on {}: choose another --state", socket.display()))?;
    tokio::spawn(async move {
        // The server keeps the secrets up to date for as long as it lives.
        let _server = server;
        if let Err(error) = serving.await {
            tracing::error!(%error, "the socket for secrets ended");
        }
    });
    Ok(())
}
