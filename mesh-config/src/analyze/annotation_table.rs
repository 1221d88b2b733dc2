//! The annotations that Istio documents: what they are for, and what their values must be.
//!
//! Source: `istio.io/api` annotation/annotations.yaml, and Istio's injector for the forms of values.

use ipnet::IpNet;

/// The form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Any,
    Boolean,
    Number,
    Port,
    Ports,
    PortsOrAll,
    Ranges,
    RangesOrAll,
    Interception,
}

/// One annotation.
#[derive(Debug)]
pub(super) struct Annotation {
    pub(super) name: &'static str,
    /// Kinds that it is for; `Any` for all.
    pub(super) kinds: &'static [&'static str],
    pub(super) deprecated: bool,
    pub(super) form: Form,
}

const fn entry(name: &'static str, kinds: &'static [&'static str]) -> Annotation {
    Annotation { name, kinds, deprecated: false, form: Form::Any }
}

const fn old(name: &'static str, kinds: &'static [&'static str]) -> Annotation {
    Annotation { name, kinds, deprecated: true, form: Form::Any }
}

const fn checked(name: &'static str, form: Form) -> Annotation {
    Annotation { name, kinds: POD, deprecated: false, form }
}

const POD: &[&str] = &["Pod"];
const SERVICE: &[&str] = &["Service"];
const GATEWAY: &[&str] = &["Gateway"];
const WORKLOAD_ENTRY: &[&str] = &["WorkloadEntry"];

/// Every annotation, by name.
const TABLE: &[Annotation] = &[
    old("alpha.istio.io/canonical-serviceaccounts", SERVICE),
    old("alpha.istio.io/kubernetes-serviceaccounts", SERVICE),
    entry("ambient.istio.io/bypass-inbound-capture", POD),
    entry("ambient.istio.io/dns-capture", POD),
    entry("ambient.istio.io/redirection", POD),
    entry("ambient.istio.io/waypoint-inbound-binding", &["GatewayClass", "Gateway"]),
    entry("galley.istio.io/analyze-suppress", &["Any"]),
    entry("gateway.istio.io/controller-version", &["Any"]),
    entry("gateway.istio.io/name-override", GATEWAY),
    entry("gateway.istio.io/service-account", GATEWAY),
    entry("inject.istio.io/templates", POD),
    entry("istio.io/autoRegistrationGroup", WORKLOAD_ENTRY),
    entry("istio.io/connectedAt", WORKLOAD_ENTRY),
    entry("istio.io/disconnectedAt", WORKLOAD_ENTRY),
    entry("istio.io/dry-run", &["AuthorizationPolicy"]),
    entry("istio.io/reroute-virtual-interfaces", POD),
    entry("istio.io/rev", POD),
    entry("istio.io/use-waypoint-canary-weight", &["Service", "ServiceEntry", "Namespace"]),
    entry("istio.io/workloadController", WORKLOAD_ENTRY),
    entry("kubernetes.io/ingress.class", &["Ingress"]),
    entry("networking.istio.io/exportTo", SERVICE),
    entry("networking.istio.io/service-type", GATEWAY),
    entry("networking.istio.io/traffic-distribution", &["Namespace", "Service", "ServiceEntry"]),
    checked("prometheus.istio.io/merge-metrics", Form::Boolean),
    entry("proxy.istio.io/config", POD),
    entry("proxy.istio.io/overrides", POD),
    entry("readiness.status.sidecar.istio.io/applicationPorts", POD),
    checked("readiness.status.sidecar.istio.io/failureThreshold", Form::Number),
    checked("readiness.status.sidecar.istio.io/initialDelaySeconds", Form::Number),
    checked("readiness.status.sidecar.istio.io/periodSeconds", Form::Number),
    entry("sidecar.istio.io/agentLogLevel", POD),
    entry("sidecar.istio.io/bootstrapOverride", POD),
    entry("sidecar.istio.io/componentLogLevel", POD),
    old("sidecar.istio.io/discoveryAddress", POD),
    old("sidecar.istio.io/extraStatTags", POD),
    old("sidecar.istio.io/inject", POD),
    checked("sidecar.istio.io/interceptionMode", Form::Interception),
    entry("sidecar.istio.io/logLevel", POD),
    entry("sidecar.istio.io/nativeSidecar", POD),
    entry("sidecar.istio.io/proxyCPU", POD),
    entry("sidecar.istio.io/proxyCPULimit", POD),
    entry("sidecar.istio.io/proxyImage", POD),
    entry("sidecar.istio.io/proxyImageType", POD),
    entry("sidecar.istio.io/proxyMemory", POD),
    entry("sidecar.istio.io/proxyMemoryLimit", POD),
    entry("sidecar.istio.io/rewriteAppHTTPProbers", POD),
    old("sidecar.istio.io/statsCompression", POD),
    entry("sidecar.istio.io/statsEvictionInterval", POD),
    entry("sidecar.istio.io/statsFlushInterval", POD),
    entry("sidecar.istio.io/statsHistogramBins", POD),
    entry("sidecar.istio.io/statsHistogramBuckets", POD),
    old("sidecar.istio.io/statsInclusionPrefixes", POD),
    old("sidecar.istio.io/statsInclusionRegexps", POD),
    old("sidecar.istio.io/statsInclusionSuffixes", POD),
    entry("sidecar.istio.io/status", POD),
    entry("sidecar.istio.io/userVolume", POD),
    entry("sidecar.istio.io/userVolumeMount", POD),
    checked("status.sidecar.istio.io/port", Form::Port),
    entry("topology.istio.io/controlPlaneClusters", &["Namespace"]),
    entry("traffic.istio.io/nodeSelector", SERVICE),
    checked("traffic.sidecar.istio.io/excludeInboundPorts", Form::Ports),
    entry("traffic.sidecar.istio.io/excludeInterfaces", POD),
    checked("traffic.sidecar.istio.io/excludeOutboundIPRanges", Form::Ranges),
    checked("traffic.sidecar.istio.io/excludeOutboundPorts", Form::Ports),
    checked("traffic.sidecar.istio.io/includeInboundPorts", Form::PortsOrAll),
    checked("traffic.sidecar.istio.io/includeOutboundIPRanges", Form::RangesOrAll),
    entry("traffic.sidecar.istio.io/includeOutboundPorts", POD),
    old("traffic.sidecar.istio.io/kubevirtInterfaces", POD),
];

/// The annotation of a name.
pub(super) fn find(name: &str) -> Option<&'static Annotation> {
    TABLE.iter().find(|entry| entry.name == name)
}

/// The names of all annotations.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|entry| entry.name)
}

