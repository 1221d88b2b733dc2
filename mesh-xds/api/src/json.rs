//! JSON and YAML in protobuf's canonical mapping, both ways.
//!
//! Field names are written as in the `.proto` files (`connect_timeout`, as Envoy's admin interface does) and read in
//! either spelling. An `Any` is written and read expanded, with its `@type`. An `Any` of a type this crate does not know
//! is written as `{"@type": ..., "value": BASE64}` so that a dump never fails on a foreign message.

use base64::Engine as _;
use prost::{Message, Name};
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, Kind, MessageDescriptor, ReflectMessage, SerializeOptions,
    Value,
};

use crate::{any::Any, descriptor_pool, descriptors::with_pool_for_once};

/// How many `Any`s within each other are expanded. Envoy's own configuration nests about five.
const MAX_NESTED_ANY: usize = 16;

/// Why a text is no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The type is not in this crate's descriptor set.
    #[error("unknown message type {0:?}")]
    UnknownType(String),
    /// A resource carries no `@type`.
    #[error("no \"@type\" in the object")]
    NoType,
    /// The text is no YAML or JSON.
    #[error("not readable as YAML or JSON: {0}")]
    Syntax(String),
    /// The value does not fit the message: unknown field, wrong kind, number out of range.
    #[error("not a valid {type_name}: {reason}")]
    Mismatch {
        /// Full name of the message.
        type_name: String,
        /// What does not fit.
        reason: String,
    },
}

/// Why a message cannot be written without loss.
#[derive(Debug, thiserror::Error)]
#[error("{type_url} has no JSON form: {reason}")]
#[non_exhaustive]
pub struct WriteError {
    /// The type of the outer message.
    pub type_url: String,
    /// What is in the way: mostly the type of an `Any` within.
    pub reason: String,
}

/// Reads YAML (of which JSON is a part) into a [`serde_json::Value`].
///
/// # Errors
/// [`ParseError::Syntax`].
pub fn value_from_yaml(text: &str) -> Result<serde_json::Value, ParseError> {
    // As in YAML 1.2, and in Envoy: `y` and `no` are texts.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| ParseError::Syntax(e.to_string()))
}

/// Writes a [`serde_json::Value`] as YAML, ending in a line feed.
#[must_use]
pub fn value_to_yaml(value: &serde_json::Value) -> String {
    // JSON is a part of YAML: where the writer gives up, the JSON form says the same.
    let mut text = serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string());
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Reads a message of a type known at compile time.
///
/// # Errors
/// [`ParseError`] if a field is unknown or does not fit.
pub fn from_value<M: Message + Name + Default>(value: &serde_json::Value) -> Result<M, ParseError> {
    let dynamic = dynamic_from_value(&M::full_name(), value)?;
    dynamic.transcode_to().map_err(|e| ParseError::Mismatch { type_name: M::full_name(), reason: e.to_string() })
}

/// As [`from_value`], for a process that reads texts at its start only: the descriptors, some 10 MB, are not kept, unless
/// [`descriptor_pool`] was asked for before.
///
/// # Errors
/// As [`from_value`].
pub fn from_value_once<M: Message + Name + Default>(value: &serde_json::Value) -> Result<M, ParseError> {
    let mut bytes = Vec::with_capacity(ENCODED);
    with_pool_for_once(|pool| encode_value(pool, &M::full_name(), value, &mut bytes))?;
    decode_own(&bytes)
}

/// As [`value_from_yaml`] and [`from_value_once`], and the value is not kept either.
///
/// # Errors
/// As [`from_value`], and [`ParseError::Syntax`].
pub fn from_yaml_once<M: Message + Name + Default>(text: &str) -> Result<M, ParseError> {
    let mut bytes = Vec::with_capacity(ENCODED);
    with_pool_for_once(|pool| encode_value(pool, &M::full_name(), &value_from_yaml(text)?, &mut bytes))?;
    decode_own(&bytes)
}

/// Room that an encoded message begins with.
const ENCODED: usize = 4096;

fn encode_value(
    pool: &DescriptorPool,
    name: &str,
    value: &serde_json::Value,
    bytes: &mut Vec<u8>,
) -> Result<(), ParseError> {
    let dynamic = dynamic_in(pool, name, value, &DeserializeOptions::new())?;
    let mismatch = |e: prost::EncodeError| ParseError::Mismatch { type_name: name.to_owned(), reason: e.to_string() };
    dynamic.encode(bytes).map_err(mismatch)
}

