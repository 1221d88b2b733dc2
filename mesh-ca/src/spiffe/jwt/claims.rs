//! Header and claims of a token, before anybody believes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    algorithm::JwtAlgorithm,
    rule::{JwtRule, JwtRuleBroken},
};
use crate::{issuer::shown, spiffe::SpiffeId};

/// A token taken apart. Only its form has been checked.
pub(super) struct Unverified<'a> {
    pub(super) algorithm: JwtAlgorithm,
    pub(super) key_id: Option<String>,
    pub(super) id: SpiffeId,
    pub(super) audiences: Vec<String>,
    pub(super) expires: SystemTime,
    pub(super) not_before: Option<SystemTime>,
    pub(super) claims: Map<String, Value>,
    /// What the signature is over.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
}

/// The registered claims that count here. Twice the same name is refused by the parser.
#[derive(Deserialize)]
struct Registered {
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    aud: Option<Audience>,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    nbf: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

fn malformed(detail: impl Into<String>) -> JwtRuleBroken {
    JwtRuleBroken::new(JwtRule::WellFormed, detail)
}

/// Takes a token apart and checks its form, rule by rule.
pub(super) fn read(token: &str) -> Result<Unverified<'_>, JwtRuleBroken> {
    let (signed, signature) = token.rsplit_once('.').ok_or_else(|| malformed("it has no parts"))?;
    let (header, payload) = signed.split_once('.').ok_or_else(|| malformed("it has two parts"))?;
    if payload.contains('.') {
        return Err(malformed("it has more than three parts"));
    }
    let (algorithm, key_id) = read_header(&decoded("header", header)?)?;
    let payload = decoded("payload", payload)?;
    let registered: Registered =
        serde_json::from_slice(&payload).map_err(|e| malformed(format!("claims: {}", without_content(&e))))?;
    let claims: Map<String, Value> =
        serde_json::from_slice(&payload).map_err(|e| malformed(format!("claims: {}", without_content(&e))))?;
    let subject = registered.sub.ok_or_else(|| JwtRuleBroken::new(JwtRule::Subject, "there is none"))?;
    let id = SpiffeId::parse(&subject)
        .map_err(|e| JwtRuleBroken::new(JwtRule::Subject, format!("{}: {e}", shown(&subject))))?;
    let audiences = match registered.aud {
        Some(Audience::One(one)) => vec![one],
        Some(Audience::Many(many)) => many,
        None => Vec::new(),
    };
    if audiences.is_empty() {
        return Err(JwtRuleBroken::new(JwtRule::AudiencePresent, ""));
    }
    let expires = registered.exp.ok_or_else(|| JwtRuleBroken::new(JwtRule::ExpirationPresent, ""))?;
    Ok(Unverified {
        algorithm,
        key_id,
        id,
        audiences,
        expires: time(expires).ok_or_else(|| malformed("exp is out of range"))?,
        not_before: match registered.nbf {
            Some(nbf) => Some(time(nbf).ok_or_else(|| malformed("nbf is out of range"))?),
            None => None,
        },
        claims,
        signed,
        signature: decoded("signature", signature)?,
    })
}

fn read_header(header: &[u8]) -> Result<(JwtAlgorithm, Option<String>), JwtRuleBroken> {
    let header: Map<String, Value> =
        serde_json::from_slice(header).map_err(|e| malformed(format!("header: {}", without_content(&e))))?;
    if let Some(other) = header.keys().find(|k| !matches!(k.as_str(), "alg" | "kid" | "typ")) {
        return Err(JwtRuleBroken::new(JwtRule::HeaderParameters, format!("it holds {}", shown(other))));
    }
    let text = |name: &str| match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(malformed(format!("{name} is no text"))),
    };
    let named = text("alg")?.ok_or_else(|| JwtRuleBroken::new(JwtRule::Algorithm, "there is none"))?;
    let algorithm = JwtAlgorithm::by_name(named).ok_or_else(|| JwtRuleBroken::new(JwtRule::Algorithm, shown(named)))?;
    if let Some(kind) = text("typ")?.filter(|t| !matches!(*t, "JWT" | "JOSE")) {
        return Err(JwtRuleBroken::new(JwtRule::Type, shown(kind)));
    }
    Ok((algorithm, text("kid")?.map(str::to_owned)))
}

fn decoded(part: &str, text: &str) -> Result<Vec<u8>, JwtRuleBroken> {
    BASE64URL.decode(text).map_err(|_| malformed(format!("the {part} is not base64url without padding")))
}

/// The parser's finding by place only: its texts may quote what was read.
fn without_content(error: &serde_json::Error) -> String {
    format!("not the JSON object expected, at byte {}", error.column())
}

/// A NumericDate (RFC 7519 section 2). Times before 1970 are as good as 1970 here.
fn time(seconds: f64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds.max(0.0)).ok()?)
}
