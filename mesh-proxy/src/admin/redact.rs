//! Secrets are not shown.

use std::sync::LazyLock;

use mesh_xds_api::{any::Any, descriptor_pool, json};
use prost_reflect::{ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

/// What stands for a secret, and the same in base64 where bytes are expected. As Envoy's.
const REDACTED: &str = "[redacted]";
const REDACTED_BYTES: &str = "W3JlZGFjdGVkXQ==";

/// The mark of the API on fields that hold secrets.
static MARK: LazyLock<Option<ExtensionDescriptor>> =
    LazyLock::new(|| descriptor_pool().get_extension_by_name("udpa.annotations.sensitive"));

/// `any` as JSON, with every text and number inside a sensitive field replaced, in messages inside it as well.
pub(super) fn any(any: &Any) -> Value {
    let mut value = json::any_to_value(any);
    walk(&mut value, None, false);
    value
}

/// `value` is the JSON of a `message`, or tells its type itself.
fn walk(value: &mut Value, message: Option<MessageDescriptor>, sensitive: bool) {
    let Value::Object(fields) = value else { return hide(value, sensitive, false) };
    let told = fields.get("@type").and_then(Value::as_str);
    let told = told.and_then(|url| descriptor_pool().get_message_by_name(url.rsplit('/').next().unwrap_or_default()));
    let message = told.or(message);
    for (name, value) in fields.iter_mut().filter(|(name, _)| *name != "@type") {
        match message.as_ref().and_then(|message| message.get_field_by_name(name)) {
            Some(field) => walk_field(value, &field, sensitive || is_sensitive(&field)),
            None => walk(value, None, sensitive),
        }
    }
}

fn walk_field(value: &mut Value, field: &FieldDescriptor, sensitive: bool) {
    let kind = field.kind();
    match value {
        Value::Array(items) if field.is_list() => items.iter_mut().for_each(|item| walk_kind(item, &kind, sensitive)),
        Value::Object(entries) if field.is_map() => {
            let Kind::Message(entry) = &kind else { return };
            let kind = entry.map_entry_value_field().kind();
            entries.values_mut().for_each(|value| walk_kind(value, &kind, sensitive));
        }
        value => walk_kind(value, &kind, sensitive),
    }
}

fn walk_kind(value: &mut Value, kind: &Kind, sensitive: bool) {
    match kind {
        Kind::Message(message) => walk(value, Some(message.clone()), sensitive),
        Kind::Bytes => hide(value, sensitive, true),
        _ => hide(value, sensitive, false),
    }
}

fn hide(value: &mut Value, sensitive: bool, bytes: bool) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, None, sensitive)),
        Value::String(_) | Value::Number(_) if sensitive => {
            *value = if bytes { REDACTED_BYTES } else { REDACTED }.into();
        }
        _ => {}
    }
}

fn is_sensitive(field: &FieldDescriptor) -> bool {
    let options = field.options();
    MARK.as_ref().is_some_and(|mark| options.has_extension(mark) && options.get_extension(mark).as_bool() == Some(true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(value: Value) -> Value {
        any(&json::any_from_value(&value).unwrap())
    }

    #[test]
    fn only_what_the_api_marks() {
        let context = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
        let listener = |key: Value, provider: Value| {
            json!({
                "@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "l",
                "filter_chains": [{"transport_socket": {"name": "tls", "typed_config": {
                    "@type": context,
                    "common_tls_context": {"tls_certificates": [{
                        "certificate_chain": {"inline_string": "PEM"}, "private_key": key,
                    }], "alpn_protocols": ["h2"]},
                    "session_ticket_keys": {"keys": [provider]},
                }}}],
            })
        };
        assert_eq!(
            shown(listener(json!({"inline_string": "secret"}), json!({"inline_bytes": "c2VjcmV0"}))),
            listener(json!({"inline_string": REDACTED}), json!({"inline_bytes": REDACTED_BYTES}))
        );
    }

    #[test]
    fn secrets_of_a_bootstrap() {
        let bootstrap = |secret: &str| {
            json!({
                "@type": "type.googleapis.com/envoy.config.bootstrap.v3.Bootstrap",
                "static_resources": {"secrets": [
                    {"name": "s", "generic_secret": {"secret": {"inline_string": secret}}},
                    {"name": "r", "validation_context": {"trusted_ca": {"filename": "/roots.pem"}}},
                ]},
            })
        };
        assert_eq!(shown(bootstrap("x")), bootstrap(REDACTED));
    }
}
