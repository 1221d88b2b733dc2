//! Requests of both variants: decoded, in normal form, and back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_xds::protocol::Request;
use mesh_xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use prost::Message;

fuzz_target!(|data: &[u8]| {
    let Some((variant, bytes)) = data.split_first() else { return };
    if variant & 1 == 0 {
        let Ok(message) = DiscoveryRequest::decode(bytes) else { return };
        let request = Request::from(message);
        assert_eq!(Request::from(request.clone().into_sotw()), request);
    } else {
        let Ok(message) = DeltaDiscoveryRequest::decode(bytes) else { return };
        let request = Request::from(message);
        assert_eq!(Request::from(request.clone().into_delta()), request);
    }
});
