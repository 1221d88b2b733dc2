//! Certificates in DER as leaf, signer and root, and their verification.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use mesh_ca::spiffe::{Place, TrustBundle, TrustDomain, check_leaf, check_signing, verify};
use rustls_pki_types::CertificateDer;

fuzz_target!(|data: &[u8]| {
    let certificate = CertificateDer::from(data.to_vec());
    let id = check_leaf(&certificate);
    let _ = check_signing(&certificate, Place::Root);
    let domain = id.as_ref().map_or_else(|_| TrustDomain::parse("example.org").expect("one"), |id| id.trust_domain().clone());
    let Ok(bundle) = TrustBundle::new(domain, [certificate.clone()]) else { return };
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    if let Ok(seen) = verify(&certificate, &[certificate.clone()], &bundle, now) {
        assert_eq!(Ok(seen.id), id);
        assert!(seen.not_before <= now && now <= seen.not_after);
    }
});
