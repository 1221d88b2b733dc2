//! The agent on a clock in hand: renewals, failures, recovery.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mesh_ca::{
    agent::{
        AgentConfig, Behaviour, CertRequest, CertSource, FetchedCertificate, FlakySource, IdentityState, IdentityWatch,
        IssuerSource, RotationPhase, SourceError, WorkloadIdentity, conformance,
    },
    clock::ManualClock,
    spiffe::{KeyType, SpiffeId},
};

use crate::fixture::{Ca, workload};

fn source(ca: &Ca, plan: impl IntoIterator<Item = Behaviour>) -> Arc<FlakySource> {
    Arc::new(FlakySource::new(Arc::new(IssuerSource::new(ca.issuer.clone())), plan))
}

fn config() -> AgentConfig {
    AgentConfig::new(workload("a")).with_lifetime(Duration::from_secs(60))
}

async fn until(watch: &IdentityWatch, what: impl FnMut(&Arc<IdentityState>) -> bool) -> Arc<IdentityState> {
    let mut states = watch.subscribe();
    let found = tokio::time::timeout(Duration::from_secs(20), states.wait_for(what)).await;
    Arc::clone(&found.expect("the state is reached").unwrap())
}

/// Moves the clock on in steps until the state is reached.
async fn drive(
    clock: &ManualClock,
    watch: &IdentityWatch,
    mut what: impl FnMut(&IdentityState) -> bool,
) -> Arc<IdentityState> {
    for _ in 0..2000 {
        if what(&watch.state()) {
            return watch.state();
        }
        clock.advance(Duration::from_millis(250));
        // The driver is the only other task of this thread: it runs until it waits for the clock.
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    }
    panic!("not reached: {:?}", watch.state());
}

#[tokio::test]
async fn sources_conform() {
    let ca = Ca::new().await;
    let now = mesh_ca::clock::Clock::now(&ca.clock).wall;
    conformance::check_source(&IssuerSource::new(ca.issuer.clone()), &workload("a"), Arc::default(), now).await;
    conformance::check_source(&*source(&ca, []), &workload("a"), ca.bundles(), now).await;
}

#[tokio::test]
async fn renews_with_a_new_key_each_time() {
    let ca = Ca::new().await;
    let flaky = source(&ca, []);
    let identity = WorkloadIdentity::spawn(config(), flaky.clone(), ca.clock());
    let watch = identity.watch();
    let first = watch.ready().await.unwrap();
    assert_eq!(first.id(), &workload("a"));
    let second = drive(&ca.clock, &watch, |s| s.rotations == 2).await.svid.clone().unwrap();
    assert_ne!(first.serial(), second.serial());
    assert_ne!(first.key().public_key_der().unwrap(), second.key().public_key_der().unwrap());
    let requests = flaky.requests();
    assert!(requests[0].current.is_none());
    assert_eq!(requests[1].current.as_ref().unwrap().serial(), first.serial(), "the old one proves who asks");
    assert!(requests.iter().all(|r| !r.csr_pem.contains("PRIVATE")));

    identity.renew_now();
    until(&watch, |s| s.rotations == 3).await;
}

#[tokio::test]
async fn failures_are_survived_without_a_gap() {
    let ca = Ca::new().await;
    let flaky = source(&ca, [Behaviour::Well, Behaviour::Refuse, Behaviour::Hang, Behaviour::Refuse]);
    let identity = WorkloadIdentity::spawn(config(), flaky, ca.clock());
    let watch = identity.watch();
    watch.ready().await.unwrap();
    let failed = drive(&ca.clock, &watch, |s| s.failures == 1).await;
    assert!(failed.svid.is_some());
    assert!(failed.last_error.as_deref().unwrap().contains("by plan"), "{failed:?}");
    let late = drive(&ca.clock, &watch, |s| s.failures == 2).await;
    assert!(late.last_error.as_deref().unwrap().contains("too long"), "{late:?}");
    let mut gaps = 0;
    let mended = drive(&ca.clock, &watch, |s| {
        gaps += u32::from(s.svid.is_none());
        s.rotations == 2
    })
    .await;
    assert_eq!((gaps, mended.last_error.clone()), (0, None));
}

