//! A resource from an `Any`: its name is read without decoding it.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mesh_xds::Resource;
use mesh_xds_api::{envoy::config::cluster::v3::Cluster, google::protobuf::Any};
use mesh_xds_fuzz::TYPES;
use prost::Message;

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    // All but the last are bare; that is the wrapper.
    let wrapper = "type.googleapis.com/envoy.service.discovery.v3.Resource";
    let type_url = TYPES.get(usize::from(*kind) % (TYPES.len() + 1)).copied().unwrap_or(wrapper);
    let any = Any { type_url: type_url.into(), value: Bytes::copy_from_slice(bytes) };
    let Ok(resource) = Resource::from_any(any) else { return };
    assert!(!resource.name().as_str().is_empty());
    assert!(!resource.version().as_str().is_empty());
    let again = Resource::from_any(resource.any().clone());
    if type_url != wrapper {
        assert_eq!(again.ok().as_ref(), Some(&resource));
    }
    // What a decoder takes for the name is the same.
    if type_url == TYPES[0]
        && let Ok(cluster) = Cluster::decode(bytes)
    {
        assert_eq!(cluster.name, resource.name().as_str());
    }
});
