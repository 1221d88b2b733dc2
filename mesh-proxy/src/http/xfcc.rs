//! `x-forwarded-client-cert`: what the client certificate of this connection says (`forward_client_cert_details`).

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    base64,
    filter::TlsInfo,
    model::{ClientCertForwarding, HttpConnectionManager},
};

const XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// Applies the setting to a request's headers.
pub(super) fn apply(config: &HttpConnectionManager, tls: Option<&TlsInfo>, headers: &mut HeaderMap) {
    let mutual = tls.filter(|tls| !tls.peer_chain.is_empty());
    match config.forward_client_cert {
        ClientCertForwarding::AlwaysForwardOnly => return,
        ClientCertForwarding::Sanitize => {
            headers.remove(XFCC);
            return;
        }
        _ if mutual.is_none() => {
            headers.remove(XFCC);
            return;
        }
        ClientCertForwarding::ForwardOnly => return,
        ClientCertForwarding::AppendForward | ClientCertForwarding::SanitizeSet => {}
    }
    let Some(tls) = mutual else { return };
    let mut element = element(config, tls);
    if config.forward_client_cert == ClientCertForwarding::AppendForward
        && let Some(old) = headers.get(XFCC).and_then(|v| v.to_str().ok())
    {
        element = format!("{old},{element}");
    }
    if let Ok(value) = HeaderValue::try_from(element) {
        headers.insert(XFCC, value);
    }
}

fn element(config: &HttpConnectionManager, tls: &TlsInfo) -> String {
    let mut parts = Vec::new();
    parts.extend(tls.local_uris.first().map(|uri| format!("By={uri}")));
    parts.push(format!("Hash={}", tls.peer_fingerprint));
    if config.xfcc_cert
        && let Some(leaf) = tls.peer_chain.first()
    {
        parts.push(format!("Cert=\"{}\"", url_encoded_pem(leaf)));
    }
    if config.xfcc_chain {
        let chain: String = tls.peer_chain.iter().map(|c| url_encoded_pem(c)).collect();
        parts.push(format!("Chain=\"{chain}\""));
    }
    if config.xfcc_subject {
        parts.push(format!("Subject=\"{}\"", quoted(&tls.peer_subject)));
    }
    if config.xfcc_issuer {
        parts.push(format!("Issuer=\"{}\"", quoted(&tls.peer_issuer)));
    }
    if config.xfcc_uri {
        if tls.peer_uris.is_empty() {
            parts.push("URI=".into());
        }
        parts.extend(tls.peer_uris.iter().map(|uri| format!("URI={uri}")));
    }
    if config.xfcc_dns {
        parts.extend(tls.peer_dns.iter().map(|dns| format!("DNS={dns}")));
    }
    parts.join(";")
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

fn url_encoded_pem(der: &[u8]) -> String {
    let mut out = String::from("-----BEGIN%20CERTIFICATE-----%0A");
    for line in base64::encode(der).as_bytes().chunks(64) {
        for b in line {
            match b {
                b'+' => out.push_str("%2B"),
                b'/' => out.push_str("%2F"),
                b'=' => out.push_str("%3D"),
                b => out.push(char::from(*b)),
            }
        }
        out.push_str("%0A");
    }
    out.push_str("-----END%20CERTIFICATE-----%0A");
    out
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::apply;
    use crate::{filter::TlsInfo, model::ClientCertForwarding, testing};

    #[test]
    fn what_is_asked_for_is_told() {
        let mut config = testing::manager(testing::table(vec![]));
        config.forward_client_cert = ClientCertForwarding::SanitizeSet;
        (config.xfcc_subject, config.xfcc_issuer, config.xfcc_uri) = (true, true, true);
        let tls = TlsInfo {
            peer_chain: vec![vec![0].into()],
            peer_subject: "CN=\"a\"".into(),
            peer_issuer: "CN=ca,O=x".into(),
            peer_fingerprint: "ab".into(),
            peer_uris: vec!["spiffe://td/a".into()],
            ..TlsInfo::default()
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-client-cert", "forged".parse().unwrap());
        apply(&config, Some(&tls), &mut headers);
        let expected = r#"Hash=ab;Subject="CN=\"a\"";Issuer="CN=ca,O=x";URI=spiffe://td/a"#;
        assert_eq!(headers["x-forwarded-client-cert"], expected);
        apply(&config, None, &mut headers);
        assert!(headers.is_empty());
    }
}
