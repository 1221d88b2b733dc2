//! The file: a mark, a checksum of the rest, and length-delimited protobuf messages: a head, and for each type a head and
//! its resources as `envoy.service.discovery.v3.Resource`.

use std::time::SystemTime;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mesh_xds_api::envoy::service::discovery::v3::Resource as Wrapped;
use prost::Message;

use super::{Snapshot, SnapshotError, TypeSnapshot};
use crate::Resource;

/// Names the format and its version.
const MARK: &[u8; 8] = b"mxds-lg1";

#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(string, tag = "1")]
    node: String,
    #[prost(uint32, tag = "2")]
    types: u32,
}

#[derive(Clone, PartialEq, Message)]
struct TypeHead {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(message, optional, tag = "2")]
    saved: Option<prost_types::Timestamp>,
    #[prost(uint64, tag = "3")]
    server: u64,
    #[prost(bool, tag = "4")]
    whole: bool,
    #[prost(uint32, tag = "5")]
    resources: u32,
}

/// The bytes of a file.
pub(super) fn encode(snapshot: &Snapshot, limit: usize) -> Result<Bytes, SnapshotError> {
    let mut body = BytesMut::new();
    put(&mut body, &Head { node: snapshot.node.clone(), types: count(snapshot.types.len()) }, limit)?;
    for of_type in &snapshot.types {
        let head = TypeHead {
            type_url: of_type.type_url.as_str().to_owned(),
            saved: Some(of_type.saved.into()),
            server: of_type.server,
            whole: of_type.whole,
            resources: count(of_type.resources.len()),
        };
        put(&mut body, &head, limit)?;
        for resource in &of_type.resources {
            let wrapped = Wrapped {
                name: resource.name().as_str().to_owned(),
                version: resource.version().as_str().to_owned(),
                resource: Some(resource.any().clone()),
                ..Default::default()
            };
            put(&mut body, &wrapped, limit)?;
        }
    }
    let mut file = BytesMut::with_capacity(MARK.len() + 8 + body.len());
    file.put_slice(MARK);
    file.put_u64_le(xxhash_rust::xxh3::xxh3_64(&body));
    file.put(body);
    Ok(file.freeze())
}

fn put(body: &mut BytesMut, message: &impl Message, limit: usize) -> Result<(), SnapshotError> {
    let bytes =
        MARK.len() + 8 + body.len() + message.encoded_len() + prost::length_delimiter_len(message.encoded_len());
    if bytes > limit {
        return Err(SnapshotError::TooLarge { bytes: bytes as u64, limit });
    }
    message.encode_length_delimited(body).map_err(|e| SnapshotError::Damaged(e.to_string()))
}

/// More than can be counted exceed every limit of size.
fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

/// Reads the bytes of a file. Resources share them.
pub(super) fn decode(mut file: Bytes) -> Result<Snapshot, SnapshotError> {
    let damaged = |what: &str| SnapshotError::Damaged(what.to_owned());
    if file.len() < MARK.len() + 8 || file.split_to(MARK.len()) != MARK[..] {
        return Err(damaged("it does not start as one"));
    }
    let checksum = file.get_u64_le();
    if xxhash_rust::xxh3::xxh3_64(&file) != checksum {
        return Err(damaged("its checksum does not fit"));
    }
    let head: Head = take(&mut file)?;
    let mut snapshot = Snapshot { node: head.node, types: Vec::new() };
    for _ in 0..head.types {
        snapshot.types.push(take_type(&mut file)?);
    }
    if file.has_remaining() {
        return Err(damaged("something follows its end"));
    }
    Ok(snapshot)
}

fn take_type(file: &mut Bytes) -> Result<TypeSnapshot, SnapshotError> {
    let head: TypeHead = take(file)?;
    let saved = head.saved.and_then(|saved| SystemTime::try_from(saved).ok());
    let saved = saved.ok_or_else(|| SnapshotError::Damaged("a type has no time".into()))?;
    let mut resources = Vec::new();
    for _ in 0..head.resources {
        let wrapped: Wrapped = take(file)?;
        let any = wrapped.resource.filter(|any| any.type_url == head.type_url);
        let any = any.ok_or_else(|| SnapshotError::Damaged("a resource is not of its type".into()))?;
        resources.push(Resource::with_version(wrapped.name, wrapped.version.into(), any));
    }
    Ok(TypeSnapshot { type_url: head.type_url.into(), saved, server: head.server, whole: head.whole, resources })
}

fn take<M: Message + Default>(file: &mut Bytes) -> Result<M, SnapshotError> {
    M::decode_length_delimited(file).map_err(|e| SnapshotError::Damaged(e.to_string()))
}
