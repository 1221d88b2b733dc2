//! What is read can be written down, and reads as the same; and reading never panics.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod common;

use mesh_config::{load_str, parse, parse_bytes};
use proptest::prelude::*;

use self::common::{object, picks, text};

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost(picks in picks()) {
        let first = object(&picks);
        let spec = serde_json::to_value(&first.spec).unwrap();
        let mut written = serde_json::json!({
            "apiVersion": first.api_version, "kind": first.kind().as_str(), "metadata": first.meta,
        });
        if first.kind().is_strict() {
            written["spec"] = spec;
        } else if first.kind() != mesh_config::Kind::Secret {
            // What is secret is not written down; the platform's kinds have their content beside the metadata.
            written.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        }
        let again = parse("again.json", &written.to_string());
        let again = again.objects.first().or(again.faulty.first()).unwrap();
        if first.kind() != mesh_config::Kind::Secret {
            prop_assert_eq!(&again.spec, &first.spec);
        }
        prop_assert_eq!(&again.meta, &first.meta);
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_bytes("bytes.yaml", &bytes);
    }

    #[test]
    fn any_text_like_yaml_is_read(text in "([ a-z:\\-{}\\[\\]&*!|>'\"#%,?\t\r\n~]|\\PC){0,120}") {
        let _ = load_str("text.yaml", &text);
    }

    #[test]
    fn an_object_with_a_part_replaced_is_read(picks in picks(), at in any::<prop::sample::Index>(), len in 0..20_usize, new in "\\PC{0,6}") {
        let (_, whole) = text(&picks);
        let chars: Vec<char> = whole.chars().collect();
        let at = at.index(chars.len());
        let end = (at + len).min(chars.len());
        let changed: String = chars[..at].iter().copied().chain(new.chars()).chain(chars[end..].iter().copied()).collect();
        let loaded = load_str("text.yaml", &changed);
        let lines = u32::try_from(changed.split('\n').count()).unwrap();
        prop_assert!(loaded.diagnostics.iter().all(|found| found.position.line <= lines), "{changed}\n{:?}", loaded.diagnostics);
    }
}
