//! A suite that anyone's [`CertSource`] can run in its tests. It panics with what is wrong.
#![allow(clippy::unwrap_used)] // a conformance suite reports by panicking

use std::{sync::Arc, time::SystemTime};

use super::{CertRequest, CertSource};
use crate::{
    issuer::Csr,
    spiffe::{KeyType, PrivateKey, SpiffeId, TrustBundle, TrustBundles, X509Svid},
};

/// Checks the contract of [`CertSource`]: it must give certificates for `id`, which it is set up to be allowed to, and
/// refuse what is not a signing request. `now` is the time on the CA's clock.
///
/// # Panics
/// When the contract is broken.
pub async fn check_source(source: &dyn CertSource, id: &SpiffeId, bundles: Arc<TrustBundles>, now: SystemTime) {
    let mut serials = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let csr = Csr::create_pem(&key, id, &[]).unwrap();
        let request = CertRequest::new(csr, id.clone(), Arc::clone(&bundles));
        let fetched = source.fetch(&request).await.unwrap_or_else(|e| panic!("a good request is refused: {e}"));
        let svid = X509Svid::new(fetched.chain, key).unwrap_or_else(|e| panic!("the chain is for another key: {e}"));
        assert_eq!(svid.id(), id, "the certificate is for the id asked for");
        let mut bundle = TrustBundle::new(id.trust_domain().clone(), fetched.roots).unwrap();
        if let Some(known) = bundles.bundle(id.trust_domain()) {
            bundle = bundle.union(known);
        }
        svid.verify(&bundle, now).unwrap_or_else(|e| panic!("the chain does not verify: {e}"));
        assert!(serials.insert(svid.serial().to_owned()), "each request gives a new certificate");
    }
    let nonsense = CertRequest::new("hello", id.clone(), bundles);
    assert!(source.fetch(&nonsense).await.is_err(), "nonsense is refused");
}
