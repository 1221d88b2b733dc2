//! Checks of one object by itself.

mod authorization_policy;
mod destination_rule;
mod envoy_filter;
mod envoy_filter_match;
mod extension;
mod gateway;
mod gateway_api;
mod http_action;
mod http_match;
mod http_route;
mod l4_route;
mod load_balancer;
mod locality;
pub(crate) mod mesh_config;
mod mesh_networks;
mod peer_authentication;
mod proxy_config;
mod request_authentication;
mod rules;
mod selector;
mod server_tls;
mod service_entry;
mod sidecar;
mod telemetry;
mod traffic_policy;
mod unreachable;
mod virtual_service;
mod workload_group;

use std::{fmt, sync::Arc};

use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Kind, KindSpec, Object},
    path::FieldPath,
};

/// Checks one object by itself, as an admission check would.
///
/// # Contract
///
/// Called with every version of every object of [`Validator::kind`]. It reads nothing but the object, does not block,
/// and gives the same findings for the same object. An error means that the object must not be used; warnings inform.
pub trait Validator: fmt::Debug + Send + Sync {
    /// The kind it checks.
    fn kind(&self) -> Kind;

    /// Adds what is wrong with the object.
    fn validate(&self, object: &Object, findings: &mut Findings<'_>);
}

/// Collects the findings about one object.
#[derive(Debug)]
pub struct Findings<'a> {
    object: &'a Object,
    found: Vec<Diagnostic>,
}

impl<'a> Findings<'a> {
    /// No findings yet.
    #[must_use]
    pub fn new(object: &'a Object) -> Self {
        Self { object, found: Vec::new() }
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> &'a Object {
        self.object
    }

    /// Adds an error (IST0106) about a field.
    pub fn error(&mut self, path: FieldPath<'_>, message: impl fmt::Display) {
        self.found.push(Diagnostic::on(Code::SchemaValidationError, self.object, path, &[&message]));
    }

    /// Adds a warning (IST0133) about a field.
    pub fn warning(&mut self, path: FieldPath<'_>, message: impl fmt::Display) {
        self.found.push(Diagnostic::on(Code::SchemaWarning, self.object, path, &[&message]));
    }

    /// Adds what to do to the finding added last.
    pub fn help(&mut self, help: impl Into<String>) {
        if let Some(last) = self.found.last_mut() {
            last.help = Some(help.into());
        }
    }

    /// Adds any other finding.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    /// The findings.
    #[must_use]
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.found
    }
}

/// A set of validators. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Validators(Arc<Vec<Arc<dyn Validator>>>);

impl Validators {
    /// No validators.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Those for Istio's and the Gateway API's kinds.
    #[must_use]
    pub fn standard() -> Self {
        Self(Arc::new(vec![
            Arc::new(SpecValidator(virtual_service::validate)),
            Arc::new(SpecValidator(destination_rule::validate)),
            Arc::new(SpecValidator(service_entry::validate)),
            Arc::new(SpecValidator(service_entry::validate_workload)),
            Arc::new(SpecValidator(gateway::validate)),
            Arc::new(SpecValidator(sidecar::validate)),
            Arc::new(SpecValidator(envoy_filter::validate)),
            Arc::new(SpecValidator(peer_authentication::validate)),
            Arc::new(SpecValidator(authorization_policy::validate)),
            Arc::new(SpecValidator(request_authentication::validate)),
            Arc::new(SpecValidator(workload_group::validate)),
            Arc::new(SpecValidator(proxy_config::validate)),
            Arc::new(SpecValidator(telemetry::validate)),
            Arc::new(SpecValidator(extension::validate_wasm)),
            Arc::new(SpecValidator(extension::validate_traffic)),
            Arc::new(SpecValidator(gateway_api::gateway_class)),
            Arc::new(SpecValidator(gateway_api::gateway)),
            Arc::new(SpecValidator(gateway_api::listener_set)),
            Arc::new(SpecValidator(gateway_api::http_route)),
            Arc::new(SpecValidator(gateway_api::grpc_route)),
            Arc::new(SpecValidator(gateway_api::tls_route)),
            Arc::new(SpecValidator(gateway_api::tcp_route)),
            Arc::new(SpecValidator(gateway_api::udp_route)),
            Arc::new(SpecValidator(gateway_api::reference_grant)),
            Arc::new(SpecValidator(gateway_api::backend_tls_policy)),
            Arc::new(SpecValidator(gateway_api::x_backend)),
            Arc::new(SpecValidator(gateway_api::x_backend_traffic_policy)),
            Arc::new(SpecValidator(gateway_api::x_mesh)),
            Arc::new(SpecValidator(mesh_config::validate)),
            Arc::new(SpecValidator(mesh_config::validate_installed)),
            Arc::new(SpecValidator(mesh_config::validate_operator)),
            Arc::new(SpecValidator(mesh_networks::validate)),
        ]))
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, validator: impl Validator + 'static) -> Self {
        Arc::make_mut(&mut self.0).push(Arc::new(validator));
        self
    }

    /// Checks an object.
    #[must_use]
    pub fn validate(&self, object: &Object) -> Vec<Diagnostic> {
        let mut findings = Findings::new(object);
        for validator in self.0.iter().filter(|validator| validator.kind() == object.kind()) {
            validator.validate(object, &mut findings);
        }
        findings.into_diagnostics()
    }
}

/// A validator made of a function over the kind's type.
struct SpecValidator<T>(fn(&Object, &T, &mut Findings<'_>));

impl<T: KindSpec> fmt::Debug for SpecValidator<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpecValidator({})", T::KIND)
    }
}

impl<T: KindSpec> Validator for SpecValidator<T> {
    fn kind(&self) -> Kind {
        T::KIND
    }

    fn validate(&self, object: &Object, findings: &mut Findings<'_>) {
        rules::metadata(object, findings);
        if let Some(spec) = object.spec_as::<T>() {
            (self.0)(object, spec, findings);
        }
    }
}
