//! `ProxyConfig`: settings of the proxies themselves. Source: `istio.networking.v1beta1`, proxy_config.proto.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::common::LabelSelector;

/// Settings of proxies that take effect when they start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ProxyConfig {
    /// The workloads; all in the namespace (in the root namespace: in the mesh) by default.
    pub selector: Option<LabelSelector>,
    /// Worker threads; 0 means one for each core that the container may use.
    pub concurrency: Option<i32>,
    /// Environment variables of the proxy, beside those that it has.
    pub environment_variables: BTreeMap<String, String>,
    /// The image.
    pub image: Option<ProxyImage>,
}

/// Which build of the proxy is run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ProxyImage {
    /// `default`, `debug`, `distroless`, or another suffix of an image's tag.
    pub image_type: Option<String>,
}
