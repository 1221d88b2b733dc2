//! `Telemetry`: which metrics, traces and access logs proxies make. Source: `istio.telemetry.v1`, telemetry.proto.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    common::{LabelSelector, PolicyTargetReference, WorkloadMode},
    duration::Duration,
};

/// Which telemetry some workloads make.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Telemetry {
    /// The workloads; all in the namespace (in the root namespace: in the mesh) by default.
    pub selector: Option<LabelSelector>,
    /// The resource it is bound to. Deprecated by `target_refs`.
    pub target_ref: Option<PolicyTargetReference>,
    /// The resources it is bound to; excludes a selector.
    pub target_refs: Vec<PolicyTargetReference>,
    /// Traces.
    pub tracing: Vec<Tracing>,
    /// Metrics.
    pub metrics: Vec<Metrics>,
    /// Access logs.
    pub access_logging: Vec<AccessLogging>,
}

/// A provider of the mesh configuration, by name. Source: `ProviderRef`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ProviderRef {
    /// The name.
    pub name: String,
}

/// In which role of the workload something applies. Source: `TracingSelector`, `LogSelector`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ModeSelector {
    /// The role; both by default.
    pub mode: Option<WorkloadMode>,
}

/// Traces of some requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Tracing {
    /// In which role.
    #[serde(rename = "match")]
    pub matches: Option<ModeSelector>,
    /// Where spans are sent; the mesh's default by default.
    pub providers: Vec<ProviderRef>,
    /// The share of requests that are traced when their caller did not decide, in percent.
    pub random_sampling_percentage: Option<f64>,
    /// Make no spans; trace headers are still passed on.
    pub disable_span_reporting: Option<bool>,
    /// Leave trace headers as they are.
    pub disable_context_propagation: Option<bool>,
    /// Tags that are added to spans.
    pub custom_tags: BTreeMap<String, CustomTag>,
    /// Let the request's id decide whether it is traced.
    pub use_request_id_for_trace_sampling: Option<bool>,
    /// Add Istio's own tags; default true.
    pub enable_istio_tags: Option<bool>,
}

/// The value of a tag: exactly one of its sources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CustomTag {
    /// The value itself.
    pub literal: Option<TagValue>,
    /// An environment variable of the proxy.
    pub environment: Option<TagSource>,
    /// A header of the request.
    pub header: Option<TagSource>,
    /// A format string of the access log's.
    pub formatter: Option<TagValue>,
}

/// A value as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TagValue {
    /// The text.
    pub value: String,
}

/// A value that is looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TagSource {
    /// The name that is looked up.
    pub name: String,
    /// The value when there is none.
    pub default_value: Option<String>,
}

/// Metrics of some workloads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Metrics {
    /// Where metrics are sent; the mesh's default by default.
    pub providers: Vec<ProviderRef>,
    /// Changes of single metrics; later ones win.
    pub overrides: Vec<MetricsOverride>,
    /// The time between reports, where the provider is sent reports.
    pub reporting_interval: Option<Duration>,
}

/// A change of some metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MetricsOverride {
    /// The metrics; all by default.
    #[serde(rename = "match")]
    pub matches: Option<MetricSelector>,
    /// Do not make them.
    pub disabled: Option<bool>,
    /// Changes of their tags.
    pub tag_overrides: BTreeMap<String, TagOverride>,
}

/// Metrics by name: one of Istio's or another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MetricSelector {
    /// One of Istio's.
    pub metric: Option<IstioMetric>,
    /// Another one.
    pub custom_metric: Option<String>,
    /// In which role; both by default.
    pub mode: Option<WorkloadMode>,
}

/// Istio's metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IstioMetric {
    /// All of them.
    AllMetrics,
    /// `istio_requests_total`.
    RequestCount,
    /// `istio_request_duration_milliseconds`.
    RequestDuration,
    /// `istio_request_bytes`.
    RequestSize,
    /// `istio_response_bytes`.
    ResponseSize,
    /// `istio_tcp_connections_opened_total`.
    TcpOpenedConnections,
    /// `istio_tcp_connections_closed_total`.
    TcpClosedConnections,
    /// `istio_tcp_sent_bytes_total`.
    TcpSentBytes,
    /// `istio_tcp_received_bytes_total`.
    TcpReceivedBytes,
    /// `istio_request_messages_total`.
    GrpcRequestMessages,
    /// `istio_response_messages_total`.
    GrpcResponseMessages,
}

/// A change of a tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TagOverride {
    /// What is done; `UPSERT` by default.
    pub operation: Option<TagOperation>,
    /// The CEL expression of the value.
    pub value: Option<String>,
}

/// What is done with a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TagOperation {
    /// Add it, or change its value.
    Upsert,
    /// Leave it out.
    Remove,
}

/// Access logs of some workloads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AccessLogging {
    /// In which role.
    #[serde(rename = "match")]
    pub matches: Option<ModeSelector>,
    /// Where entries are sent; the mesh's default by default.
    pub providers: Vec<ProviderRef>,
    /// Write none.
    pub disabled: Option<bool>,
    /// Which requests are written; all by default.
    pub filter: Option<LogFilter>,
}

/// Which requests are written to a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LogFilter {
    /// A CEL expression over the request and its response.
    pub expression: String,
}
