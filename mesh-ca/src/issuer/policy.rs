//! [`IssuancePolicy`].

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long certificates live. A plain value; the defaults are Istio's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuancePolicy {
    /// Lifetime when none is asked for (Istio's `DEFAULT_WORKLOAD_CERT_TTL`). Default 24 hours.
    pub default_lifetime: Duration,
    /// The longest lifetime granted (Istio's `MAX_WORKLOAD_CERT_TTL`). Default 90 days. Longer wishes are cut.
    pub max_lifetime: Duration,
    /// How far before the time of signing validity starts, for peers whose clock is late. Default 2 minutes.
    pub backdate: Duration,
}

impl Default for IssuancePolicy {
    fn default() -> Self {
        Self { default_lifetime: DAY, max_lifetime: 90 * DAY, backdate: Duration::from_secs(120) }
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

    /// The lifetime granted for a wish.
    pub fn grant(&self, wish: Option<Duration>) -> Duration {
        wish.filter(|w| !w.is_zero()).unwrap_or(self.default_lifetime).min(self.max_lifetime)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::IssuancePolicy;

    #[test]
    fn wishes_are_cut_and_zero_means_default() {
        let policy = IssuancePolicy::default();
        assert_eq!(policy.grant(None), policy.default_lifetime);
        assert_eq!(policy.grant(Some(Duration::ZERO)), policy.default_lifetime);
        assert_eq!(policy.grant(Some(Duration::from_secs(30))), Duration::from_secs(30));
        assert_eq!(policy.grant(Some(Duration::MAX)), policy.max_lifetime);
    }
}
