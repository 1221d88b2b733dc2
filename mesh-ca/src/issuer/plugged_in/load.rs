//! From files to an authority, or a refusal by name.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls_pki_types::CertificateDer;

use super::{CaFile, PluggedInConfig, PluggedInError, files::FileSet};
use crate::{
    issuer::{
        Csr, IssueError, IssueRequest, IssuedCertificate,
        authority::{Authority, AuthorityError},
        keys::{CaKey, LocalKey},
    },
    spiffe::{
        Crl, KeyType, Place, PrivateKey, RuleBroken, SpiffeId, TrustBundle, certificates_from_pem, check_signing,
        verify, x509::Facts,
    },
};

/// A set that is good.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) authority: Authority,
    pub(super) serial: String,
    pub(super) at: SystemTime,
    pub(super) digest: Vec<u8>,
}

fn broken(file: CaFile, reason: impl fmt::Display) -> PluggedInError {
    PluggedInError::File { file, reason: reason.to_string() }
}

/// Checks a whole set at the time `now`.
pub(super) fn check(files: &FileSet, config: &PluggedInConfig, now: SystemTime) -> Result<Loaded, PluggedInError> {
    let (certificate, facts) = signing_certificate(files, now)?;
    let key = PrivateKey::from_pem(content(files, CaFile::Key)?).and_then(|key| LocalKey::new(&key));
    let key: Arc<dyn CaKey> = Arc::new(key.map_err(|e| broken(CaFile::Key, e))?);
    let bundle = Arc::new(bundle(files, config)?);
    let intermediates = intermediates(files, &certificate, &bundle, now)?;
    let authority = |root: &CertificateDer<'static>| {
        let policy = config.policy.clone();
        Authority::new(&certificate, Arc::clone(&key), intermediates.clone(), root.clone(), Arc::clone(&bundle), policy)
            .map_err(|e| match e {
                AuthorityError::KeyMismatch => {
                    broken(CaFile::Key, format!("it is not the key of {}", CaFile::Certificate))
                }
                AuthorityError::Key(e) => broken(CaFile::Key, e),
                AuthorityError::Malformed(e) => broken(CaFile::Certificate, e),
            })
    };
    let request = trial_request(config)?;
    let mut verdict = Err(broken(CaFile::Roots, "it holds no root"));
    for root in bundle.roots() {
        let candidate = authority(root.certificate())?;
        match ends_at(&candidate, &request, root.certificate(), now) {
            Ok(()) => {
                verdict = Ok(candidate);
                break;
            }
            Err(e) => verdict = Err(e),
        }
    }
    Ok(Loaded { authority: verdict?, serial: facts.serial, at: now, digest: files.digest().to_vec() })
}

fn content(files: &FileSet, file: CaFile) -> Result<&[u8], PluggedInError> {
    // The required ones were found when the set was read.
    files.get(file).ok_or_else(|| broken(file, "it is absent"))
}

fn signing_certificate(files: &FileSet, now: SystemTime) -> Result<(CertificateDer<'static>, Facts), PluggedInError> {
    let refused = |e: &dyn fmt::Display| broken(CaFile::Certificate, e);
    let all = certificates_from_pem(content(files, CaFile::Certificate)?).map_err(|e| refused(&e))?;
    let [certificate]: [CertificateDer<'static>; 1] = all
        .try_into()
        .map_err(|all: Vec<_>| refused(&format!("it holds {} certificates instead of one", all.len())))?;
    check_signing(&certificate, Place::Intermediate(0)).map_err(|e| refused(&e))?;
    let facts = Facts::parse(&certificate).map_err(|e| refused(&e))?;
    check_time(CaFile::Certificate, &facts, now)?;
    Ok((certificate, facts))
}

fn check_time(file: CaFile, facts: &Facts, now: SystemTime) -> Result<(), PluggedInError> {
    let when = |time: SystemTime| time::OffsetDateTime::from(time);
    if now < facts.not_before {
        return Err(broken(
            file,
            format!("certificate {} is not valid before {}", facts.serial, when(facts.not_before)),
        ));
    }
    if now >= facts.not_after {
        return Err(broken(file, format!("certificate {} expired at {}", facts.serial, when(facts.not_after))));
    }
    Ok(())
}

fn bundle(files: &FileSet, config: &PluggedInConfig) -> Result<TrustBundle, PluggedInError> {
    let bundle = TrustBundle::from_pem(config.trust_domain.clone(), content(files, CaFile::Roots)?)
        .map_err(|e| broken(CaFile::Roots, e))?;
    let crls = match files.get(CaFile::Crl) {
        // Istio writes an empty file when there is no list.
        Some(pem) if !pem.trim_ascii().is_empty() => Crl::all_from_pem(pem).map_err(|e| broken(CaFile::Crl, e))?,
        _ => Vec::new(),
    };
    Ok(bundle.with_crls(crls))
}

/// What goes out with each leaf: the signing certificate, then the chain file in its order, each once and no roots.
fn intermediates(
    files: &FileSet,
    certificate: &CertificateDer<'static>,
    bundle: &TrustBundle,
    now: SystemTime,
) -> Result<Vec<CertificateDer<'static>>, PluggedInError> {
    let chain = match files.get(CaFile::Chain) {
        Some(pem) => certificates_from_pem(pem).map_err(|e| broken(CaFile::Chain, e))?,
        None => Vec::new(),
    };
    let mut all = Vec::new();
    for member in [certificate.clone()].into_iter().chain(chain) {
        if all.contains(&member) || bundle.roots().iter().any(|r| *r.certificate() == member) {
            continue;
        }
        check_signing(&member, Place::Intermediate(all.len())).map_err(|e| broken(CaFile::Chain, e))?;
        check_time(CaFile::Chain, &Facts::parse(&member).map_err(|e| broken(CaFile::Chain, e))?, now)?;
        all.push(member);
    }
    Ok(all)
}

/// A request that every CA of the trust domain must be able to answer.
fn trial_request(config: &PluggedInConfig) -> Result<IssueRequest, PluggedInError> {
    let failed = |e: &dyn fmt::Display| PluggedInError::Sign { reason: e.to_string() };
    let id = SpiffeId::new(&config.trust_domain, "/trial").map_err(|e| failed(&e))?;
    let key = PrivateKey::generate(KeyType::EcdsaP256).map_err(|e| failed(&e))?;
    let csr = Csr::create_pem(&key, &id, &[]).map_err(|e| failed(&e))?;
    let csr = Csr::from_pem(&csr).map_err(|e| failed(&e))?;
    Ok(IssueRequest { csr, id, dns_names: Vec::new(), lifetime: Some(Duration::from_secs(60)) })
}

/// Whether what the authority signs is believed by someone who has just this root.
fn ends_at(
    authority: &Authority,
    request: &IssueRequest,
    root: &CertificateDer<'static>,
    now: SystemTime,
) -> Result<(), PluggedInError> {
    let refused = |broken: RuleBroken| PluggedInError::Chain { broken };
    let issued: IssuedCertificate = authority.sign(request, now).map_err(|e| match e {
        IssueError::Verification(broken) => refused(broken),
        e => PluggedInError::Sign { reason: e.to_string() },
    })?;
    let own = authority.bundle();
    let alone = TrustBundle::new(own.trust_domain().clone(), [root.clone()]).map_err(|e| broken(CaFile::Roots, e))?;
    let alone = alone.with_crls(own.crls().iter().cloned());
    let Some((leaf, rest)) = issued.chain.split_first() else { return Ok(()) };
    verify(leaf, rest, &alone, now).map(|_| ()).map_err(refused)
}
