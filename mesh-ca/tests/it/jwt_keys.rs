//! JWT signing keys that change: every token verifies for whoever reads the key set now and then, over crashes.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use mesh_ca::{
    clock::{Clock, ManualClock},
    issuer::{
        CaStore, JwtIssuer, JwtRequest, JwtRotationConfig, JwtSigner, JwtSignerConfig, RotatingJwtSigner, StoreItem,
        conformance,
    },
    spiffe::{JwtBundle, JwtBundles, JwtSvid},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    fixture::{trust_domain, workload},
    fleet::MortalStore,
};

const MINUTE: Duration = Duration::from_secs(60);

fn schedule() -> JwtRotationConfig {
    let mut config = JwtRotationConfig::default();
    config.key_lifetime = 24 * 60 * MINUTE;
    config.publish_ahead = 60 * MINUTE;
    config
}

struct World {
    store: Arc<MortalStore>,
    clock: ManualClock,
    signer: Arc<RotatingJwtSigner>,
}

impl World {
    async fn new() -> Self {
        let (store, clock) = (Arc::new(MortalStore::new()), ManualClock::system());
        let signer = Self::open(&store, &clock).await;
        Self { store, clock, signer }
    }

    async fn open(store: &Arc<MortalStore>, clock: &ManualClock) -> Arc<RotatingJwtSigner> {
        let config = JwtSignerConfig::new(trust_domain());
        let opened = RotatingJwtSigner::open(store.clone(), config, schedule(), Arc::new(clock.clone())).await;
        Arc::new(opened.unwrap())
    }

    async fn restart(&mut self) {
        self.store.heal();
        self.signer = Self::open(&self.store, &self.clock).await;
    }

    async fn token(&self) -> JwtSvid {
        let lifetime = Some(60 * MINUTE);
        let request = JwtRequest { id: workload("a"), audiences: vec!["reports".into()], lifetime };
        self.signer.issue_jwt(request).await.unwrap()
    }
}

#[tokio::test]
async fn it_conforms_and_takes_over_a_key_that_did_not_change() {
    let (store, clock) = (Arc::new(MortalStore::new()), ManualClock::system());
    let config = JwtSignerConfig::new(trust_domain());
    let plain = JwtSigner::open(&*store, config.clone(), Arc::new(clock.clone())).await.unwrap();
    let signer = World::open(&store, &clock).await;
    assert_eq!(signer.jwt_bundle(), plain.jwt_bundle());
    conformance::check_jwt_issuer(&*signer, clock.now().wall).await;
    signer.rotate_now().await.unwrap();
    signer.rotate_now().await.unwrap();
    assert_eq!(signer.jwt_bundle().authorities().len(), 2, "one at a time");
    conformance::check_jwt_issuer(&*signer, clock.now().wall).await;
    let plain = JwtSigner::open(&*store, config, Arc::new(clock.clone())).await.unwrap();
    assert_eq!(
        plain.jwt_bundle().authorities()[0],
        signer.jwt_bundle().authorities()[0],
        "and back: the key that signs"
    );
}

#[tokio::test]
async fn keys_overlap_in_order() {
    let world = World::new().await;
    let key_of = |svid: &JwtSvid| svid.token().split('.').next().unwrap().to_owned();
    let first = world.token().await;
    world.clock.advance(23 * 60 * MINUTE - MINUTE);
    world.signer.tick().await.unwrap();
    assert_eq!(world.signer.jwt_bundle().authorities().len(), 1);
    world.clock.advance(MINUTE);
    let next = world.signer.tick().await.unwrap();
    assert_eq!((world.signer.jwt_bundle().authorities().len(), next), (2, 60 * MINUTE));
    assert_eq!(key_of(&world.token().await), key_of(&first), "published, not used yet");
    world.clock.advance(59 * MINUTE);
    world.signer.tick().await.unwrap();
    assert_eq!(key_of(&world.token().await), key_of(&first));
    world.clock.advance(MINUTE);
    world.signer.tick().await.unwrap();
    assert_ne!(key_of(&world.token().await), key_of(&first));
    assert_eq!(world.signer.jwt_bundle().authorities().len(), 2, "the old one is kept");
    world.clock.advance(61 * MINUTE);
    world.signer.tick().await.unwrap();
    assert_eq!(world.signer.jwt_bundle().authorities().len(), 2);
    world.clock.advance(2 * MINUTE);
    world.signer.tick().await.unwrap();
    assert_eq!(world.signer.jwt_bundle().authorities().len(), 1, "until its last token has ended");
    // A wall clock that is set forward ends no waiting.
    world.signer.rotate_now().await.unwrap();
    let (now, token) = (world.clock.now().wall, key_of(&world.token().await));
    world.clock.set_wall(now + 600 * MINUTE);
    world.signer.tick().await.unwrap();
    assert_eq!(key_of(&world.token().await), token);
}

/// A verifier reads the key set every 50 minutes; whatever it is shown verifies, for a season.
#[tokio::test]
async fn every_token_verifies_over_rotations_and_crashes() {
    let mut world = World::new().await;
    let mut random = StdRng::seed_from_u64(3);
    let mut known: JwtBundle = (*world.signer.jwt_bundle()).clone();
    let mut tokens: VecDeque<JwtSvid> = VecDeque::new();
    let mut keys = std::collections::BTreeSet::new();
    for round in 0..90 * 24 * 6 {
        world.clock.advance(10 * MINUTE);
        if random.random_bool(0.01) {
            world.store.die_after(1, random.random_bool(0.5));
        }
        // A step that could not be stored is due still.
        let _ = world.signer.tick().await;
        if random.random_bool(0.01) || world.store.is_dead() {
            world.restart().await;
        }
        let now = world.clock.now().wall;
        tokens.retain(|t| now < t.expires());
        if round % 3 == 0 {
            tokens.push_back(world.token().await);
        }
        if round % 5 == 0 {
            known = (*world.signer.jwt_bundle()).clone();
            keys.extend(known.authorities().iter().map(|a| a.key_id().to_owned()));
        }
        if round % 3 != 2 {
            continue;
        }
        let bundles = JwtBundles::from(known.clone());
        for token in &tokens {
            let seen = JwtSvid::verify(token.token(), &bundles, &["reports"], now, Duration::ZERO);
            assert!(seen.is_ok(), "{round}: {seen:?}");
        }
        assert!(known.authorities().len() <= 4);
    }
    assert!(keys.len() > 80, "a new key each day: {}", keys.len());
    let text = world.store.load(StoreItem::JwtKey).await.unwrap().unwrap();
    assert!(text.len() < 4096, "old keys go: {}", text.len());
}