fn decode_own<M: Message + Name + Default>(bytes: &[u8]) -> Result<M, ParseError> {
    M::decode(bytes).map_err(|e| ParseError::Mismatch { type_name: M::full_name(), reason: e.to_string() })
}

/// As [`from_value`], but fields that are not known are passed over, as in the binary form: for messages of a peer that may
/// be newer.
///
/// # Errors
/// [`ParseError`] if a known field does not fit.
pub fn from_peer_value<M: Message + Name + Default>(value: &serde_json::Value) -> Result<M, ParseError> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let dynamic = dynamic_with_options(&M::full_name(), value, &options)?;
    dynamic.transcode_to().map_err(|e| ParseError::Mismatch { type_name: M::full_name(), reason: e.to_string() })
}

/// Reads an object with an `@type` into an [`Any`].
///
/// # Errors
/// [`ParseError`] if there is no `@type`, the type is unknown, or a field does not fit.
pub fn any_from_value(value: &serde_json::Value) -> Result<Any, ParseError> {
    let mut object = value.as_object().cloned().ok_or(ParseError::NoType)?;
    let Some(serde_json::Value::String(type_url)) = object.remove("@type") else { return Err(ParseError::NoType) };
    let name = type_url.rsplit('/').next().unwrap_or_default();
    let dynamic = dynamic_from_value(name, &serde_json::Value::Object(object))?;
    Ok(Any { value: dynamic.encode_to_vec().into(), type_url })
}

fn dynamic_from_value(name: &str, value: &serde_json::Value) -> Result<DynamicMessage, ParseError> {
    dynamic_with_options(name, value, &DeserializeOptions::new())
}

fn dynamic_with_options(
    name: &str,
    value: &serde_json::Value,
    options: &DeserializeOptions,
) -> Result<DynamicMessage, ParseError> {
    dynamic_in(descriptor_pool(), name, value, options)
}

fn dynamic_in(
    pool: &DescriptorPool,
    name: &str,
    value: &serde_json::Value,
    options: &DeserializeOptions,
) -> Result<DynamicMessage, ParseError> {
    let descriptor = pool.get_message_by_name(name).ok_or_else(|| ParseError::UnknownType(name.to_owned()))?;
    DynamicMessage::deserialize_with_options(descriptor, value, options)
        .map_err(|e| ParseError::Mismatch { type_name: name.to_owned(), reason: e.to_string() })
}

/// Writes a message.
#[must_use]
pub fn to_value<M: Message + Name>(message: &M) -> serde_json::Value {
    bytes_to_value(&M::full_name(), &message.encode_to_vec())
}

/// Writes an [`Any`], expanded, with its `@type` first.
#[must_use]
pub fn any_to_value(any: &Any) -> serde_json::Value {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    let mut out = serde_json::Map::new();
    out.insert("@type".into(), any.type_url.clone().into());
    match bytes_to_value(name, &any.value) {
        serde_json::Value::Object(fields) => out.extend(fields),
        other => {
            out.insert("value".into(), other);
        }
    }
    serde_json::Value::Object(out)
}

/// Writes an [`Any`] for a machine to read: expanded, or not at all.
///
/// # Errors
/// [`WriteError`] if the message, or an `Any` within it, is of a type this crate does not know, or malformed.
pub fn any_to_peer_value(any: &Any) -> Result<serde_json::Value, WriteError> {
    let fail = |reason: String| WriteError { type_url: any.type_url.clone(), reason };
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    let descriptor = descriptor_pool().get_message_by_name(name).ok_or_else(|| fail("its type is unknown".into()))?;
    let message = DynamicMessage::decode(descriptor, any.value.as_ref()).map_err(|e| fail(e.to_string()))?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    let value = message.serialize_with_options(serde_json::value::Serializer, &options);
    let mut out = serde_json::Map::new();
    out.insert("@type".into(), any.type_url.clone().into());
    match value.map_err(|e| fail(e.to_string()))? {
        serde_json::Value::Object(fields) => out.extend(fields),
        // Well-known types that are no object have their value beside the type.
        other => {
            out.insert("value".into(), other);
        }
    }
    Ok(serde_json::Value::Object(out))
}

fn bytes_to_value(name: &str, bytes: &[u8]) -> serde_json::Value {
    let decoded = descriptor_pool()
        .get_message_by_name(name)
        .and_then(|d| DynamicMessage::decode(d, bytes).ok())
        .and_then(|mut m| {
            opaque_foreign_any(&mut m, 0);
            let options = SerializeOptions::new().use_proto_field_name(true);
            m.serialize_with_options(serde_json::value::Serializer, &options).ok()
        });
    decoded.unwrap_or_else(|| serde_json::json!({ "value": base64::prelude::BASE64_STANDARD.encode(bytes) }))
}

