//! As much of the protocol's messages as a subscriber needs, read and written without decoding the rest: with ten thousand
//! subscribers in one process, the client's own time would else be all there is to measure.
//!
//! Field numbers are those of `envoy.service.discovery.v3`, `envoy.config.endpoint.v3` and `google.protobuf.Any`.

mod read;

use std::fmt;

use anyhow::Context as _;
use bytes::{BufMut as _, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint};

pub(crate) use self::read::{Piece, Reader};

/// Length of gRPC's prefix of a message: a flag and four bytes of length.
const PREFIX: usize = 5;

/// Which of the two ways is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Variant {
    /// Incremental.
    Delta,
    /// State of the world.
    Sotw,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Variant::Delta => "delta",
            Variant::Sotw => "SotW",
        })
    }
}

/// The types a subscriber asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cluster,
    Endpoint,
}

impl Kind {
    pub(crate) fn type_url(self) -> &'static str {
        match self {
            Kind::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Kind::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        }
    }

    fn of(type_url: &[u8]) -> anyhow::Result<Self> {
        let all = [Kind::Cluster, Kind::Endpoint];
        all.into_iter().find(|k| k.type_url().as_bytes() == type_url).context("a type nobody asked for")
    }
}

/// The fields of a request that are told apart here. `names` and `versions` are encoded already: they are the same for all.
#[derive(Debug, Default)]
pub(crate) struct RequestParts<'a> {
    pub(crate) node: Option<&'a str>,
    /// SotW only.
    pub(crate) version: &'a [u8],
    pub(crate) nonce: &'a [u8],
    /// From [`names`], [`unsubscribed`] or [`versions`].
    pub(crate) shared: Bytes,
}

/// A request as the two pieces that go on the wire: what is its own, and what it shares.
pub(crate) fn request(variant: Variant, kind: Kind, parts: RequestParts<'_>) -> (Bytes, Bytes) {
    let mut own = BytesMut::with_capacity(256);
    own.put_bytes(0, PREFIX);
    let (node, type_url, nonce) = match variant {
        Variant::Sotw => (2, 4, 5),
        Variant::Delta => (1, 2, 6),
    };
    if let Some(id) = parts.node {
        let mut message = BytesMut::new();
        put(&mut message, 1, id.as_bytes());
        put(&mut own, node, &message);
    }
    if variant == Variant::Sotw && !parts.version.is_empty() {
        put(&mut own, 1, parts.version);
    }
    put(&mut own, type_url, kind.type_url().as_bytes());
    if !parts.nonce.is_empty() {
        put(&mut own, nonce, parts.nonce);
    }
    // Invariant: a request of this program is far smaller than 4 GiB.
    let length = (own.len() - PREFIX + parts.shared.len()) as u32;
    own[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    (own.freeze(), parts.shared)
}

/// `resource_names` or `resource_names_subscribe` for these clusters.
pub(crate) fn names(range: std::ops::Range<usize>) -> Bytes {
    name_fields(3, range)
}

/// `resource_names_unsubscribe`.
pub(crate) fn unsubscribed(range: std::ops::Range<usize>) -> Bytes {
    name_fields(4, range)
}

fn name_fields(number: u32, range: std::ops::Range<usize>) -> Bytes {
    let mut out = BytesMut::new();
    range.for_each(|i| put(&mut out, number, format!("cluster-{i}").as_bytes()));
    out.freeze()
}

/// `initial_resource_versions`, by index.
pub(crate) fn versions(held: &[Bytes]) -> Bytes {
    let mut out = BytesMut::new();
    for (i, version) in held.iter().enumerate() {
        let mut entry = BytesMut::new();
        put(&mut entry, 1, format!("cluster-{i}").as_bytes());
        put(&mut entry, 2, version);
        put(&mut out, 5, &entry);
    }
    out.freeze()
}

fn put(out: &mut BytesMut, number: u32, bytes: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.put_slice(bytes);
}
