//! Resources in JSON and YAML.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_xds_api::json::{any_from_value, any_to_value, value_from_yaml, value_to_yaml};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(value) = value_from_yaml(text) else { return };
    let written = value_to_yaml(&value);
    match value_from_yaml(&written) {
        Ok(again) => assert_eq!(again, value, "{written}"),
        Err(error) => panic!("{error} in {written}"),
    }
    if let Ok(any) = any_from_value(&value) {
        // What was read can be written and read, and says the same.
        let written = any_to_value(&any);
        let again = any_from_value(&written);
        assert_eq!(again.ok().map(|any| any_to_value(&any)), Some(written));
    }
});
