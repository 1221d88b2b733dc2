//! What configuration says that translation does not carry out: reported, never left out in silence.

use mesh_config::{
    Kind, Snapshot,
    model::{
        AuthorizationAction, AuthorizationPolicy, DestinationRule, Gateway, HttpRoute, LoadBalancerSettings, Object,
        SimpleLb, TrafficPolicy, VirtualService,
    },
};

use super::rbac;
use crate::discovery::Notice;

/// Notices about all objects of a snapshot, in their order.
pub(super) fn notices(snapshot: &Snapshot) -> Vec<Notice> {
    let mut found = Vec::new();
    for typed in snapshot.all::<VirtualService>() {
        virtual_service(&mut Findings::of(typed.object, &mut found), typed.spec);
    }
    for typed in snapshot.all::<DestinationRule>() {
        destination_rule(&mut Findings::of(typed.object, &mut found), typed.spec);
    }
    for typed in snapshot.all::<Gateway>() {
        gateway(&mut Findings::of(typed.object, &mut found), typed.spec);
    }
    for typed in snapshot.all::<AuthorizationPolicy>() {
        authorization(&mut Findings::of(typed.object, &mut found), typed.object, typed.spec);
    }
    let whole = "this kind is not implemented: the object has no effect";
    let unused = Kind::all().filter(|kind| (kind.is_strict() || *kind == Kind::Ingress) && !TRANSLATED.contains(kind));
    for object in unused.flat_map(|kind| snapshot.of_kind(kind)) {
        found.push(Notice::new(object.key(), "", whole));
    }
    found
}

/// Kinds, of the mesh's API groups, that are carried out; templates of workloads have nothing to be carried out.
const TRANSLATED: [Kind; 8] = [
    Kind::WorkloadEntry,
    Kind::WorkloadGroup,
    Kind::ServiceEntry,
    Kind::Gateway,
    Kind::DestinationRule,
    Kind::VirtualService,
    Kind::PeerAuthentication,
    Kind::AuthorizationPolicy,
];

/// Collects notices about one object.
struct Findings<'a> {
    object: &'a Object,
    found: &'a mut Vec<Notice>,
}

impl<'a> Findings<'a> {
    fn of(object: &'a Object, found: &'a mut Vec<Notice>) -> Self {
        Self { object, found }
    }

    /// Notes that the field at `path`, if it is set, is not carried out.
    fn unless(&mut self, is_unset: bool, path: impl Into<String>, effect: &str) {
        if !is_unset {
            let message = format!("not implemented: {effect}");
            self.found.push(Notice::new(self.object.key(), path, message));
        }
    }
}

fn virtual_service(findings: &mut Findings<'_>, spec: &VirtualService) {
    for (index, rule) in spec.http.iter().enumerate() {
        http_rule(findings, rule, &format!("spec.http[{index}]"));
    }
    for (index, rule) in spec.tcp.iter().enumerate() {
        for (at, m) in rule.matches.iter().enumerate() {
            let path = format!("spec.tcp[{index}].match[{at}]");
            let plain = m.destination_subnets.is_empty()
                && m.source_subnet.is_none()
                && m.source_labels.is_empty()
                && m.source_namespace.is_none();
            findings.unless(plain, path, "only port and gateways of a TCP condition are looked at");
        }
    }
    for (index, rule) in spec.tls.iter().enumerate() {
        for (at, m) in rule.matches.iter().enumerate() {
            let path = format!("spec.tls[{index}].match[{at}]");
            let plain = m.destination_subnets.is_empty() && m.source_labels.is_empty() && m.source_namespace.is_none();
            findings.unless(plain, path, "only sniHosts, port and gateways of a TLS condition are looked at");
        }
    }
}

