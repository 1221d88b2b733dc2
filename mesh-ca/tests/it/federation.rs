//! Bundles across trust domains, by the SPIFFE Federation standard.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mesh_ca::{
    agent::IdentityWatch,
    clock::{Clock, ManualClock, Now},
    federation::{
        BundleCache, BundleEndpoint, BundlePublisher, FederatedSource, FederationClient, FederationConfig,
        FederationError, FederationFailure, PollAction, Poller, Relationship, RelationshipError, serve_bundle,
    },
    fetch::HttpsUrl,
    issuer::CertIssuer,
    server::IncomingLimits,
    spiffe::{BundleSource, Rule, SpiffeBundle, SpiffeId, TrustBundle, TrustDomain},
    tls::{self, ClientAuth, PeerPolicy},
};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tower::Service;

use crate::{
    fixture::{Ca, trust_domain},
    web::Web,
};

const HOUR: Duration = Duration::from_secs(3600);

fn foreign_domain() -> TrustDomain {
    TrustDomain::parse("foreign.example").unwrap()
}

fn server_id() -> SpiffeId {
    SpiffeId::parse("spiffe://foreign.example/spiffe-bundle-server").unwrap()
}

fn exact() -> FederationConfig {
    let mut config = FederationConfig::default();
    config.jitter = 0.0;
    config
}

async fn foreign(clock: &ManualClock) -> Ca {
    Ca::of(foreign_domain(), clock.clone()).await
}

fn bundle(ca: &Ca) -> TrustBundle {
    (*ca.issuer.trust_bundle()).clone()
}

async fn identity(ca: &Ca, id: &SpiffeId) -> IdentityWatch {
    let svid = ca.svid(id, HOUR).await;
    IdentityWatch::fixed(Some(Arc::new(svid)), ca.bundles(), ca.clock())
}

/// Serves by `https_spiffe`, as whom `identity` is.
async fn serve(publisher: &BundlePublisher, identity: &IdentityWatch) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = tls::server_config_without_client_auth(identity).unwrap();
    let endpoint = BundleEndpoint::new("/bundle.json", publisher.subscribe());
    let task = tokio::spawn(async move {
        let _ = serve_bundle(listener, tls, endpoint, IncomingLimits::default()).await;
    });
    (address, task)
}

fn url(address: SocketAddr) -> HttpsUrl {
    HttpsUrl::parse(&format!("https://{address}/bundle.json")).unwrap()
}

fn numbered(ca: &Ca, sequence: u64) -> SpiffeBundle {
    SpiffeBundle::new(bundle(ca)).with_sequence(sequence)
}

/// Lets time pass for a poller.
fn later(now: Now, by: Duration) -> Now {
    Now { wall: now.wall + by, monotonic: now.monotonic + by }
}

#[tokio::test]
async fn polls_go_by_the_hint_within_bounds() {
    let clock = ManualClock::system();
    let ca = foreign(&clock).await;
    let now = clock.now();
    let mut config = exact();
    config.max_interval = HOUR;
    // Section 4.1: the hint, or five minutes without one.
    for (hint, wait) in [(None, 300), (Some(60), 60), (Some(1), 10), (Some(1 << 40), 3600)] {
        let mut poller = Poller::new(&config, 1);
        assert_eq!(poller.poll(now), PollAction::Fetch, "the first poll is due at once");
        let mut fetched = numbered(&ca, 1);
        fetched.refresh_hint = hint.map(Duration::from_secs);
        assert!(poller.obtained(now, fetched).unwrap());
        let wait = Duration::from_secs(wait);
        assert!(matches!(poller.poll(later(now, wait - Duration::from_secs(1))), PollAction::Wait(_)), "{hint:?}");
        assert_eq!(poller.poll(later(now, wait)), PollAction::Fetch, "{hint:?}");
        // Section 6.2: a failed poll is tried again at the next one.
        poller.failed(later(now, wait));
        assert!(matches!(poller.poll(later(now, wait * 2 - Duration::from_secs(1))), PollAction::Wait(_)), "{hint:?}");
        assert!(poller.bundle(later(now, wait * 100)).is_some(), "the last good one stays");
        // A sleep of the machine shows on the wall clock alone.
        assert_eq!(poller.poll(Now { wall: now.wall + wait * 3, ..now }), PollAction::Fetch);
    }
}

