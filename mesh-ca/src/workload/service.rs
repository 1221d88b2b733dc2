//! [`WorkloadApi`].

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, async_trait};

use super::{
    bundles::BundleSet,
    delivery::Delivery,
    pool::IdentityPool,
    responses,
    socket::UnixPeerInfo,
    stream::{self, BundleStream, SvidStream},
};
use crate::{
    api::workload::{
        JwtBundlesRequest, JwtBundlesResponse, Jwtsvid, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest,
        ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse, X509svidRequest, X509svidResponse,
        spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer},
    },
    audit::{AuditOutcome, AuditRecord, AuditSink, TracingAudit},
    authn::{Authenticator, AuthnError, Identity, RequestFacts},
    clock::Clock,
    issuer::{
        IssueJwtError, JwtIssuer, JwtRequest,
        rotation::{RotationFeed, receivers::Receivers},
    },
    spiffe::{JwtSvid, MAX_JWT_BYTES, SpiffeId},
};

/// The key that every call must carry (SPIFFE_Workload_Endpoint.md section 3): requests that somebody was tricked into making
/// do not have it.
const SECURITY_HEADER: &str = "workload.spiffe.io";

/// Largest message read: a token and little else.
const MAX_REQUEST_BYTES: usize = MAX_JWT_BYTES + 4096;

/// Limits of a [`WorkloadApi`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkloadApiConfig {
    /// Streams open at once; more are told to come back later. Default 4096.
    pub max_streams: usize,
    /// How long a new stream waits for the first certificate. Default 10 seconds.
    pub first_svid_timeout: Duration,
    /// How far clocks may differ when tokens are validated. Default 10 seconds.
    pub leeway: Duration,
}

impl Default for WorkloadApiConfig {
    fn default() -> Self {
        Self { max_streams: 4096, first_svid_timeout: Duration::from_secs(10), leeway: Duration::from_secs(10) }
    }
}

/// The SPIFFE Workload API (SPIFFE_Workload_API.md), both profiles.
///
/// | status | when |
/// |---|---|
/// | `INVALID_ARGUMENT` | the header `workload.spiffe.io: true` is missing; a mandatory field is; a token does not hold |
/// | `PERMISSION_DENIED` | the caller has no identity, or not the one it asks for |
/// | `UNAVAILABLE` | a certificate cannot be had now, or too many streams are open; try again |
/// | `UNIMPLEMENTED` | the JWT profile, when there is no [`JwtIssuer`] |
///
/// Who calls is asked anew before everything that is sent: a caller who lost its identity loses its stream.
#[derive(Debug, Clone)]
pub struct WorkloadApi {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    config: WorkloadApiConfig,
    authenticator: Arc<dyn Authenticator>,
    pub(super) pool: Arc<IdentityPool>,
    jwt: Option<Arc<dyn JwtIssuer>>,
    bundles: watch::Receiver<Arc<BundleSet>>,
    audit: Arc<dyn AuditSink>,
    clock: Arc<dyn Clock>,
    streams: Arc<Semaphore>,
    rotation: Option<(RotationFeed, Arc<Receivers>)>,
}

impl WorkloadApi {
    /// Serves identities of `pool` to whom `authenticator` knows, and `bundles` as they change. Without JWT profile.
    pub fn new(
        authenticator: Arc<dyn Authenticator>,
        pool: Arc<IdentityPool>,
        bundles: watch::Receiver<Arc<BundleSet>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let config = WorkloadApiConfig::default();
        let streams = Arc::new(Semaphore::new(config.max_streams));
        let audit = Arc::new(TracingAudit);
        let (jwt, rotation) = (None, None);
        Self { shared: Arc::new(Shared { config, authenticator, pool, jwt, bundles, audit, clock, streams, rotation }) }
    }

    /// With the JWT profile. The published bundles must hold the issuer's keys.
    #[must_use]
    pub fn with_jwt(self, issuer: Arc<dyn JwtIssuer>) -> Self {
        self.changed(|shared| shared.jwt = Some(issuer))
    }

    /// With another place for audit records.
    #[must_use]
    pub fn with_audit(self, audit: Arc<dyn AuditSink>) -> Self {
        self.changed(|shared| shared.audit = audit)
    }

    /// With the CA in this process that signs what is served. Its rotation waits until every stream has been sent the bundle and
    /// certificates in question. The Workload API has no acknowledgements: a message counts when the transport of a living
    /// caller has taken it, and [`RootRotationConfig::settle`](crate::issuer::RootRotationConfig::settle) is the time to use it.
    /// Whoever publishes the bundles has to follow the CA's ([`RotationFeed::subscribe`]), and the pool too
    /// ([`IdentityPool::with_rotation`]).
    #[must_use]
    pub fn with_rotation(self, rotation: RotationFeed) -> Self {
        self.changed(|shared| {
            let receivers = Receivers::new(&rotation, Arc::clone(&shared.clock));
            shared.rotation = Some((rotation, receivers));
        })
    }

