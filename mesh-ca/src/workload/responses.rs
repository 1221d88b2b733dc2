//! What the Workload API answers, as messages.

use std::{collections::BTreeMap, sync::Arc};

use rustls_pki_types::CertificateDer;
use serde_json::Value;

use super::bundles::BundleSet;
use crate::{
    api::workload::{JwtBundlesResponse, X509BundlesResponse, X509svid, X509svidResponse},
    spiffe::{TrustBundle, TrustDomain, X509Svid},
};

/// Certificates in DER, one after the other.
fn concatenated<'a>(certificates: impl Iterator<Item = &'a CertificateDer<'static>>) -> Vec<u8> {
    certificates.flat_map(|c| c.iter().copied()).collect()
}

fn roots(bundle: &TrustBundle) -> Vec<u8> {
    concatenated(bundle.roots().iter().map(|r| r.certificate()))
}

fn crls(bundles: &BundleSet) -> Vec<Vec<u8>> {
    bundles.x509.iter().flat_map(TrustBundle::crls).map(|c| c.der().to_vec()).collect()
}

/// SPIFFE_Workload_API.md section 5.2.1. `None` when there is no bundle for a certificate's own trust domain.
pub(super) fn x509_svids(svids: &[Arc<X509Svid>], bundles: &BundleSet) -> Option<X509svidResponse> {
    let mut own: Vec<&TrustDomain> = Vec::new();
    let mut messages = Vec::with_capacity(svids.len());
    for svid in svids {
        let trust_domain = svid.id().trust_domain();
        own.push(trust_domain);
        messages.push(X509svid {
            spiffe_id: svid.id().to_string(),
            x509_svid: concatenated(svid.chain().iter()),
            x509_svid_key: svid.key().as_pkcs8_der().to_vec(),
            bundle: roots(bundles.x509.bundle(trust_domain).filter(|b| !b.roots().is_empty())?),
            hint: String::new(),
        });
    }
    let federated_bundles =
        x509_map(bundles).into_iter().filter(|(id, _)| !own.iter().any(|domain| domain.id() == *id)).collect();
    Some(X509svidResponse { svids: messages, crl: crls(bundles), federated_bundles })
}

/// Section 5.2.2.
pub(super) fn x509_bundles(bundles: &BundleSet) -> X509BundlesResponse {
    X509BundlesResponse { crl: crls(bundles), bundles: x509_map(bundles) }
}

fn x509_map(bundles: &BundleSet) -> BTreeMap<String, Vec<u8>> {
    let some = bundles.x509.iter().filter(|b| !b.roots().is_empty());
    some.map(|b| (b.trust_domain().id(), roots(b))).collect()
}

/// Section 6.2.2: JWT signing keys and nothing else.
pub(super) fn jwt_bundles(bundles: &BundleSet) -> JwtBundlesResponse {
    let some = bundles.jwt.iter().filter(|b| !b.authorities().is_empty());
    JwtBundlesResponse { bundles: some.map(|b| (b.trust_domain().id(), b.to_jwks().into_bytes())).collect() }
}

/// Claims in protobuf's form of JSON. Numbers become doubles there, as `google.protobuf.Struct` has no others.
pub(super) fn claims(claims: &serde_json::Map<String, Value>) -> prost_types::Struct {
    prost_types::Struct { fields: claims.iter().map(|(name, value)| (name.clone(), claim(value))).collect() }
}

/// The parser of JSON limits how deep values are nested, and so this.
fn claim(value: &Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(b) => Kind::BoolValue(*b),
        Value::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or_default()),
        Value::String(s) => Kind::StringValue(s.clone()),
        Value::Array(all) => Kind::ListValue(prost_types::ListValue { values: all.iter().map(claim).collect() }),
        Value::Object(all) => Kind::StructValue(claims(all)),
    };
    prost_types::Value { kind: Some(kind) }
}
