//! [`TrustDomain`].

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest trust domain name in bytes (SPIFFE-ID.md section 2.3: the host part of a URI).
pub const MAX_TRUST_DOMAIN_LENGTH: usize = 255;

/// The name of a set of workloads under one authority: the host part of a SPIFFE id (SPIFFE-ID.md section 2.1).
///
/// Holds 1 to 255 of the characters `a-z 0-9 . - _`. Upper case is refused, not folded, so that equal names are equal
/// strings everywhere. Cheap to clone.
///
/// ```
/// use mesh_ca::spiffe::TrustDomain;
/// let td: TrustDomain = "cluster.local".parse()?;
/// assert_eq!(td.id(), "spiffe://cluster.local");
/// assert!("Cluster.local".parse::<TrustDomain>().is_err());
/// # Ok::<(), mesh_ca::spiffe::TrustDomainError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

/// Why a text is not a trust domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustDomainError {
    /// Nothing is there.
    #[error("trust domain is empty; name one, as in cluster.local")]
    Empty,
    /// More than [`MAX_TRUST_DOMAIN_LENGTH`] bytes.
    #[error("trust domain has {0} bytes; at most {MAX_TRUST_DOMAIN_LENGTH} are allowed")]
    TooLong(usize),
    /// A character outside `a-z 0-9 . - _`.
    #[error("trust domain holds {0:?}; only lower case letters, digits, '.', '-' and '_' are allowed")]
    Character(char),
}

impl TrustDomain {
    /// Parses a bare name, without `spiffe://`.
    ///
    /// # Errors
    /// When a rule of the name is broken.
    pub fn parse(name: &str) -> Result<Self, TrustDomainError> {
        if name.is_empty() {
            return Err(TrustDomainError::Empty);
        }
        if name.len() > MAX_TRUST_DOMAIN_LENGTH {
            return Err(TrustDomainError::TooLong(name.len()));
        }
        match name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_')) {
            Some(c) => Err(TrustDomainError::Character(c)),
            None => Ok(Self(name.into())),
        }
    }

    /// The name, as in `cluster.local`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the domain itself, as its authorities may carry: `spiffe://` and the name.
    pub fn id(&self) -> String {
        format!("spiffe://{}", self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = TrustDomainError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::parse(s)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustDomain({})", self.0)
    }
}

impl AsRef<str> for TrustDomain {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for TrustDomain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TrustDomain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{TrustDomain, TrustDomainError};

    #[test]
    fn lengths_and_characters() {
        assert!(TrustDomain::parse(&"a".repeat(255)).is_ok());
        assert_eq!(TrustDomain::parse(&"a".repeat(256)), Err(TrustDomainError::TooLong(256)));
        assert_eq!(TrustDomain::parse(""), Err(TrustDomainError::Empty));
        for bad in ["A", "a:1", "u@h", "a/b", "é", "a b", "%41", "a\0"] {
            assert!(TrustDomain::parse(bad).is_err(), "{bad}");
        }
        for good in ["cluster.local", "1.2.3.4", "a_b-c", "..", "-"] {
            assert_eq!(TrustDomain::parse(good).unwrap().as_str(), good);
        }
    }
}