/// Replaces every `Any` that the serialiser could not expand by a `BytesValue` named after the foreign type.
///
/// The serialiser refuses a whole message for one such `Any`; a dump must not. Nor may it go as deep as somebody likes to
/// nest them: an `Any` that is too far inside is not expanded either.
fn opaque_foreign_any(message: &mut DynamicMessage, depth: usize) {
    let fields: Vec<_> = message.fields().map(|(f, _)| f).filter(|f| holds_message(&f.kind())).collect();
    for field in fields {
        match message.get_field_mut(&field) {
            Value::Message(inner) => visit(inner, depth),
            Value::List(items) => items.iter_mut().filter_map(Value::as_message_mut).for_each(|m| visit(m, depth)),
            Value::Map(entries) => entries.values_mut().filter_map(Value::as_message_mut).for_each(|m| visit(m, depth)),
            _ => {}
        }
    }
}

fn holds_message(kind: &Kind) -> bool {
    matches!(kind, Kind::Message(_))
}

fn visit(message: &mut DynamicMessage, depth: usize) {
    if message.descriptor().full_name() != "google.protobuf.Any" {
        return opaque_foreign_any(message, depth);
    }
    let (Some(url), Some(bytes)) = (text(message, "type_url"), raw(message, "value")) else { return };
    let name = url.rsplit('/').next().unwrap_or_default();
    let known = descriptor_pool().get_message_by_name(name).filter(|_| depth < MAX_NESTED_ANY);
    let inner = known.and_then(|d| DynamicMessage::decode(d, bytes.as_slice()).ok());
    let replaced = match inner {
        Some(mut inner) => {
            opaque_foreign_any(&mut inner, depth + 1);
            Some((url, inner.encode_to_vec()))
        }
        None => opaque_type().map(|d| {
            let mut wrapper = DynamicMessage::new(d);
            wrapper.set_field_by_name("type_url", Value::String(url));
            wrapper.set_field_by_name("value", Value::Message(struct_of("base64", &bytes)));
            ("type.googleapis.com/xds.type.v3.TypedStruct".to_owned(), wrapper.encode_to_vec())
        }),
    };
    if let Some((url, bytes)) = replaced {
        message.set_field_by_name("type_url", Value::String(url));
        message.set_field_by_name("value", Value::Bytes(bytes.into()));
    }
}

/// A foreign message inside another is shown as a `TypedStruct` that names its type.
fn opaque_type() -> Option<MessageDescriptor> {
    descriptor_pool().get_message_by_name("xds.type.v3.TypedStruct")
}

fn struct_of(key: &str, bytes: &[u8]) -> DynamicMessage {
    let text = base64::prelude::BASE64_STANDARD.encode(bytes);
    let fields = [(key.to_owned(), prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text)) })];
    let message = prost_types::Struct { fields: fields.into_iter().collect() };
    let mut dynamic = match descriptor_pool().get_message_by_name("google.protobuf.Struct") {
        Some(d) => DynamicMessage::new(d),
        None => message.transcode_to_dynamic(),
    };
    // Invariant: a Struct decodes as a Struct.
    let _ = dynamic.transcode_from(&message);
    dynamic
}

fn text(message: &DynamicMessage, field: &str) -> Option<String> {
    message.get_field_by_name(field)?.as_str().map(str::to_owned)
}

