//! What consistent load balancing hashes (`RouteAction.HashPolicy`).

use std::{borrow::Cow, fmt::Write as _};

use http::{HeaderName, HeaderValue, header::COOKIE};

use super::{rewrite::replacement, stream::Stream, target};
use crate::model::{HashBy, HashPolicy, HeaderView, cookie};

/// The hash for consistent balancing: the policies' hashes combined as Envoy combines them.
pub(super) fn of(policies: &[HashPolicy], stream: &Stream) -> Option<u64> {
    if policies.is_empty() {
        return None;
    }
    let view = target::view(&stream.request);
    let mut hash: Option<u64> = None;
    for policy in policies {
        if let Some(new) = one(&policy.by, &view, stream) {
            hash = Some(hash.map_or(new, |old| old.rotate_left(1) ^ new));
        }
        if policy.terminal && hash.is_some() {
            break;
        }
    }
    hash
}

fn one(by: &HashBy, view: &HeaderView<'_>, stream: &Stream) -> Option<u64> {
    match by {
        HashBy::Header(name, rewrite) => header(name, rewrite.as_ref(), view),
        HashBy::Cookie { name, .. } => cookie(view.headers, name).map(|value| xx(value.as_bytes())),
        HashBy::SourceIp => Some(xx(stream.info.client.ip().to_string().as_bytes())),
        HashBy::Query(name) => query(view.path, name).map(|value| xx(value.as_bytes())),
    }
}

fn xx(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh64::xxh64(bytes, 0)
}

/// The hash of a header's value; of several values, sorted, one behind the other.
fn header(name: &HeaderName, rewrite: Option<&(regex::Regex, String)>, view: &HeaderView<'_>) -> Option<u64> {
    let mut values: Vec<Cow<'_, [u8]>> =
        view.headers.get_all(name).iter().map(|value| Cow::Borrowed(value.as_bytes())).collect();
    if let Some((pattern, substitution)) = rewrite {
        let with = replacement(substitution);
        for value in &mut values {
            let text = String::from_utf8_lossy(value);
            *value = Cow::Owned(pattern.replace_all(&text, &*with).into_owned().into_bytes());
        }
    }
    values.sort();
    match values.as_slice() {
        [] => None,
        [value] => Some(xx(value)),
        [first, rest @ ..] => Some(rest.iter().fold(xx(first), |seed, value| xxhash_rust::xxh64::xxh64(value, seed))),
    }
}

fn query<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    path.split_once('?')?.1.split('&').find_map(|pair| match pair.split_once('=') {
        Some((key, value)) if key == name => Some(value),
        _ => None,
    })
}

/// Makes the cookies that the hash policies want and the client did not send; they hold a random value.
pub(super) fn make_cookies(policies: &[HashPolicy], stream: &mut Stream) {
    for policy in policies {
        let HashBy::Cookie { name, ttl: Some(life), path, attributes } = &policy.by else { continue };
        if cookie(&stream.request.headers, name).is_some() {
            continue;
        }
        let value = format!("{:016x}", stream.chain.worker.random());
        let mut made = format!("{name}=\"{value}\"");
        // Writing to a String cannot fail.
        if !life.is_zero() {
            let _ = write!(made, "; Max-Age={}", life.as_secs());
        }
        if !path.is_empty() {
            let _ = write!(made, "; Path={path}");
        }
        for (name, value) in attributes {
            let _ = if value.is_empty() { write!(made, "; {name}") } else { write!(made, "; {name}={value}") };
        }
        made.push_str("; HttpOnly");
        if let (Ok(own), Ok(made)) = (HeaderValue::try_from(format!("{name}={value}")), HeaderValue::try_from(made)) {
            stream.request.headers.append(COOKIE, own);
            stream.cookies.push(made);
        }
    }
}