#[tokio::test]
async fn without_any_bundle_pauses_double() {
    let mut now = ManualClock::system().now();
    let mut poller = Poller::new(&exact(), 1);
    for seconds in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        assert_eq!(poller.poll(now), PollAction::Fetch);
        poller.failed(now);
        let wait = Duration::from_secs(seconds);
        assert!(matches!(poller.poll(later(now, wait - Duration::from_millis(1))), PollAction::Wait(_)), "{seconds}");
        now = later(now, wait);
    }
}

#[tokio::test]
async fn sequences_do_not_go_back() {
    let clock = ManualClock::system();
    let (ca, other) = (foreign(&clock).await, foreign(&clock).await);
    let now = clock.now();
    let mut poller = Poller::new(&exact(), 1);
    assert!(poller.obtained(now, numbered(&ca, 7)).unwrap());
    assert!(!poller.obtained(now, numbered(&ca, 7)).unwrap(), "nothing new");
    let refused = poller.obtained(now, numbered(&other, 6)).unwrap_err();
    assert_eq!(refused, FederationFailure::SequenceWentBack { held: 7, got: 6 });
    assert_eq!((poller.failures(), &**poller.bundle(now).unwrap()), (1, &numbered(&ca, 7)));
    assert!(poller.obtained(now, numbered(&other, 7)).unwrap(), "the same number may withdraw keys");
    assert!(poller.obtained(now, SpiffeBundle::new(bundle(&ca))).unwrap(), "without a number the newest counts");
    assert!(poller.obtained(now, numbered(&other, 1)).unwrap());
}

#[tokio::test]
async fn a_bundle_may_become_too_old() {
    let clock = ManualClock::system();
    let ca = foreign(&clock).await;
    let now = clock.now();
    let mut config = exact();
    config.max_age = Some(HOUR);
    let mut poller = Poller::new(&config, 1);
    poller.obtained(now, numbered(&ca, 1)).unwrap();
    assert!(poller.bundle(later(now, HOUR - Duration::from_secs(1))).is_some());
    assert!(poller.bundle(later(now, HOUR)).is_none());
    assert!(poller.bundle(Now { wall: now.wall + HOUR, ..now }).is_none(), "by the wall clock too");
    poller.obtained(later(now, HOUR), numbered(&ca, 1)).unwrap();
    assert!(poller.bundle(later(now, HOUR)).is_some(), "confirmed again");
}

#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    SetBack(u64),
    Obtain(Option<u64>, Option<u64>),
    Fail,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u64..5000).prop_map(Step::Pass),
        (0u64..5000).prop_map(Step::SetBack),
        (prop::option::of(0u64..5), prop::option::of(any::<u64>())).prop_map(|(s, h)| Step::Obtain(s, h)),
        Just(Step::Fail),
    ]
}

proptest! {
    /// Whatever happens: waits are bounded, what is held never gets an older number, and a bundle once had stays.
    #[test]
    fn pollers_keep_what_they_have(steps in prop::collection::vec(step(), 1..60), seed in any::<u64>()) {
        let mut poller = Poller::new(&FederationConfig::default(), seed);
        let mut now = ManualClock::system().now();
        let mut held: Option<Option<u64>> = None;
        for step in steps {
            match step {
                Step::Pass(s) => now = later(now, Duration::from_secs(s)),
                Step::SetBack(s) => now.wall -= Duration::from_secs(s),
                Step::Fail => poller.failed(now),
                Step::Obtain(sequence, hint) => {
                    let mut bundle = SpiffeBundle::new(TrustBundle::empty(foreign_domain()));
                    (bundle.sequence, bundle.refresh_hint) = (sequence, hint.map(Duration::from_secs));
                    let older = held.flatten().zip(sequence).is_some_and(|(h, s)| s < h);
                    prop_assert_eq!(poller.obtained(now, bundle).is_err(), older);
                    if !older {
                        held = Some(sequence);
                    }
                }
            }
            prop_assert_eq!(poller.bundle(now).map(|b| b.sequence), held);
            if let PollAction::Wait(wait) = poller.poll(now) {
                prop_assert!(!wait.is_zero() && wait <= Duration::from_secs(60));
            }
        }
    }
}

