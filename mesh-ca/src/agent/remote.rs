//! [`RemoteCa`]: a client of Istio's CSR API.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use prost_types::{Struct, Value, value::Kind};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_rustls::TlsConnector;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint, Uri},
};
use zeroize::Zeroizing;

use super::{
    source::{CertRequest, CertSource, FetchedCertificate, SourceError},
    state::IdentityWatch,
};
use crate::{
    api::{IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient},
    authn::{BearerToken, MAX_TOKEN_BYTES},
    clock::Clock,
    server::IMPERSONATION,
    spiffe::{SpiffeId, certificates_from_pem},
    tls::{self, PeerPolicy},
};

/// Largest answer read: a chain has a few kilobytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a workload's token is found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TokenSource {
    /// There is none: only a client certificate can prove who asks.
    None,
    /// This one.
    Fixed(BearerToken),
    /// A file that holds just the token, read anew at each try, since platforms renew it in place.
    File(PathBuf),
}

/// How to reach a CA.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RemoteCaConfig {
    /// `HOST:PORT` of its TLS port.
    pub address: String,
    /// Addresses of other instances of the same CA, asked when one cannot be reached. Who answered last is asked first.
    pub fallbacks: Vec<String>,
    /// Who the CA must be, by its SPIFFE id.
    pub server: PeerPolicy,
    /// How we prove ourselves as long as we have no certificate.
    pub token: TokenSource,
    /// How long one address may take to answer, so that one that hangs leaves time for the others. Default 4 seconds.
    pub attempt_timeout: Duration,
    /// Whether each request names its workload, since we ask for others than ourselves (`ImpersonatedIdentity`, as Istio's
    /// node proxies do). Default no.
    pub for_others: bool,
}

impl RemoteCaConfig {
    /// A CA at `address` that is `server`, asked without a token.
    pub fn new(address: impl Into<String>, server: PeerPolicy) -> Self {
        Self {
            address: address.into(),
            fallbacks: Vec::new(),
            server,
            token: TokenSource::None,
            attempt_timeout: Duration::from_secs(4),
            for_others: false,
        }
    }

    /// With the address of one more instance.
    #[must_use]
    pub fn with_fallback(mut self, address: impl Into<String>) -> Self {
        self.fallbacks.push(address.into());
        self
    }

    /// As a node proxy or registration authority, which asks in the name of the workload in each request.
    #[must_use]
    pub fn acting_for_others(mut self) -> Self {
        self.for_others = true;
        self
    }

    /// With a token.
    #[must_use]
    pub fn with_token(mut self, token: TokenSource) -> Self {
        self.token = token;
        self
    }
}

/// Asks a remote `istio.v1.auth.IstioCertificateService` over TLS.
///
/// The certificate held so far proves who asks; without one, or when the CA does not take it, the token does. A connection
/// is made for each request: renewals are rare, and each uses the certificate and roots of its time.
#[derive(Debug, Clone)]
pub struct RemoteCa {
    config: RemoteCaConfig,
    clock: Arc<dyn Clock>,
    /// Which address answered last.
    last_good: Arc<AtomicUsize>,
}

impl RemoteCa {
    /// A client; nothing is connected yet.
    pub fn new(config: RemoteCaConfig, clock: Arc<dyn Clock>) -> Self {
        Self { config, clock, last_good: Arc::default() }
    }

    async fn token(&self) -> Result<Option<BearerToken>, SourceError> {
        match &self.config.token {
            TokenSource::None => Ok(None),
            TokenSource::Fixed(token) => Ok(Some(token.clone())),
            TokenSource::File(path) => {
                let shown = path.display();
                let read = async {
                    let mut text = Zeroizing::new(String::new());
                    let file = tokio::fs::File::open(path).await?;
                    // One byte more than allowed tells apart what fits.
                    file.take(MAX_TOKEN_BYTES as u64 + 1).read_to_string(&mut text).await?;
                    Ok::<_, io::Error>(text)
                };
                let text = read.await.map_err(|e| SourceError::Credential(format!("token file {shown}: {e}")))?;
                match text.trim() {
                    "" => Err(SourceError::Credential(format!("token file {shown} is empty"))),
                    long if long.len() > MAX_TOKEN_BYTES => {
                        Err(SourceError::Credential(format!("token file {shown} is not a token: too long")))
                    }
                    token => Ok(Some(BearerToken::new(token))),
                }
            }
        }
    }

    /// Asks one address after the other, until one answers.
    async fn ask(
        &self,
        request: &CertRequest,
        with_certificate: bool,
        token: Option<BearerToken>,
    ) -> Result<FetchedCertificate, Failure> {
        let addresses: Vec<&String> = [&self.config.address].into_iter().chain(&self.config.fallbacks).collect();
        let first = self.last_good.load(Relaxed);
        let mut last = None;
        for turn in 0..addresses.len() {
            let chosen = (first + turn) % addresses.len();
            let asked = self.ask_at(addresses[chosen], request, with_certificate, token.clone());
            let answer = tokio::time::timeout(self.config.attempt_timeout, asked)
                .await
                .unwrap_or_else(|_| Err(Failure::Status(Status::deadline_exceeded("the CA did not answer in time"))));
            match answer {
                Err(failure) if failure.is_of_the_address() => {
                    tracing::debug!(address = addresses[chosen], "CA cannot be reached there");
                    last = Some(failure);
                }
                answer => {
                    self.last_good.store(chosen, Relaxed);
                    return answer;
                }
            }
        }
        // There is one address at least.
        Err(last.unwrap_or_else(|| Failure::Other(SourceError::Unreachable("no address".into()))))
    }

