//! Which transport a cluster uses: plaintext, the mesh's mutual TLS, or TLS to the outside.

use mesh_config::model::{ClientTlsMode, ClientTlsSettings};
use mesh_xds_api::envoy::config::{cluster::v3::cluster::TransportSocketMatch, core::v3::TransportSocket};

use super::{
    destination::Policy,
    names, proto,
    tls::{self, ClientCertificate, MeshClientKey, OriginateKey, Roots},
};
use crate::discovery::{Service, ServicePort};

/// The transport of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum UpstreamTls {
    /// None.
    Plain,
    /// Mutual TLS of the mesh to endpoints that have a sidecar, plaintext to others.
    Auto(MeshClientKey),
    /// Mutual TLS of the mesh to all.
    Mesh(MeshClientKey),
    /// TLS to the outside.
    Originate(OriginateKey),
}

/// What the choice depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct UpstreamTlsKey<'a> {
    pub(super) service: &'a Service,
    pub(super) port: &'a ServicePort,
    pub(super) subset: &'a str,
    pub(super) policy: Policy<'a>,
    /// SPIFFE ids of the service's endpoints.
    pub(super) identities: &'a [String],
    /// Whether mutual TLS is used without being asked for.
    pub(super) auto: bool,
    /// File of the proxy's machine with the roots that it trusts.
    pub(super) system_roots: &'a str,
}

/// Chooses the transport. Source: Istio's "Mutual TLS" rules: a DestinationRule decides; else automatic mutual TLS.
pub(super) fn choose(key: &UpstreamTlsKey<'_>) -> UpstreamTls {
    let http2 = key.port.protocol.is_http2() || key.policy.upgrades_to_http2();
    let mesh = |settings: Option<&ClientTlsSettings>| {
        let sni = settings.and_then(|s| s.sni.clone()).filter(|sni| !sni.is_empty());
        let named = settings.map(|s| s.subject_alt_names.clone()).filter(|names| !names.is_empty());
        MeshClientKey {
            sni: sni.unwrap_or_else(|| names::mesh_sni(key.port.number, key.subset, key.service.hostname())),
            identities: named.unwrap_or_else(|| key.identities.to_vec()),
            http2,
        }
    };
    match key.policy.tls {
        None if key.auto && !key.service.mesh_external => UpstreamTls::Auto(mesh(None)),
        None => UpstreamTls::Plain,
        Some(settings) => match settings.mode {
            ClientTlsMode::Disable => UpstreamTls::Plain,
            ClientTlsMode::IstioMutual => UpstreamTls::Mesh(mesh(Some(settings))),
            ClientTlsMode::Simple | ClientTlsMode::Mutual => UpstreamTls::Originate(originate(settings, key, http2)),
        },
    }
}

fn originate(settings: &ClientTlsSettings, key: &UpstreamTlsKey<'_>, http2: bool) -> OriginateKey {
    let service = key.service;
    let host = service.hostname();
    let is_name = !host.starts_with('*') && host.parse::<std::net::IpAddr>().is_err();
    let sni = settings.sni.clone().filter(|sni| !sni.is_empty());
    let sni = sni.or_else(|| is_name.then(|| host.to_owned())).unwrap_or_default();
    let skip = settings.insecure_skip_verify.unwrap_or(false);
    let names = match (skip, settings.subject_alt_names.is_empty(), service.subject_alt_names.is_empty()) {
        (true, _, _) => Vec::new(),
        (false, false, _) => settings.subject_alt_names.clone(),
        (false, true, false) => service.subject_alt_names.iter().cloned().collect(),
        (false, true, true) => Some(sni.clone()).filter(|sni| !sni.is_empty()).into_iter().collect(),
    };
    let credential = settings.credential_name.as_deref().filter(|name| !name.is_empty());
    let roots = match (skip, credential, &settings.ca_certificates) {
        (true, _, _) => Roots::Unverified,
        (false, Some(name), _) => Roots::Secret(format!("kubernetes://{name}-cacert")),
        (false, None, Some(file)) if !file.is_empty() => Roots::File(file.clone()),
        (false, None, _) => Roots::File(key.system_roots.to_owned()),
    };
    let certificate = match (settings.mode, credential, &settings.client_certificate, &settings.private_key) {
        (ClientTlsMode::Mutual, Some(name), _, _) => ClientCertificate::Secret(format!("kubernetes://{name}")),
        (ClientTlsMode::Mutual, None, Some(chain), Some(private_key)) => {
            ClientCertificate::Files(chain.clone(), private_key.clone())
        }
        _ => ClientCertificate::None,
    };
    OriginateKey { sni, names, certificate, roots, http2 }
}

