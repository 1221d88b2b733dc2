//! Any text as an expression that RE2 is to take: no panic, and no more time than its length is worth.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_config_fuzz::whole;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let object = serde_json::json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "a"},
        "spec": {"hosts": ["a"], "http": [{
            "match": [{"uri": {"regex": text}}], "rewrite": {"uriRegexRewrite": {"match": text, "rewrite": text}},
            "route": [{"destination": {"host": "a"}}],
        }]},
    });
    whole("regex.json", &object.to_string());
});
