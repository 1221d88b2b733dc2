//! SPIFFE ids, trust domains, and the addresses of documents.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_ca::{
    fetch::HttpsUrl,
    spiffe::{MAX_ID_LENGTH, SpiffeId, TrustDomain},
};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(domain) = TrustDomain::parse(text) {
        assert_eq!(domain.as_str(), text);
        assert!(domain.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b)));
    }
    if let Ok(id) = SpiffeId::parse(text) {
        assert_eq!(id.as_str(), text);
        assert!(text.starts_with("spiffe://") && text.len() <= MAX_ID_LENGTH);
        assert!(!text.contains(['%', '?', '#', '@', ':']) || text.matches(':').count() == 1);
    }
    if let Ok(url) = HttpsUrl::parse(text) {
        let again = HttpsUrl::parse(&url.to_string()).expect("what was read can be read");
        assert_eq!((again.host(), again.port()), (url.host(), url.port()));
        assert!(!url.to_string().contains('@') || url.path_and_query().contains('@'));
    }
});
