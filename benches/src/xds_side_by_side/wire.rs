//! As much of the protocol's messages as a subscriber needs, read and written without decoding the rest: with ten thousand
//! subscribers in one process, the client's own time would else be all there is to measure.
//!
//! Field numbers are those of `envoy.service.discovery.v3`, `envoy.config.endpoint.v3` and `google.protobuf.Any`.

use std::fmt;

use anyhow::{Context as _, bail};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::encoding::{WireType, decode_varint, encode_key, encode_varint};

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

/// A piece of a response, in the order of the wire.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    /// `version_info` or `system_version_info`.
    Version(&'a [u8]),
    /// A resource; `version` is empty in SotW, `weight` is that of an assignment's first endpoint.
    Resource {
        kind: Kind,
        index: usize,
        version: &'a [u8],
        weight: u32,
    },
    /// Delta: a name that is gone.
    Removed(usize),
    TypeUrl(Kind),
    Nonce(&'a [u8]),
    /// The response is whole.
    End,
}

/// Takes responses apart as they arrive. Holds no more than one resource.
#[derive(Debug)]
pub(crate) struct Reader {
    variant: Variant,
    carry: BytesMut,
    /// Bytes of the current message still to come.
    left: Option<usize>,
}

impl Reader {
    pub(crate) fn new(variant: Variant) -> Self {
        Self { variant, carry: BytesMut::new(), left: None }
    }

    /// Reads on.
    pub(crate) fn feed(&mut self, chunk: &[u8], each: &mut dyn FnMut(Piece<'_>)) -> anyhow::Result<()> {
        if self.carry.is_empty() {
            let used = self.take(chunk, each)?;
            self.carry.extend_from_slice(&chunk[used..]);
        } else {
            let mut carry = std::mem::take(&mut self.carry);
            carry.extend_from_slice(chunk);
            let used = self.take(&carry, each)?;
            carry.advance(used);
            // A carry that was emptied gives its memory back.
            self.carry = if carry.is_empty() { BytesMut::new() } else { carry };
        }
        Ok(())
    }

    /// Reads what is whole in `data`, and says how much that was.
    fn take(&mut self, data: &[u8], each: &mut dyn FnMut(Piece<'_>)) -> anyhow::Result<usize> {
        let mut used = 0;
        loop {
            let rest = &data[used..];
            match self.left {
                None if rest.len() < PREFIX => return Ok(used),
                None => {
                    anyhow::ensure!(rest[0] == 0, "a compressed message, which nobody offered to read");
                    self.left = Some(u32::from_be_bytes([rest[1], rest[2], rest[3], rest[4]]) as usize);
                    used += PREFIX;
                }
                Some(0) => {
                    each(Piece::End);
                    self.left = None;
                }
                Some(left) => {
                    let Some((size, number, value)) = field(rest)? else { return Ok(used) };
                    piece(self.variant, number, value, each)?;
                    self.left = Some(left.checked_sub(size).context("a field reaches beyond its message")?);
                    used += size;
                }
            }
        }
    }
}

fn piece(variant: Variant, number: u32, value: Value<'_>, each: &mut dyn FnMut(Piece<'_>)) -> anyhow::Result<()> {
    let Value::Bytes(bytes) = value else { return Ok(()) };
    match number {
        1 => each(Piece::Version(bytes)),
        2 => each(resource(variant, bytes)?),
        4 => each(Piece::TypeUrl(Kind::of(bytes)?)),
        5 => each(Piece::Nonce(bytes)),
        6 if variant == Variant::Delta => each(Piece::Removed(index_of(bytes)?)),
        _ => {}
    }
    Ok(())
}

fn resource(variant: Variant, bytes: &[u8]) -> anyhow::Result<Piece<'_>> {
    let (version, any) = match variant {
        Variant::Sotw => (&[][..], bytes),
        Variant::Delta => (find(bytes, 1)?.unwrap_or_default(), find(bytes, 2)?.context("a resource without content")?),
    };
    let kind = Kind::of(find(any, 1)?.context("a resource without a type")?)?;
    let message = find(any, 2)?.unwrap_or_default();
    let index = index_of(find(message, 1)?.context("a resource without a name")?)?;
    let weight = if kind == Kind::Endpoint { first_weight(message)? } else { 0 };
    Ok(Piece::Resource { kind, index, version, weight })
}

/// `endpoints[0].lb_endpoints[0].load_balancing_weight.value`
fn first_weight(assignment: &[u8]) -> anyhow::Result<u32> {
    let Some(locality) = find(assignment, 2)? else { return Ok(0) };
    let Some(endpoint) = find(locality, 2)? else { return Ok(0) };
    let mut wrapper = find(endpoint, 4)?.unwrap_or_default();
    while let Some((size, number, value)) = field(wrapper)? {
        if let (1, Value::Varint(weight)) = (number, value) {
            return Ok(u32::try_from(weight)?);
        }
        wrapper = &wrapper[size..];
    }
    Ok(0)
}

/// The number in `cluster-N`.
fn index_of(name: &[u8]) -> anyhow::Result<usize> {
    let name = std::str::from_utf8(name)?;
    name.strip_prefix("cluster-").and_then(|n| n.parse().ok()).with_context(|| format!("unexpected name {name:?}"))
}

enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// The first field of `data` with its size, or `None` if it is not whole.
fn field(data: &[u8]) -> anyhow::Result<Option<(usize, u32, Value<'_>)>> {
    let Some((key, key_size)) = varint(data)? else { return Ok(None) };
    let (number, rest) = (u32::try_from(key >> 3)?, &data[key_size..]);
    let sized = |size: usize, head: usize| (rest.len() >= head + size).then_some(head + size);
    Ok(match key & 7 {
        0 => varint(rest)?.map(|(value, size)| (key_size + size, number, Value::Varint(value))),
        1 => sized(8, 0).map(|size| (key_size + size, number, Value::Fixed)),
        5 => sized(4, 0).map(|size| (key_size + size, number, Value::Fixed)),
        2 => varint(rest)?.and_then(|(length, head)| {
            let size = sized(usize::try_from(length).ok()?, head)?;
            Some((key_size + size, number, Value::Bytes(&rest[head..size])))
        }),
        wire => bail!("wire type {wire}"),
    })
}

fn varint(data: &[u8]) -> anyhow::Result<Option<(u64, usize)>> {
    if !data.iter().take(10).any(|byte| byte & 0x80 == 0) {
        anyhow::ensure!(data.len() < 10, "a number that does not end");
        return Ok(None);
    }
    let mut rest = data;
    let value = decode_varint(&mut rest)?;
    Ok(Some((value, data.len() - rest.len())))
}

/// The bytes of the first field `wanted`.
fn find(mut data: &[u8], wanted: u32) -> anyhow::Result<Option<&[u8]>> {
    while !data.is_empty() {
        let (size, number, value) = field(data)?.context("a message that is cut off")?;
        match value {
            Value::Bytes(bytes) if number == wanted => return Ok(Some(bytes)),
            _ => data = &data[size..],
        }
    }
    Ok(None)
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
