//! A scripted server that checks the client that is pointed at it.
//!
//! A client is checked through hooks ([`Hands`]: watch this, refuse that, what do you hold?), or by watching alone if it
//! decides for itself what to ask for, as Envoy and gRPC's clients do. Cases that need hooks are then not applicable.
//!
//! ```no_run
//! # async fn check() {
//! use std::sync::Arc;
//!
//! use mesh_xds::testing::conformance::client::{MeshClient, Patience, run};
//!
//! let report = run(Arc::new(MeshClient), Patience::default()).await;
//! report.assert_passed();
//! # }
//! ```

mod bench;
mod listen;
mod mesh;
mod rules;
mod stream;
mod under_test;

use std::{sync::Arc, time::Duration};

use self::bench::Bench;
pub use self::{
    mesh::MeshClient,
    under_test::{ClientUnderTest, Hands, Running, StartError, World},
};
use super::{
    Case, Report,
    case::{Check, judge},
};
use crate::protocol::Variant;

/// How long is waited.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For something that is due, the client's start and its reconnect included. Default 20 s.
    pub due: Duration,
    /// For something that is not to come. Default 300 ms.
    pub quiet: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { due: Duration::from_secs(20), quiet: Duration::from_millis(300) }
    }
}

/// All cases, in the order they are run.
#[must_use]
pub fn cases() -> Vec<Case> {
    checks().flat_map(Check::cases).map(|(_, case)| case).collect()
}

/// Runs every case, each with a client of its own.
pub async fn run(client: Arc<dyn ClientUnderTest>, patience: Patience) -> Report {
    run_some(client, patience, |_, _| true).await
}

/// As [`run`], only the cases that `wanted` chooses.
pub async fn run_some(
    client: Arc<dyn ClientUnderTest>,
    patience: Patience,
    wanted: impl Fn(&Case, Variant) -> bool,
) -> Report {
    let mut report = Report::default();
    for check in checks() {
        for (variant, case) in check.cases().filter(|(variant, case)| wanted(case, *variant)) {
            let bench = Bench::new(client.clone(), patience.clone());
            let verdict = judge((check.run)(&bench, variant), patience.due).await;
            report.add(case, verdict);
        }
    }
    report
}

fn checks() -> impl Iterator<Item = &'static Check<Bench>> {
    rules::ALL.iter().copied().flatten()
}
