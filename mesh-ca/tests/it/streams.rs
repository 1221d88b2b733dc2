//! A rotation of the root waits for what is served over SDS and the Workload API.

use std::{path::Path, sync::Arc, time::Duration};

use mesh_ca::{
    agent::{AgentConfig, IssuerSource, WorkloadIdentity},
    api::workload::{X509BundlesRequest, X509svidRequest, spiffe_workload_api_client::SpiffeWorkloadApiClient},
    authn::{UnixPeerAuthenticator, UnixPeerRule},
    clock::{Clock, ManualClock},
    issuer::{
        CertIssuer, RootKeys, RotatingCa,
        records::MemoryRecords,
        rotation::{BundleHolders, Laggards, Question, RootId, RootPhase, Supervision},
        store::MemoryStore,
    },
    spiffe::{SpiffeBundle, TrustBundle},
    workload::{BundleSet, IdentityPool, IdentityPoolConfig, SocketLimits, WorkloadApi, unix_incoming},
};
use tokio::{sync::watch, task::JoinHandle};
use tonic::{Request, transport::Channel};

use crate::{
    fixture::{trust_domain, workload},
    fleet::config,
};

const SETTLE: Duration = Duration::from_secs(11);

struct World {
    clock: ManualClock,
    ca: Arc<RotatingCa>,
    folder: tempfile::TempDir,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::system();
        let (store, records) = (Arc::new(MemoryStore::default()), Arc::new(MemoryRecords::default()));
        let ca = RotatingCa::open(store, records, RootKeys::Inline, config(), Arc::new(clock.clone())).await.unwrap();
        Self { clock, ca: Arc::new(ca), folder: tempfile::tempdir().unwrap(), tasks: Vec::new() }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    async fn channel(&self) -> Channel {
        let socket = self.folder.path().join("socket");
        for _ in 0..1000 {
            if let Ok(channel) = connect(&socket).await {
                return channel;
            }
            tokio::task::yield_now().await;
        }
        panic!("nobody listens");
    }

    fn behind(&self, question: &Question) -> Laggards {
        self.ca.holders().behind(question, self.clock.now().wall)
    }

    /// Who of the streams is behind with the bundle that is published.
    fn without_bundle(&self, kind: &str) -> usize {
        let sequence = self.ca.subscribe().borrow().sequence;
        let behind = self.behind(&Question::WithoutBundle(sequence));
        behind.names.iter().filter(|name| name.contains(kind)).count()
    }

    fn under(&self, root: &RootId, kind: &str) -> usize {
        self.behind(&Question::UnderRoot(root.clone())).names.iter().filter(|name| name.contains(kind)).count()
    }

    async fn step(&self) -> RootPhase {
        self.clock.advance(SETTLE);
        self.ca.tick().await.unwrap();
        self.ca.status().await.phase
    }
}

async fn connect(socket: &Path) -> Result<Channel, tonic::transport::Error> {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(hyper_util::rt::TokioIo::new) }
    });
    tonic::transport::Endpoint::from_static("http://localhost").connect_with_connector(connector).await
}

/// Waits for what other tasks do.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

/// Publishes what the CA says, as the host of a Workload API does.
fn publish(ca: &RotatingCa, bundles: watch::Sender<Arc<BundleSet>>) -> JoinHandle<()> {
    let mut told = ca.subscribe();
    tokio::spawn(async move {
        loop {
            let bundle = TrustBundle::clone(&told.borrow_and_update().bundle);
            bundles.send_replace(Arc::new(BundleSet::new().with(SpiffeBundle::new(bundle))));
            if told.changed().await.is_err() {
                return;
            }
        }
    })
}

fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", "true".parse().unwrap());
    request
}

async fn workload_api(world: &mut World) -> SpiffeWorkloadApiClient<Channel> {
    use std::os::unix::fs::MetadataExt;
    let (ca, clock) = (Arc::clone(&world.ca), world.clock());
    let uid = tempfile::tempfile().unwrap().metadata().unwrap().uid();
    let rules = UnixPeerAuthenticator::new([UnixPeerRule::user(uid, vec![workload("a")])]);
    let bundles = watch::Sender::new(Arc::default());
    let receiver = bundles.subscribe();
    world.tasks.push(publish(&ca, bundles));
    let held = IdentityPoolConfig::default().with_lifetime(Duration::from_secs(3600));
    let pool = IdentityPool::new(held, Arc::new(IssuerSource::new(ca.clone())), clock.clone()).with_rotation(ca.feed());
    let api = WorkloadApi::new(Arc::new(rules), Arc::new(pool), receiver, clock).with_rotation(ca.feed());
    let incoming = unix_incoming(&world.folder.path().join("socket"), SocketLimits::default()).unwrap();
    world.tasks.push(tokio::spawn(async move {
        let server = tonic::transport::Server::builder().add_service(api.into_server());
        server.serve_with_incoming(incoming).await.unwrap();
    }));
    SpiffeWorkloadApiClient::new(world.channel().await)
}