impl UpstreamTls {
    /// The one transport of the cluster, if there is only one.
    pub(super) fn socket(&self) -> Option<TransportSocket> {
        match self {
            Self::Plain | Self::Auto(_) => None,
            Self::Mesh(key) => Some(tls::mesh_client(key)),
            Self::Originate(key) => Some(tls::originate(key)),
        }
    }

    /// The transports chosen by endpoint, as Istio names them.
    pub(super) fn socket_matches(&self) -> Vec<TransportSocketMatch> {
        let Self::Auto(key) = self else { return Vec::new() };
        vec![
            TransportSocketMatch {
                name: "tlsMode-istio".to_owned(),
                r#match: Some(proto::object([("tlsMode", proto::text("istio"))])),
                transport_socket: Some(tls::mesh_client(key)),
            },
            TransportSocketMatch {
                name: "tlsMode-disabled".to_owned(),
                r#match: Some(proto::object::<&str>([])),
                transport_socket: Some(tls::plaintext()),
            },
        ]
    }

    /// Names of secrets that must come with the other resources.
    pub(super) fn stream_secrets(&self) -> Vec<&str> {
        let Self::Originate(key) = self else { return Vec::new() };
        let certificate =
            if let ClientCertificate::Secret(name) = &key.certificate { Some(name.as_str()) } else { None };
        let roots = if let Roots::Secret(name) = &key.roots { Some(name.as_str()) } else { None };
        certificate.into_iter().chain(roots).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Protocol;

    fn chosen(settings: Option<ClientTlsSettings>, external: bool) -> UpstreamTls {
        let mut service = Service::new("www.example.com", "a");
        service.mesh_external = external;
        let port = ServicePort::new("https", 443, Protocol::Https);
        let policy = Policy { tls: settings.as_ref(), ..Policy::default() };
        let identities = ["spiffe://cluster.local/ns/a/sa/b".to_owned()];
        choose(&UpstreamTlsKey {
            service: &service,
            port: &port,
            subset: "v1",
            policy,
            identities: &identities,
            auto: true,
            system_roots: "/roots.pem",
        })
    }

    #[test]
    fn automatic_only_within_the_mesh() {
        let UpstreamTls::Auto(key) = chosen(None, false) else { panic!("not automatic") };
        assert_eq!(key.sni, "outbound_.443_.v1_.www.example.com");
        assert_eq!(key.identities, ["spiffe://cluster.local/ns/a/sa/b"]);
        assert_eq!(chosen(None, true), UpstreamTls::Plain);
    }

    #[test]
    fn simple_verifies_the_host_by_default() {
        let settings = ClientTlsSettings { mode: ClientTlsMode::Simple, ..ClientTlsSettings::default() };
        let UpstreamTls::Originate(key) = chosen(Some(settings.clone()), true) else { panic!("not originated") };
        assert_eq!((key.sni.as_str(), key.names.as_slice()), ("www.example.com", &["www.example.com".to_owned()][..]));
        assert_eq!(key.roots, Roots::File("/roots.pem".into()));
        let skip = ClientTlsSettings { insecure_skip_verify: Some(true), ..settings };
        let UpstreamTls::Originate(key) = chosen(Some(skip), true) else { panic!("not originated") };
        assert!(key.names.is_empty() && key.roots == Roots::Unverified);
    }

    #[test]
    fn disable_beats_automatic() {
        assert_eq!(chosen(Some(ClientTlsSettings::default()), false), UpstreamTls::Plain);
    }
}
