//! `DestinationRule`: what is done with traffic once its service is known.
//!
//! Source: `istio.networking.v1`, destination_rule.proto.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{common::LabelSelector, traffic_policy::TrafficPolicy};

/// Policies for the traffic to a host, and its named subsets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DestinationRule {
    /// The name of a service in the registry, or a `*.` wildcard; a short name is completed with the namespace.
    pub host: String,
    /// The policy for all ports and subsets.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Named parts of the service's endpoints.
    pub subsets: Vec<Subset>,
    /// Namespaces that see the rule: names, `.` (its own), `*` (all, the default).
    pub export_to: Vec<String>,
    /// The client workloads that apply the rule; all in the namespace by default.
    pub workload_selector: Option<LabelSelector>,
}

/// A named part of a service's endpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Subset {
    /// The name that routes refer to.
    pub name: String,
    /// Labels that the endpoints carry, all of them.
    pub labels: BTreeMap<String, String>,
    /// The policy for this subset; takes precedence over that of the rule.
    pub traffic_policy: Option<TrafficPolicy>,
}
