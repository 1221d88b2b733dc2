//! Secrets of gateways (SDS), made from Kubernetes Secrets.

use mesh_config::{
    Snapshot,
    model::{Object, Secret},
};
use mesh_xds_api::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3::{
        CertificateValidationContext, Secret as ApiSecret, TlsCertificate, secret::Type,
    },
};

/// The secret of an SDS name `kubernetes://NAME` or `kubernetes://NAME-cacert`, from `namespace`; `None` if there is none.
///
/// Only secrets of the proxy's own namespace are ever given to it.
pub(super) fn secret<'a>(snapshot: &'a Snapshot, namespace: &str, sds_name: &str) -> Option<(ApiSecret, &'a Object)> {
    let name = sds_name.strip_prefix("kubernetes://")?;
    let found = |name: &str| snapshot.find::<Secret>(namespace, name);
    let (kind, object) = match name.strip_suffix("-cacert") {
        Some(base) => {
            let (object, roots) = [found(name), found(base)].into_iter().flatten().find_map(|typed| {
                let roots = typed.spec.value("ca.crt").or_else(|| typed.spec.value("cacert"))?;
                Some((&**typed.object, roots))
            })?;
            (
                Type::ValidationContext(CertificateValidationContext {
                    trusted_ca: bytes(roots),
                    ..Default::default()
                }),
                object,
            )
        }
        None => {
            let typed = found(name)?;
            let certificate = TlsCertificate {
                certificate_chain: bytes(typed.spec.value("tls.crt")?),
                private_key: bytes(typed.spec.value("tls.key")?),
                ..Default::default()
            };
            (Type::TlsCertificate(certificate), &**typed.object)
        }
    };
    Some((ApiSecret { name: sds_name.to_owned(), r#type: Some(kind) }, object))
}

fn bytes(value: Vec<u8>) -> Option<DataSource> {
    Some(DataSource { specifier: Some(Specifier::InlineBytes(value.into())), ..Default::default() })
}