fn http_rule(findings: &mut Findings<'_>, rule: &HttpRoute, path: &str) {
    let at = |field: &str| format!("{path}.{field}");
    findings.unless(rule.delegate.is_none(), at("delegate"), "the rule is left out; write its rules here");
    if let Some(retries) = &rule.retries {
        let off = !retries.retry_remote_localities.unwrap_or(false);
        findings.unless(off, at("retries.retryRemoteLocalities"), "retries stay in the order of the load balancer");
    }
    if let Some(fault) = &rule.fault {
        let delay = fault.delay.as_ref().and_then(|delay| delay.exponential_delay);
        findings.unless(delay.is_none(), at("fault.delay.exponentialDelay"), "no delay is put in; use fixedDelay");
        let http2 = fault.abort.as_ref().and_then(|abort| abort.http2_error.as_ref());
        findings.unless(http2.is_none(), at("fault.abort.http2Error"), "nothing is aborted; use httpStatus");
    }
    for (index, request) in rule.matches.iter().enumerate() {
        let field = at(&format!("match[{index}].statPrefix"));
        findings.unless(request.stat_prefix.is_none(), field, "no statistics of single routes are kept");
    }
    if let Some(to) = &rule.redirect {
        let known = matches!(to.redirect_code.unwrap_or(301), 301 | 302 | 303 | 307 | 308);
        findings.unless(known, at("redirect.redirectCode"), "only 301, 302, 303, 307 and 308 can be sent: 301 is");
        let derived = to.derive_port.is_none() || to.scheme.is_some() || to.port.is_some();
        findings.unless(derived, at("redirect.derivePort"), "without a scheme the port of the request is kept");
    }
}

fn destination_rule(findings: &mut Findings<'_>, spec: &DestinationRule) {
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy(findings, policy, "spec.trafficPolicy");
    }
    for (index, subset) in spec.subsets.iter().enumerate() {
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(findings, policy, &format!("spec.subsets[{index}].trafficPolicy"));
        }
    }
}

fn traffic_policy(findings: &mut Findings<'_>, policy: &TrafficPolicy, path: &str) {
    findings.unless(policy.tunnel.is_none(), format!("{path}.tunnel"), "connections are not tunnelled");
    findings.unless(policy.proxy_protocol.is_none(), format!("{path}.proxyProtocol"), "no PROXY header is sent");
    findings.unless(
        policy.retry_budget.is_none(),
        format!("{path}.retryBudget"),
        "retries are limited by maxRetries only",
    );
    let ports = policy.port_level_settings.iter().enumerate();
    let sections = ports.map(|(index, port)| {
        (
            format!("{path}.portLevelSettings[{index}]"),
            &port.load_balancer,
            &port.tls,
            &port.outlier_detection,
            &port.connection_pool,
        )
    });
    let own = (path.to_owned(), &policy.load_balancer, &policy.tls, &policy.outlier_detection, &policy.connection_pool);
    for (path, balancer, tls, outlier, pool) in std::iter::once(own).chain(sections) {
        if let Some(settings) = balancer {
            load_balancer(findings, settings, &format!("{path}.loadBalancer"));
        }
        if let Some(tls) = tls {
            findings.unless(
                tls.ca_crl.is_none(),
                format!("{path}.tls.caCrl"),
                "revoked certificates are not looked for",
            );
            let field = format!("{path}.tls.caCertCredentialName");
            findings.unless(tls.ca_cert_credential_name.is_none(), field, "it has no effect; use caCertificates");
        }
        if let Some(outlier) = outlier {
            let field = format!("{path}.outlierDetection.failurePercentageThreshold");
            findings.unless(
                outlier.failure_percentage_threshold.is_none(),
                field,
                "shares of failures are not counted",
            );
            let field = format!("{path}.outlierDetection.outlierDetectionHttpErrorCodes");
            let plain = outlier.outlier_detection_http_error_codes.is_empty();
            findings.unless(plain, field, "statuses 5xx are errors");
            let field = format!("{path}.outlierDetection.consecutiveErrors");
            findings.unless(outlier.consecutive_errors.is_none(), field, "it has no effect; use consecutive5xxErrors");
        }
        if let Some(tcp) = pool.as_ref().and_then(|pool| pool.tcp.as_ref()) {
            let field = format!("{path}.connectionPool.tcp.idleTimeout");
            findings.unless(
                tcp.idle_timeout.is_none(),
                field,
                "TCP connections are closed after an hour without bytes",
            );
        }
    }
}

fn load_balancer(findings: &mut Findings<'_>, settings: &LoadBalancerSettings, path: &str) {
    let locality = settings.locality_lb_setting.as_ref().is_none_or(|setting| {
        setting.distribute.is_empty() && setting.failover.is_empty() && setting.failover_priority.is_empty()
    });
    findings.unless(locality, format!("{path}.localityLbSetting"), "localities have no effect on the choice");
    let field = format!("{path}.backendUtilization");
    findings.unless(settings.backend_utilization.is_none(), field, "loads that endpoints report have no effect");
    findings.unless(settings.warmup.is_none(), format!("{path}.warmup"), "new endpoints take their full share at once");
    let field = format!("{path}.warmupDurationSecs");
    findings.unless(settings.warmup_duration_secs.is_none(), field, "new endpoints take their full share at once");
    let passthrough = settings.simple == Some(SimpleLb::Passthrough);
    let effect = "where connections are not redirected the endpoints are balanced over";
    findings.unless(!passthrough, format!("{path}.simple"), effect);
}

