//! Who asks: [`Authenticator`]s turn the facts of a call into an [`Identity`].
//!
//! Ready-made are [`JwtAuthenticator`] (tokens of a [`TokenMinter`], projected tokens of Kubernetes and those of any OpenID
//! provider, whose keys a [`JwksSource`] follows), [`JoinTokens`] (secrets that let in once), [`ClientCertAuthenticator`] (a
//! valid SVID renews itself), [`UnixPeerAuthenticator`] (local processes), and [`AuthenticatorChain`] of several.
//!
//! Who has proven to be a node's proxy may ask for the workloads on its node, if an [`Impersonation`] says so.

mod chain;
mod client_cert;
#[cfg(feature = "test-util")]
pub mod conformance;
mod impersonation;
mod join_token;
mod jwks;
mod jwt;
mod jwt_key;
mod key_source;
mod minter;
mod unix_peer;

use std::{fmt, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::spiffe::SpiffeId;

pub use chain::AuthenticatorChain;
pub use client_cert::ClientCertAuthenticator;
pub use impersonation::{Impersonation, NodeProxies, NodeProxyRule};
#[cfg(feature = "test-util")]
pub use join_token::MemoryJoinTokens;
pub use join_token::{
    DirectoryJoinTokens, JoinTokenError, JoinTokenRecord, JoinTokenState, JoinTokenStore, JoinTokens,
};
pub use jwks::{JwksConfig, JwksError, JwksLocation, JwksSource, JwksState};
pub use jwt::{JwtAuthenticator, JwtConfig, MAX_TOKEN_BYTES};
pub use jwt_key::{JwtKey, JwtKeyError, MAX_JWKS_BYTES};
pub use key_source::{FixedKeys, JwtKeySource, KeysUnavailable};
pub use minter::{MintError, TokenMinter, TokenRequest};
pub use unix_peer::{UnixPeer, UnixPeerAuthenticator, UnixPeerRule};

/// A bearer token as it came with a call. Never shown by `Debug`, wiped on drop.
#[derive(Clone)]
pub struct BearerToken(Zeroizing<String>);

impl BearerToken {
    /// Takes a token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(Zeroizing::new(token.into()))
    }

    /// The token itself. Do not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(redacted)")
    }
}

/// What is known about a call before anybody judged it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RequestFacts {
    /// Tokens of `authorization: Bearer` headers.
    pub bearer_tokens: Vec<BearerToken>,
    /// The peer's certificates from the TLS handshake, leaf first; empty when it showed none.
    pub peer_certificates: Arc<[CertificateDer<'static>]>,
    /// Where the call came from.
    pub peer_address: Option<SocketAddr>,
    /// The local process that calls, when it comes over a Unix socket.
    pub unix_peer: Option<UnixPeer>,
}

impl RequestFacts {
    /// No facts.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more token.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.bearer_tokens.push(BearerToken::new(token));
        self
    }

    /// With the peer's certificates.
    #[must_use]
    pub fn with_peer_certificates(mut self, certificates: impl Into<Arc<[CertificateDer<'static>]>>) -> Self {
        self.peer_certificates = certificates.into();
        self
    }

    /// With the peer's address.
    #[must_use]
    pub fn with_peer_address(mut self, address: SocketAddr) -> Self {
        self.peer_address = Some(address);
        self
    }

    /// With the local process that calls.
    #[must_use]
    pub fn with_unix_peer(mut self, peer: UnixPeer) -> Self {
        self.unix_peer = Some(peer);
        self
    }
}

/// The kind of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProofKind {
    /// A signed token.
    Jwt,
    /// A client certificate.
    ClientCertificate,
    /// A secret that lets in once.
    JoinToken,
    /// What the kernel says of a local process.
    UnixPeer,
    /// Something else, by the name of its authenticator.
    Other(&'static str),
}

impl ProofKind {
    /// A name for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::ClientCertificate => "client-certificate",
            Self::JoinToken => "join-token",
            Self::UnixPeer => "unix-peer",
            Self::Other(name) => name,
        }
    }
}

/// A caller who has proven who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The ids it may have a certificate for; at least one.
    pub ids: Vec<SpiffeId>,
    /// How it proved that.
    pub proof: ProofKind,
    /// Its name in the terms of the proof, for the audit record: a token's subject, a certificate's id and serial.
    pub subject: String,
}

impl Identity {
    /// A caller with one id.
    pub fn new(id: SpiffeId, proof: ProofKind, subject: impl Into<String>) -> Self {
        Self { ids: vec![id], proof, subject: subject.into() }
    }
}

/// Why a caller is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthnError {
    /// The call carries no proof of the kind looked for.
    #[error("no {0} was presented")]
    NoProof(&'static str),
    /// There is a proof, and it does not hold. The text never holds the proof itself.
    #[error("{kind} refused: {reason}")]
    Refused {
        /// The kind of proof.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The proof could not be judged now; trying again may help.
    #[error("{kind} could not be checked: {reason}")]
    Unavailable {
        /// The kind of proof.
        kind: &'static str,
        /// What is in the way.
        reason: String,
    },
}

/// Judges who asks.
///
/// # Contract
/// - The answer depends on the facts and the authenticator's own keys and clock, on nothing that the caller can choose
///   without proof.
/// - No proof of the kind looked for is [`AuthnError::NoProof`], so that a chain can go on.
/// - Errors and logs never hold a token or key.
/// - It may wait (for a key server, say), within bounds of its own; it is cancel safe.
///
/// Anyone's can run `authn::conformance` (feature `test-util`).
#[async_trait]
pub trait Authenticator: fmt::Debug + Send + Sync {
    /// Judges one call.
    ///
    /// # Errors
    /// When the caller is not known, see [`AuthnError`].
    async fn authenticate(&self, facts: &RequestFacts) -> Result<Identity, AuthnError>;
}
