//! The API's validation rules on encoded messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_xds_api::validate;
use mesh_xds_fuzz::TYPES;

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    let type_url = TYPES[usize::from(*kind) % TYPES.len()];
    let name = type_url.rsplit('/').next().unwrap_or_default();
    if let Err(violations) = validate::bytes(name, bytes) {
        assert!(!violations.to_string().is_empty());
    }
});
