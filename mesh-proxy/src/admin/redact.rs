//! Secrets are not shown.

use std::{collections::HashSet, sync::LazyLock};

use mesh_xds_api::{any::Any, descriptor_pool, json};
use serde_json::Value;

/// What stands for a secret, and the same in base64 where bytes are expected. As Envoy's.
const REDACTED: &str = "[redacted]";
const REDACTED_BYTES: &str = "W3JlZGFjdGVkXQ==";

/// Names of the fields that the API marks with `udpa.annotations.sensitive`, in any message.
static SENSITIVE: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let mut names: HashSet<String> = ["private_key", "password"].map(str::to_owned).into();
    let pool = descriptor_pool();
    if let Some(mark) = pool.get_extension_by_name("udpa.annotations.sensitive") {
        for message in pool.all_messages() {
            let marked = message.fields().filter(|field| {
                let options = field.options();
                options.has_extension(&mark) && options.get_extension(&mark).as_bool() == Some(true)
            });
            names.extend(marked.map(|field| field.name().to_owned()));
        }
    }
    names
});

/// `any` as JSON, with every text inside a sensitive field replaced.
pub(super) fn any(any: &Any) -> Value {
    let mut value = json::any_to_value(any);
    walk(&mut value, false);
    value
}

fn walk(value: &mut Value, sensitive: bool) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                match value {
                    Value::String(text) if sensitive && key != "@type" => {
                        *text = if key == "inline_bytes" { REDACTED_BYTES } else { REDACTED }.to_owned();
                    }
                    other => walk(other, sensitive || SENSITIVE.contains(key)),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, sensitive)),
        Value::String(text) if sensitive => REDACTED.clone_into(text),
        _ => {}
    }
}