fn raw(message: &DynamicMessage, field: &str) -> Option<Vec<u8>> {
    message.get_field_by_name(field)?.as_bytes().map(|b| b.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::config::{
        cluster::v3::Cluster,
        core::v3::Node,
        listener::v3::{Filter, FilterChain, Listener, filter::ConfigType},
    };

    const CLUSTER: &str = "
name: a
connectTimeout: 0.25s
type: STRICT_DNS
load_assignment: {cluster_name: a}
";

    #[test]
    fn yaml_both_ways() {
        let cluster: Cluster = from_value(&value_from_yaml(CLUSTER).unwrap()).unwrap();
        assert_eq!(cluster.connect_timeout.map(|d| d.nanos), Some(250_000_000));
        let json = to_value(&cluster);
        assert_eq!(json["connect_timeout"], "0.250s");
        assert_eq!(json["type"], "STRICT_DNS");
        assert_eq!(from_value::<Cluster>(&json).unwrap(), cluster);
    }

    #[test]
    fn reading_once_is_reading() {
        let value = value_from_yaml(CLUSTER).unwrap();
        let once = || from_value_once::<Cluster>(&value).unwrap();
        let before = once();
        assert_eq!(before, from_yaml_once::<Cluster>(CLUSTER).unwrap());
        assert_eq!(before, from_value::<Cluster>(&value).unwrap());
        assert_eq!(before, once(), "the same with descriptors that are kept");
        let error = from_value_once::<Cluster>(&serde_json::json!({"nmae": "x"})).unwrap_err();
        assert!(error.to_string().contains("nmae"), "{error}");
    }

    #[test]
    fn written_yaml_is_read_again() {
        let value = serde_json::json!({"a|b": ["*", "yes", "0s", 1.5, null, {"x: y": "line\nbreak"}], "e": {}});
        assert_eq!(value_from_yaml(&value_to_yaml(&value)).unwrap(), value);
    }

    #[test]
    fn only_true_and_false_are_booleans() {
        let value = value_from_yaml("[y, no, on, true, false]").unwrap();
        assert_eq!(value, serde_json::json!(["y", "no", "on", true, false]));
    }

    #[test]
    fn unknown_field_is_named() {
        let error = from_value::<Cluster>(&serde_json::json!({"nmae": "x"})).unwrap_err();
        assert!(error.to_string().contains("nmae"), "{error}");
    }

    #[test]
    fn foreign_any_does_not_spoil_the_dump() {
        let listener = Listener {
            name: "l".into(),
            filter_chains: vec![FilterChain {
                filters: vec![Filter {
                    name: "f".into(),
                    config_type: Some(ConfigType::TypedConfig(Any {
                        type_url: "type.googleapis.com/acme.X".into(),
                        value: vec![1, 2].into(),
                    })),
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let json = to_value(&listener);
        assert_eq!(json["name"], "l");
        let config = &json["filter_chains"][0]["filters"][0]["typed_config"];
        assert_eq!(config["type_url"], "type.googleapis.com/acme.X");
        assert_eq!(config["value"]["base64"], "AQI=");
    }

    #[test]
    fn a_peer_is_written_everything_or_nothing() {
        let cluster = crate::any::pack(&Cluster { name: "a".into(), ..Default::default() });
        assert_eq!(any_to_peer_value(&cluster).unwrap()["name"], "a");
        let foreign = Any { type_url: "type.googleapis.com/acme.X".into(), value: vec![1, 2].into() };
        assert!(any_to_peer_value(&foreign).unwrap_err().to_string().contains("acme.X"));
        let config_type = Some(ConfigType::TypedConfig(foreign));
        let filters = vec![Filter { name: "f".into(), config_type }];
        let filter_chains = vec![FilterChain { filters, ..Default::default() }];
        let outer = crate::any::pack(&Listener { filter_chains, ..Default::default() });
        assert!(any_to_peer_value(&outer).unwrap_err().to_string().contains("acme.X"));
    }

    #[test]
    fn a_newer_peer_is_understood() {
        let read = from_peer_value::<Node>(&serde_json::json!({"id": "n", "of_next_year": {"x": 1}})).unwrap();
        assert_eq!(read.id, "n");
        assert!(from_peer_value::<Node>(&serde_json::json!({"id": 1})).is_err());
    }

    #[test]
    fn anys_are_expanded_to_a_depth() {
        use crate::envoy::config::core::v3::TypedExtensionConfig;
        let mut any = crate::any::pack(&TypedExtensionConfig { name: "innermost".into(), ..Default::default() });
        for _ in 0..5_000 {
            any = crate::any::pack(&TypedExtensionConfig { typed_config: Some(any), ..Default::default() });
        }
        let mut value = &any_to_value(&any);
        let mut depth = 0;
        while let Some(inner) = value.get("typed_config") {
            (value, depth) = (inner, depth + 1);
        }
        assert_eq!(depth, MAX_NESTED_ANY + 1);
        assert!(value["value"]["base64"].is_string(), "{value}");
    }

    #[test]
    fn equal_messages_encode_to_equal_bytes() {
        let fields = |order: &[&str]| {
            let fields = order.iter().map(|k| ((*k).to_owned(), prost_types::Value::from(1.0))).collect();
            Node { metadata: Some(prost_types::Struct { fields }), ..Default::default() }.encode_to_vec()
        };
        let names: Vec<String> = (0..64).map(|i| format!("k{i}")).collect();
        let forward: Vec<&str> = names.iter().map(String::as_str).collect();
        let backward: Vec<&str> = forward.iter().rev().copied().collect();
        assert_eq!(fields(&forward), fields(&backward));
    }
}
