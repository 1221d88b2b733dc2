//! The rules of a `DestinationRule`'s traffic policy.

use super::{Findings, load_balancer, rules};
use crate::{
    model::{
        ClientTlsMode, ClientTlsSettings, ConnectionPoolSettings, H2UpgradePolicy, HttpSettings, OutlierDetection,
        TcpSettings, TrafficPolicy, TunnelSettings,
    },
    path::FieldPath,
};

/// Checks a traffic policy.
pub(super) fn validate(path: FieldPath<'_>, policy: &TrafficPolicy, findings: &mut Findings<'_>) {
    if *policy == TrafficPolicy::default() {
        findings.error(path, "a traffic policy needs at least one setting");
    }
    if let Some(settings) = &policy.load_balancer {
        load_balancer::validate(path.field("loadBalancer"), settings, findings);
    }
    if let Some(settings) = &policy.connection_pool {
        connection_pool(path.field("connectionPool"), settings, findings);
    }
    if let Some(settings) = &policy.outlier_detection {
        outlier_detection(path.field("outlierDetection"), settings, findings);
    }
    if let Some(settings) = &policy.tls {
        client_tls(path.field("tls"), settings, findings);
    }
    if let Some(settings) = &policy.tunnel {
        tunnel(path.field("tunnel"), settings, findings);
    }
    if let Some(budget) = &policy.retry_budget {
        let path = path.field("retryBudget");
        if let Some(share) = budget.percent.filter(|share| !(0.0..=100.0).contains(share)) {
            findings.error(path.field("percent"), format_args!("{share} must be between 0 and 100 percent"));
        }
    }
    ports(path, policy, findings);
}

fn ports(path: FieldPath<'_>, policy: &TrafficPolicy, findings: &mut Findings<'_>) {
    let ports = path.field("portLevelSettings");
    for (index, settings) in policy.port_level_settings.iter().enumerate() {
        let path = ports.index(index);
        match settings.port {
            None => findings.error(path, "the port is required"),
            Some(port) => {
                let at = path.field("port");
                rules::port(at.field("number"), port.number, findings);
                if policy.port_level_settings[..index].iter().any(|other| other.port == settings.port) {
                    findings.error(at, format_args!("port {} stands twice", port.number));
                }
            }
        }
        if let Some(settings) = &settings.load_balancer {
            load_balancer::validate(path.field("loadBalancer"), settings, findings);
        }
        if let Some(settings) = &settings.connection_pool {
            connection_pool(path.field("connectionPool"), settings, findings);
        }
        if let Some(settings) = &settings.outlier_detection {
            outlier_detection(path.field("outlierDetection"), settings, findings);
        }
        if let Some(settings) = &settings.tls {
            client_tls(path.field("tls"), settings, findings);
        }
    }
}

/// Checks limits of connections.
pub(super) fn connection_pool(path: FieldPath<'_>, pool: &ConnectionPoolSettings, findings: &mut Findings<'_>) {
    if pool.tcp.is_none() && pool.http.is_none() {
        findings.error(path, "at least one of tcp and http is required");
    }
    if let Some(settings) = &pool.tcp {
        tcp(path.field("tcp"), settings, findings);
    }
    if let Some(settings) = &pool.http {
        http(path.field("http"), settings, findings);
    }
}

fn tcp(path: FieldPath<'_>, settings: &TcpSettings, findings: &mut Findings<'_>) {
    rules::not_negative(path.field("maxConnections"), settings.max_connections, findings);
    rules::duration(path.field("connectTimeout"), settings.connect_timeout, findings);
    rules::duration(path.field("maxConnectionDuration"), settings.max_connection_duration, findings);
    // 0s turns the limit off.
    let idle = settings.idle_timeout.filter(|span| !span.is_zero());
    rules::duration(path.field("idleTimeout"), idle, findings);
    if let Some(probes) = &settings.tcp_keepalive {
        let path = path.field("tcpKeepalive");
        rules::duration(path.field("time"), probes.time, findings);
        rules::duration(path.field("interval"), probes.interval, findings);
    }
}

fn http(path: FieldPath<'_>, settings: &HttpSettings, findings: &mut Findings<'_>) {
    for (field, number) in [
        ("http1MaxPendingRequests", settings.http1_max_pending_requests),
        ("http2MaxRequests", settings.http2_max_requests),
        ("maxRequestsPerConnection", settings.max_requests_per_connection),
        ("maxRetries", settings.max_retries),
        ("maxConcurrentStreams", settings.max_concurrent_streams),
    ] {
        rules::not_negative(path.field(field), number, findings);
    }
    rules::duration(path.field("idleTimeout"), settings.idle_timeout, findings);
    if let Some(pings) = &settings.http2_keep_alive {
        let path = path.field("http2KeepAlive");
        rules::duration(path.field("interval"), pings.interval, findings);
        rules::duration(path.field("timeout"), pings.timeout, findings);
    }
    if settings.h2_upgrade_policy == Some(H2UpgradePolicy::Upgrade) && settings.use_client_protocol == Some(true) {
        findings.error(path.field("useClientProtocol"), "an upgrade and the client's protocol exclude each other");
    }
}

