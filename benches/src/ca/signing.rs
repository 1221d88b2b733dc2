//! What the crypto library does alone, and the issuer without a network.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey},
};
use mesh_ca::{
    clock::SystemClock,
    issuer::{CertIssuer, Csr, IssueRequest, SelfSigned, SelfSignedConfig, store::MemoryStore},
    spiffe::{KeyType, PrivateKey, SpiffeId, TrustDomain},
};

use crate::usage;

/// About as many bytes as a certificate has to be signed.
const MESSAGE: [u8; 400] = [7; 400];

/// Rates per second on one core.
pub(crate) struct Signing {
    pub(crate) sign: f64,
    pub(crate) verify: f64,
}

/// How often `work` can be done in a second of this thread's processor time.
fn rate(time: Duration, mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let (start, used, mut count) = (Instant::now(), usage::thread_time()?, 0u32);
    while start.elapsed() < time {
        for _ in 0..16 {
            work()?;
        }
        count += 16;
    }
    Ok(f64::from(count) / usage::thread_time()?.saturating_sub(used).as_secs_f64())
}

pub(crate) fn measure(time: Duration) -> anyhow::Result<Signing> {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).context("a key")?;
    let random = SystemRandom::new();
    let sign = rate(time, || key.sign(&random, &MESSAGE).map(|_| ()).context("a signature"))?;
    let signature = key.sign(&random, &MESSAGE).context("a signature")?;
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key().as_ref());
    let verify = rate(time, || public.verify(&MESSAGE, signature.as_ref()).context("it verifies"))?;
    Ok(Signing { sign, verify })
}

/// Signing requests per second that are read, signed and verified without a network.
pub(crate) fn issue_rate(time: Duration) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let domain = TrustDomain::parse("cluster.local")?;
    let id = SpiffeId::for_workload(&domain, "shop", "web")?;
    let key = PrivateKey::generate(KeyType::EcdsaP256)?;
    let csr = Csr::create_pem(&key, &id, &[])?;
    let store = MemoryStore::default();
    let open = SelfSigned::open(&store, SelfSignedConfig::new(domain), Arc::new(SystemClock));
    let ca = runtime.block_on(open)?;
    rate(time, || {
        let request = IssueRequest { csr: Csr::from_pem(&csr)?, id: id.clone(), dns_names: Vec::new(), lifetime: None };
        runtime.block_on(ca.issue(request))?;
        Ok(())
    })
}
