//! `WorkloadGroup`: a template for workloads outside the platform. Source: `istio.networking.v1`, workload_group.proto.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::service_entry::WorkloadEntry;

/// What the workloads of a group have in common, from which a `WorkloadEntry` is made when one registers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WorkloadGroup {
    /// Labels and annotations of the entries.
    pub metadata: Option<GroupMetadata>,
    /// The entries; an address is not needed here.
    pub template: Option<WorkloadEntry>,
    /// How a workload is asked whether it is ready.
    pub probe: Option<ReadinessProbe>,
}

/// Labels and annotations of the entries that are made from a group. Source: `WorkloadGroup.ObjectMeta`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GroupMetadata {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// How a workload is asked whether it is ready: by exactly one of the four methods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ReadinessProbe {
    /// Seconds before the first probe; 0 by default.
    pub initial_delay_seconds: Option<i32>,
    /// Seconds that an answer may take; 1 by default.
    pub timeout_seconds: Option<i32>,
    /// Seconds between probes; 10 by default.
    pub period_seconds: Option<i32>,
    /// Answers in a row that make a workload ready; 1 by default.
    pub success_threshold: Option<i32>,
    /// Failures in a row that make it unready; 3 by default.
    pub failure_threshold: Option<i32>,
    /// An HTTP request.
    pub http_get: Option<HttpHealthCheck>,
    /// A TCP connection.
    pub tcp_socket: Option<TcpHealthCheck>,
    /// A command.
    pub exec: Option<ExecHealthCheck>,
    /// A call of gRPC's health service.
    pub grpc: Option<GrpcHealthCheck>,
}

/// A probe by HTTP: any status from 200 to 399 is well. Source: `HTTPHealthCheckConfig`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpHealthCheck {
    /// The path; `/` by default.
    pub path: Option<String>,
    /// The port.
    pub port: u32,
    /// The host; the workload's address by default.
    pub host: Option<String>,
    /// `HTTP` (default) or `HTTPS`.
    pub scheme: Option<String>,
    /// Headers of the request.
    pub http_headers: Vec<HttpHeader>,
}

/// A header of a probe. Source: `HTTPHeader`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpHeader {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A probe by TCP: a connection is well. Source: `TCPHealthCheckConfig`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TcpHealthCheck {
    /// The host; the workload's address by default.
    pub host: Option<String>,
    /// The port.
    pub port: u32,
}

/// A probe by a command: exit code 0 is well. Source: `ExecHealthCheckConfig`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ExecHealthCheck {
    /// The command and its arguments, without a shell.
    pub command: Vec<String>,
}

/// A probe by gRPC's health service. Source: `GrpcHealthCheckConfig`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GrpcHealthCheck {
    /// The port; that of the workload by default.
    pub port: Option<u32>,
    /// The name of the service that is asked for; the whole server by default.
    pub service: Option<String>,
}