    /// With other limits.
    #[must_use]
    pub fn with_config(self, config: WorkloadApiConfig) -> Self {
        self.changed(|shared| {
            shared.streams = Arc::new(Semaphore::new(config.max_streams));
            shared.config = config;
        })
    }

    /// A copy with a change; streams of the original stay as they are.
    fn changed(self, change: impl FnOnce(&mut Shared)) -> Self {
        let old = &self.shared;
        let mut shared = Shared {
            config: old.config.clone(),
            authenticator: Arc::clone(&old.authenticator),
            pool: Arc::clone(&old.pool),
            jwt: old.jwt.clone(),
            bundles: old.bundles.clone(),
            audit: Arc::clone(&old.audit),
            clock: Arc::clone(&old.clock),
            streams: Arc::clone(&old.streams),
            rotation: old.rotation.clone(),
        };
        change(&mut shared);
        Self { shared: Arc::new(shared) }
    }

    /// As a tonic router takes it, with the size limit set. Connections must come from
    /// [`unix_incoming`](super::unix_incoming), else no caller is known by its process.
    pub fn into_server(self) -> SpiffeWorkloadApiServer<Self> {
        SpiffeWorkloadApiServer::new(self).max_decoding_message_size(MAX_REQUEST_BYTES)
    }

    /// The header check, and who calls.
    async fn enter<T>(&self, request: &Request<T>) -> Result<(Caller, Identity), Status> {
        let mut facts = RequestFacts::new();
        facts.unix_peer = request.extensions().get::<UnixPeerInfo>().and_then(|info| info.0);
        let caller = Caller { shared: Arc::clone(&self.shared), facts };
        if request.metadata().get(SECURITY_HEADER).is_none_or(|value| value != "true") {
            let reason = format!("every call must carry the metadata {SECURITY_HEADER}: true");
            return Err(caller.refuse(None, Code::InvalidArgument, reason));
        }
        let identity = caller.identify().await?;
        Ok((caller, identity))
    }

    fn slot(&self, caller: &Caller, identity: &Identity) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.shared.streams)
            .try_acquire_owned()
            .map_err(|_| caller.refuse(Some(identity), Code::Unavailable, "too many streams are open".into()))
    }

    fn jwt(&self, caller: &Caller, identity: &Identity) -> Result<&Arc<dyn JwtIssuer>, Status> {
        self.shared.jwt.as_ref().ok_or_else(|| {
            caller.refuse(Some(identity), Code::Unimplemented, "the JWT-SVID profile is not served here".into())
        })
    }
}

/// One caller, for as long as a call lasts.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) shared: Arc<Shared>,
    facts: RequestFacts,
}

impl Caller {
    /// Who it is, by what is known of it now.
    pub(super) async fn identify(&self) -> Result<Identity, Status> {
        match self.shared.authenticator.authenticate(&self.facts).await {
            Ok(identity) => Ok(identity),
            Err(e @ AuthnError::Unavailable { .. }) => Err(self.refuse(None, Code::Unavailable, e.to_string())),
            // SPIFFE_Workload_Endpoint.md section 6: no identity for this caller.
            Err(e) => Err(self.refuse(None, Code::PermissionDenied, e.to_string())),
        }
    }

    pub(super) fn bundles(&self) -> watch::Receiver<Arc<BundleSet>> {
        self.shared.bundles.clone()
    }

    pub(super) fn first_svid_timeout(&self) -> Duration {
        self.shared.config.first_svid_timeout
    }

