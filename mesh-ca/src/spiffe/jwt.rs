//! JWT-SVIDs (JWT-SVID.md): tokens that say who sends them.

mod algorithm;
mod bundle;
mod claims;
mod rule;
mod svid;

pub use algorithm::JwtAlgorithm;
pub use bundle::{JwtAuthority, JwtAuthorityError, JwtBundle, JwtBundles};
pub use rule::{JwtRule, JwtRuleBroken};
pub use svid::{JwtSvid, MAX_JWT_BYTES};
