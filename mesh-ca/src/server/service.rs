//! [`CertificateService`].

use std::{sync::Arc, time::Duration};

use prost_types::{Value, value::Kind};
use tonic::{Code, Request, Response, Status, async_trait, metadata::MetadataMap};

use super::{
    certificate_server::{CertificateServer, Reached},
    incoming::PeerInfo,
    metrics::ServiceMetrics,
};
use crate::{
    api::{
        IstioCertificateRequest, IstioCertificateResponse, istio_certificate_service_server::IstioCertificateService,
    },
    audit::{AuditOutcome, AuditRecord, AuditSink, TracingAudit},
    authn::{Authenticator, AuthnError, Identity, Impersonation, ProofKind, RequestFacts},
    clock::Clock,
    issuer::{CertIssuer, Csr, CsrError, IssueError, IssueRequest, IssuedCertificate, rotation::HolderTable, shown},
    spiffe::{SpiffeId, x509::Facts},
};

/// Largest message read. A request is a CSR and little else.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// Most bearer tokens of one call that are judged.
const MAX_TOKENS: usize = 4;

/// Istio's key for "I ask in the name of another workload", set by node proxies.
pub(crate) const IMPERSONATION: &str = "ImpersonatedIdentity";

/// Answers `CreateCertificate`: authenticates, decides, issues, and keeps an audit record of it.
///
/// | status | when |
/// |---|---|
/// | `UNAUTHENTICATED` | no proof, or none that holds |
/// | `PERMISSION_DENIED` | another id or name than the caller's own; asking for somebody whom [`Impersonation`] does not grant |
/// | `INVALID_ARGUMENT` | the CSR is malformed, too large, not signed by its key, or of a weak key; the workload asked for is no SPIFFE id |
/// | `UNAVAILABLE` | proof or signature cannot be had now; try again |
/// | `RESOURCE_EXHAUSTED` | the message has more than [`MAX_REQUEST_BYTES`]; see [`CertificateServer`] |
/// | `INTERNAL` | our fault; the audit record says more than the caller is told |
#[derive(Debug, Clone)]
pub struct CertificateService {
    issuer: Arc<dyn CertIssuer>,
    authenticator: Arc<dyn Authenticator>,
    impersonation: Option<Arc<dyn Impersonation>>,
    audit: Arc<dyn AuditSink>,
    metrics: Arc<ServiceMetrics>,
    clock: Arc<dyn Clock>,
    holders: Option<Arc<HolderTable>>,
}

/// A refusal: the code, what the caller is told, what is recorded.
pub(super) struct Refusal {
    code: Code,
    reason: String,
}

impl Refusal {
    pub(super) fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

impl CertificateService {
    /// A service that audits by `tracing`. The clock dates the audit records.
    pub fn new(issuer: Arc<dyn CertIssuer>, authenticator: Arc<dyn Authenticator>, clock: Arc<dyn Clock>) -> Self {
        let audit = Arc::new(TracingAudit);
        Self { issuer, authenticator, impersonation: None, audit, metrics: Arc::default(), clock, holders: None }
    }

    /// With those who are told which certificate takes the place of which: those of a
    /// [`RotatingCa`](crate::issuer::RotatingCa), whose rotation then waits for fewer certificates to end.
    #[must_use]
    pub fn with_holders(mut self, holders: Arc<HolderTable>) -> Self {
        self.holders = Some(holders);
        self
    }

    /// With another place for audit records.
    #[must_use]
    pub fn with_audit(mut self, audit: Arc<dyn AuditSink>) -> Self {
        self.audit = audit;
        self
    }

    /// With callers that may ask for others than themselves. Without, nobody may.
    #[must_use]
    pub fn with_impersonation(mut self, impersonation: Arc<dyn Impersonation>) -> Self {
        self.impersonation = Some(impersonation);
        self
    }

    /// Its counters; the handle stays good when the service has been given away.
    pub fn metrics(&self) -> Arc<ServiceMetrics> {
        Arc::clone(&self.metrics)
    }

    /// The form that a tonic router takes, with the size limit set.
    pub fn into_server(self) -> CertificateServer {
        CertificateServer::new(self)
    }

    async fn decide(
        &self,
        identity: &Identity,
        request: IstioCertificateRequest,
    ) -> Result<IssuedCertificate, Refusal> {
        let workload = match impersonated(&request) {
            Some(named) => Some(self.check_impersonation(identity, named).await?),
            None => None,
        };
        let csr = Csr::from_pem(&request.csr).map_err(|e| refusal(&IssueError::Csr(e)))?;
        let id = match workload {
            Some(workload) => workload,
            None => choose_id(identity, &csr)?,
        };
        // As in Istio, zero and below mean the default.
        let lifetime = u64::try_from(request.validity_duration).ok().filter(|s| *s > 0).map(Duration::from_secs);
        let request = IssueRequest { csr, id, dns_names: Vec::new(), lifetime };
        self.issuer.issue(request).await.map_err(|e| refusal(&e))
    }

