//! Istio's CSR API over TLS: a server on one thread, clients on others.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hyper_util::rt::TokioIo;
use mesh_ca::{
    agent::{AgentConfig, IdentityWatch, IssuerSource, WorkloadIdentity},
    api::{IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient},
    audit::MemoryAudit,
    authn::{Authenticator, ClientCertAuthenticator, JwtAuthenticator, JwtConfig, TokenMinter, TokenRequest},
    clock::{Clock, SystemClock},
    issuer::{Csr, SelfSigned, SelfSignedConfig, store::MemoryStore},
    server::{CertificateService, IncomingLimits, tls_incoming},
    spiffe::{KeyType, PrivateKey, SpiffeId, TrustDomain},
    tls::{self, ClientAuth, PeerPolicy},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tonic::{
    Request,
    transport::{Channel, Endpoint, Server, Uri},
};

use crate::usage;

const ISSUER: &str = "https://mesh.example";

/// How callers prove themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    Certificate,
    Token,
}

impl Proof {
    pub(crate) const ALL: [Self; 2] = [Self::Certificate, Self::Token];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Certificate => "client certificate",
            Self::Token => "token (ES256)",
        }
    }
}

/// Calls of one run.
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    pub(crate) per_cpu_second: f64,
}

/// What both sides share.
pub(crate) struct World {
    pub(crate) ca: Arc<SelfSigned>,
    pub(crate) minter: TokenMinter,
    pub(crate) web: SpiffeId,
    pub(crate) istiod: SpiffeId,
    pub(crate) domain: TrustDomain,
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

impl World {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        let domain = TrustDomain::parse("cluster.local")?;
        let store = MemoryStore::default();
        let ca = Arc::new(SelfSigned::open(&store, SelfSignedConfig::new(domain.clone()), clock()).await?);
        let minter = TokenMinter::open(&store, ISSUER, clock()).await?;
        let web = SpiffeId::for_workload(&domain, "shop", "web")?;
        let istiod = SpiffeId::for_workload(&domain, "istio-system", "istiod")?;
        Ok(Self { ca, minter, web, istiod, domain })
    }

    pub(crate) async fn identity(&self, id: &SpiffeId) -> anyhow::Result<WorkloadIdentity> {
        let source = Arc::new(IssuerSource::new(self.ca.clone()));
        let identity = WorkloadIdentity::spawn(AgentConfig::new(id.clone()), source, clock());
        identity.watch().ready().await.context("a certificate")?;
        Ok(identity)
    }

    /// Serves until the future is dropped.
    pub(crate) async fn serve(
        &self,
        authenticator: Arc<dyn Authenticator>,
        ready: impl FnOnce(SocketAddr),
    ) -> anyhow::Result<()> {
        let serving = self.identity(&self.istiod).await?;
        let mut tls = tls::server_config(&serving.watch(), ClientAuth::Optional, PeerPolicy::AnyTrusted)?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        ready(listener.local_addr()?);
        let incoming = tls_incoming(listener, Arc::new(tls), IncomingLimits::default());
        let service = CertificateService::new(self.ca.clone(), authenticator, clock());
        // Records are made as in production, and kept nowhere.
        let service = service.with_audit(Arc::new(Discard(MemoryAudit::default())));
        Server::builder().add_service(service.into_server()).serve_with_incoming(incoming).await?;
        Ok(())
    }

    pub(crate) fn by_certificate(&self, bundles: &IdentityWatch) -> Arc<dyn Authenticator> {
        Arc::new(ClientCertAuthenticator::new(self.domain.clone(), Arc::new(bundles.clone()), clock()))
    }

    pub(crate) fn by_token(&self) -> anyhow::Result<Arc<dyn Authenticator>> {
        let keys = [self.minter.verification_key()?];
        Ok(Arc::new(JwtAuthenticator::new(JwtConfig::new(ISSUER, self.domain.clone()), keys, clock())))
    }
}

#[derive(Debug)]
struct Discard(MemoryAudit);

impl mesh_ca::audit::AuditSink for Discard {
    fn record(&self, record: &mesh_ca::audit::AuditRecord) {
        std::hint::black_box((&self.0, record));
    }
}

