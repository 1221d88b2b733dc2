//! The mesh as configured: the newest configuration, indexed for translation.

use std::{collections::BTreeSet, sync::Arc};

use mesh_config::{Diagnostic, State, sort_diagnostics};
use mesh_xds::{
    discovery::{Registry, RegistryOptions, registry_of},
    translate::{MeshContext, MeshOptions, Translator},
};
use tokio::sync::watch;

/// One state of the configuration. Immutable.
pub(crate) struct Configured {
    pub(crate) state: State,
    pub(crate) context: MeshContext,
    pub(crate) registry: Registry,
    /// Every finding: of the configuration itself, and what of it is not carried out.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// The newest state. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Mesh {
    current: watch::Receiver<Option<Arc<Configured>>>,
}

impl Mesh {
    /// Follows the configuration store and the connected sidecars for as long as somebody looks.
    pub(crate) fn follow(
        mut states: watch::Receiver<State>,
        mut sidecars: watch::Receiver<BTreeSet<String>>,
        reader: Reader,
    ) -> Self {
        let (sender, current) = watch::channel(None);
        tokio::spawn(async move {
            let mut reported = Vec::new();
            loop {
                let state = states.borrow_and_update().clone();
                let connected = sidecars.borrow_and_update().clone();
                if state.ready {
                    let configured = reader.read(state, &connected);
                    if reported != configured.diagnostics {
                        report(&configured.diagnostics);
                        reported.clone_from(&configured.diagnostics);
                    }
                    sender.send_replace(Some(Arc::new(configured)));
                }
                tokio::select! {
                    changed = states.changed() => if changed.is_err() { return },
                    changed = sidecars.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
            }
        });
        Self { current }
    }

    /// The newest state, `None` before the first.
    pub(crate) fn current(&self) -> Option<Arc<Configured>> {
        self.current.borrow().clone()
    }

    /// Follows the states.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Arc<Configured>>> {
        self.current.clone()
    }
}

/// Makes a state ready for translation.
pub(crate) struct Reader {
    translator: Translator,
    options: RegistryOptions,
}

impl Reader {
    pub(crate) fn new(trust_domain: &str, access_log: Option<String>) -> Self {
        let mut mesh = MeshOptions::default();
        mesh.access_log_file = access_log;
        mesh.trust_domain = trust_domain.to_owned();
        let mut options = RegistryOptions::default();
        options.trust_domain = trust_domain.to_owned();
        options.cluster_domain.clone_from(&mesh.cluster_domain);
        Self { translator: Translator::new(mesh), options }
    }

    /// `sidecars` are addresses of workloads that have one, where nothing else says it.
    pub(crate) fn read(&self, state: State, sidecars: &BTreeSet<String>) -> Configured {
        let (registry, notices) = registry_of(&state.snapshot, &self.options);
        let registry = registry.with_sidecars(sidecars);
        let context = self.translator.prepare(&state.snapshot, &registry);
        let mut diagnostics = state.diagnostics.to_vec();
        diagnostics.extend(notices.iter().chain(context.notices()).map(|n| n.diagnostic(&state.snapshot)));
        sort_diagnostics(&mut diagnostics);
        diagnostics.dedup();
        Configured { state, context, registry, diagnostics }
    }
}

/// Findings go to the log when the configuration changes.
fn report(diagnostics: &[Diagnostic]) {
    for finding in diagnostics {
        if finding.is_error() {
            tracing::error!(%finding, "configuration");
        } else {
            tracing::info!(%finding, "configuration");
        }
    }
}
