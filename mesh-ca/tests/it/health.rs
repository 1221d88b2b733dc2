//! Readiness and metrics of a CA over its life, on a clock in hand.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mesh_ca::{
    agent::IdentityWatch,
    clock::{Clock, ManualClock},
    health::{Health, HealthPolicy, Level, Role},
    issuer::{CertIssuer, RevocationReason, SelfSigned, SelfSignedConfig, store::MemoryStore},
};

use crate::{
    fixture::{Ca, trust_domain, workload},
    fleet::{Fleet, config},
};

const DAY: Duration = Duration::from_secs(86_400);

async fn ca(days: u32) -> Ca {
    let clock = ManualClock::new(UNIX_EPOCH + 20_000 * DAY);
    let config = SelfSignedConfig::new(trust_domain()).with_root_lifetime(days * DAY);
    let issuer = SelfSigned::open(&MemoryStore::default(), config, Arc::new(clock.clone())).await.unwrap();
    Ca { clock, issuer: Arc::new(issuer) }
}

async fn serving(ca: &Ca, lifetime: Duration) -> IdentityWatch {
    let svid = ca.svid(&workload("istiod"), lifetime).await;
    IdentityWatch::fixed(Some(Arc::new(svid)), ca.bundles(), ca.clock())
}

fn levels(health: &Health) -> Vec<(Role, Level)> {
    health.expiries.iter().map(|e| (e.role, e.level)).collect()
}

#[tokio::test]
async fn an_end_shows_before_it_hurts() {
    let ca = ca(100).await;
    let own = serving(&ca, 50 * DAY).await;
    let look = |now: SystemTime| Health::of(&*ca.issuer, Some(&own), &HealthPolicy::default(), now);
    let start = ca.clock.now().wall;
    let (minute, ten) = (Duration::from_secs(60), Duration::from_secs(600));
    use Level::{Dead, Good, Warning};
    let cases = [
        (start, [Good, Good, Good], true),
        (start + 39 * DAY, [Good, Good, Good], true),
        (start + 41 * DAY, [Good, Good, Warning], true),
        (start + 50 * DAY - ten - minute, [Good, Good, Warning], true),
        (start + 50 * DAY - ten, [Good, Good, Dead], false),
        (start + 81 * DAY, [Warning, Warning, Dead], false),
        (start + 100 * DAY - ten, [Dead, Dead, Dead], false),
        // A clock that is late: nothing is valid yet.
        (start - 3 * minute, [Dead, Dead, Dead], false),
    ];
    for (now, wanted, ready) in cases {
        let health = look(now);
        let wanted: Vec<_> = [Role::Root, Role::Signer, Role::Serving].into_iter().zip(wanted).collect();
        assert_eq!((levels(&health), health.is_ready()), (wanted, ready), "{now:?}");
        assert_eq!(health.reasons().is_empty(), health.expiries.iter().all(|e| e.level == Good), "{now:?}");
    }
    let ended = look(start + 51 * DAY);
    assert_eq!(ended.reasons().len(), 1);
    assert!(ended.reasons()[0].starts_with("the serving certificate ended at 2024-"), "{:?}", ended.reasons());
}

#[tokio::test]
async fn without_its_certificate_an_instance_is_not_ready() {
    let ca = ca(100).await;
    let none = IdentityWatch::fixed(None, ca.bundles(), ca.clock());
    let now = ca.clock.now().wall;
    let health = Health::of(&*ca.issuer, Some(&none), &HealthPolicy::default(), now);
    assert!(!health.is_ready());
    assert_eq!(health.reasons(), ["there is no serving certificate"]);
    assert!(health.to_prometheus().contains("mesh_ca_serving_cert_expiry_seconds -1\n"));
    assert!(Health::of(&*ca.issuer, None, &HealthPolicy::default(), now).is_ready(), "when none was asked for");
}

#[tokio::test]
async fn gauges_follow_what_is_in_force() {
    let ca = ca(100).await;
    let own = serving(&ca, 50 * DAY).await;
    let now = ca.clock.now().wall + DAY;
    let text = Health::of(&*ca.issuer, Some(&own), &HealthPolicy::default(), now).to_prometheus();
    let gauge = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name}: {text}")).parse::<u64>().unwrap()
    };
    let end = ca.issuer.expires().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(gauge("citadel_server_root_cert_expiry_timestamp"), end);
    assert_eq!(gauge("citadel_server_root_cert_expiry_seconds"), 99 * 86_400);
    assert_eq!(gauge("citadel_server_cert_chain_expiry_timestamp"), end);
    assert_eq!(gauge("mesh_ca_serving_cert_expiry_seconds"), 49 * 86_400);
    assert_eq!(gauge("mesh_ca_ready"), 1);
}

#[tokio::test]
async fn a_revocation_list_that_ends_is_told_of() {
    let mut fleet = Fleet::new(1, config().with_crl_lifetime(10 * DAY)).await;
    fleet.lifetime = 20 * DAY;
    let look = |fleet: &Fleet, now| Health::of(&**fleet.ca(), None, &HealthPolicy::default(), now);
    let none = look(&fleet, fleet.now());
    assert!(!none.to_prometheus().contains("crl_expiry"), "there is none before the first revocation");
    fleet.ca().revoke(&fleet.serial(0), RevocationReason::Superseded).await.unwrap();
    let now = fleet.now();
    let list = |now| look(&fleet, now).expiries.last().map(|e| (e.role, e.level)).unwrap();
    assert_eq!(list(now), (Role::RevocationList, Level::Good));
    assert_eq!(list(now + 9 * DAY), (Role::RevocationList, Level::Warning));
    assert_eq!(list(now + 10 * DAY), (Role::RevocationList, Level::Dead));
    let late = look(&fleet, now + 11 * DAY);
    assert!(late.is_ready(), "another instance would have the same list");
    assert!(late.reasons().iter().any(|r| r.starts_with("the revocation list ended at ")), "{:?}", late.reasons());
    let left = late.to_prometheus().lines().find_map(|l| l.strip_prefix("mesh_ca_crl_expiry_seconds ")?.parse().ok());
    // Lists tell times in whole seconds.
    assert!(left.is_some_and(|left: i64| (-86_401..=-86_400).contains(&left)), "{left:?}");
}
