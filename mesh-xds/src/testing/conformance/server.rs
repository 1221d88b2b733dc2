//! A scripted client that checks the xDS server at an address.
//!
//! ```no_run
//! # async fn check() {
//! use std::sync::Arc;
//!
//! use mesh_xds::testing::conformance::server::{HttpFixture, Target, run};
//!
//! // A server in any language, which keeps the contract of HttpFixture.
//! let target = Target::plain("127.0.0.1:18000");
//! let report = run(&target, Arc::new(HttpFixture::new("127.0.0.1:18001"))).await;
//! println!("{report}");
//! report.assert_passed();
//! # }
//! ```

mod bench;
mod fixture;
mod http;
mod rules;
mod stream;

use std::{sync::Arc, time::Duration};

use mesh_xds_api::envoy::config::core::v3::Node;
use tonic::transport::Endpoint;

use self::bench::Bench;
pub use self::{
    fixture::{Fixture, FixtureError, Removal, ViewFixture},
    http::HttpFixture,
};
use super::{
    Case, Report, Verdict,
    case::{Check, judge},
};

/// The server under test.
#[derive(Debug, Clone)]
pub struct Target {
    connect: Connect,
    node: Node,
    patience: Duration,
    quiet: Duration,
}

#[derive(Debug, Clone)]
enum Connect {
    Address(Arc<str>),
    Endpoint(Box<Endpoint>),
}

impl Target {
    /// A server that takes HTTP/2 in cleartext at `HOST:PORT`.
    pub fn plain(address: impl Into<Arc<str>>) -> Self {
        Self::with(Connect::Address(address.into()))
    }

    /// A server that is reached through `endpoint`, TLS and all. Each stream opens a connection of its own.
    #[must_use]
    pub fn endpoint(endpoint: Endpoint) -> Self {
        Self::with(Connect::Endpoint(Box::new(endpoint)))
    }

    fn with(connect: Connect) -> Self {
        let node = Node {
            id: "conformance".into(),
            cluster: "conformance".into(),
            client_features: vec![
                "xds.config.supports-resource-ttl".into(),
                "xds.config.supports-resource-in-sotw".into(),
            ],
            ..Default::default()
        };
        Self { connect, node, patience: Duration::from_secs(5), quiet: Duration::from_millis(300) }
    }

    /// The node that streams introduce themselves as. Default: id and cluster `conformance`, and the client features of
    /// TTLs.
    #[must_use]
    pub fn node(mut self, node: Node) -> Self {
        self.node = node;
        self
    }

    /// How long an answer that is due may take. Default 5 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long a silence must last to be taken for an answer. Default 300 ms.
    #[must_use]
    pub fn quiet(mut self, quiet: Duration) -> Self {
        self.quiet = quiet;
        self
    }
}

/// All cases, in the order they are run.
#[must_use]
pub fn cases() -> Vec<Case> {
    checks().flat_map(Check::cases).map(|(_, case)| case).collect()
}

/// Runs every case against `target`, whose content `fixture` changes.
///
/// The server holds nothing for the target's node when this is called, and again when it returns. Nothing else changes
/// it meanwhile. Dropping the future leaves content behind.
pub async fn run(target: &Target, fixture: Arc<dyn Fixture>) -> Report {
    run_some(target, fixture, |_| true).await
}

/// As [`run`], only the cases that `wanted` chooses.
pub async fn run_some(target: &Target, fixture: Arc<dyn Fixture>, wanted: impl Fn(&Case) -> bool) -> Report {
    let mut report = Report::default();
    for check in checks() {
        for (variant, case) in check.cases().filter(|(_, case)| wanted(case)) {
            let bench = Bench::new(target, fixture.clone());
            let verdict = judge((check.run)(&bench, variant), target.patience).await;
            let verdict = match bench.clear().await {
                Ok(()) => verdict,
                Err(error) => Verdict::NotApplicable { why: format!("the fixture failed: {error}") },
            };
            report.add(case, verdict);
        }
    }
    report
}

fn checks() -> impl Iterator<Item = &'static Check<Bench>> {
    rules::ALL.iter().copied().flatten()
}
