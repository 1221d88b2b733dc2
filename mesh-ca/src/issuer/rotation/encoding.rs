//! The state with its roots as one text: a line of JSON, then keys and certificates as PEM.
//!
//! Between rotations it is what [`SelfSigned`](crate::issuer::SelfSigned) writes, with a line before it (RFC 7468 section 2
//! calls that explanatory text, and readers pass it over); so either kind of CA can follow the other on the same store. While
//! a rotation is under way it holds two roots, and `SelfSigned` refuses it.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    keys::{Root, RootKeys},
    machine::RotationState,
};
use crate::{
    issuer::self_signed::SelfSignedError,
    spiffe::{PrivateKey, certificates_from_pem, certificates_to_pem},
};

const PREFIX: &str = "mesh-ca rotation: ";

#[derive(Serialize, Deserialize)]
struct Header {
    state: RotationState,
    /// The generation of each root that follows: the signer's, then the other's.
    generations: Vec<u64>,
}

fn damaged(reason: impl fmt::Display) -> SelfSignedError {
    SelfSignedError::Damaged { reason: reason.to_string() }
}

/// Writes the text; it holds keys.
pub(super) fn encode(
    state: &RotationState,
    signer: &Root,
    other: Option<&Root>,
) -> Result<Zeroizing<String>, SelfSignedError> {
    let roots = || [signer].into_iter().chain(other);
    let header = Header { state: state.clone(), generations: roots().map(|r| r.generation).collect() };
    let header = serde_json::to_string(&header).map_err(|e| SelfSignedError::Create(e.to_string()))?;
    let mut text = Zeroizing::new(String::with_capacity(16 * 1024));
    text.push_str(PREFIX);
    text.push_str(&header);
    text.push('\n');
    for root in roots() {
        if let Some(key) = &root.inline {
            text.push_str(&key.to_pem());
        }
        text.push_str(&certificates_to_pem([&root.certificate]));
    }
    Ok(text)
}

/// Reads the text; `None` for the state when it was written by a CA that does not rotate.
pub(super) async fn decode(
    stored: &[u8],
    keys: &RootKeys,
) -> Result<(Option<RotationState>, Root, Option<Root>), SelfSignedError> {
    let first = stored.split(|b| *b == b'\n').next().unwrap_or_default();
    let header: Option<Header> = match first.strip_prefix(PREFIX.as_bytes()) {
        Some(json) => Some(serde_json::from_slice(json).map_err(|e| damaged(format!("its first line: {e}")))?),
        None => None,
    };
    let generations = header.as_ref().map_or_else(|| vec![1], |h| h.generations.clone());
    let certificates = certificates_from_pem(stored).map_err(damaged)?;
    if certificates.len() != generations.len() || certificates.len() > 2 {
        let (found, wanted) = (certificates.len(), generations.len());
        return Err(damaged(format!("it holds {found} certificates instead of {wanted}")));
    }
    let inline = PrivateKey::all_from_pem(stored).map_err(damaged)?;
    if !(inline.is_empty() || inline.len() == certificates.len()) {
        return Err(damaged(format!("it holds {} keys for {} certificates", inline.len(), certificates.len())));
    }
    let mut roots = Vec::with_capacity(2);
    let mut inline = inline.into_iter();
    for (certificate, generation) in certificates.into_iter().zip(generations) {
        roots.push(Root::stored(certificate, inline.next(), keys, generation).await?);
    }
    let mut roots = roots.into_iter();
    let signer = roots.next().ok_or_else(|| damaged("it holds no certificate"))?;
    let (state, other) = (header.map(|h| h.state), roots.next());
    if let Some(state) = &state
        && (state.signer != signer.facts || state.other.as_ref() != other.as_ref().map(|o| &o.facts))
    {
        return Err(damaged("its first line tells of other roots than those that follow"));
    }
    Ok((state, signer, other))
}