#[tokio::test]
async fn the_publisher_numbers_changes() {
    let clock = ManualClock::system();
    let (ca, other) = (foreign(&clock).await, foreign(&clock).await);
    let publisher = BundlePublisher::new(SpiffeBundle::new(bundle(&ca)), HOUR, Arc::new(clock.clone()));
    let published = publisher.subscribe();
    let number = || published.borrow().sequence.unwrap();
    let first = number();
    assert_eq!(published.borrow().refresh_hint, Some(HOUR));
    publisher.publish(SpiffeBundle::new(bundle(&ca)));
    assert_eq!(number(), first, "the same keys have the same number");
    publisher.publish(SpiffeBundle::new(bundle(&other)));
    assert_eq!(number(), first + 1, "within a second, and with the clock set back, numbers still grow");
    clock.set_wall(clock.now().wall - HOUR);
    publisher.publish(SpiffeBundle::new(bundle(&ca)));
    assert_eq!(number(), first + 2);
    publisher.publish(SpiffeBundle::new(bundle(&other)).with_sequence(first + 100));
    assert_eq!(number(), first + 100, "the owner's number counts");
    publisher.publish(SpiffeBundle::new(bundle(&ca)).with_sequence(3));
    assert_eq!(number(), first + 101, "but never goes back");
}

#[tokio::test]
async fn the_endpoint_answers_gets_of_its_path() {
    let clock = ManualClock::system();
    let ca = foreign(&clock).await;
    let publisher = BundlePublisher::new(numbered(&ca, 5), HOUR, ca.clock());
    let mut endpoint = BundleEndpoint::new("/bundle.json", publisher.subscribe());
    let mut ask = async |method: &str, path: &str, tag: &str| {
        let request = http::Request::builder().method(method).uri(path).header("if-none-match", tag).body(()).unwrap();
        endpoint.call(request).await.unwrap()
    };
    let full = ask("GET", "/bundle.json?x", "").await;
    assert_eq!(full.status(), 200);
    assert_eq!(full.headers()["content-type"], "application/json");
    let body = http_body_util::BodyExt::collect(full.into_body()).await.unwrap().to_bytes();
    let read = SpiffeBundle::from_jwks(foreign_domain(), &body).unwrap();
    assert_eq!((read.sequence, read.refresh_hint, read.x509), (Some(5), Some(HOUR), bundle(&ca)));
    assert_eq!(ask("GET", "/bundle.json", "\"5\"").await.status(), 304);
    assert_eq!(ask("GET", "/bundle.json", "\"4\"").await.status(), 200);
    assert_eq!(ask("HEAD", "/bundle.json", "").await.status(), 200);
    assert_eq!(ask("POST", "/bundle.json", "").await.status(), 405);
    assert_eq!(ask("GET", "/", "").await.status(), 404);
}

#[tokio::test]
async fn https_spiffe_follows_a_change_of_roots_and_an_outage() {
    let clock = ManualClock::system();
    let (old, new) = (foreign(&clock).await, foreign(&clock).await);
    let publisher = BundlePublisher::new(SpiffeBundle::new(bundle(&old)), HOUR, old.clock());
    let (address, task) = serve(&publisher, &identity(&old, &server_id()).await).await;
    let cache = tempfile::tempdir().unwrap();
    let relationship =
        |address| Relationship::spiffe(foreign_domain(), url(address), server_id(), Some(bundle(&old))).unwrap();
    let start = async |address| {
        let cache = BundleCache::open(cache.path()).unwrap();
        let relationships = [relationship(address)];
        FederationClient::spawn(&trust_domain(), relationships, exact(), Some(cache), old.clock()).await.unwrap()
    };
    let client = start(address).await;
    let watch = client.watch();
    let held = |state: &mesh_ca::federation::FederationState| state.domains[&foreign_domain()].clone();
    watch.wait_for(|s| held(s).confirmed_at.is_some()).await.unwrap();

    // The new root is published beside the old one, then serves, then stands alone.
    publisher.publish(SpiffeBundle::new(bundle(&old).union(&bundle(&new))));
    client.refresh_now();
    watch.wait_for(|s| held(s).bundle.is_some_and(|b| b.x509.roots().len() == 2)).await.unwrap();
    drop(client);
    task.abort();
    let (address, task) = serve(&publisher, &identity(&new, &server_id()).await).await;
    // What is kept over the restart authenticates the endpoint, which the bundle to start with could not.
    let client = start(address).await;
    let watch = client.watch();
    assert_eq!(held(&watch.state()).bundle.unwrap().x509.roots().len(), 2, "at once");
    publisher.publish(SpiffeBundle::new(bundle(&new)));
    client.refresh_now();
    watch.wait_for(|s| held(s).bundle.is_some_and(|b| b.x509 == bundle(&new))).await.unwrap();

    // Now the endpoint is away: the last good one stays, with the error and its age.
    task.abort();
    let _ = task.await;
    clock.advance(HOUR);
    let state = watch.wait_for(|s| held(s).failures > 0).await.unwrap();
    let held = held(&state);
    assert_eq!(held.bundle.as_ref().unwrap().x509, bundle(&new));
    assert!(held.last_error.as_deref().unwrap().contains("cannot be fetched"), "{held:?}");
    assert_eq!(held.age(clock.now().wall), Some(HOUR));
}

