//! Any text as the content of each kind: no panic in its validator, nor in the analyzers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_config::Kind;
use mesh_config_fuzz::whole;

fuzz_target!(|data: &[u8]| {
    let Some((which, rest)) = data.split_first() else { return };
    let Ok(spec) = std::str::from_utf8(rest) else { return };
    let kinds: Vec<Kind> = Kind::all().collect();
    let kind = kinds[usize::from(*which) % kinds.len()];
    let group = kind.group();
    let version = kind.versions()[0];
    let api = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let inner = spec.replace('\n', "\n  ");
    whole("kind.yaml", &format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: a, namespace: b}}\nspec:\n  {inner}\n"));
});
