//! TLS contexts: mutual TLS of the mesh, and plain TLS to the outside.

use std::time::Duration;

use mesh_xds_api::{
    any,
    envoy::{
        config::core::v3::{
            ApiConfigSource, ApiVersion, ConfigSource, GrpcService, TransportSocket, api_config_source::ApiType,
            config_source::ConfigSourceSpecifier, grpc_service, transport_socket,
        },
        extensions::transport_sockets::{
            raw_buffer::v3::RawBuffer,
            tls::v3::{
                CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig,
                SubjectAltNameMatcher, TlsParameters, UpstreamTlsContext,
                common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
                subject_alt_name_matcher::SanType,
                tls_parameters::TlsProtocol,
            },
        },
    },
};
use prost::{Message, Name};

use super::proto;

/// SDS name of the workload's own certificate.
pub(super) const OWN_CERTIFICATE: &str = "default";
/// SDS name of the mesh's roots.
pub(super) const MESH_ROOTS: &str = "ROOTCA";
/// Application protocols that callers within the mesh offer: what tells mesh TLS from TLS of the application.
pub(super) const MESH_ALPN: [&str; 5] =
    ["istio-peer-exchange", "istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"];

/// A secret the agent beside the proxy serves, never the control plane.
pub(super) fn agent_secret(name: &str) -> SdsSecretConfig {
    let grpc = grpc_service::EnvoyGrpc { cluster_name: "sds-grpc".to_owned(), ..Default::default() };
    let api = ApiConfigSource {
        api_type: ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        grpc_services: vec![GrpcService {
            target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(grpc)),
            ..Default::default()
        }],
        set_node_on_first_message_only: true,
        ..Default::default()
    };
    SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(ConfigSource {
            initial_fetch_timeout: Some(proto::duration(Duration::ZERO)),
            resource_api_version: ApiVersion::V3.into(),
            config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(api)),
            ..Default::default()
        }),
    }
}

/// A secret that comes with the other resources.
pub(super) fn stream_secret(name: &str) -> SdsSecretConfig {
    SdsSecretConfig { name: name.to_owned(), sds_config: Some(proto::ads()) }
}

fn parameters() -> Option<TlsParameters> {
    Some(TlsParameters {
        tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
        tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
        ..Default::default()
    })
}

fn sans(names: impl IntoIterator<Item = String>) -> Vec<SubjectAltNameMatcher> {
    let matcher = |name: String| SubjectAltNameMatcher {
        san_type: if name.contains("://") { SanType::Uri } else { SanType::Dns }.into(),
        matcher: Some(proto::exact(name)),
        ..Default::default()
    };
    names.into_iter().map(matcher).collect()
}

/// Peers verified by roots from SDS, and by name if any names are given.
fn verified_by(roots: SdsSecretConfig, names: impl IntoIterator<Item = String>) -> Option<ValidationContextType> {
    Some(ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(CertificateValidationContext {
            match_typed_subject_alt_names: sans(names),
            ..Default::default()
        }),
        validation_context_sds_secret_config: Some(roots),
        ..Default::default()
    }))
}

/// What mutual TLS to an endpoint of the mesh needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct MeshClientKey {
    /// Server name indication.
    pub(super) sni: String,
    /// Identities accepted of the server; empty accepts any of the trust domain.
    pub(super) identities: Vec<String>,
    /// Whether HTTP/2 is spoken.
    pub(super) http2: bool,
}

/// Mutual TLS with the workload's certificate (`ISTIO_MUTUAL`).
///
/// `istio` tells the server that this is mesh TLS; `h2` beside it lets the server pick HTTP/2.
pub(super) fn mesh_client(key: &MeshClientKey) -> TransportSocket {
    let alpn: &[&str] = if key.http2 { &["istio", "h2"] } else { &["istio"] };
    tls_socket(&UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: parameters(),
            alpn_protocols: alpn.iter().map(|&p| p.to_owned()).collect(),
            tls_certificate_sds_secret_configs: vec![agent_secret(OWN_CERTIFICATE)],
            validation_context_type: verified_by(agent_secret(MESH_ROOTS), key.identities.iter().cloned()),
            ..Default::default()
        }),
        sni: key.sni.clone(),
        ..Default::default()
    })
}

/// Mutual TLS towards callers of the mesh.
pub(super) fn mesh_server(http: bool) -> TransportSocket {
    let alpn: &[&str] = if http { &["h2", "http/1.1", "istio"] } else { &["istio"] };
    tls_socket(&DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: parameters(),
            alpn_protocols: alpn.iter().map(|&p| p.to_owned()).collect(),
            tls_certificate_sds_secret_configs: vec![agent_secret(OWN_CERTIFICATE)],
            validation_context_type: verified_by(agent_secret(MESH_ROOTS), []),
            ..Default::default()
        }),
        require_client_certificate: Some(true),
        ..Default::default()
    })
}

