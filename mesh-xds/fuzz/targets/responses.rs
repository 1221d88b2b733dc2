//! Responses of both variants: decoded and in normal form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_xds::protocol::Response;
use mesh_xds_api::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
use prost::Message;

fuzz_target!(|data: &[u8]| {
    let Some((variant, bytes)) = data.split_first() else { return };
    let response = if variant & 1 == 0 {
        let Ok(message) = DiscoveryResponse::decode(bytes) else { return };
        Response::from_sotw(message)
    } else {
        let Ok(message) = DeltaDiscoveryResponse::decode(bytes) else { return };
        Response::from_delta(message)
    };
    match response {
        Ok(response) => {
            for resource in &response.resources {
                assert_eq!(resource.type_url(), &response.type_url);
            }
        }
        Err(error) => assert!(!error.reason.is_empty()),
    }
});
