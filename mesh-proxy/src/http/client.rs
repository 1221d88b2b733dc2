//! Who the client is, and what it may say about itself: addresses, forwarding headers, `x-envoy-*`.
//!
//! As Envoy's `ConnectionManagerUtility::mutateRequestHeaders`. Nobody is internal unless `internal_address_config` says so.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::VIA};
use ipnet::IpNet;

use super::{
    headers::{
        X_FORWARDED_FOR, X_FORWARDED_PROTO, X_REQUEST_ID, append, is_internal_only, remove_internal, request_id, tokens,
    },
    xfcc,
};
use crate::{
    filter::{ConnectionInfo, LocalReply, StreamInfo},
    model::{HttpConnectionManager, InternalAddresses, IpDetection},
};

const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");

/// The client's address, and whether it can be an internal one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Client {
    address: SocketAddr,
    /// It is the whole truth: nobody else stands between.
    single: bool,
}

/// Headers of a request on arrival. The client's address goes to `info`. The answer: whether the client is internal.
///
/// # Errors
/// The answer, where an extension rejects a request whose client it cannot find.
pub(super) fn sanitize(
    config: &HttpConnectionManager,
    connection: &ConnectionInfo,
    headers: &mut HeaderMap,
    info: &mut StreamInfo,
    random: impl FnOnce() -> u128,
) -> Result<bool, LocalReply> {
    if headers.get_all(X_FORWARDED_FOR).iter().nth(1).is_some() {
        let all: Vec<&[u8]> = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b","[..])) {
            headers.insert(X_FORWARDED_FOR, joined);
        }
    }
    let client = if config.use_remote_address {
        Some(from_connection(config, connection, headers))
    } else {
        detected(config, connection, headers)?
    };
    let internal = client.is_some_and(|c| c.single && is_internal(config.internal_addresses.as_ref(), c.address.ip()));
    let edge = config.use_remote_address && !internal;
    let client = client.map_or(connection.remote, |c| c.address);
    info.client = client;
    if !headers.contains_key(X_FORWARDED_PROTO) {
        set_proto(connection, headers);
    }
    if let Some(scheme) = config.scheme {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    if headers.keys().any(is_internal_only) {
        remove_internal(headers, internal, edge);
    }
    if internal {
        headers.insert(INTERNAL, HeaderValue::from_static("true"));
    }
    if edge && let Ok(address) = HeaderValue::try_from(client.ip().to_canonical().to_string()) {
        headers.insert(EXTERNAL_ADDRESS, address);
    }
    if config.generate_request_id {
        let fresh = edge && !config.preserve_external_request_id;
        if fresh || !headers.contains_key(X_REQUEST_ID) {
            headers.insert(X_REQUEST_ID, request_id(random()));
        }
    }
    if !config.via.is_empty() {
        append(headers, VIA, &config.via, ", ");
    }
    xfcc::apply(config, connection.tls.as_deref(), headers);
    Ok(internal)
}

/// `use_remote_address`: the peer, or what stands in XFF before the trusted hops.
fn from_connection(config: &HttpConnectionManager, connection: &ConnectionInfo, headers: &mut HeaderMap) -> Client {
    let single = !headers.contains_key(X_FORWARDED_FOR);
    let hops = config.xff_trusted_hops as usize;
    // The connection itself is the first trusted hop.
    let before = hops.checked_sub(1).and_then(|skip| forwarded_for(headers, skip));
    if !config.skip_xff_append {
        append_peer(config, connection, headers);
    }
    if hops == 0 || !headers.contains_key(X_FORWARDED_PROTO) {
        set_proto(connection, headers);
    }
    if config.append_x_forwarded_port && (hops == 0 || !headers.contains_key(X_FORWARDED_PORT)) {
        headers.insert(X_FORWARDED_PORT, HeaderValue::from(connection.local.port()));
    }
    Client { address: before.map_or(connection.remote, |ip| SocketAddr::new(ip, 0)), single }
}

/// What the first of the extensions finds; `None` if none does.
fn detected(
    config: &HttpConnectionManager,
    connection: &ConnectionInfo,
    headers: &mut HeaderMap,
) -> Result<Option<Client>, LocalReply> {
    if config.ip_detection.is_empty() {
        return Ok(last_forwarded(headers, config.xff_trusted_hops as usize));
    }
    for way in &config.ip_detection {
        let found = match way {
            IpDetection::Xff { trusted_hops, trusted_ranges, skip_append } => {
                let found = if trusted_ranges.is_empty() {
                    last_forwarded(headers, *trusted_hops as usize)
                } else {
                    last_untrusted(headers, connection.remote.ip(), trusted_ranges)
                };
                if !skip_append {
                    append_peer(config, connection, headers);
                }
                found
            }
            IpDetection::Header { name, trusted, reject } => {
                let value = headers.get(name).and_then(|v| v.to_str().ok());
                match (value.and_then(|text| text.trim().parse().ok()), reject) {
                    (Some(ip), _) => Some(Client { address: SocketAddr::new(ip, 0), single: *trusted }),
                    (None, Some(status)) => return Err(rejected(*status)),
                    (None, None) => None,
                }
            }
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn rejected(status: StatusCode) -> LocalReply {
    LocalReply::new(status, "rejected_because_detection_failed", "")
}

/// The entry of XFF before `hops` others.
fn last_forwarded(headers: &HeaderMap, hops: usize) -> Option<Client> {
    let ip = forwarded_for(headers, hops)?;
    let single = hops == 0 && headers.get_all(X_FORWARDED_FOR).iter().flat_map(tokens).nth(1).is_none();
    Some(Client { address: SocketAddr::new(ip, 0), single })
}

/// The last entry of XFF that is not in `trusted`; `None` if the peer itself is not, or all are.
fn last_untrusted(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> Option<Client> {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|range| range.contains(&ip.to_canonical()));
    if !is_trusted(peer) {
        return None;
    }
    let values: Vec<&str> = headers.get_all(X_FORWARDED_FOR).iter().flat_map(tokens).collect();
    for value in values.iter().rev() {
        let ip = value.parse().ok()?;
        if !is_trusted(ip) {
            return Some(Client { address: SocketAddr::new(ip, 0), single: false });
        }
    }
    let first = values.first()?.parse().ok()?;
    Some(Client { address: SocketAddr::new(first, 0), single: false })
}

/// Entry number `skip` of `x-forwarded-for`, counted from its end.
fn forwarded_for(headers: &HeaderMap, skip: usize) -> Option<IpAddr> {
    let values: Vec<&str> = headers.get_all(X_FORWARDED_FOR).iter().flat_map(tokens).collect();
    values.iter().rev().nth(skip)?.parse().ok()
}

fn append_peer(config: &HttpConnectionManager, connection: &ConnectionInfo, headers: &mut HeaderMap) {
    let ip = connection.remote.ip().to_canonical();
    let text = match ip {
        IpAddr::V4(v4) if config.map_ipv4 => v4.to_ipv6_mapped().to_string(),
        ip => ip.to_string(),
    };
    append(headers, X_FORWARDED_FOR, &text, ",");
}

fn set_proto(connection: &ConnectionInfo, headers: &mut HeaderMap) {
    let proto = if connection.tls.is_some() { "https" } else { "http" };
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
}

/// A peer on a Unix socket has no address.
fn is_internal(config: Option<&InternalAddresses>, ip: IpAddr) -> bool {
    let Some(config) = config else { return false };
    if ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        return config.unix_sockets;
    }
    config.ranges.iter().any(|range| range.contains(&ip.to_canonical()))
}

#[cfg(test)]
mod tests;