#[tokio::test]
async fn streams_of_the_workload_api_are_waited_for_and_so_are_those_who_leave() {
    const KIND: &str = "Workload API";
    let mut world = World::new().await;
    let mut client = workload_api(&mut world).await;
    let mut svids = client.fetch_x509svid(call(X509svidRequest {})).await.unwrap().into_inner();
    let mut bundles = client.fetch_x509_bundles(call(X509BundlesRequest {})).await.unwrap().into_inner();
    let first = svids.message().await.unwrap().unwrap();
    bundles.message().await.unwrap().unwrap();
    until("both streams have what is published", || world.without_bundle(KIND) == 0).await;
    let old = RootId::of(world.ca.trust_bundle().roots()[0].certificate());
    until("its certificate is known", || world.under(&old, KIND) == 1).await;

    world.ca.start().await.unwrap();
    // Both roots are sent at once.
    until("both streams have both roots", || world.without_bundle(KIND) == 0).await;
    let next = svids.message().await.unwrap().unwrap();
    assert_ne!(next.svids[0].bundle, first.svids[0].bundle);
    until("the identity has been renewed", || world.behind(&Question::WithoutBundle(2)).count == 0).await;
    assert_eq!(world.step().await, RootPhase::Activated);
    assert_eq!(world.step().await, RootPhase::Tainted);
    // The new certificate comes by the stream; then the old root is not in use any more.
    until("the new certificate is taken", || world.under(&old, KIND) == 0).await;
    let new = RootId::of(
        world.ca.trust_bundle().roots().iter().map(|r| r.certificate()).find(|c| RootId::of(c) != old).unwrap(),
    );
    assert_eq!(world.under(&new, KIND), 1);

    // Who leaves has its certificate still, and counts until its end.
    drop((svids, bundles, client));
    until("it has left", || world.behind(&Question::UnderRoot(new.clone())).until.is_some()).await;
    assert_eq!(world.under(&new, KIND), 1);
    world.clock.advance(Duration::from_secs(3601));
    assert_eq!(world.under(&new, KIND), 0);
}

#[cfg(feature = "sds")]
mod sds {
    use mesh_ca::sds::{SdsConfig, SdsServer};
    use mesh_xds_api::{
        envoy::{
            config::core::v3::Node,
            extensions::transport_sockets::tls::v3::{Secret, secret::Type},
            service::discovery::v3::{DiscoveryRequest, DiscoveryResponse},
        },
        google::rpc::Status,
    };
    use prost::Message;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    const KIND: &str = "envoy-1";
    const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

    /// One SDS stream for one secret, as Envoy opens them.
    struct Stream {
        name: &'static str,
        requests: mpsc::Sender<DiscoveryRequest>,
        answers: tonic::Streaming<DiscoveryResponse>,
    }

    impl Stream {
        async fn open(channel: Channel, name: &'static str) -> Self {
            let (requests, receiver) = mpsc::channel(8);
            let node = Node { id: KIND.into(), ..Node::default() };
            requests.send(Self::request(name, Some(node), "", "")).await.unwrap();
            let mut grpc = tonic::client::Grpc::new(channel);
            grpc.ready().await.unwrap();
            let path = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";
            let codec = tonic_prost::ProstCodec::<DiscoveryRequest, DiscoveryResponse>::default();
            let call = Request::new(ReceiverStream::new(receiver));
            let answers = grpc.streaming(call, path.parse().unwrap(), codec).await.unwrap().into_inner();
            Self { name, requests, answers }
        }

        fn request(name: &str, node: Option<Node>, version: &str, nonce: &str) -> DiscoveryRequest {
            DiscoveryRequest {
                node,
                type_url: SECRET.into(),
                resource_names: vec![name.into()],
                version_info: version.into(),
                response_nonce: nonce.into(),
                ..DiscoveryRequest::default()
            }
        }

        async fn next(&mut self) -> DiscoveryResponse {
            self.answers.message().await.unwrap().unwrap()
        }

        async fn acknowledge(&self, answer: &DiscoveryResponse) {
            let request = Self::request(self.name, None, &answer.version_info, &answer.nonce);
            self.requests.send(request).await.unwrap();
        }

        async fn refuse(&self, answer: &DiscoveryResponse) {
            let mut request = Self::request(self.name, None, "", &answer.nonce);
            request.error_detail = Some(Status { code: 3, message: "no".into(), details: vec![] });
            self.requests.send(request).await.unwrap();
        }
    }

    fn lists(answer: &DiscoveryResponse) -> bool {
        let secret = Secret::decode(&*answer.resources[0].value).unwrap();
        let Some(Type::ValidationContext(context)) = secret.r#type else { panic!("{secret:?}") };
        context.crl.is_some()
    }

    struct Served {
        world: World,
        _identity: WorkloadIdentity,
        _follow: Supervision,
    }