#[tokio::test]
async fn an_outage_past_the_end_shows_and_heals() {
    let ca = Ca::new().await;
    let plan = std::iter::once(Behaviour::Well).chain(std::iter::repeat_n(Behaviour::Refuse, 30));
    let identity = WorkloadIdentity::spawn(config(), source(&ca, plan), ca.clock());
    let watch = identity.watch();
    let svid = watch.ready().await.unwrap();
    let ended = drive(&ca.clock, &watch, |s| s.svid.is_none()).await;
    assert!(watch.svid().is_none());
    assert!(matches!(ended.phase, RotationPhase::BackingOff { .. } | RotationPhase::Fetching), "{ended:?}");
    assert!(ended.failures > 3, "it was tried again and again: {ended:?}");
    drive(&ca.clock, &watch, |s| s.svid.as_ref().is_some_and(|s| s.serial() != svid.serial())).await;
}

#[tokio::test]
async fn a_clock_set_forward_takes_the_certificate_away_and_fetches() {
    let ca = Ca::new().await;
    let identity = WorkloadIdentity::spawn(config(), source(&ca, []), ca.clock());
    let watch = identity.watch();
    watch.ready().await.unwrap();
    let now = mesh_ca::clock::Clock::now(&ca.clock).wall;
    ca.clock.set_wall(now + Duration::from_secs(3600));
    assert!(watch.svid().is_none(), "at once, before the driver has looked");
    drive(&ca.clock, &watch, |s| s.rotations == 2).await;
    assert!(watch.svid().is_some());
}

/// Gives certificates for somebody else, or for another key.
#[derive(Debug)]
struct Cheat {
    ca: IssuerSource,
    id: SpiffeId,
}

#[async_trait]
impl CertSource for Cheat {
    async fn fetch(&self, request: &CertRequest) -> Result<FetchedCertificate, SourceError> {
        let mut other = request.clone();
        let key = mesh_ca::spiffe::PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        other.csr_pem = mesh_ca::issuer::Csr::create_pem(&key, &self.id, &[]).unwrap();
        other.id = self.id.clone();
        self.ca.fetch(&other).await
    }
}

#[tokio::test]
async fn what_was_not_asked_for_is_not_used() {
    let ca = Ca::new().await;
    for id in [workload("a"), workload("b")] {
        let source = Arc::new(Cheat { ca: IssuerSource::new(ca.issuer.clone()), id });
        let identity = WorkloadIdentity::spawn(config(), source, ca.clock());
        let state = until(&identity.watch(), |s| s.failures > 0).await;
        assert!(state.svid.is_none());
        assert!(state.last_error.as_deref().unwrap().contains("does not belong"), "{state:?}");
    }
}

#[tokio::test]
async fn a_serving_certificate_has_its_dns_names() {
    let ca = Ca::new().await;
    let names = ["istiod.istio-system.svc".to_owned(), "localhost".to_owned()];
    let config = config().with_dns_names(names.clone()).with_key_type(KeyType::EcdsaP384);
    let identity = WorkloadIdentity::spawn(config, Arc::new(IssuerSource::new(ca.issuer.clone())), ca.clock());
    assert_eq!(identity.watch().ready().await.unwrap().dns_names(), names);
}

#[tokio::test]
async fn dropping_it_ends_the_renewals() {
    let ca = Ca::new().await;
    let identity = WorkloadIdentity::spawn(config(), source(&ca, []), ca.clock());
    let watch = identity.watch();
    watch.ready().await.unwrap();
    drop(identity);
    let mut states = watch.subscribe();
    states.borrow_and_update();
    assert!(states.changed().await.is_err());
    assert!(watch.svid().is_some(), "what is held stays readable");
    ca.clock.advance(Duration::from_secs(61));
    assert!(watch.svid().is_none(), "until its end");
    assert!(watch.ready().await.is_none());
}
