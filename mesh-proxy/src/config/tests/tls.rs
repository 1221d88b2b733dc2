use rcgen::{CertificateParams, KeyPair};

use super::{refused, resource, translator};
use crate::model::{SanType, SecretValue};

const SECRET: &str = "envoy.extensions.transport_sockets.tls.v3.Secret";

fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn inline(text: &str) -> String {
    format!("{{inline_string: {text:?}}}")
}

#[test]
fn certificates() {
    let (chain, key) = pair();
    let secret = |chain: &str, key: &str| {
        let (chain, key) = (inline(chain), inline(key));
        let yaml = format!("{{name: default, tls_certificate: {{certificate_chain: {chain}, private_key: {key}}}}}");
        translator().secret(&resource(SECRET, &yaml))
    };
    let found = secret(&chain, &key).unwrap();
    assert!(matches!(&found.value, SecretValue::Certificate { chain, .. } if chain.len() == 1));
    assert!(!format!("{found:?}").contains("PRIVATE"));
    let (_, other) = pair();
    assert!(refused(secret(&chain, &other)).starts_with("tls_certificate.private_key: does not fit the certificate"));
    assert_eq!(refused(secret("x", &key)), "tls_certificate.certificate_chain: holds no certificate in PEM");
    assert!(refused(secret(&chain, "x")).starts_with("tls_certificate.private_key: holds no"));
}

#[test]
fn roots() {
    let (chain, _) = pair();
    let yaml = format!(
        "{{name: ROOTCA, validation_context: {{trusted_ca: {}, match_subject_alt_names: [{{exact: a}}]}}}}",
        inline(&chain)
    );
    let found = translator().secret(&resource(SECRET, &yaml)).unwrap();
    let SecretValue::Validation { roots, rules, .. } = found.value else { panic!("roots") };
    assert_eq!((roots.len(), rules.sans.len()), (1, 4));
    assert!(rules.sans.iter().any(|san| san.san_type == SanType::Uri));
    let refusal = |yaml: &str| refused(translator().secret(&resource(SECRET, yaml)));
    assert_eq!(refusal("{name: x, validation_context: {}}"), "validation_context.trusted_ca: is required");
    assert_eq!(refusal("{name: x, generic_secret: {}}"), "generic_secret: is not carried");
    assert_eq!(
        refusal("{name: x, validation_context: {trusted_ca: {filename: /nowhere/ca.pem}}}"),
        "validation_context.trusted_ca.filename: cannot read /nowhere/ca.pem: No such file or directory (os error 2)"
    );
}

const VALIDATION: &str = "envoy.extensions.transport_sockets.tls.v3";

/// A client's context with these fields, and in its validation context those.
fn upstream(fields: &str, validation: &str) -> Result<crate::model::ClientTls, crate::config::Rejection> {
    let yaml = format!(
        "{{name: c, type: STATIC, load_assignment: {{cluster_name: c}}, transport_socket: {{name: s, typed_config: \
         {{\"@type\": type.googleapis.com/{VALIDATION}.UpstreamTlsContext, {fields}, common_tls_context: \
         {{validation_context: {validation}}}}}}}}}"
    );
    let found = translator().cluster(&resource("envoy.config.cluster.v3.Cluster", &yaml))?.value.socket;
    Ok((**found.tls().unwrap()).clone())
}

#[test]
fn rules_for_peers() {
    let (chain, _) = pair();
    let roots = inline(&chain);
    let found = upstream(
        "sni: a.b, auto_sni_san_validation: true, max_session_keys: 3",
        &format!(
            "{{trusted_ca: {roots}, only_verify_leaf_cert_crl: true, allow_expired_certificate: true, max_verify_depth: \
             4, suppress_client_ca_list: true, match_typed_subject_alt_names: [{{san_type: OTHER_NAME, oid: 1.2.3, \
             matcher: {{exact: x}}}}]}}"
        ),
    )
    .unwrap();
    assert_eq!((found.auto_sni_san, found.max_session_keys), (true, Some(3)));
    let secret = found.common.validation.unwrap().roots.unwrap();
    let SecretValue::Validation { rules, .. } = &secret.value else { panic!("{secret:?}") };
    assert!(rules.leaf_crl_only && rules.allow_expired && rules.hide_roots);
    assert_eq!((rules.max_depth, rules.sans[0].oid.as_str()), (Some(4), "1.2.3"));
    for (validation, error) in [
        ("{crl: {inline_string: x}}".to_owned(), "crl: needs a trusted_ca"),
        (format!("{{trusted_ca: {roots}, max_verify_depth: 101}}"), "max_verify_depth: must be"),
        (
            format!(
                "{{trusted_ca: {roots}, match_typed_subject_alt_names: [{{san_type: URI, oid: '1.2', matcher: {{exact: x}}}}]}}"
            ),
            "match_typed_subject_alt_names[0].oid: an object identifier",
        ),
        (
            format!(
                "{{trusted_ca: {roots}, match_typed_subject_alt_names: [{{san_type: OTHER_NAME, oid: x, matcher: {{exact: x}}}}]}}"
            ),
            "match_typed_subject_alt_names[0].oid: an object identifier",
        ),
        (
            format!("{{trusted_ca: {roots}, require_signed_certificate_timestamp: true}}"),
            "require_signed_certificate_timestamp: is",
        ),
    ] {
        let found = refused(upstream("sni: a", &validation));
        let at = "transport_socket.typed_config.common_tls_context.validation_context.";
        assert!(found.strip_prefix(at).unwrap_or(&found).starts_with(error), "{validation}: {found}");
    }
    let bare = refused(upstream("auto_sni_san_validation: true", "{}"));
    assert!(bare.starts_with("transport_socket.typed_config.auto_sni_san_validation: needs"), "{bare}");
}

