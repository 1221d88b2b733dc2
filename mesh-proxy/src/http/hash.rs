//! What consistent load balancing hashes (`RouteAction.HashPolicy`).

use http::{HeaderMap, HeaderValue, header::COOKIE};

use super::{stream::Stream, target};
use crate::model::HashPolicy;

/// The hash for consistent balancing: the policies' hashes combined as Envoy combines them.
pub(super) fn of(policies: &[HashPolicy], stream: &Stream) -> Option<u64> {
    let xx = |text: &[u8]| xxhash_rust::xxh64::xxh64(text, 0);
    let view = target::view(&stream.request);
    let one = |policy: &HashPolicy| match policy {
        HashPolicy::Header(name) => view.headers.get(name).map(|v| xx(v.as_bytes())),
        HashPolicy::Cookie(name, ..) => cookie(view.headers, name).map(|v| xx(v.as_bytes())),
        HashPolicy::SourceIp => Some(xx(stream.info.client.ip().to_string().as_bytes())),
        HashPolicy::Query(name) => {
            let query = view.path.split_once('?')?.1;
            let value = query.split('&').find_map(|pair| match pair.split_once('=') {
                Some((key, value)) if key == name => Some(value),
                _ => None,
            })?;
            Some(xx(value.as_bytes()))
        }
    };
    policies.iter().filter_map(one).reduce(|old, new| old.rotate_left(1) ^ new)
}

/// Makes the cookies that the hash policies want and the client did not send; they hold a random value.
pub(super) fn make_cookies(policies: &[HashPolicy], stream: &mut Stream) {
    for policy in policies {
        let HashPolicy::Cookie(name, Some(life), path) = policy else { continue };
        if cookie(&stream.request.headers, name).is_some() {
            continue;
        }
        let value = format!("{:016x}", stream.chain.worker.random());
        let mut made = format!("{name}=\"{value}\"");
        if !life.is_zero() {
            made.push_str(&format!("; Max-Age={}", life.as_secs()));
        }
        if !path.is_empty() {
            made.push_str(&format!("; Path={path}"));
        }
        made.push_str("; HttpOnly");
        if let (Ok(own), Ok(made)) = (HeaderValue::try_from(format!("{name}={value}")), HeaderValue::try_from(made)) {
            stream.request.headers.append(COOKIE, own);
            stream.cookies.push(made);
        }
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then(|| value.trim_matches('"'))
    })
}
