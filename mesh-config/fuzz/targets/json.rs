//! Any bytes as JSON: no panic, findings point into the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_config::parse_mesh_config;
use mesh_config_fuzz::whole;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    whole("text.json", text);
    let _ = parse_mesh_config("mesh.json", text);
});
