//! The verifier as rustls wants it, on either side.

use std::sync::Arc;

use rustls::{
    DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{verify_tls12_signature, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::KeyUsage;

use super::PeerVerifier;

impl PeerVerifier {
    /// [`verify`](Self::verify), as far as the connection depends on it.
    fn decide(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
        sni: Option<&str>,
    ) -> Result<(), rustls::Error> {
        let result = self.verify(leaf, intermediates, now, usage, sni);
        if self.accepts_untrusted() { Ok(()) } else { result }
    }
}

/// [`PeerVerifier`] for the side that receives a server's certificate.
#[derive(Debug)]
pub(in crate::tls) struct ServerVerifier {
    pub(in crate::tls) peer: Arc<PeerVerifier>,
    /// The certificate must be for the name that was asked for.
    pub(in crate::tls) named: bool,
}

/// [`PeerVerifier`] for the side that receives a client's certificate.
#[derive(Debug)]
pub(in crate::tls) struct ClientVerifier(pub(in crate::tls) Arc<PeerVerifier>);

/// Signatures are checked alike on both sides.
macro_rules! signatures {
    ($this:ident => $peer:expr) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let $this = self;
            verify_tls12_signature(message, cert, dss, &$peer.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let $this = self;
            verify_tls13_signature(message, cert, dss, &$peer.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            let $this = self;
            $peer.algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let sni = match server_name {
            ServerName::DnsName(name) if self.named => Some(name.as_ref()),
            _ => None,
        };
        self.peer.decide(end_entity, intermediates, now, KeyUsage::server_auth(), sni)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures!(this => this.peer);
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.0.subjects
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.mandatory
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.decide(end_entity, intermediates, now, KeyUsage::client_auth(), None)?;
        Ok(ClientCertVerified::assertion())
    }

    signatures!(this => this.0);
}
