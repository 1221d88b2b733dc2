//! Tokens: JWT-SVIDs, service account tokens, join tokens. None is believed: the keys are nobody's.
#![no_main]

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, Waker},
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use mesh_ca::{
    authn::{Authenticator, JoinTokens, JwtAuthenticator, JwtConfig, JwtKey, MemoryJoinTokens, RequestFacts},
    clock::{Clock, SystemClock},
    spiffe::{JwtBundles, JwtSvid, KeyType, PrivateKey, SpiffeBundle, TrustDomain},
};

/// RFC 7517 appendix A.1: nobody signs with its private half here.
const SET: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","use":"jwt-svid","kid":"1",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

struct World {
    bundles: JwtBundles,
    tokens: JwtAuthenticator,
    joins: JoinTokens,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let domain = TrustDomain::parse("example.org").expect("a trust domain");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let bundle = SpiffeBundle::from_jwks(domain.clone(), SET.as_bytes()).expect("a bundle");
    let key = PrivateKey::generate(KeyType::EcdsaP256).and_then(|k| k.public_key_der()).expect("a key");
    let key = JwtKey::from_public_der(None, &key).expect("a key");
    World {
        bundles: bundle.jwt.into(),
        tokens: JwtAuthenticator::new(JwtConfig::new("https://issuer.example", domain), [key], clock.clone()),
        joins: JoinTokens::new(Arc::new(MemoryJoinTokens::default()), clock),
    }
});

fn refused(authenticator: &dyn Authenticator, facts: &RequestFacts) -> bool {
    let judged = pin!(authenticator.authenticate(facts));
    match { judged }.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(verdict) => verdict.is_err(),
        Poll::Pending => panic!("nothing has to be waited for"),
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(token) = std::str::from_utf8(data) else { return };
    let now = SystemClock.now().wall;
    assert!(JwtSvid::verify(token, &WORLD.bundles, &["me"], now, Duration::ZERO).is_err());
    let facts = RequestFacts::new().with_token(token);
    assert!(refused(&WORLD.tokens, &facts));
    assert!(refused(&WORLD.joins, &facts));
});
