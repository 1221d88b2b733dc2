//! [`SpiffeId`].

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::trust_domain::{TrustDomain, TrustDomainError};

/// Longest id in bytes (SPIFFE-ID.md section 2.3).
pub const MAX_ID_LENGTH: usize = 2048;

const SCHEME: &str = "spiffe://";

/// The name of a workload or, without a path, of a trust domain (SPIFFE-ID.md section 2).
///
/// Ids are compared as text: there is one spelling per id, since percent-encoding, upper case in scheme or trust
/// domain, empty and dot segments, query and fragment are refused. Cheap to clone.
///
/// ```
/// use mesh_ca::spiffe::SpiffeId;
/// let id: SpiffeId = "spiffe://cluster.local/ns/shop/sa/reviews".parse()?;
/// assert_eq!(id.path(), "/ns/shop/sa/reviews");
/// assert_eq!(id.workload(), Some(("shop", "reviews")));
/// # Ok::<(), mesh_ca::spiffe::SpiffeIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: Arc<str>,
    trust_domain: TrustDomain,
}

/// Why a text is not a SPIFFE id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeIdError {
    /// The text does not start with `spiffe://`.
    #[error("id does not start with spiffe://")]
    Scheme,
    /// More than [`MAX_ID_LENGTH`] bytes.
    #[error("id has {0} bytes; at most {MAX_ID_LENGTH} are allowed")]
    TooLong(usize),
    /// The part before the path is not a trust domain; user info and port are refused here too.
    #[error("id has no valid trust domain: {0}")]
    TrustDomain(#[from] TrustDomainError),
    /// A path segment between two slashes, or after the last one, is empty.
    #[error("path holds an empty segment or ends with a slash")]
    EmptySegment,
    /// A path segment is `.` or `..`.
    #[error("path holds a relative segment")]
    DotSegment,
    /// A path character outside `a-z A-Z 0-9 . - _`; query, fragment and percent-encoding are refused here too.
    #[error("path holds {0:?}; only letters, digits, '.', '-' and '_' are allowed")]
    Character(char),
}

impl SpiffeId {
    /// Parses an id.
    ///
    /// # Errors
    /// When a rule of SPIFFE-ID.md is broken.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.len() > MAX_ID_LENGTH {
            return Err(SpiffeIdError::TooLong(text.len()));
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let trust_domain = TrustDomain::parse(host)?;
        check_path(path)?;
        Ok(Self { text: text.into(), trust_domain })
    }

    /// The id of a trust domain with `path`, which is empty or starts with a slash.
    ///
    /// # Errors
    /// When the path breaks a rule or the whole is too long.
    pub fn new(trust_domain: &TrustDomain, path: &str) -> Result<Self, SpiffeIdError> {
        if !path.is_empty() && !path.starts_with('/') {
            return Err(SpiffeIdError::EmptySegment);
        }
        Self::parse(&format!("{SCHEME}{trust_domain}{path}"))
    }

    /// Istio's form for a Kubernetes service account: `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT`.
    ///
    /// # Errors
    /// When a part is empty or holds a character that a path segment may not hold, a slash among them.
    pub fn for_workload(
        trust_domain: &TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, SpiffeIdError> {
        for part in [namespace, service_account] {
            if part.contains('/') {
                return Err(SpiffeIdError::Character('/'));
            }
        }
        Self::new(trust_domain, &format!("/ns/{namespace}/sa/{service_account}"))
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain it belongs to.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path: empty, or starting with a slash.
    pub fn path(&self) -> &str {
        &self.text[SCHEME.len() + self.trust_domain.as_str().len()..]
    }

    /// Namespace and service account when the path has Istio's form, see [`SpiffeId::for_workload`].
    pub fn workload(&self) -> Option<(&str, &str)> {
        let mut parts = self.path().split('/').skip(1);
        match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("ns"), Some(namespace), Some("sa"), Some(account), None) => Some((namespace, account)),
            _ => None,
        }
    }

    /// The namespace when the path has Istio's form.
    pub fn namespace(&self) -> Option<&str> {
        self.workload().map(|(namespace, _)| namespace)
    }
}

fn check_path(path: &str) -> Result<(), SpiffeIdError> {
    if path.is_empty() {
        return Ok(());
    }
    for segment in path.split('/').skip(1) {
        match segment {
            "" => return Err(SpiffeIdError::EmptySegment),
            "." | ".." => return Err(SpiffeIdError::DotSegment),
            _ => {}
        }
        if let Some(c) = segment.chars().find(|c| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_')) {
            return Err(SpiffeIdError::Character(c));
        }
    }
    Ok(())
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::parse(s)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpiffeId({})", self.text)
    }
}

impl AsRef<str> for SpiffeId {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl Serialize for SpiffeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for SpiffeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_ID_LENGTH, SpiffeId, SpiffeIdError, TrustDomain};

    #[test]
    fn rules() {
        let cases: &[(&str, bool)] = &[
            ("spiffe://td", true),
            ("spiffe://td/a", true),
            ("spiffe://td/A.b-c_9", true),
            ("spiffe://td/...", true),
            ("spiffe://td/", false),
            ("spiffe://td//a", false),
            ("spiffe://td/a/", false),
            ("spiffe://td/./a", false),
            ("spiffe://td/a/..", false),
            ("spiffe:///a", false),
            ("spiffe://", false),
            ("spiffe:/td/a", false),
            ("SPIFFE://td/a", false),
            ("https://td/a", false),
            ("spiffe://TD/a", false),
            ("spiffe://td:443/a", false),
            ("spiffe://user@td/a", false),
            ("spiffe://td/a?x=1", false),
            ("spiffe://td?x=1", false),
            ("spiffe://td/a#f", false),
            ("spiffe://td#f", false),
            ("spiffe://td/%61", false),
            ("spiffe://td/a b", false),
            ("spiffe://td/é", false),
            ("", false),
        ];
        for (text, good) in cases {
            assert_eq!(SpiffeId::parse(text).is_ok(), *good, "{text}");
        }
    }

    #[test]
    fn length_limit() {
        let longest = format!("spiffe://td/{}", "a".repeat(MAX_ID_LENGTH - 12));
        assert_eq!(longest.len(), MAX_ID_LENGTH);
        assert!(SpiffeId::parse(&longest).is_ok());
        assert_eq!(SpiffeId::parse(&format!("{longest}a")), Err(SpiffeIdError::TooLong(MAX_ID_LENGTH + 1)));
    }

    #[test]
    fn istio_form() {
        let td = TrustDomain::parse("cluster.local").unwrap();
        let id = SpiffeId::for_workload(&td, "default", "bookinfo-reviews").unwrap();
        assert_eq!(id.as_str(), "spiffe://cluster.local/ns/default/sa/bookinfo-reviews");
        assert_eq!(id.namespace(), Some("default"));
        assert!(SpiffeId::for_workload(&td, "a/sa/b", "c").is_err());
        assert!(SpiffeId::for_workload(&td, "", "c").is_err());
        for other in ["spiffe://td", "spiffe://td/ns/a", "spiffe://td/ns/a/sa/b/c", "spiffe://td/x/a/sa/b"] {
            assert_eq!(SpiffeId::parse(other).unwrap().workload(), None, "{other}");
        }
    }
}
