//! Certificates made for a test.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

/// A certificate with its key, both in PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Certificate.
    pub certificate: String,
    /// Private key.
    pub key: String,
}

/// An authority of a test.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// Never, as long as keys can be made.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority can be made") }
    }

    /// Its own certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A new certificate for `localhost`, good for both sides.
    ///
    /// # Panics
    /// Never, as long as keys can be made.
    #[must_use]
    pub fn issue(&self) -> Pair {
        let mut params = CertificateParams::new(vec!["localhost".into()]).expect("a name");
        // Subject and issuer must differ, or BoringSSL takes the certificate for its own issuer.
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().expect("a key can be made");
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate can be made");
        Pair { certificate: leaf.pem(), key: key.serialize_pem() }
    }

    /// A server that shows a certificate of this authority and asks for one.
    ///
    /// # Panics
    /// Never, as long as keys can be made.
    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        let pair = self.issue();
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider()).build();
        let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_client_cert_verifier(verifier.expect("a verifier"));
        Arc::new(config.with_single_cert(vec![pair.der()], key).expect("a certificate with its key"))
    }

    /// A client that trusts this authority.
    ///
    /// # Panics
    /// Never, as long as keys can be made.
    #[must_use]
    pub fn client(&self) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let mut config = config.expect("versions").with_root_certificates(self.roots()).with_no_client_auth();
        // A resumed session shows no certificate.
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a certificate");
        Arc::new(roots)
    }
}

impl Pair {
    /// The certificate's bytes.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
