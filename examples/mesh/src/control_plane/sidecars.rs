//! Addresses at which a sidecar has connected with its identity: where nothing else says whether a workload has one, it is
//! spoken to in mutual TLS from then on.
//!
//! They are kept in a file, so that a control plane that starts anew does not tell anybody to speak plaintext to a workload
//! whose sidecar has not come back yet.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use tokio::sync::watch;

use crate::net;

/// Addresses kept at most; beyond that, labels on the workloads must say who has a sidecar.
const MOST: usize = 100_000;

/// The addresses. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sidecars {
    known: Arc<watch::Sender<BTreeSet<String>>>,
    file: PathBuf,
}

impl Sidecars {
    /// Reads what an earlier process has kept in `file`.
    pub(crate) fn open(file: PathBuf) -> anyhow::Result<Self> {
        let known = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} is damaged: remove it, and sidecars are learnt anew", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        Ok(Self { known: Arc::new(watch::Sender::new(known)), file })
    }

    /// A sidecar has connected from the workload at `address`.
    pub(crate) fn connected(&self, address: String) {
        let new = self.known.send_if_modified(|known| known.len() < MOST && known.insert(address));
        if new {
            let text = serde_json::json!(*self.known.borrow()).to_string();
            if let Err(error) = net::write_atomically(&self.file, text.as_bytes()) {
                tracing::warn!(%error, file = %self.file.display(), "connected sidecars cannot be kept for a restart");
            }
        }
    }

    /// Follows the addresses.
    pub(crate) fn subscribe(&self) -> watch::Receiver<BTreeSet<String>> {
        self.known.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::Sidecars;

    #[test]
    fn survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sidecars.json");
        Sidecars::open(file.clone()).unwrap().connected("10.0.0.1".into());
        let again = Sidecars::open(file.clone()).unwrap();
        assert!(again.subscribe().borrow().contains("10.0.0.1"));
        std::fs::write(&file, "{").unwrap();
        assert!(Sidecars::open(file).is_err());
    }
}