/// Annotations that are past their alpha phase, and the one that tells analysis itself what to leave out.
const MATURE: [&str; 7] = [
    "ambient.istio.io/redirection",
    "galley.istio.io/analyze-suppress",
    "gateway.istio.io/controller-version",
    "istio.io/rev",
    "kubernetes.io/ingress.class",
    "proxy.istio.io/config",
    "sidecar.istio.io/inject",
];

impl Annotation {
    /// Whether the annotation belongs to a feature in its alpha phase.
    pub(super) fn is_alpha(&self) -> bool {
        !MATURE.contains(&self.name)
    }

    /// Why a value is not of the annotation's form.
    pub(super) fn fault(&self, value: &str) -> Option<String> {
        let ports =
            |value: &str| value.trim().is_empty() || value.split(',').all(|port| port.trim().parse::<u16>().is_ok());
        let ranges = |value: &str| value.is_empty() || value.split(',').all(|range| range.parse::<IpNet>().is_ok());
        let (fine, wanted) = match self.form {
            Form::Any => return None,
            Form::Boolean => (
                matches!(
                    value,
                    "1" | "t" | "T" | "TRUE" | "true" | "True" | "0" | "f" | "F" | "FALSE" | "false" | "False"
                ),
                "true or false",
            ),
            Form::Number => (value.parse::<u32>().is_ok(), "a number"),
            Form::Port => (value.trim().parse::<u16>().is_ok(), "a port"),
            Form::Ports => (ports(value), "ports, separated by commas"),
            Form::PortsOrAll => (value == "*" || ports(value), "ports, separated by commas, or *"),
            Form::Ranges => (ranges(value), "ranges in CIDR form, separated by commas"),
            Form::RangesOrAll => (value == "*" || ranges(value), "ranges in CIDR form, separated by commas, or *"),
            Form::Interception => (matches!(value, "REDIRECT" | "TPROXY" | "NONE"), "REDIRECT, TPROXY or NONE"),
        };
        if fine { None } else { Some(format!("{value:?} must be {wanted}")) }
    }
}
