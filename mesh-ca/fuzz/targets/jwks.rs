//! Key sets of token issuers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_ca::authn::JwtKey;

fuzz_target!(|data: &[u8]| {
    if let Ok(keys) = JwtKey::all_from_jwks(data) {
        assert!((1..=64).contains(&keys.len()));
    }
    let _ = JwtKey::from_public_pem(None, data);
    let _ = JwtKey::from_public_der(None, data);
});
