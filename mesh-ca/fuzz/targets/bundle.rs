//! Bundle documents.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_ca::spiffe::{SpiffeBundle, TrustDomain};

fuzz_target!(|data: &[u8]| {
    let domain = || TrustDomain::parse("example.org").expect("a trust domain");
    let Ok(bundle) = SpiffeBundle::from_jwks(domain(), data) else { return };
    let written = bundle.to_jwks();
    let again = SpiffeBundle::from_jwks(domain(), written.as_bytes()).expect("what was written can be read");
    assert_eq!(again, bundle, "{written}");
});