/// Where certificates for TLS to the outside come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum ClientCertificate {
    /// None: the server alone is verified.
    None,
    /// Files of the proxy's machine: chain, key.
    Files(String, String),
    /// A secret of this SDS name.
    Secret(String),
}

/// Where the roots that verify a server come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Roots {
    /// A file of the proxy's machine.
    File(String),
    /// A secret of this SDS name.
    Secret(String),
    /// Nothing is verified (`insecureSkipVerify`).
    Unverified,
}

/// What TLS to the outside (`SIMPLE`, `MUTUAL`) needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct OriginateKey {
    /// Server name indication, empty to send none.
    pub(super) sni: String,
    /// Names accepted of the server; empty accepts any the roots vouch for.
    pub(super) names: Vec<String>,
    /// Our certificate.
    pub(super) certificate: ClientCertificate,
    /// Their roots.
    pub(super) roots: Roots,
    /// Whether HTTP/2 is spoken.
    pub(super) http2: bool,
}

/// TLS to the outside.
pub(super) fn originate(key: &OriginateKey) -> TransportSocket {
    use mesh_xds_api::envoy::{
        config::core::v3::{DataSource, data_source::Specifier},
        extensions::transport_sockets::tls::v3::TlsCertificate,
    };
    let file =
        |name: &String| Some(DataSource { specifier: Some(Specifier::Filename(name.clone())), ..Default::default() });
    let names = || sans(key.names.iter().cloned());
    let validation = |trusted_ca| {
        Some(ValidationContextType::ValidationContext(CertificateValidationContext {
            trusted_ca,
            match_typed_subject_alt_names: names(),
            ..Default::default()
        }))
    };
    let mut common = CommonTlsContext {
        tls_params: parameters(),
        alpn_protocols: if key.http2 { vec!["h2".to_owned()] } else { Vec::new() },
        validation_context_type: match &key.roots {
            Roots::File(name) => validation(file(name)),
            Roots::Secret(name) => verified_by(stream_secret(name), key.names.iter().cloned()),
            Roots::Unverified => None,
        },
        ..Default::default()
    };
    match &key.certificate {
        ClientCertificate::None => {}
        ClientCertificate::Files(chain, private_key) => common.tls_certificates.push(TlsCertificate {
            certificate_chain: file(chain),
            private_key: file(private_key),
            ..Default::default()
        }),
        ClientCertificate::Secret(name) => common.tls_certificate_sds_secret_configs.push(stream_secret(name)),
    }
    tls_socket(&UpstreamTlsContext { common_tls_context: Some(common), sni: key.sni.clone(), ..Default::default() })
}

/// TLS of a gateway towards its callers.
pub(super) fn gateway_server(certificate: &str, roots: Option<&str>) -> TransportSocket {
    tls_socket(&DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: parameters(),
            alpn_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
            tls_certificate_sds_secret_configs: vec![stream_secret(certificate)],
            validation_context_type: roots.and_then(|name| verified_by(stream_secret(name), [])),
            ..Default::default()
        }),
        require_client_certificate: Some(roots.is_some()),
        ..Default::default()
    })
}

/// No TLS.
pub(super) fn plaintext() -> TransportSocket {
    socket("envoy.transport_sockets.raw_buffer", &RawBuffer {})
}

fn tls_socket<M: Message + Name>(context: &M) -> TransportSocket {
    socket("envoy.transport_sockets.tls", context)
}

fn socket<M: Message + Name>(name: &str, config: &M) -> TransportSocket {
    TransportSocket {
        name: name.to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(any::pack(config))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_xds_api::json;

    fn config(socket: &TransportSocket) -> serde_json::Value {
        json::to_value(socket)["typed_config"].clone()
    }

    #[test]
    fn mesh_client_names_secrets_and_identities() {
        let key = MeshClientKey {
            sni: "outbound_.80_._.a".into(),
            identities: vec!["spiffe://cluster.local/ns/a/sa/b".into()],
            http2: true,
        };
        let tls = config(&mesh_client(&key));
        let common = &tls["common_tls_context"];
        assert_eq!(common["tls_certificate_sds_secret_configs"][0]["name"], "default");
        let sds = &common["tls_certificate_sds_secret_configs"][0]["sds_config"];
        assert_eq!(sds["api_config_source"]["grpc_services"][0]["envoy_grpc"]["cluster_name"], "sds-grpc");
        let combined = &common["combined_validation_context"];
        assert_eq!(combined["validation_context_sds_secret_config"]["name"], "ROOTCA");
        let san = &combined["default_validation_context"]["match_typed_subject_alt_names"][0];
        assert_eq!(san["san_type"], "URI");
        assert_eq!(san["matcher"]["exact"], "spiffe://cluster.local/ns/a/sa/b");
        assert_eq!(common["alpn_protocols"], serde_json::json!(["istio", "h2"]));
    }

    #[test]
    fn server_requires_a_certificate() {
        assert_eq!(config(&mesh_server(true))["require_client_certificate"], true);
        assert_eq!(config(&gateway_server("kubernetes://a", None))["require_client_certificate"], false);
    }
}
