//! [`UnixPeerAuthenticator`]: local processes, by what the kernel says of them.

use std::fmt;

use async_trait::async_trait;

use super::{Authenticator, AuthnError, Identity, ProofKind, RequestFacts};
use crate::spiffe::SpiffeId;

const KIND: &str = "Unix peer credential";

/// The process at the other end of a Unix socket, as the kernel noted it when it connected (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnixPeer {
    /// Its user.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its process number, where the system tells. For the audit record only: numbers are used again.
    pub pid: Option<i32>,
}

impl fmt::Display for UnixPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {} gid {}", self.uid, self.gid)?;
        self.pid.map_or(Ok(()), |pid| write!(f, " pid {pid}"))
    }
}

/// Gives ids to processes of a user, a group, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnixPeerRule {
    /// The user asked for; `None` for any.
    pub uid: Option<u32>,
    /// The primary group asked for; `None` for any.
    pub gid: Option<u32>,
    /// The ids given.
    pub ids: Vec<SpiffeId>,
}

impl UnixPeerRule {
    /// Ids for the processes of a user.
    pub fn user(uid: u32, ids: impl IntoIterator<Item = SpiffeId>) -> Self {
        Self { uid: Some(uid), gid: None, ids: ids.into_iter().collect() }
    }

    /// Ids for the processes of a primary group.
    pub fn group(gid: u32, ids: impl IntoIterator<Item = SpiffeId>) -> Self {
        Self { uid: None, gid: Some(gid), ids: ids.into_iter().collect() }
    }

    fn fits(&self, peer: UnixPeer) -> bool {
        // A rule that asks for nothing fits nobody: it is a mistake, not a wish.
        (self.uid.is_some() || self.gid.is_some())
            && self.uid.is_none_or(|uid| uid == peer.uid)
            && self.gid.is_none_or(|gid| gid == peer.gid)
    }
}

/// Knows callers of a Unix socket by user and group. All rules that fit count, their ids in the order of the rules.
#[derive(Debug, Clone)]
pub struct UnixPeerAuthenticator {
    rules: Vec<UnixPeerRule>,
}

impl UnixPeerAuthenticator {
    /// Knows whom the rules name.
    pub fn new(rules: impl IntoIterator<Item = UnixPeerRule>) -> Self {
        Self { rules: rules.into_iter().collect() }
    }
}

#[async_trait]
impl Authenticator for UnixPeerAuthenticator {
    async fn authenticate(&self, facts: &RequestFacts) -> Result<Identity, AuthnError> {
        let peer = facts.unix_peer.ok_or(AuthnError::NoProof(KIND))?;
        let mut ids = Vec::new();
        for id in self.rules.iter().filter(|r| r.fits(peer)).flat_map(|r| &r.ids) {
            if !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        if ids.is_empty() {
            return Err(AuthnError::Refused { kind: KIND, reason: format!("no rule for {peer}") });
        }
        Ok(Identity { ids, proof: ProofKind::UnixPeer, subject: peer.to_string() })
    }
}
