//! Istio's standard metrics: <https://istio.io/latest/docs/reference/config/metrics/>.
//!
//! A listener that says its traffic direction reports: outbound as `reporter="source"`, inbound as `reporter="destination"`.
//! The own side of the labels comes from [`NodeFacts`]; the other side from what is known of the peer:
//!
//! - source: the endpoint's filter metadata `istio` (`workload`, `namespace`, `app`, `version`, `canonical_service`,
//!   `canonical_revision`, `cluster`, or Istio's `workload` in one string separated by semicolons), and its certificate;
//! - destination: the client's SPIFFE id gives principal and namespace. What nobody tells is `unknown`.
//!
//! The destination service is the cluster's `istio` metadata (`services[0]`), else the host in an Istio cluster name, else,
//! on the source side only, the authority. The number of label sets is bounded ([`IstioMetrics::new`]); beyond it, traffic is
//! counted under labels that say `overflow`. Sizes are of bodies, without headers.

mod labels;
mod local;

use std::{collections::HashSet, sync::Arc};

pub use local::LocalIstioMetrics;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::stats::{Counter, Stats};

/// Label value of what is not known.
pub(crate) const UNKNOWN: &str = "unknown";

/// Label sets kept if nothing else is said.
pub const DEFAULT_MAX_LABEL_SETS: usize = 5_000;

/// What a workload says about itself in labels. `unknown` where it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Name of the workload (`WORKLOAD_NAME`).
    pub workload: String,
    /// Namespace (`NAMESPACE`).
    pub namespace: String,
    /// Label `app`.
    pub app: String,
    /// Label `version`.
    pub version: String,
    /// Cluster of the mesh (`CLUSTER_ID`).
    pub cluster: String,
    /// Canonical service: label `service.istio.io/canonical-name`, else `app.kubernetes.io/name`, `app`, the workload.
    pub canonical_service: String,
    /// Canonical revision: label `service.istio.io/canonical-revision`, else `app.kubernetes.io/version`, `version`,
    /// `latest`.
    pub canonical_revision: String,
}

impl Default for NodeFacts {
    fn default() -> Self {
        let unknown = || UNKNOWN.to_owned();
        Self {
            workload: unknown(),
            namespace: unknown(),
            app: unknown(),
            version: unknown(),
            cluster: unknown(),
            canonical_service: unknown(),
            canonical_revision: unknown(),
        }
    }
}

impl NodeFacts {
    /// The facts in a node's metadata, under Istio's keys.
    #[must_use]
    pub fn from_metadata(metadata: &Map<String, Value>) -> Self {
        let labels = metadata.get("LABELS").and_then(Value::as_object);
        let fact = |key: &str| text(metadata.get(key));
        let label = |keys: &[&str]| keys.iter().find_map(|key| text(labels?.get(*key)));
        let or_unknown = |value: Option<String>| value.unwrap_or_else(|| UNKNOWN.to_owned());
        let workload = or_unknown(fact("WORKLOAD_NAME"));
        let names = ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"];
        let revisions = ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"];
        Self {
            namespace: or_unknown(fact("NAMESPACE")),
            app: or_unknown(label(&["app"])),
            version: or_unknown(label(&["version"])),
            cluster: or_unknown(fact("CLUSTER_ID")),
            canonical_service: label(&names).unwrap_or_else(|| workload.clone()),
            canonical_revision: label(&revisions).unwrap_or_else(|| "latest".to_owned()),
            workload,
        }
    }
}

/// A text that is there and not empty.
fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Istio's metrics of one proxy. Cheap to clone; each worker takes its own [`local`](Self::local) view.
#[derive(Clone, Debug)]
pub struct IstioMetrics(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stats: Stats,
    facts: NodeFacts,
    max_label_sets: usize,
    known: Mutex<HashSet<Vec<(&'static str, String)>>>,
    overflow: Counter,
}

impl IstioMetrics {
    /// Metrics in `stats`, with at most `max_label_sets` different sets of labels (HTTP and TCP together); what comes
    /// beyond is counted under `overflow`, and each such new set in `istio.label_sets_overflow`.
    #[must_use]
    pub fn new(stats: &Stats, facts: NodeFacts, max_label_sets: usize) -> Self {
        Self(Arc::new(Shared {
            stats: stats.clone(),
            facts,
            max_label_sets,
            known: Mutex::default(),
            overflow: stats.counter("istio.label_sets_overflow"),
        }))
    }

    /// A view for one worker, which remembers what it looked up.
    #[must_use]
    pub fn local(&self) -> LocalIstioMetrics {
        LocalIstioMetrics::new(self.clone())
    }

    /// `labels`, or those of overflow if there are too many sets already.
    fn admit(&self, labels: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
        let mut known = self.0.known.lock();
        if known.contains(&labels) {
            return labels;
        }
        if known.len() < self.0.max_label_sets {
            known.insert(labels.clone());
            return labels;
        }
        self.0.overflow.inc();
        let value = |(label, value): (&'static str, String)| match label {
            "reporter" | "request_protocol" => (label, value),
            _ => (label, "overflow".to_owned()),
        };
        labels.into_iter().map(value).collect()
    }
}

#[cfg(test)]
mod tests;