#[test]
fn roots_by_trust_domain() {
    let (chain, _) = pair();
    let roots = inline(&chain);
    let spiffe = |fields: &str, more: &str| {
        upstream(
            "sni: a",
            &format!(
                "{{custom_validator_config: {{name: envoy.tls.cert_validator.spiffe, typed_config: {{\"@type\": \
                 type.googleapis.com/{VALIDATION}.SPIFFECertValidatorConfig, {fields}}}}}{more}}}"
            ),
        )
    };
    let domains = |found: crate::model::ClientTls| {
        let secret = found.common.validation.unwrap().roots.unwrap();
        let SecretValue::Validation { rules, roots, .. } = &secret.value else { panic!("{secret:?}") };
        assert!(roots.is_empty());
        rules.trust_domains.keys().cloned().collect::<Vec<_>>()
    };
    let two = format!("trust_domains: [{{name: a.b, trust_bundle: {roots}}}, {{name: c.d, trust_bundle: {roots}}}]");
    assert_eq!(domains(spiffe(&two, "").unwrap()), ["a.b", "c.d"]);
    let body: String = chain.lines().filter(|line| !line.starts_with('-')).collect();
    let map = format!(
        "trust_bundles: {{inline_string: '{{\"trust_domains\": {{\"e.f\": {{\"keys\": [{{\"use\": \"jwt-svid\"}}, \
         {{\"use\": \"x509-svid\", \"x5c\": [\"{body}\"]}}]}}}}}}'}}"
    );
    assert_eq!(domains(spiffe(&map, "").unwrap()), ["e.f"]);
    let at = "transport_socket.typed_config.common_tls_context.validation_context.custom_validator_config";
    for (fields, more, error) in [
        ("trust_domains: []".to_owned(), String::new(), ".typed_config.trust_domains: one at least"),
        (
            format!("trust_domains: [{{name: a, trust_bundle: {roots}}}, {{name: a, trust_bundle: {roots}}}]"),
            String::new(),
            ".typed_config.trust_domains[1].name: is there twice",
        ),
        (
            "trust_domains: [{name: a}]".to_owned(),
            String::new(),
            ".typed_config.trust_domains[0].trust_bundle: is required",
        ),
        ("trust_bundles: {inline_string: '{}'}".to_owned(), String::new(), ".typed_config.trust_bundles: has no"),
        (two.clone(), format!(", trusted_ca: {roots}"), ": brings its own roots"),
    ] {
        let found = refused(spiffe(&fields, &more));
        assert!(found.starts_with(&format!("{at}{error}")), "{fields}: {found}");
    }
}

#[test]
fn resumption() {
    use crate::model::SessionTickets;
    let (chain, key) = pair();
    let downstream = |fields: &str| {
        let yaml = format!(
            "{{name: l, address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}, filter_chains: [{{filters: \
             [{{name: e, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}}}], \
             transport_socket: {{name: s, typed_config: {{\"@type\": type.googleapis.com/{VALIDATION}.DownstreamTlsContext, \
             common_tls_context: {{tls_certificates: [{{certificate_chain: {}, private_key: {}}}]}}, {fields}}}}}}}]}}",
            inline(&chain),
            inline(&key)
        );
        let found = translator().listener(&resource("envoy.config.listener.v3.Listener", &yaml))?.value;
        Ok(found.filter_chains[0].tls.as_ref().unwrap().resumption.clone())
    };
    // 80 and 81 bytes.
    let (right, wrong) = ("A".repeat(80), "A".repeat(81));
    let found = downstream(&format!(
        "session_ticket_keys: {{keys: [{{inline_string: {right}}}]}}, session_timeout: 30s, \
         disable_stateful_session_resumption: true"
    ))
    .unwrap();
    assert!(matches!(&found.tickets, SessionTickets::Static(secret)
        if !format!("{secret:?}").contains("65, 65") && matches!(&secret.value, SecretValue::SessionTicketKeys(k) if k.len() == 1)));
    assert!(found.stateless_only && found.timeout.unwrap().as_secs() == 30);
    let off = downstream("disable_stateless_session_resumption: true").unwrap();
    assert!(matches!(off.tickets, SessionTickets::Off));
    let refusal = |fields: &str| refused::<crate::model::Resumption>(downstream(fields));
    let at = "filter_chains[0].transport_socket.typed_config";
    let error = refusal(&format!("session_ticket_keys: {{keys: [{{inline_string: {wrong}}}]}}"));
    assert_eq!(error, format!("{at}.session_ticket_keys.keys[0]: must have 80 bytes, and has 81"));
    assert!(refusal("ocsp_staple_policy: MUST_STAPLE").starts_with(&format!("{at}.ocsp_staple_policy: ")));
    assert!(refusal("require_sni: true").starts_with(&format!("{at}.require_sni: ")));
}