#[tokio::test]
async fn https_spiffe_refuses_other_servers() {
    let clock = ManualClock::system();
    let ca = foreign(&clock).await;
    let impostor = foreign(&clock).await;
    let publisher = BundlePublisher::new(SpiffeBundle::new(bundle(&impostor)), HOUR, ca.clock());
    let other_id = SpiffeId::parse("spiffe://foreign.example/other").unwrap();
    let cases =
        [(identity(&ca, &other_id).await, "another id"), (identity(&impostor, &server_id()).await, "another CA")];
    for (identity, case) in cases {
        let (address, _task) = serve(&publisher, &identity).await;
        let relationship =
            Relationship::spiffe(foreign_domain(), url(address), server_id(), Some(bundle(&ca))).unwrap();
        let client = FederationClient::spawn(&trust_domain(), [relationship], exact(), None, ca.clock()).await.unwrap();
        let state = client.watch().wait_for(|s| s.domains[&foreign_domain()].failures > 0).await.unwrap();
        let held = &state.domains[&foreign_domain()];
        assert_eq!(held.bundle.as_ref().unwrap().x509, bundle(&ca), "{case}");
        assert!(held.last_error.as_deref().unwrap().contains("TLS handshake"), "{case}: {held:?}");
    }
}

#[tokio::test]
async fn an_endpoint_of_a_third_domain_is_known_by_its_own_relationship() {
    let clock = ManualClock::system();
    let (ca, prod_domain) = (foreign(&clock).await, TrustDomain::parse("prod.foreign.example").unwrap());
    let prod = Ca::of(prod_domain.clone(), clock.clone()).await;
    let server = identity(&ca, &server_id()).await;
    let publish = |ca: &Ca| BundlePublisher::new(SpiffeBundle::new(bundle(ca)), HOUR, ca.clock());
    let (own, of_prod) = (publish(&ca), publish(&prod));
    let ((one, _a), (two, _b)) = (serve(&own, &server).await, serve(&of_prod, &server).await);
    let relationships = [
        Relationship::spiffe(foreign_domain(), url(one), server_id(), Some(bundle(&ca))).unwrap(),
        Relationship::spiffe(prod_domain.clone(), url(two), server_id(), None).unwrap(),
    ];
    let client = FederationClient::spawn(&trust_domain(), relationships, exact(), None, ca.clock()).await.unwrap();
    let state = client.watch().wait_for(|s| s.domains[&prod_domain].bundle.is_some()).await.unwrap();
    assert_eq!(state.bundles.bundle(&prod_domain), Some(&bundle(&prod)));
    let alone = [Relationship::spiffe(prod_domain.clone(), url(two), server_id(), None).unwrap()];
    let client = FederationClient::spawn(&trust_domain(), alone, exact(), None, ca.clock()).await.unwrap();
    let state = client.watch().wait_for(|s| s.domains[&prod_domain].failures > 0).await.unwrap();
    let error = state.domains[&prod_domain].last_error.clone().unwrap();
    assert!(error.contains("foreign.example"), "{error}");
}

#[tokio::test]
async fn parameters_that_do_not_go_together() {
    let ca = Ca::new().await;
    let at = || HttpsUrl::parse("https://localhost/").unwrap();
    let wrong = Relationship::spiffe(foreign_domain(), at(), server_id(), Some(bundle(&ca)));
    assert!(matches!(wrong, Err(RelationshipError::Bootstrap { .. })), "{wrong:?}");
    let follow = |domain: TrustDomain| Relationship::spiffe(domain, at(), server_id(), None).unwrap();
    let spawn = async |relationships: Vec<Relationship>| {
        FederationClient::spawn(&trust_domain(), relationships, exact(), None, ca.clock())
            .await
            .map(|_| ())
            .unwrap_err()
    };
    assert!(matches!(spawn(vec![follow(trust_domain())]).await, FederationError::Own(_)));
    let twice = vec![follow(foreign_domain()), follow(foreign_domain())];
    assert!(matches!(spawn(twice).await, FederationError::Twice(_)));
}

