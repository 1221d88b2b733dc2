//! Encoded resources as JSON, whatever is in them.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mesh_xds_api::{google::protobuf::Any, json::any_to_value};
use mesh_xds_fuzz::TYPES;

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    let type_url = TYPES[usize::from(*kind) % TYPES.len()];
    let any = Any { type_url: type_url.into(), value: Bytes::copy_from_slice(bytes) };
    assert_eq!(any_to_value(&any)["@type"], type_url);
});
