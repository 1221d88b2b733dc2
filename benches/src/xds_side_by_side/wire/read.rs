//! Responses, taken apart as they arrive.

use anyhow::{Context as _, bail};
use bytes::{Buf as _, BytesMut};
use prost::encoding::decode_varint;

use super::{Kind, PREFIX, Variant};

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
