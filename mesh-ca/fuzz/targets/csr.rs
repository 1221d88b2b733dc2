//! Signing requests, PEM and DER.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_ca::{issuer::Csr, spiffe::SpiffeId};

fuzz_target!(|data: &[u8]| {
    let read = std::str::from_utf8(data).map_err(|_| ()).and_then(|text| Csr::from_pem(text).map_err(|_| ()));
    for csr in [read.ok(), Csr::from_der(data).ok()].into_iter().flatten() {
        let again = Csr::from_pem(&csr.to_pem()).expect("what was written can be read");
        assert_eq!((again.uris(), again.dns_names()), (csr.uris(), csr.dns_names()));
        assert_eq!(again.public_key_der(), csr.public_key_der());
        let id = SpiffeId::parse("spiffe://example.org/a").expect("an id");
        if csr.check_names(&id, &[]).is_ok() {
            assert!(csr.dns_names().is_empty() && csr.uris().iter().all(|u| u == id.as_str()));
        }
    }
});