fn gateway(findings: &mut Findings<'_>, spec: &Gateway) {
    for (index, server) in spec.servers.iter().enumerate() {
        let at = |field: &str| format!("spec.servers[{index}].{field}");
        findings.unless(server.default_endpoint.is_none(), at("defaultEndpoint"), "it has no effect");
        let Some(tls) = &server.tls else { continue };
        findings.unless(tls.ca_crl.is_none(), at("tls.caCrl"), "revoked certificates are not looked for");
        findings.unless(tls.credential_names.len() <= 1, at("tls.credentialNames"), "only the first is used");
        findings.unless(tls.ca_cert_credential_name.is_none(), at("tls.caCertCredentialName"), "it has no effect");
        findings.unless(tls.subject_alt_names.is_empty(), at("tls.subjectAltNames"), "any client name is accepted");
        findings.unless(tls.verify_certificate_spki.is_empty(), at("tls.verifyCertificateSpki"), "it is not checked");
        findings.unless(tls.verify_certificate_hash.is_empty(), at("tls.verifyCertificateHash"), "it is not checked");
        findings.unless(tls.cipher_suites.is_empty(), at("tls.cipherSuites"), "the proxy's own are used");
        findings.unless(tls.ecdh_curves.is_empty(), at("tls.ecdhCurves"), "the proxy's own are used");
        findings.unless(tls.alpn_protocols.is_empty(), at("tls.alpnProtocols"), "those of the protocol are offered");
        let strict = tls.insecure_skip_verify != Some(true);
        findings.unless(strict, at("tls.insecureSkipVerify"), "clients must have a valid certificate");
        let versions = tls.min_protocol_version.is_none() && tls.max_protocol_version.is_none();
        findings.unless(versions, at("tls.minProtocolVersion"), "TLS 1.2 and 1.3 are spoken");
    }
}

fn authorization(findings: &mut Findings<'_>, object: &Object, spec: &AuthorizationPolicy) {
    let dry = object.meta.annotations.get(rbac::DRY_RUN).is_none_or(|value| value != "true");
    findings.unless(dry, format!("metadata.annotations[\"{}\"]", rbac::DRY_RUN), "the policy has no effect at all");
    let bound = spec.target_ref.is_none() && spec.target_refs.is_empty();
    findings.unless(bound, "spec.targetRefs", "the policy has no effect; use a selector");
    let effect = match spec.action {
        AuthorizationAction::Custom => Some("no provider is asked: what the policy matches is refused"),
        AuthorizationAction::Audit => Some("nothing is marked for audit"),
        AuthorizationAction::Allow | AuthorizationAction::Deny => None,
    };
    findings.unless(effect.is_none(), "spec.action", effect.unwrap_or_default());
    for (index, rule) in spec.rules.iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        for (at, from) in rule.from.iter().enumerate() {
            let Some(source) = &from.source else { continue };
            let plain = source.request_principals.is_empty() && source.not_request_principals.is_empty();
            let field = format!("{path}.from[{at}].source.requestPrincipals");
            findings.unless(plain, field, "tokens are not verified: no request has a token's principal");
        }
        for (at, condition) in rule.when.iter().enumerate() {
            if let Some(effect) = rbac::condition_gap(condition) {
                findings.unless(false, format!("{path}.when[{at}].key"), effect);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_config::model::{Delegate, ObjectMeta, Sidecar};
    use std::sync::Arc;

    #[test]
    fn names_the_field() {
        let rule = HttpRoute { delegate: Some(Delegate::default()), ..HttpRoute::default() };
        let spec = VirtualService { http: vec![HttpRoute::default(), rule], ..VirtualService::default() };
        let meta = ObjectMeta { name: "x".into(), ..ObjectMeta::default() };
        let sidecar = ObjectMeta { name: "y".into(), ..ObjectMeta::default() };
        let objects = [Arc::new(Object::new(meta, spec)), Arc::new(Object::new(sidecar, Sidecar::default()))];
        let found = notices(&objects.into_iter().collect());
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].path, "spec.http[1].delegate");
        assert_eq!(found[0].object.to_string(), "VirtualService default/x");
        assert_eq!((found[1].path.as_str(), found[1].object.name.as_ref()), ("", "y"));
    }
}