#[tokio::test]
async fn https_web_by_host_name() {
    let web = Web::start().await;
    let ca = foreign(&ManualClock::system()).await;
    let document = numbered(&ca, 1).to_jwks();
    web.set("/good", 200, &[("content-type", "application/json")], document.clone());
    web.set("/moved", 302, &[("location", "/good")], "");
    web.set("/downgrade", 307, &[("location", "http://localhost/good")], "");
    web.set("/user", 307, &[("location", "https://u@localhost/good")], "");
    web.set("/loop", 308, &[("location", "/loop")], "");
    web.set("/large", 200, &[], format!("{}{document}", " ".repeat(1024 * 1024)));
    web.set("/error", 500, &[], document.clone());
    web.set("/nonsense", 200, &[], "<html>");
    let ask = async |url: HttpsUrl| {
        let relationship = Relationship::web(foreign_domain(), url, web.roots.clone());
        let client = FederationClient::spawn(&trust_domain(), [relationship], exact(), None, ca.clock()).await.unwrap();
        let done = |s: &mesh_ca::federation::FederationState| {
            let domain = &s.domains[&foreign_domain()];
            domain.bundle.is_some() || domain.failures > 0
        };
        let state = client.watch().wait_for(done).await.unwrap();
        let domain = state.domains[&foreign_domain()].clone();
        match domain.last_error {
            Some(error) => Err(error.to_string()),
            None => Ok(domain.bundle.unwrap().x509.clone()),
        }
    };
    for path in ["/good", "/moved"] {
        assert_eq!(ask(web.url(path)).await, Ok(bundle(&ca)), "{path}");
    }
    for (path, reason) in [
        ("/downgrade", "scheme"),
        ("/user", "user"),
        ("/loop", "more than 5"),
        ("/large", "more than 1048576 bytes"),
        ("/error", "status 500"),
        ("/nonsense", "JWK Set"),
        ("/absent", "status 404"),
    ] {
        let refused = ask(web.url(path)).await.unwrap_err();
        assert!(refused.contains(reason), "{path}: {refused}");
    }
    let by_address = HttpsUrl::parse(&format!("https://{}/good", web.address)).unwrap();
    let refused = ask(by_address).await.unwrap_err();
    assert!(refused.contains("TLS handshake"), "the certificate is for another name: {refused}");
}

#[tokio::test]
async fn workloads_of_two_domains_talk_and_none_speaks_for_the_other() {
    let clock = ManualClock::system();
    let (home, abroad) = (Ca::of(trust_domain(), clock.clone()).await, foreign(&clock).await);
    let web = Web::start().await;
    let forger = Ca::of(trust_domain(), clock.clone()).await;
    let roots = [&abroad, &forger].map(|ca| bundle(ca).roots()[0].certificate().clone());
    let published = TrustBundle::new(foreign_domain(), roots).unwrap();
    web.set("/abroad", 200, &[], SpiffeBundle::new(published).to_jwks());
    let follow = Relationship::web(foreign_domain(), web.url("/abroad"), web.roots.clone());
    let client = FederationClient::spawn(&trust_domain(), [follow], exact(), None, home.clock()).await.unwrap();
    client.watch().wait_for(|s| s.domains[&foreign_domain()].bundle.is_some()).await.unwrap();

    let own = home.identity("server").await;
    let source: Arc<dyn BundleSource> =
        Arc::new(FederatedSource::new(trust_domain(), Arc::new(own.clone()), client.watch()));
    let caller = SpiffeId::parse("spiffe://foreign.example/ns/a/sa/b").unwrap();
    let policy = PeerPolicy::id(caller.clone());
    let server = tls::server_config_trusting(&own, source.clone(), ClientAuth::Required, policy).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(tcp).await {
                let _ = stream.write_all(b"hello").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    let call = async |svid| {
        let identity = IdentityWatch::fixed(Some(Arc::new(svid)), home.bundles(), home.clock());
        let config = tls::client_config(&identity, PeerPolicy::TrustDomain(trust_domain())).unwrap();
        let tcp = TcpStream::connect(address).await.unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(address.ip().into(), tcp).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map(|_| answer)
    };
    assert_eq!(call(abroad.svid(&caller, HOUR).await).await.unwrap(), "hello");

    // The foreign domain may publish whatever roots it likes: they say nothing about ids of home.
    let leaf = forger.svid(&crate::fixture::workload("forged"), HOUR).await;
    leaf.verify(&bundle(&forger), clock.now().wall).unwrap();
    let refused = source.bundles().verify(&leaf.chain()[0], &[], clock.now().wall);
    // The roots of home and the forger's have the same name.
    assert_eq!(refused.unwrap_err().rule, Rule::Signature);
    let as_abroad = Ca::of(foreign_domain(), clock.clone()).await.svid(&caller, HOUR).await;
    assert!(call(as_abroad).await.is_err(), "an id of abroad by another CA");
}
