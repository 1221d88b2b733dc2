//! rustls, by SPIFFE id: configurations whose certificate, key and roots change under way.
//!
//! [`server_config`] and [`client_config`] take an [`IdentityWatch`](crate::agent::IdentityWatch). Each handshake uses
//! what is in force at that moment: nothing has to be rebuilt when a certificate is renewed, and connections under way
//! are not touched. Peers are verified against the bundle of *their* trust domain, then by a [`PeerPolicy`] on their id;
//! DNS names play no part. ALPN protocols are left to the caller.
//!
//! No process-wide crypto provider is needed or set: aws-lc-rs is passed explicitly.

mod config;
mod policy;
mod refusal;
mod resolver;
mod verifier;

pub(crate) use config::web_client_config;
pub use config::{
    ClientAuth, client_config, client_config_trusting, client_config_without_identity, server_config,
    server_config_trusting, server_config_without_client_auth,
};
pub use policy::PeerPolicy;
pub use refusal::{RenewOnRefusal, is_refusal};
pub use resolver::SvidResolver;
pub use verifier::{SpiffeClientVerifier, SpiffeServerVerifier};
