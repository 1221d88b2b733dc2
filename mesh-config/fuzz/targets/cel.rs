//! Any text as a CEL expression: no panic, and no more time than its length is worth.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_config_fuzz::whole;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let object = serde_json::json!({
        "apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": {"name": "a"},
        "spec": {"accessLogging": [{"filter": {"expression": text}}]},
    });
    whole("cel.json", &object.to_string());
});
