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
    let SecretValue::Validation { roots, sans, .. } = found.value else { panic!("roots") };
    assert_eq!((roots.len(), sans.len()), (1, 4));
    assert!(sans.iter().any(|san| san.san_type == SanType::Uri));
    let refusal = |yaml: &str| refused(translator().secret(&resource(SECRET, yaml)));
    assert_eq!(refusal("{name: x, validation_context: {}}"), "validation_context.trusted_ca: is required");
    assert_eq!(refusal("{name: x, generic_secret: {}}"), "generic_secret: is not carried");
    assert_eq!(
        refusal("{name: x, validation_context: {trusted_ca: {filename: /nowhere/ca.pem}}}"),
        "validation_context.trusted_ca.filename: cannot read /nowhere/ca.pem: No such file or directory (os error 2)"
    );
}