    /// The workload that the caller asks for in its place, if it may.
    async fn check_impersonation(&self, caller: &Identity, named: &Value) -> Result<SpiffeId, Refusal> {
        let Some(judge) = &self.impersonation else {
            return Err(Refusal::new(Code::PermissionDenied, "asking for another workload is not allowed here"));
        };
        let invalid = |reason: String| Refusal::new(Code::InvalidArgument, format!("{IMPERSONATION}: {reason}"));
        let Some(Kind::StringValue(text)) = &named.kind else { return Err(invalid("it is no text".into())) };
        let workload = SpiffeId::parse(text).map_err(|e| invalid(format!("{}: {e}", shown(text))))?;
        match judge.check(caller, &workload).await {
            Ok(()) => Ok(workload),
            Err(e @ AuthnError::Unavailable { .. }) => Err(Refusal::new(Code::Unavailable, e.to_string())),
            Err(e) => Err(Refusal::new(Code::PermissionDenied, e.to_string())),
        }
    }

    fn record(&self, facts: &RequestFacts, identity: Option<&Identity>, outcome: AuditOutcome) {
        self.audit.record(&AuditRecord {
            time: self.clock.now().wall,
            peer: facts.peer_address,
            proof: identity.map(|i| i.proof),
            caller: identity.map(|i| i.subject.clone()),
            outcome,
        });
    }

    pub(super) fn refuse(&self, facts: &RequestFacts, identity: Option<&Identity>, refusal: Refusal) -> Status {
        self.metrics.count_refused(refusal.code);
        let told = match refusal.code {
            Code::Internal => "the CA could not issue a certificate; its log says why".to_owned(),
            _ => refusal.reason.clone(),
        };
        let outcome = AuditOutcome::Refused { code: code_name(refusal.code), reason: refusal.reason };
        self.record(facts, identity, outcome);
        Status::new(refusal.code, told)
    }
}

#[async_trait]
impl IstioCertificateService for CertificateService {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        if let Some(reached) = request.extensions().get::<Reached>() {
            reached.set();
        }
        let facts = facts_of(&request);
        let identity = match self.authenticator.authenticate(&facts).await {
            Ok(identity) => identity,
            Err(e) => {
                let code = match e {
                    AuthnError::Unavailable { .. } => Code::Unavailable,
                    _ => Code::Unauthenticated,
                };
                return Err(self.refuse(&facts, None, Refusal::new(code, e.to_string())));
            }
        };
        match self.decide(&identity, request.into_inner()).await {
            Ok(issued) => {
                self.metrics.count_issued();
                if let Some(holders) = &self.holders
                    && identity.proof == ProofKind::ClientCertificate
                    && let Some(leaf) = facts.peer_certificates.first()
                    && let Ok(shown) = Facts::parse(leaf)
                {
                    holders.seen(&shown.serial);
                    holders.link(&issued.serial, &shown.serial);
                }
                let outcome = AuditOutcome::Issued {
                    id: issued.id.clone(),
                    serial: issued.serial.clone(),
                    not_after: issued.not_after,
                };
                self.record(&facts, Some(&identity), outcome);
                Ok(Response::new(IstioCertificateResponse { cert_chain: issued.pem_with_root() }))
            }
            Err(refusal) => Err(self.refuse(&facts, Some(&identity), refusal)),
        }
    }
}

fn facts_of<T>(request: &Request<T>) -> RequestFacts {
    let mut facts = RequestFacts::new();
    facts.bearer_tokens = bearer_tokens(request.metadata()).map(crate::authn::BearerToken::new).collect();
    if let Some(peer) = request.extensions().get::<PeerInfo>() {
        facts.peer_certificates = peer.certificates.as_arc();
        facts.peer_address = peer.address;
    }
    facts.peer_address = facts.peer_address.or_else(|| request.remote_addr());
    facts
}

fn bearer_tokens(metadata: &MetadataMap) -> impl Iterator<Item = &str> {
    metadata.get_all("authorization").iter().take(MAX_TOKENS).filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    })
}

/// What names another workload than the caller. As in Istio, an empty text names none.
fn impersonated(request: &IstioCertificateRequest) -> Option<&Value> {
    let named = request.metadata.as_ref()?.fields.get(IMPERSONATION)?;
    Some(named).filter(|value| value.kind != Some(Kind::StringValue(String::new())))
}

/// The id that the CSR names when it is one of the caller's; the caller's only one when the CSR names none.
fn choose_id(identity: &Identity, csr: &Csr) -> Result<SpiffeId, Refusal> {
    let denied = |reason: String| Err(Refusal::new(Code::PermissionDenied, reason));
    match (csr.uris(), identity.ids.as_slice()) {
        ([], [only]) => Ok(only.clone()),
        ([], _) => denied("the caller may have several ids; name one of them in the CSR".into()),
        ([first, ..], ids) => match ids.iter().find(|id| id.as_str() == first) {
            Some(id) => Ok(id.clone()),
            None => denied(format!("the caller may not have the id {}", shown(first))),
        },
    }
}

/// One table from failure to status.
fn refusal(error: &IssueError) -> Refusal {
    let code = match error {
        IssueError::Csr(CsrError::ForeignName(_) | CsrError::CaRequested) | IssueError::TrustDomain { .. } => {
            Code::PermissionDenied
        }
        IssueError::Csr(_) | IssueError::KeyNotAllowed(_) | IssueError::DnsName(_) => Code::InvalidArgument,
        IssueError::Unavailable(_) => Code::Unavailable,
        _ => Code::Internal,
    };
    Refusal::new(code, error.to_string())
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated => "UNAUTHENTICATED",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::Unavailable => "UNAVAILABLE",
        _ => "INTERNAL",
    }
}