    impl Served {
        async fn new() -> Self {
            let mut world = World::new().await;
            let config = AgentConfig::new(workload("envoy")).with_lifetime(Duration::from_secs(3600));
            let identity =
                WorkloadIdentity::spawn(config, Arc::new(IssuerSource::new(world.ca.clone())), world.clock());
            identity.watch().ready().await.unwrap();
            let follow = world.ca.follow(&identity);
            let config = SdsConfig::new(trust_domain()).with_rotation(world.ca.feed());
            let (server, socket) = (SdsServer::spawn(config, &identity.watch()), world.folder.path().join("socket"));
            world.tasks.push(tokio::spawn(async move { server.serve(&socket).await.unwrap() }));
            Self { world, _identity: identity, _follow: follow }
        }
    }

    #[tokio::test]
    async fn acknowledgements_are_the_proof_and_a_refusal_is_none() {
        let served = Served::new().await;
        let world = &served.world;
        let mut own = Stream::open(world.channel().await, "default").await;
        let mut roots = Stream::open(world.channel().await, "ROOTCA").await;
        let certificate = own.next().await;
        own.acknowledge(&certificate).await;
        let old = RootId::of(world.ca.trust_bundle().roots()[0].certificate());
        until("its certificate is known", || world.under(&old, KIND) == 1).await;

        // Sent and not acknowledged is not held.
        let first = roots.next().await;
        assert!(!lists(&first), "nothing has been revoked yet");
        until("the bundle was sent", || world.without_bundle(KIND) == 1).await;
        roots.acknowledge(&first).await;
        until("the bundle is held", || world.without_bundle(KIND) == 0).await;

        world.ca.start().await.unwrap();
        let both = roots.next().await;
        until("the own certificate follows", || world.behind(&Question::WithoutBundle(2)).count == 1).await;
        for _ in 0..3 {
            assert_eq!(world.step().await, RootPhase::Distributing);
        }
        roots.refuse(&both).await;
        let renewed = own.next().await;
        own.acknowledge(&renewed).await;
        for _ in 0..3 {
            assert_eq!(world.step().await, RootPhase::Distributing, "it was refused");
        }

        // It comes back on another stream, and takes it this time.
        drop(roots);
        let mut roots = Stream::open(world.channel().await, "ROOTCA").await;
        let both = roots.next().await;
        assert_eq!(world.without_bundle(KIND), 1);
        roots.acknowledge(&both).await;
        until("both roots are held", || world.without_bundle(KIND) == 0).await;
        assert_eq!(world.step().await, RootPhase::Activated);
        assert_eq!(world.step().await, RootPhase::Tainted);

        // The certificate of the new root is sent; until it is acknowledged the old one is in use.
        let last = own.next().await;
        assert_eq!(world.under(&old, KIND), 1);
        assert_eq!(world.step().await, RootPhase::Tainted);
        own.acknowledge(&last).await;
        until("the old root is out of use", || world.under(&old, KIND) == 0).await;
        assert_eq!(world.step().await, RootPhase::Steady);
    }

    #[tokio::test]
    async fn a_proxy_that_is_away_counts_until_its_certificate_ends() {
        let served = Served::new().await;
        let world = &served.world;
        let mut own = Stream::open(world.channel().await, "default").await;
        let mut roots = Stream::open(world.channel().await, "ROOTCA").await;
        for stream in [&mut own, &mut roots] {
            let answer = stream.next().await;
            stream.acknowledge(&answer).await;
        }
        let old = RootId::of(world.ca.trust_bundle().roots()[0].certificate());
        until("it holds both", || world.under(&old, KIND) == 1 && world.without_bundle(KIND) == 0).await;
        drop((own, roots));
        until("it has left", || world.behind(&Question::UnderRoot(old.clone())).until.is_some()).await;
        world.ca.start().await.unwrap();
        assert_eq!(world.without_bundle(KIND), 1);
        assert_eq!(world.step().await, RootPhase::Distributing);
        world.clock.advance(Duration::from_secs(3601));
        assert_eq!(world.without_bundle(KIND), 0);
    }

    #[tokio::test]
    async fn lists_go_with_the_roots_when_every_issuer_has_one() {
        use mesh_ca::issuer::RevocationReason;
        let served = Served::new().await;
        let world = &served.world;
        let mut roots = Stream::open(world.channel().await, "ROOTCA").await;
        let none = roots.next().await;
        assert!(!lists(&none));
        roots.acknowledge(&none).await;
        let issued = world.ca.issue(crate::streams::request()).await.unwrap();
        world.ca.revoke(&issued.serial, RevocationReason::KeyCompromise).await.unwrap();
        let with = roots.next().await;
        assert!(lists(&with));
    }
}

/// For somebody's certificate.
#[cfg(feature = "sds")]
fn request() -> mesh_ca::issuer::IssueRequest {
    use mesh_ca::{
        issuer::{Csr, IssueRequest},
        spiffe::{KeyType, PrivateKey},
    };
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let csr = Csr::from_pem(&Csr::create_pem(&key, &workload("mallory"), &[]).unwrap()).unwrap();
    IssueRequest { csr, id: workload("mallory"), dns_names: vec![], lifetime: None }
}
