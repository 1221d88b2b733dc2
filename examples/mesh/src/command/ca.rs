//! `mesh ca ...`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use mesh_ca::spiffe;

use super::block_on;
use crate::{
    authority::{self, Authority},
    cli::{CaRootArgs, CaTokenArgs, CaVerifyArgs},
    exit, net,
};

/// Life of the tokens of the demo: it may run for long, and a sidecar that starts anew shows its token again.
const DEMO_TOKEN_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
const ANY_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// `mesh ca verify`.
pub(crate) fn ca_verify(args: CaVerifyArgs) -> anyhow::Result<u8> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (trust, leaf) = (read(&args.trust)?, read(&args.leaf)?);
    let untrusted = args.untrusted.as_deref().map(read).transpose()?;
    let now = args.time.as_deref().map_or_else(|| Ok(SystemTime::now()), time)?;
    match spiffe::verify_pem(&leaf, untrusted.as_deref(), &trust, now) {
        Ok(verified) => {
            println!("{}", verified.id);
            Ok(exit::OK)
        }
        Err(broken) => {
            println!("{broken}");
            Ok(exit::NO)
        }
    }
}

/// RFC 3339, or seconds since 1970.
fn time(text: &str) -> anyhow::Result<SystemTime> {
    if let Ok(seconds) = text.parse::<u64>() {
        return SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(seconds))
            .context("--time: too far in the future");
    }
    let parsed = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
    Ok(parsed
        .with_context(|| format!("--time {text}: write RFC 3339, as 2026-01-31T12:00:00Z, or seconds since 1970"))?
        .into())
}

/// `mesh ca token`.
pub(crate) fn ca_token(args: CaTokenArgs) -> anyhow::Result<u8> {
    let whose = (args.namespace.as_str(), args.service_account.as_str());
    let token = block_on(authority::token(&args.state, &args.trust_domain, whose, args.ttl))?;
    println!("{token}");
    Ok(exit::OK)
}

/// `mesh ca root`.
pub(crate) fn ca_root(args: CaRootArgs) -> anyhow::Result<u8> {
    let pem = block_on(async {
        // A control plane may be running: then what it has published is read.
        if let Some(bundle) = authority::public_roots(&args.state, &args.trust_domain).await? {
            return Ok(bundle.to_pem());
        }
        Ok(Authority::open(&args.state, None, &args.trust_domain, ANY_LIFETIME).await?.bundle().to_pem())
    })?;
    print!("{pem}");
    Ok(exit::OK)
}

/// Makes the demo's authority in `state`, writes its roots to `root_cert`, and a token for each service account.
pub(crate) async fn prepare_authority(
    state: &Path,
    root_cert: &Path,
    tokens: impl Iterator<Item = (String, PathBuf)>,
) -> anyhow::Result<()> {
    let authority = Authority::open(state, None, "cluster.local", ANY_LIFETIME).await?;
    let write = |path: &Path, content: &[u8]| {
        net::write_atomically(path, content).with_context(|| format!("cannot write {}", path.display()))
    };
    write(root_cert, authority.bundle().to_pem().as_bytes())?;
    for (service_account, path) in tokens {
        write(&path, authority.token("default", &service_account, DEMO_TOKEN_LIFETIME)?.as_bytes())?;
    }
    Ok(())
}
