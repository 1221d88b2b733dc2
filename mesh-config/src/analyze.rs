//! Checks across objects.

mod annotation_table;
mod annotations;
mod auto_image;
mod claim_route;
mod clock;
mod clusters;
mod conflicting_hosts;
mod context;
mod deployment_services;
mod deprecation;
mod destination_host;
mod destination_subset;
mod duplicate_subset;
mod envoy_patch;
mod expected_tries;
mod external_control_plane;
mod gateway_api_version;
mod gateway_certificate;
mod gateway_conflict;
mod gateway_credential;
mod gateway_port;
mod gateway_protocol;
mod gateway_reference;
mod incremental;
mod ingress_backend;
mod ingress_subset;
mod injection;
mod inputs;
mod key_fetch;
mod mesh_networks;
mod mutual_tls;
mod policy_reach;
mod policy_selector;
mod policy_workload;
mod port_name;
mod proxy_image;
mod reserved_user;
mod route_cache;
mod rule_owner;
mod selector_reach;
mod server_verification;
mod service_entry_address;
mod service_entry_protocol;
mod shadowed_route;
mod sidecar_selector;
mod status_condition;
mod subset_pods;
mod telemetry_provider;
mod telemetry_selector;
mod waypoint_selector;
mod webhook_overlap;
mod weight_sum;
mod workload;

use std::{collections::BTreeSet, fmt, sync::Arc};

pub use self::{
    clock::Clock,
    clusters::analyze_clusters,
    context::AnalysisContext,
    incremental::{AnalysisUpdate, IncrementalAnalysis},
    inputs::{Inputs, Link},
};
pub(crate) use self::{context::mesh_settings, inputs::Edge};
use crate::{
    diagnostic::Diagnostic,
    model::{MeshConfig, ObjectKey},
    snapshot::Snapshot,
};

/// Checks objects against each other.
///
/// # Contract
///
/// Called with the whole configuration, or with the part of it that [`Analyzer::inputs`] says that some subjects depend
/// on: the findings about these subjects are then the same as with the whole. It does not block and gives the same
/// findings, in the same order, for the same configuration.
pub trait Analyzer: fmt::Debug + Send + Sync {
    /// A short name, such as `virtualservice.destination`.
    fn name(&self) -> &'static str;

    /// What it reads, so that a change has it look only at what the change can matter to. By default
    /// [`Inputs::everything`], which is always right.
    ///
    /// With other inputs, each finding names an object of the subjects' kinds ([`Diagnostic::on`]).
    fn inputs(&self) -> Inputs {
        Inputs::everything()
    }

    /// Whether its errors mean that the object they name does not work. The store then keeps the version before in
    /// force, if there is one. Default false.
    fn is_blocking(&self) -> bool {
        false
    }

    /// Adds what is wrong.
    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>);
}

/// A set of analyzers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Analyzers(Arc<Vec<Arc<dyn Analyzer>>>);

/// What a set of analyzers finds.
#[derive(Clone, Debug, Default)]
pub struct Analysis {
    /// Every finding.
    pub diagnostics: Vec<Diagnostic>,
    /// The objects that blocking analyzers found errors of.
    pub blocked: BTreeSet<ObjectKey>,
}

impl Analyzers {
    /// No analyzers.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// All analyzers of this crate, with the system's clock.
    #[must_use]
    pub fn standard() -> Self {
        Self::standard_with(Clock::system())
    }

    /// All analyzers of this crate, with another clock.
    #[must_use]
    pub fn standard_with(clock: Clock) -> Self {
        Self(Arc::new(vec![
            Arc::new(gateway_reference::GatewayReference),
            Arc::new(destination_host::DestinationHost),
            Arc::new(destination_subset::DestinationSubset),
            Arc::new(conflicting_hosts::ConflictingHosts),
            Arc::new(duplicate_subset::DuplicateSubset),
            Arc::new(weight_sum::WeightSum),
            Arc::new(annotations::Annotations),
            Arc::new(policy_workload::PolicyWorkload),
            Arc::new(key_fetch::KeyFetch),
            Arc::new(deployment_services::DeploymentServices),
            Arc::new(reserved_user::ReservedUser),
            Arc::new(deprecation::Deprecation),
            Arc::new(server_verification::ServerVerification),
            Arc::new(subset_pods::SubsetPods),
            Arc::new(envoy_patch::EnvoyPatch),
            Arc::new(external_control_plane::ExternalControlPlane),
            Arc::new(gateway_port::GatewayPort),
            Arc::new(gateway_credential::GatewayCredential(clock)),
            Arc::new(gateway_conflict::GatewayConflict),
            Arc::new(gateway_certificate::GatewayCertificate),
            Arc::new(gateway_api_version::GatewayApiVersion),
            Arc::new(injection::Injection),
            Arc::new(proxy_image::ProxyImage),
            Arc::new(auto_image::AutoImage),
            Arc::new(policy_selector::PolicySelector),
            Arc::new(port_name::PortName),
            Arc::new(service_entry_address::ServiceEntryAddress),
            Arc::new(service_entry_protocol::ServiceEntryProtocol),
            Arc::new(sidecar_selector::SidecarSelector),
            Arc::new(telemetry_selector::TelemetrySelector),
            Arc::new(telemetry_provider::TelemetryProvider),
            Arc::new(webhook_overlap::WebhookOverlap),
            Arc::new(claim_route::ClaimRoute),
            Arc::new(ingress_subset::IngressSubset),
            Arc::new(status_condition::StatusConditions),
            Arc::new(mesh_networks::MeshNetworkRegistry),
            Arc::new(waypoint_selector::WaypointSelector),
            Arc::new(route_cache::RouteCache),
            Arc::new(gateway_protocol::GatewayProtocol),
            Arc::new(shadowed_route::ShadowedRoute),
            Arc::new(expected_tries::ExpectedTries),
            Arc::new(mutual_tls::MutualTlsPath),
            Arc::new(policy_reach::PolicyReach),
            Arc::new(selector_reach::SelectorReach),
            Arc::new(rule_owner::RuleOwner),
            Arc::new(ingress_backend::IngressBackends),
        ]))
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, analyzer: impl Analyzer + 'static) -> Self {
        Arc::make_mut(&mut self.0).push(Arc::new(analyzer));
        self
    }

    /// Those whose errors mean that an object does not work.
    #[must_use]
    pub fn blocking(&self) -> Self {
        Self(Arc::new(self.0.iter().filter(|analyzer| analyzer.is_blocking()).cloned().collect()))
    }

    /// Checks a configuration. The settings of the mesh are those that it holds, if any.
    #[must_use]
    pub fn analyze(&self, snapshot: &Snapshot) -> Analysis {
        self.run(&AnalysisContext::new(snapshot))
    }

    /// Checks a configuration in a mesh with these settings.
    #[must_use]
    pub fn analyze_in(&self, snapshot: &Snapshot, mesh: &MeshConfig) -> Analysis {
        self.run(&AnalysisContext::with_mesh(snapshot, mesh))
    }

    fn run(&self, context: &AnalysisContext<'_>) -> Analysis {
        let mut analysis = Analysis::default();
        for analyzer in self.0.iter() {
            let start = analysis.diagnostics.len();
            analyzer.analyze(context, &mut analysis.diagnostics);
            if analyzer.is_blocking() {
                let errors = analysis.diagnostics[start..].iter().filter(|finding| finding.is_error());
                analysis.blocked.extend(errors.filter_map(|finding| finding.key.clone()));
            }
        }
        analysis
    }
}