pub(crate) fn measure(proof: Proof, time: Duration, connections: usize, calls: usize) -> anyhow::Result<Rate> {
    let clients = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let world = Arc::new(clients.block_on(World::new())?);
    let identity = clients.block_on(world.identity(&world.web))?;
    let authenticator = match proof {
        Proof::Certificate => world.by_certificate(&identity.watch()),
        Proof::Token => world.by_token()?,
    };
    let (tell, address) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (mark, marked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let server = std::thread::spawn({
        let (world, mark, marked) = (world.clone(), mark.clone(), marked.clone());
        move || -> anyhow::Result<Duration> {
            // One thread does everything of the server, so that its processor time is the server's.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let serve = world.serve(authenticator, |at| {
                    // The other side waits for it.
                    let _ = tell.send(at);
                });
                let watch = async {
                    loop {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        if mark.swap(false, Relaxed) {
                            let now = usage::thread_time().unwrap_or_default();
                            marked.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Relaxed);
                        }
                    }
                };
                tokio::select! {
                    served = serve => served,
                    () = watch => Ok(()),
                    _ = stopped => Ok(()),
                }
            })?;
            usage::thread_time()
        }
    });
    let address = address.recv().context("the server did not start")?;
    let count = Arc::new(AtomicU64::new(0));
    let tasks = clients.block_on(call_all(&world, &identity, proof, address, (connections, calls), &count))?;
    // Warm: then the marks.
    std::thread::sleep(Duration::from_secs(1));
    mark.store(true, Relaxed);
    while mark.load(Relaxed) || marked.load(Relaxed) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (start, before) = (Instant::now(), count.load(Relaxed));
    std::thread::sleep(time);
    let (elapsed, done) = (start.elapsed(), count.load(Relaxed) - before);
    // Nothing more after the end but the stop.
    let _ = stop.send(());
    let used = server.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let used = used.saturating_sub(Duration::from_nanos(marked.load(Relaxed)));
    let done = done as f64;
    Ok(Rate { per_second: done / elapsed.as_secs_f64(), per_cpu_second: done / used.as_secs_f64() })
}

async fn call_all(
    world: &World,
    identity: &WorkloadIdentity,
    proof: Proof,
    address: SocketAddr,
    (connections, calls): (usize, usize),
    count: &Arc<AtomicU64>,
) -> anyhow::Result<Vec<tokio::task::JoinHandle<()>>> {
    let key = PrivateKey::generate(KeyType::EcdsaP256)?;
    let csr = Csr::create_pem(&key, &world.web, &[])?;
    let token = world.minter.mint(&TokenRequest::new("shop", "web"))?;
    let shown = match proof {
        Proof::Certificate => identity.watch(),
        Proof::Token => IdentityWatch::fixed(None, identity.watch().state().bundles.clone(), clock()),
    };
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let channel = connect(address, &shown, &world.istiod).await?;
        for _ in 0..calls {
            let mut client = IstioCertificateServiceClient::new(channel.clone());
            let (csr, count) = (csr.clone(), count.clone());
            let bearer = (proof == Proof::Token).then(|| format!("Bearer {}", token.expose()).parse()).transpose()?;
            tasks.push(tokio::spawn(async move {
                loop {
                    let message = IstioCertificateRequest { csr: csr.clone(), validity_duration: 3600, metadata: None };
                    let mut request = Request::new(message);
                    if let Some(bearer) = &bearer {
                        request.metadata_mut().insert("authorization", Clone::clone(bearer));
                    }
                    match client.create_certificate(request).await {
                        Ok(_) => count.fetch_add(1, Relaxed),
                        Err(_) => return,
                    };
                }
            }));
        }
    }
    Ok(tasks)
}

async fn connect(address: SocketAddr, shown: &IdentityWatch, server: &SpiffeId) -> anyhow::Result<Channel> {
    let mut tls = tls::client_config(shown, PeerPolicy::id(server.clone()))?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsConnector::from(Arc::new(tls));
    let connector = tower::service_fn(move |_: Uri| {
        let tls = tls.clone();
        async move {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(address.ip().into(), tcp).await?))
        }
    });
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_with_connector(connector).await?)
}
