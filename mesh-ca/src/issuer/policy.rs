//! [`IssuancePolicy`].

use std::time::Duration;

use super::csr::CsrKey;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Which kinds of keys get certificates. A plain value.
///
/// Whatever it says, no other kinds than these, no RSA key below 2048 bits, and none above 4096 gets one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyPolicy {
    /// ECDSA on P-256. Default yes.
    pub ecdsa_p256: bool,
    /// ECDSA on P-384. Default yes.
    pub ecdsa_p384: bool,
    /// Ed25519. Default yes.
    pub ed25519: bool,
    /// RSA with this many bits or more; `None` for no RSA at all. Default 2048.
    pub min_rsa_bits: Option<usize>,
}

impl Default for KeyPolicy {
    fn default() -> Self {
        Self { ecdsa_p256: true, ecdsa_p384: true, ed25519: true, min_rsa_bits: Some(2048) }
    }
}

impl KeyPolicy {
    /// Whether such a key gets a certificate.
    pub fn allows(&self, key: CsrKey) -> bool {
        match key {
            CsrKey::EcdsaP256 => self.ecdsa_p256,
            CsrKey::EcdsaP384 => self.ecdsa_p384,
            CsrKey::Ed25519 => self.ed25519,
            CsrKey::Rsa { bits } => self.min_rsa_bits.is_some_and(|min| bits >= min),
        }
    }
}

/// What an issuer grants: how long certificates live, and for which keys. A plain value; the defaults are Istio's.
///
/// Whom it grants ids to is no part of it: an [`Identity`](crate::authn::Identity) lists the ids of its caller. And no
/// policy can grant a CA bit, or more than the one URI name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuancePolicy {
    /// Lifetime when none is asked for (Istio's `DEFAULT_WORKLOAD_CERT_TTL`). Default 24 hours.
    pub default_lifetime: Duration,
    /// The longest lifetime granted (Istio's `MAX_WORKLOAD_CERT_TTL`). Default 90 days. Longer wishes are cut.
    pub max_lifetime: Duration,
    /// How far before the time of signing validity starts, for peers whose clock is late. Default 2 minutes.
    pub backdate: Duration,
    /// The keys that get certificates.
    pub keys: KeyPolicy,
}

impl Default for IssuancePolicy {
    fn default() -> Self {
        Self {
            default_lifetime: DAY,
            max_lifetime: 90 * DAY,
            backdate: Duration::from_secs(120),
            keys: KeyPolicy::default(),
        }
    }
}

impl IssuancePolicy {
    /// The defaults with another [`default_lifetime`](Self::default_lifetime), which is also made the longest one if
    /// it is longer than that.
    #[must_use]
    pub fn with_default_lifetime(mut self, lifetime: Duration) -> Self {
        self.default_lifetime = lifetime;
        self.max_lifetime = self.max_lifetime.max(lifetime);
        self
    }

    /// The defaults with other keys.
    #[must_use]
    pub fn with_keys(mut self, keys: KeyPolicy) -> Self {
        self.keys = keys;
        self
    }

    /// The lifetime granted for a wish.
    pub fn grant(&self, wish: Option<Duration>) -> Duration {
        wish.filter(|w| !w.is_zero()).unwrap_or(self.default_lifetime).min(self.max_lifetime)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{CsrKey, IssuancePolicy, KeyPolicy};

    #[test]
    fn wishes_are_cut_and_zero_means_default() {
        let policy = IssuancePolicy::default();
        assert_eq!(policy.grant(None), policy.default_lifetime);
        assert_eq!(policy.grant(Some(Duration::ZERO)), policy.default_lifetime);
        assert_eq!(policy.grant(Some(Duration::from_secs(30))), Duration::from_secs(30));
        assert_eq!(policy.grant(Some(Duration::MAX)), policy.max_lifetime);
    }

    #[test]
    fn keys_are_allowed_by_kind_and_size() {
        let some = KeyPolicy { ecdsa_p256: false, ed25519: false, min_rsa_bits: Some(3072), ..KeyPolicy::default() };
        let none = KeyPolicy { min_rsa_bits: None, ..some.clone() };
        let cases = [
            (CsrKey::EcdsaP256, false, false),
            (CsrKey::EcdsaP384, true, true),
            (CsrKey::Ed25519, false, false),
            (CsrKey::Rsa { bits: 3071 }, false, false),
            (CsrKey::Rsa { bits: 3072 }, true, false),
        ];
        for (key, by_some, by_none) in cases {
            assert_eq!((some.allows(key), none.allows(key)), (by_some, by_none), "{key}");
            assert!(KeyPolicy::default().allows(key), "{key}");
        }
    }
}
