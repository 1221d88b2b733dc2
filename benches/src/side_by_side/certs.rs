//! Certificates made for a run: a CA, and one workload under it for all sides.

use std::{fs, path::Path};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};

/// The workload's identity.
pub(crate) const SPIFFE_ID: &str = "spiffe://bench.local/ns/default/sa/backend";

/// The workload's DNS name.
pub(crate) const NAME: &str = "backend";

/// Writes `ca.pem`, `leaf.pem`, `leaf.key` and, as HAProxy wants them, both in `leaf-all.pem`.
pub(crate) fn write(folder: &Path) -> anyhow::Result<()> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(vec![NAME.to_owned()])?;
    leaf.subject_alt_names.push(SanType::URI(SPIFFE_ID.try_into().context("the SPIFFE id")?));
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = leaf.signed_by(&key, &issuer)?.pem();
    for (name, text) in [
        ("ca.pem", &ca_pem),
        ("leaf.pem", &leaf),
        ("leaf.key", &key.serialize_pem()),
        ("leaf-all.pem", &(leaf.clone() + &key.serialize_pem())),
    ] {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}
