//! Any bytes as YAML: no panic, findings point into the text, and what is an object survives being written down.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_config::{parse, parse_bytes};
use mesh_config_fuzz::{shown, whole};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        let _ = parse_bytes("bytes.yaml", data);
        return;
    };
    whole("text.yaml", text);
    let parsed = parse("text.yaml", text);
    shown(text, &parsed.diagnostics);
    for object in parsed.objects.iter().filter(|object| object.kind().is_strict()) {
        let written = serde_json::json!({
            "apiVersion": object.api_version, "kind": object.kind().as_str(), "metadata": object.meta,
            "spec": object.spec,
        });
        let again = parse("again.json", &written.to_string());
        let first = again.objects.first().unwrap_or_else(|| panic!("{written}: {:?}", again.diagnostics));
        assert!(first.spec == object.spec && first.meta == object.meta, "{written}");
    }
});