    /// The books of a stream to this caller, if a rotation waits for it.
    pub(super) fn delivery(&self, identity: &Identity) -> Option<Delivery> {
        let (feed, receivers) = self.shared.rotation.as_ref()?;
        let who = match self.facts.unix_peer {
            Some(peer) => format!("{} ({peer}, Workload API)", identity.subject),
            None => format!("{} (Workload API)", identity.subject),
        };
        Some(Delivery::new(feed.clone(), receivers.open(&who)))
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    pub(super) fn record(&self, identity: Option<&Identity>, outcome: AuditOutcome) {
        self.shared.audit.record(&AuditRecord {
            time: self.shared.clock.now().wall,
            peer: None,
            proof: identity.map(|i| i.proof),
            // Who is refused before it is known is named by its process.
            caller: identity.map(|i| i.subject.clone()).or_else(|| self.facts.unix_peer.map(|p| p.to_string())),
            outcome,
        });
    }

    pub(super) fn refuse(&self, identity: Option<&Identity>, code: Code, reason: String) -> Status {
        let name = match code {
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::PermissionDenied => "PERMISSION_DENIED",
            Code::Unavailable => "UNAVAILABLE",
            Code::Unimplemented => "UNIMPLEMENTED",
            _ => "INTERNAL",
        };
        let told = match code {
            Code::Internal => "the token could not be issued; the log says why".to_owned(),
            _ => reason.clone(),
        };
        self.record(identity, AuditOutcome::Refused { code: name, reason });
        Status::new(code, told)
    }
}

#[async_trait]
impl SpiffeWorkloadApi for WorkloadApi {
    type FetchX509SVIDStream = ReceiverStream<Result<X509svidResponse, Status>>;
    type FetchX509BundlesStream = ReceiverStream<Result<X509BundlesResponse, Status>>;
    type FetchJWTBundlesStream = ReceiverStream<Result<JwtBundlesResponse, Status>>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let (caller, identity) = self.enter(&request).await?;
        let slot = self.slot(&caller, &identity)?;
        Ok(Response::new(stream::spawn(slot, |sender| SvidStream::new(caller, &identity).run(sender))))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        let (caller, identity) = self.enter(&request).await?;
        let slot = self.slot(&caller, &identity)?;
        let bundles = BundleStream::new(caller, responses::x509_bundles).of_rotation(&identity);
        Ok(Response::new(stream::spawn(slot, |sender| bundles.run(sender))))
    }

    async fn fetch_jwtsvid(&self, request: Request<JwtsvidRequest>) -> Result<Response<JwtsvidResponse>, Status> {
        let (caller, identity) = self.enter(&request).await?;
        let issuer = self.jwt(&caller, &identity)?;
        let request = request.into_inner();
        let refuse = |code, reason| caller.refuse(Some(&identity), code, reason);
        if request.audience.is_empty() {
            return Err(refuse(Code::InvalidArgument, "audience is missing".into()));
        }
        let ids = match request.spiffe_id.as_str() {
            "" => identity.ids.clone(),
            named => {
                let id = SpiffeId::parse(named).map_err(|e| refuse(Code::InvalidArgument, e.to_string()))?;
                if !identity.ids.contains(&id) {
                    return Err(refuse(Code::PermissionDenied, format!("the caller may not have the id {id}")));
                }
                vec![id]
            }
        };
        let mut svids = Vec::with_capacity(ids.len());
        for id in ids {
            let wanted = JwtRequest { id, audiences: request.audience.clone(), lifetime: None };
            let issued = issuer.issue_jwt(wanted).await.map_err(|e| refuse(code_of(&e), e.to_string()))?;
            let (id, audiences) = (issued.id().clone(), issued.audiences().to_vec());
            svids.push(Jwtsvid { spiffe_id: id.to_string(), svid: issued.token().to_owned(), hint: String::new() });
            caller.record(Some(&identity), AuditOutcome::TokenIssued { id, audiences, expires: issued.expires() });
        }
        Ok(Response::new(JwtsvidResponse { svids }))
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        let (caller, identity) = self.enter(&request).await?;
        self.jwt(&caller, &identity)?;
        let slot = self.slot(&caller, &identity)?;
        let bundles = BundleStream::new(caller, responses::jwt_bundles);
        Ok(Response::new(stream::spawn(slot, |sender| bundles.run(sender))))
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        let (caller, identity) = self.enter(&request).await?;
        self.jwt(&caller, &identity)?;
        let request = request.into_inner();
        let refuse = |reason| caller.refuse(Some(&identity), Code::InvalidArgument, reason);
        for (name, value) in [("audience", &request.audience), ("svid", &request.svid)] {
            if value.is_empty() {
                return Err(refuse(format!("{name} is missing")));
            }
        }
        let bundles = Arc::clone(&self.shared.bundles.borrow());
        let (now, leeway) = (self.shared.clock.now().wall, self.shared.config.leeway);
        let svid = JwtSvid::verify(&request.svid, &bundles.jwt, &[&request.audience], now, leeway)
            .map_err(|broken| refuse(broken.to_string()))?;
        let claims = Some(responses::claims(svid.claims()));
        Ok(Response::new(ValidateJwtsvidResponse { spiffe_id: svid.id().to_string(), claims }))
    }
}

fn code_of(error: &IssueJwtError) -> Code {
    match error {
        IssueJwtError::Audience => Code::InvalidArgument,
        IssueJwtError::TrustDomain { .. } => Code::PermissionDenied,
        IssueJwtError::Unavailable(_) => Code::Unavailable,
        _ => Code::Internal,
    }
}
