//! SPIFFE's names and documents: ids, trust domains, bundles, X.509-SVIDs, and the rules they must keep.
//!
//! | type | standard |
//! |---|---|
//! | [`TrustDomain`], [`SpiffeId`] | SPIFFE-ID.md section 2 |
//! | [`TrustBundle`], [`TrustBundles`] | the X.509 part of a bundle, in PEM |
//! | [`SpiffeBundle`] | SPIFFE_Trust_Domain_and_Bundle.md section 4: roots and JWT signing keys as a JWK Set |
//! | [`X509Svid`], [`verify`](crate::spiffe::verify()), [`Rule`] | X509-SVID.md sections 2 to 5 |
//! | [`JwtSvid`], [`JwtBundle`], [`JwtRule`] | JWT-SVID.md |

mod bundle;
mod crl;
mod document;
mod id;
mod jwk;
mod jwt;
pub(crate) mod key;
mod pem;
mod rule;
mod svid;
mod trust_domain;
mod verify;
pub(crate) mod x509;

pub use bundle::{BundleError, BundleSource, TrustBundle, TrustBundles, TrustRoot};
pub use crl::{Crl, CrlError, MAX_CRL_BYTES};
pub use document::{DocumentError, MAX_DOCUMENT_BYTES, SpiffeBundle};
pub use id::{MAX_ID_LENGTH, SpiffeId, SpiffeIdError};
pub use jwt::{
    JwtAlgorithm, JwtAuthority, JwtAuthorityError, JwtBundle, JwtBundles, JwtRule, JwtRuleBroken, JwtSvid,
    MAX_JWT_BYTES,
};
pub use key::{KeyError, KeyType, PrivateKey};
pub(crate) use pem::block as pem_block;
pub use pem::{PemError, certificates_from_pem, certificates_to_pem};
pub use rule::{Place, Rule, RuleBroken};
pub use svid::{SvidError, X509Svid};
pub use trust_domain::{MAX_TRUST_DOMAIN_LENGTH, TrustDomain, TrustDomainError};
pub(crate) use verify::verify_and_read;
pub use verify::{VerifiedSvid, check_leaf, check_signing, verify, verify_pem};
