//! A CA certificate with its key, ready to sign: shared by the issuers that make certificates themselves.

use std::{fmt, sync::Arc, time::SystemTime};

use rcgen::{CertificateRevocationListParams, Issuer};
use rustls_pki_types::CertificateDer;

use super::{
    CsrKey, IssueRequest, IssuedCertificate,
    error::IssueError,
    keys::{CaKey, CertificateSigner},
    policy::IssuancePolicy,
    template::{self, Validity},
};
use crate::spiffe::{Crl, KeyError, TrustBundle, verify_and_read, x509::Facts};

pub(super) struct Authority {
    issuer: Issuer<'static, CertificateSigner>,
    validity: Validity,
    /// What peers need besides the leaf: this authority's own certificate first, unless that is the root.
    intermediates: Vec<CertificateDer<'static>>,
    root: CertificateDer<'static>,
    bundle: Arc<TrustBundle>,
    /// What is signed is looked at with this one.
    judge: TrustBundle,
    policy: IssuancePolicy,
}

/// Why a certificate and a key do not make an authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AuthorityError {
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("{0}")]
    Malformed(String),
}

impl Authority {
    /// Puts `certificate` and its `key` together. `intermediates` go out with each leaf, leaf's issuer first; without any,
    /// the certificate is its own root.
    ///
    /// Nothing it signs outlives any of the certificates, see [`Authority::validity`].
    pub(super) fn new(
        certificate: &CertificateDer<'static>,
        key: Arc<dyn CaKey>,
        intermediates: Vec<CertificateDer<'static>>,
        root: CertificateDer<'static>,
        bundle: Arc<TrustBundle>,
        policy: IssuancePolicy,
    ) -> Result<Self, AuthorityError> {
        let read = |der: &CertificateDer<'_>| Facts::parse(der).map_err(AuthorityError::Malformed);
        let facts = read(certificate)?;
        if key.public_key_der() != facts.public_key {
            return Err(AuthorityError::KeyMismatch);
        }
        let issuer = Issuer::from_ca_cert_der(certificate, CertificateSigner::new(key)?)
            .map_err(|e| AuthorityError::Malformed(e.to_string()))?;
        let mut validity = Validity { not_before: facts.not_before, not_after: facts.not_after };
        for signer in intermediates.iter().chain([&root]) {
            let facts = read(signer)?;
            validity = validity.within(Validity { not_before: facts.not_before, not_after: facts.not_after });
        }
        // A serial number that was made just now is on no list, and a root takes nothing of itself back: only intermediates may
        // be. Each list would cost a verification of its signature.
        let judge = TrustBundle::clone(&bundle);
        let judge = if intermediates.is_empty() { judge.with_crls([]) } else { judge };
        Ok(Self { issuer, validity, intermediates, root, bundle, judge, policy })
    }

    pub(super) fn bundle(&self) -> &Arc<TrustBundle> {
        &self.bundle
    }

    /// Whether signing may block.
    pub(super) fn is_remote(&self) -> bool {
        self.issuer.key().is_remote()
    }

    /// The time in which all certificates of the chain are valid.
    pub(super) fn validity(&self) -> Validity {
        self.validity
    }

    /// Signs what the policy grants.
    pub(super) fn issue(&self, request: &IssueRequest, now: SystemTime) -> Result<IssuedCertificate, IssueError> {
        if !self.policy.keys.allows(request.csr.key_kind()) {
            return Err(IssueError::KeyNotAllowed(request.csr.key_kind()));
        }
        self.sign(request, now)
    }

    /// Template, sign, verify; for keys of every kind.
    pub(super) fn sign(&self, request: &IssueRequest, now: SystemTime) -> Result<IssuedCertificate, IssueError> {
        let own = self.bundle.trust_domain();
        if request.id.trust_domain() != own {
            let asked = request.id.trust_domain().to_string();
            return Err(IssueError::TrustDomain { issuer: own.to_string(), asked });
        }
        request.csr.check_names(&request.id, &request.dns_names)?;
        if now < self.validity.not_before || now >= self.validity.not_after {
            return Err(IssueError::SignerNotValid);
        }
        let lifetime = self.policy.grant(request.lifetime);
        let validity = Validity::new(now, self.policy.backdate, lifetime).within(self.validity);
        let params = template::leaf(
            &request.id,
            &request.dns_names,
            matches!(request.csr.key_kind(), CsrKey::Rsa { .. }),
            validity,
        )?;
        let leaf = params
            .signed_by(request.csr.public_key(), &self.issuer)
            .map_err(|e| match e {
                rcgen::Error::RemoteKeyError => IssueError::Unavailable("the CA's key did not sign".into()),
                e => IssueError::Sign(e.to_string()),
            })?
            .der()
            .clone();
        self.verify_signed(leaf, request, validity, now)
    }

    /// Signs a revocation list, and reads it as a peer would.
    pub(super) fn sign_crl(&self, params: &CertificateRevocationListParams) -> Result<Crl, String> {
        let signed = params.signed_by(&self.issuer).map_err(|e| e.to_string())?;
        Crl::from_der(signed.der()).map_err(|e| e.to_string())
    }

    /// What leaves here is looked at as a peer would look at it.
    fn verify_signed(
        &self,
        leaf: CertificateDer<'static>,
        request: &IssueRequest,
        validity: Validity,
        now: SystemTime,
    ) -> Result<IssuedCertificate, IssueError> {
        let (verified, facts) = verify_and_read(&leaf, &self.intermediates, &self.judge, now)?;
        for (same, what) in [
            (verified.id == request.id, "identity"),
            (facts.public_key == request.csr.public_key_der(), "public key"),
            (facts.dns_sans == request.dns_names, "list of DNS names"),
            (verified.not_before == validity.not_before && verified.not_after == validity.not_after, "validity"),
        ] {
            if !same {
                return Err(IssueError::Mismatch(what));
            }
        }
        let mut chain = vec![leaf];
        chain.extend(self.intermediates.iter().cloned());
        Ok(IssuedCertificate {
            chain,
            root: self.root.clone(),
            roots: self.bundle.roots().iter().map(|r| r.certificate().clone()).collect(),
            id: verified.id,
            serial: verified.serial,
            not_before: verified.not_before,
            not_after: verified.not_after,
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("bundle", &self.bundle)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}
