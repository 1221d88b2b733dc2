//! [`judge`]: whether what a sink holds is good for its account.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use super::{CredentialSet, Stored};
use crate::spiffe::{PrivateKey, SpiffeId, TrustBundle, X509Svid, certificates_from_pem};

/// What is to be done about an account.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing until then.
    Keep {
        /// When it will be renewed.
        renew_at: SystemTime,
        /// When the certificate ends.
        not_after: SystemTime,
        /// Its serial number, hexadecimal.
        serial: String,
    },
    /// The certificate is good; the roots beside it are not those in force: write this.
    Rewrite(CredentialSet),
    /// A new certificate.
    Issue(Reason),
}

/// Why a new certificate is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// There is none: the account is new, or somebody deleted it.
    Absent,
    /// What is there is of no use.
    Damaged(String),
    /// It is good, but has lived its share.
    Due,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there was none"),
            Self::Damaged(what) => write!(f, "the one there was is damaged: {what}"),
            Self::Due => f.write_str("the one there was has lived its share"),
        }
    }
}

/// Judges what is held for `id` at the time `now`. A certificate is renewed after the share `renew_after` of its life (from
/// 0.05 to 0.95), a little earlier or later by its serial number, so that those made together are not renewed together.
pub fn judge(stored: &Stored, id: &SpiffeId, bundle: &TrustBundle, now: SystemTime, renew_after: f64) -> Verdict {
    let set = match stored {
        Stored::Absent => return Verdict::Issue(Reason::Absent),
        Stored::Damaged(what) => return Verdict::Issue(Reason::Damaged(what.clone())),
        Stored::Held(set) => set,
    };
    let svid = match read(set) {
        Ok(svid) => svid,
        Err(what) => return Verdict::Issue(Reason::Damaged(what)),
    };
    let damaged = |what: String| Verdict::Issue(Reason::Damaged(what));
    if svid.id() != id {
        return damaged(format!("it is for {}", svid.id()));
    }
    let renew_at = renew_at(&svid, renew_after);
    if now >= renew_at {
        return Verdict::Issue(Reason::Due);
    }
    if let Err(broken) = svid.verify(bundle, now) {
        return damaged(broken.to_string());
    }
    let roots = bundle.to_pem();
    if set.roots != roots {
        return Verdict::Rewrite(CredentialSet::new(set.chain.clone(), set.key.clone(), roots));
    }
    Verdict::Keep { renew_at, not_after: svid.not_after(), serial: svid.serial().to_owned() }
}

fn read(set: &CredentialSet) -> Result<X509Svid, String> {
    let chain = certificates_from_pem(set.chain.as_bytes()).map_err(|e| format!("chain: {e}"))?;
    let key = PrivateKey::from_pem(set.key.as_bytes()).map_err(|e| format!("key: {e}"))?;
    X509Svid::new(chain, key).map_err(|e| e.to_string())
}

fn renew_at(svid: &X509Svid, renew_after: f64) -> SystemTime {
    const SPREAD: f64 = 0.02;
    let life = svid.not_after().duration_since(svid.not_before()).unwrap_or_default();
    // The last digits of a serial number are random.
    let serial = svid.serial();
    let tail = serial.get(serial.len().saturating_sub(4)..).unwrap_or_default();
    let chance = f64::from(u16::from_str_radix(tail, 16).unwrap_or_default()) / f64::from(u16::MAX);
    let share = if renew_after.is_finite() { renew_after.clamp(0.05, 0.95) } else { 0.5 };
    let share = share + SPREAD * (chance - 0.5);
    svid.not_before() + Duration::from_secs_f64(life.as_secs_f64() * share)
}
