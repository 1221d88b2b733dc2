//! Taking certificates back: what is revoked, and the lists that say so (RFC 5280 section 5).

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason as RcgenReason, RevokedCertParams, SerialNumber,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::rotation::RootId;

/// Most certificates that are revoked at the same time.
pub const MAX_REVOKED: usize = 100_000;

/// Why a certificate is taken back (RFC 5280 section 5.3.1). A hold, which can be lifted, is not offered, nor what applies to
/// delta lists and attribute certificates only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum RevocationReason {
    /// No reason is given.
    Unspecified,
    /// The key may be in other hands.
    KeyCompromise,
    /// The key of a CA may be in other hands.
    CaCompromise,
    /// The workload has another name.
    AffiliationChanged,
    /// There is a new certificate.
    Superseded,
    /// The workload is no more.
    CessationOfOperation,
    /// The workload may not be what the certificate says any more.
    PrivilegeWithdrawn,
}

impl RevocationReason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// Its name in RFC 5280.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
        }
    }

    /// RFC 5280: no code at all should stand for "unspecified".
    fn code(self) -> Option<RcgenReason> {
        match self {
            Self::Unspecified => None,
            Self::KeyCompromise => Some(RcgenReason::KeyCompromise),
            Self::CaCompromise => Some(RcgenReason::CaCompromise),
            Self::AffiliationChanged => Some(RcgenReason::AffiliationChanged),
            Self::Superseded => Some(RcgenReason::Superseded),
            Self::CessationOfOperation => Some(RcgenReason::CessationOfOperation),
            Self::PrivilegeWithdrawn => Some(RcgenReason::PrivilegeWithdrawn),
        }
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no [`RevocationReason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a reason is one of unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation, \
         privilegeWithdrawn"
)]
pub struct RevocationReasonError;

impl FromStr for RevocationReason {
    type Err = RevocationReasonError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|r| r.name().eq_ignore_ascii_case(text)).ok_or(RevocationReasonError)
    }
}

/// One certificate that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Revoked {
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// Whom it spoke for.
    pub id: String,
    /// The root that it ends at: that one's list names it.
    pub root: RootId,
    /// Why.
    pub reason: RevocationReason,
    /// When it was taken back.
    pub at: SystemTime,
    /// When it would have ended.
    pub not_after: SystemTime,
}

/// Everything that is taken back, and the number of the last lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Revocations {
    /// The CRL number of the last lists; 0 before the first revocation, up to which no lists are made.
    pub(super) number: u64,
    pub(super) all: Vec<Revoked>,
}

impl Revocations {
    pub(super) fn is_in_use(&self) -> bool {
        self.number > 0
    }

    pub(super) fn contains(&self, serial: &str) -> bool {
        self.all.iter().any(|r| r.serial == serial)
    }

    /// For new lists at the time `now`: the next number, without certificates that had ended when the last lists were made
    /// (RFC 5280 section 3.3 wants each on one list after its end).
    #[must_use]
    pub(super) fn next(&self, last: SystemTime) -> Self {
        let all = self.all.iter().filter(|r| last < r.not_after).cloned();
        Self { number: self.number.saturating_add(1), all: all.collect() }
    }

    /// The list of one root, complete.
    pub(super) fn list(&self, root: &RootId, now: SystemTime, lifetime: Duration) -> CertificateRevocationListParams {
        let revoked_certs = self.all.iter().filter(|r| r.root == *root).filter_map(|r| {
            Some(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&bytes(&r.serial)?),
                revocation_time: whole_seconds(r.at),
                reason_code: r.reason.code(),
                invalidity_date: None,
            })
        });
        CertificateRevocationListParams {
            this_update: whole_seconds(now),
            next_update: whole_seconds(now + lifetime),
            crl_number: SerialNumber::from(self.number),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
    }
}

/// Times of a list have no fractions.
fn whole_seconds(time: SystemTime) -> OffsetDateTime {
    let time = OffsetDateTime::from(time);
    time.replace_nanosecond(0).unwrap_or(time)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(pair).collect()
}
