//! PEM texts: certificates, keys, revocation lists.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_ca::spiffe::{Crl, PrivateKey, TrustBundle, TrustDomain, certificates_from_pem, certificates_to_pem};

fuzz_target!(|data: &[u8]| {
    if let Ok(certificates) = certificates_from_pem(data) {
        let written = certificates_to_pem(&certificates);
        assert_eq!(certificates_from_pem(written.as_bytes()).expect("what was written can be read"), certificates);
    }
    let domain = TrustDomain::parse("example.org").expect("a trust domain");
    if let Ok(bundle) = TrustBundle::from_pem(domain.clone(), data) {
        let again = TrustBundle::from_pem(domain, bundle.to_pem().as_bytes()).expect("what was written can be read");
        assert_eq!(again, bundle);
    }
    if let Ok(key) = PrivateKey::from_pem(data) {
        let again = PrivateKey::from_pem(key.to_pem().as_bytes()).expect("what was written can be read");
        assert_eq!(again.public_key_der().ok(), key.public_key_der().ok());
    }
    let _ = Crl::all_from_pem(data);
});