fn outlier_detection(path: FieldPath<'_>, settings: &OutlierDetection, findings: &mut Findings<'_>) {
    rules::duration(path.field("interval"), settings.interval, findings);
    rules::duration(path.field("baseEjectionTime"), settings.base_ejection_time, findings);
    for (field, share) in
        [("maxEjectionPercent", settings.max_ejection_percent), ("minHealthPercent", settings.min_health_percent)]
    {
        if let Some(share) = share.filter(|share| !(0..=100).contains(share)) {
            findings.error(path.field(field), format_args!("{share} must be between 0 and 100 percent"));
        }
    }
    if let Some(share) = settings.failure_percentage_threshold.filter(|share| *share > 100) {
        let at = path.field("failurePercentageThreshold");
        findings.error(at, format_args!("{share} must be between 0 and 100 percent"));
    }
    let codes = path.field("outlierDetectionHttpErrorCodes");
    let listed = settings.outlier_detection_http_error_codes.iter().enumerate();
    for (index, code) in listed.filter(|(_, code)| !(100..=599).contains(*code)) {
        findings.error(codes.index(index), format_args!("status {code} must be between 100 and 599"));
    }
    if settings.consecutive_errors.is_some_and(|count| count != 0) {
        let message =
            "consecutiveErrors is deprecated and has no effect: use consecutiveGatewayErrors or consecutive5xxErrors";
        findings.warning(path.field("consecutiveErrors"), message);
    }
    let split = settings.split_external_local_origin_errors == Some(true);
    if settings.consecutive_local_origin_failures.is_some_and(|count| count != 0) && !split {
        let message = "consecutiveLocalOriginFailures needs splitExternalLocalOriginErrors: true";
        findings.error(path.field("consecutiveLocalOriginFailures"), message);
    }
}

fn is_given(text: Option<&String>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

pub(super) fn client_tls(path: FieldPath<'_>, tls: &ClientTlsSettings, findings: &mut Findings<'_>) {
    let certificate = is_given(tls.client_certificate.as_ref());
    let key = is_given(tls.private_key.as_ref());
    let authorities = is_given(tls.ca_certificates.as_ref());
    let secret = is_given(tls.credential_name.as_ref());
    let files = [("clientCertificate", certificate), ("privateKey", key), ("caCertificates", authorities)];
    if tls.insecure_skip_verify == Some(true) {
        let useless = [
            ("caCertificates", authorities),
            ("credentialName", secret && tls.mode == ClientTlsMode::Simple),
            ("subjectAltNames", !tls.subject_alt_names.is_empty()),
        ];
        for (field, _) in useless.into_iter().filter(|(_, given)| *given) {
            findings.error(path.field(field), format_args!("{field} and insecureSkipVerify: true exclude each other"));
        }
    }
    let crl = ("caCrl", is_given(tls.ca_crl.as_ref()));
    if secret && matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual) {
        for (field, _) in files.into_iter().chain([crl]).filter(|(_, given)| *given) {
            findings.error(path.field(field), format_args!("{field} and credentialName exclude each other"));
        }
    }
    if tls.mode == ClientTlsMode::IstioMutual {
        for (field, _) in files.into_iter().chain([crl]).filter(|(_, given)| *given) {
            findings.warning(path.field(field), format_args!("{field} has no effect with ISTIO_MUTUAL"));
        }
    }
    if tls.mode == ClientTlsMode::Mutual && !secret {
        for (field, _) in files[..2].iter().filter(|(_, given)| !given) {
            findings.error(path, format_args!("{field} is required for MUTUAL, unless there is a credentialName"));
        }
    }
}

fn tunnel(path: FieldPath<'_>, settings: &TunnelSettings, findings: &mut Findings<'_>) {
    if let Some(protocol) = settings.protocol.as_deref().filter(|name| !matches!(*name, "" | "CONNECT" | "POST")) {
        findings.error(path.field("protocol"), format_args!("unknown protocol {protocol:?}: use CONNECT or POST"));
    }
    if !rules::is_ip(&settings.target_host) {
        rules::host(path.field("targetHost"), &settings.target_host, findings);
    }
    rules::port(path.field("targetPort"), settings.target_port, findings);
}
