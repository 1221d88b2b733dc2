//! [`ServiceAccount`].

use std::fmt;

use crate::spiffe::{SpiffeId, SpiffeIdError, TrustDomain};

/// A service account by namespace and name, both names as Kubernetes has them: 1 to 253 of `a-z 0-9 - .`, letters or digits
/// at both ends. So each can be the name of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceAccount {
    namespace: String,
    name: String,
}

/// A text that is no name of a namespace or account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be a namespace or service account")]
pub struct ServiceAccountError(pub String);

impl ServiceAccount {
    /// Takes both names.
    ///
    /// # Errors
    /// When one of them is none.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Result<Self, ServiceAccountError> {
        let (namespace, name) = (checked(namespace.into())?, checked(name.into())?);
        Ok(Self { namespace, name })
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its SPIFFE id in Istio's form.
    ///
    /// # Errors
    /// When the id would be too long.
    pub fn id(&self, trust_domain: &TrustDomain) -> Result<SpiffeId, SpiffeIdError> {
        SpiffeId::for_workload(trust_domain, &self.namespace, &self.name)
    }
}

fn checked(name: String) -> Result<String, ServiceAccountError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fine = (1..=253).contains(&name.len())
        && name.bytes().all(|b| plain(b) || b == b'-' || b == b'.')
        && name.bytes().next().is_some_and(plain)
        && name.bytes().last().is_some_and(plain);
    if fine { Ok(name) } else { Err(ServiceAccountError(name)) }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