    /// One try at one address with the proofs given.
    async fn ask_at(
        &self,
        address: &str,
        request: &CertRequest,
        with_certificate: bool,
        token: Option<BearerToken>,
    ) -> Result<FetchedCertificate, Failure> {
        let current = request.current.clone().filter(|_| with_certificate);
        let identity = IdentityWatch::fixed(current, Arc::clone(&request.bundles), Arc::clone(&self.clock));
        let mut tls = tls::client_config(&identity, self.config.server.clone())
            .map_err(|e| Failure::Other(SourceError::Unreachable(e.to_string())))?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let channel = connect(address, Arc::new(tls)).await.map_err(Failure::Connect)?;
        let mut call = Request::new(IstioCertificateRequest {
            csr: request.csr_pem.clone(),
            validity_duration: request.lifetime.map_or(0, |l| i64::try_from(l.as_secs()).unwrap_or(i64::MAX)),
            metadata: self.config.for_others.then(|| impersonating(&request.id)),
        });
        if let Some(token) = token {
            call.metadata_mut().insert("authorization", authorization(&token).map_err(Failure::Other)?);
        }
        let mut client = IstioCertificateServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        let answer = client.create_certificate(call).await.map_err(Failure::Status)?.into_inner();
        read_answer(&answer.cert_chain).map_err(Failure::Other)
    }
}

/// Why a try failed: some failures are worth a second one with the other proof.
enum Failure {
    Connect(tonic::transport::Error),
    Status(Status),
    Other(SourceError),
}

impl Failure {
    /// Whether another instance may well answer.
    fn is_of_the_address(&self) -> bool {
        match self {
            Self::Connect(_) => true,
            Self::Status(s) => matches!(s.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Unknown),
            Self::Other(_) => false,
        }
    }

    /// Whether it may be our certificate that was not liked.
    fn may_be_the_certificate(&self) -> bool {
        match self {
            Self::Connect(_) => true,
            // TLS 1.3 servers refuse a client certificate after the handshake: the call just breaks.
            Self::Status(s) => {
                matches!(s.code(), Code::Unauthenticated | Code::PermissionDenied | Code::Unavailable | Code::Unknown)
            }
            Self::Other(_) => false,
        }
    }
}

impl From<Failure> for SourceError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Connect(e) => Self::Unreachable(causes(&e)),
            Failure::Status(s) => match s.code() {
                Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
                    Self::Unreachable(format!("{}: {}", s.code(), s.message()))
                }
                code => Self::Refused(format!("{code}: {}", s.message())),
            },
            Failure::Other(e) => e,
        }
    }
}

#[async_trait]
impl CertSource for RemoteCa {
    async fn fetch(&self, request: &CertRequest) -> Result<FetchedCertificate, SourceError> {
        if request.current.is_some() {
            match self.ask(request, true, None).await {
                Ok(fetched) => return Ok(fetched),
                Err(failure) => match self.config.token {
                    TokenSource::None => return Err(failure.into()),
                    _ if !failure.may_be_the_certificate() => return Err(failure.into()),
                    _ => {}
                },
            }
        }
        let token = self.token().await?;
        Ok(self.ask(request, false, token).await?)
    }
}

async fn connect(address: &str, tls: Arc<ClientConfig>) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(CONNECT_TIMEOUT);
    // The scheme is http because TLS is made here, by our own verifier, not by tonic.
    let connector = tower::service_fn(move |uri: Uri| {
        let tls = TlsConnector::from(Arc::clone(&tls));
        async move {
            let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            let tcp = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(443))).await?;
            tcp.set_nodelay(true)?;
            Ok::<_, io::Error>(TokioIo::new(tls.connect(name, tcp).await?))
        }
    });
    endpoint.connect_with_connector(connector).await
}

/// Istio's way to name the workload that a certificate is for.
fn impersonating(id: &SpiffeId) -> Struct {
    let value = Value { kind: Some(Kind::StringValue(id.to_string())) };
    Struct { fields: [(IMPERSONATION.to_owned(), value)].into() }
}

fn authorization(token: &BearerToken) -> Result<MetadataValue<Ascii>, SourceError> {
    let text = Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value = MetadataValue::try_from(text.as_str())
        .map_err(|_| SourceError::Credential("the token holds characters that no token has".into()))?;
    // Keeps it out of debug output and of HPACK's tables.
    value.set_sensitive(true);
    Ok(value)
}

/// Leaf first; the last text is the roots, of which there may be several (istio/api security/v1alpha1/ca.proto; istiod sends
/// its whole `root-cert.pem` there).
fn read_answer(chain: &[String]) -> Result<FetchedCertificate, SourceError> {
    let read = |pem: &String| certificates_from_pem(pem.as_bytes()).map_err(|e| SourceError::Unusable(e.to_string()));
    let (roots, chain) = chain.split_last().ok_or_else(|| SourceError::Unusable("the chain is empty".into()))?;
    let mut certificates: Vec<CertificateDer<'static>> = Vec::new();
    for pem in chain {
        certificates.extend(read(pem)?);
    }
    if certificates.is_empty() {
        return Err(SourceError::Unusable("the chain has no leaf and root".into()));
    }
    Ok(FetchedCertificate::new(certificates, read(roots)?))
}

/// An error with its causes in one line: the outermost one says little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
