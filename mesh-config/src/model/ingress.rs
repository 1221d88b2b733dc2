//! Kubernetes `Ingress` and `IngressClass`, as far as Istio reads them. Source: Kubernetes API `networking.k8s.io/v1`.

use serde::{Deserialize, Serialize};

use super::mesh_config::{IngressControllerMode, MeshConfig};

/// The controller that Istio's classes name.
const ISTIO_CONTROLLER: &str = "istio.io/ingress-controller";

/// A Kubernetes `Ingress`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ingress {
    /// What is wanted.
    pub spec: IngressSpec,
}

/// The `spec` of an `Ingress`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressSpec {
    /// The `IngressClass` that says who carries it out.
    pub ingress_class_name: Option<String>,
    /// Where requests go that fit no rule.
    pub default_backend: Option<IngressBackend>,
    /// Routes by host and path.
    pub rules: Vec<IngressRule>,
    /// Certificates by host.
    pub tls: Vec<IngressTls>,
}

/// Routes of one host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressRule {
    /// The host, which may begin with `*.`; every host when left out.
    pub host: Option<String>,
    /// Routes by path.
    pub http: Option<IngressPaths>,
}

/// Routes by path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressPaths {
    /// The routes.
    pub paths: Vec<IngressPath>,
}

/// One route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressPath {
    /// The path.
    pub path: Option<String>,
    /// `Exact`, `Prefix` or `ImplementationSpecific`.
    pub path_type: Option<String>,
    /// Where its requests go.
    pub backend: IngressBackend,
}

/// Where requests go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressBackend {
    /// A Service of the same namespace. Istio carries out no other backend.
    pub service: Option<IngressService>,
}

/// A Service as a backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressService {
    /// The name.
    pub name: String,
    /// The port, by number or by name.
    pub port: IngressServicePort,
}

/// The port of a backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressServicePort {
    /// The number.
    pub number: Option<u16>,
    /// The name.
    pub name: Option<String>,
}

/// The certificate of some hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressTls {
    /// The hosts.
    pub hosts: Vec<String>,
    /// The Secret, which is looked for beside the gateway's workloads.
    pub secret_name: Option<String>,
}

/// A Kubernetes `IngressClass`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressClass {
    /// What is wanted.
    pub spec: IngressClassSpec,
}

/// The `spec` of an `IngressClass`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressClassSpec {
    /// Who carries out the Ingresses of the class.
    pub controller: Option<String>,
}

impl Ingress {
    /// The backends with the path of each below `spec`, as indices of rule and route; `None` for the default one.
    pub fn backends(&self) -> impl Iterator<Item = (Option<(usize, usize)>, &IngressBackend)> {
        let rules = self.spec.rules.iter().enumerate().flat_map(|(rule, found)| {
            let paths = found.http.iter().flat_map(|http| &http.paths).enumerate();
            paths.map(move |(path, found)| (Some((rule, path)), &found.backend))
        });
        self.spec.default_backend.iter().map(|backend| (None, backend)).chain(rules)
    }

    /// Whether Istio carries it out, with the class that its annotation `kubernetes.io/ingress.class` names and the
    /// `IngressClass` of `ingressClassName`, if either is there.
    #[must_use]
    pub fn is_istios(&self, mesh: &MeshConfig, annotation: Option<&str>, class: Option<&IngressClass>) -> bool {
        match (mesh.ingress_controller_mode, annotation, class) {
            (IngressControllerMode::Off, ..) => false,
            (_, Some(annotation), _) => annotation == mesh.ingress_class,
            (_, None, Some(class)) => class.spec.controller.as_deref() == Some(ISTIO_CONTROLLER),
            (mode, None, None) => mode == IngressControllerMode::Default,
        }
    }
}
