//! Kubernetes `Deployment`, as far as the mesh reads it. Source: Kubernetes API `apps/v1`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{common::KubeLabelSelector, platform::PodSpec};

/// A Kubernetes `Deployment`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Deployment {
    /// What is wanted.
    pub spec: DeploymentSpec,
}

/// The `spec` of a `Deployment`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentSpec {
    /// Labels of the pods that belong to it.
    pub selector: KubeLabelSelector,
    /// The pods that it makes.
    pub template: PodTemplate,
}

/// The pods of a `Deployment`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplate {
    /// Labels and annotations of the pods.
    pub metadata: PodTemplateMeta,
    /// What is wanted of each.
    pub spec: PodSpec,
}

/// Labels and annotations of the pods of a `Deployment`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplateMeta {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}
