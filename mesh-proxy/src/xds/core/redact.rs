//! Keys are not shown.

use bytes::Bytes;
use mesh_xds_api::{any::Any, descriptor_pool};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage, Value};

/// Fields of messages whose content is nobody's business (marked sensitive in Envoy's API).
const SENSITIVE: &[(&str, &[&str])] = &[
    ("envoy.extensions.transport_sockets.tls.v3.TlsCertificate", &["private_key", "pkcs12", "password"]),
    ("envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys", &["keys"]),
    ("envoy.extensions.transport_sockets.tls.v3.GenericSecret", &["secret", "secrets"]),
];
const MASK: &str = "[redacted]";

/// The message with `[redacted]` in place of keys given inline; those named by a file keep the file's name.
pub(super) fn redact(any: &Any) -> Any {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    let Some(descriptor) = descriptor_pool().get_message_by_name(name) else { return any.clone() };
    match masked(descriptor, &any.value) {
        Some(value) => Any { type_url: any.type_url.clone(), value },
        None => any.clone(),
    }
}

/// The bytes with keys masked; `None` if there is none, or the bytes are malformed.
fn masked(descriptor: MessageDescriptor, bytes: &[u8]) -> Option<Bytes> {
    let mut message = DynamicMessage::decode(descriptor, bytes).ok()?;
    walk(&mut message).then(|| message.encode_to_vec().into())
}

/// Whether something was masked.
fn walk(message: &mut DynamicMessage) -> bool {
    let descriptor = message.descriptor();
    if descriptor.full_name() == "google.protobuf.Any" {
        return walk_any(message);
    }
    let sensitive = SENSITIVE.iter().find(|(name, _)| *name == descriptor.full_name()).map_or(&[][..], |(_, f)| f);
    let mut changed = false;
    for (field, value) in message.fields_mut() {
        let mask = sensitive.contains(&field.name());
        let mut each = |inner: &mut DynamicMessage| changed |= if mask { mask_source(inner) } else { walk(inner) };
        match value {
            Value::Message(inner) => each(inner),
            Value::List(items) => items.iter_mut().filter_map(Value::as_message_mut).for_each(each),
            Value::Map(entries) => entries.values_mut().filter_map(Value::as_message_mut).for_each(each),
            _ => {}
        }
    }
    changed
}

fn walk_any(message: &mut DynamicMessage) -> bool {
    let url = message.get_field_by_name("type_url").and_then(|url| url.as_str().map(str::to_owned));
    let bytes = message.get_field_by_name("value").and_then(|value| value.as_bytes().cloned());
    let (Some(url), Some(bytes)) = (url, bytes) else { return false };
    let name = url.rsplit('/').next().unwrap_or_default();
    let found = descriptor_pool().get_message_by_name(name).and_then(|descriptor| masked(descriptor, &bytes));
    let Some(value) = found else { return false };
    message.set_field_by_name("value", Value::Bytes(value));
    true
}

/// A `DataSource`.
fn mask_source(source: &mut DynamicMessage) -> bool {
    let mut changed = false;
    for field in ["inline_string", "inline_bytes"] {
        if source.has_field_by_name(field) {
            source.clear_field_by_name(field);
            source.set_field_by_name("inline_string", Value::String(MASK.to_owned()));
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use mesh_xds_api::json;
    use serde_json::json;

    use super::*;

    #[test]
    fn inline_keys_are_masked_wherever_they_are() {
        let certificate =
            json!({"certificate_chain": {"inline_string": "chain"}, "private_key": {"inline_string": "KEY"}});
        let files = json!({"private_key": {"filename": "/key"}});
        let listener = json!({"@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "filter_chains": [{"transport_socket": {"name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {"tls_certificates": [certificate, files]}}}}]});
        let shown = json::any_to_value(&redact(&json::any_from_value(&listener).unwrap())).to_string();
        assert!(!shown.contains("KEY") && shown.contains("chain") && shown.contains("/key"), "{shown}");
        assert!(shown.contains(MASK));
    }
}
