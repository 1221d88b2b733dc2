//! Kubernetes' webhook configurations and resource definitions, as far as the mesh reads them.
//!
//! Source: Kubernetes API `admissionregistration.k8s.io/v1` and `apiextensions.k8s.io/v1`.

use serde::{Deserialize, Serialize};

use super::common::KubeLabelSelector;

/// A Kubernetes `MutatingWebhookConfiguration`: who may change objects, such as the sidecar injector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MutatingWebhookConfiguration {
    /// The webhooks.
    pub webhooks: Vec<Webhook>,
}

/// A Kubernetes `ValidatingWebhookConfiguration`: who may refuse objects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ValidatingWebhookConfiguration {
    /// The webhooks.
    pub webhooks: Vec<Webhook>,
}

/// One webhook.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Webhook {
    /// The name.
    pub name: String,
    /// How it is reached.
    pub client_config: WebhookClient,
    /// Namespaces whose objects it is asked about; all by default.
    pub namespace_selector: Option<KubeLabelSelector>,
    /// Objects that it is asked about; all by default.
    pub object_selector: Option<KubeLabelSelector>,
}

/// How a webhook is reached: as a service or by URL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WebhookClient {
    /// The service.
    pub service: Option<WebhookService>,
    /// The URL.
    pub url: Option<String>,
}

/// The service of a webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WebhookService {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The path.
    pub path: Option<String>,
    /// The port; 443 by default.
    pub port: Option<u16>,
}

/// A Kubernetes `CustomResourceDefinition`; what counts are its name and annotations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CustomResourceDefinition {}
