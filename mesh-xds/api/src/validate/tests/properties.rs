//! What holds for any bytes and any message.

use std::collections::BTreeSet;

use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::{Registry, reference, told};
use crate::{descriptor_pool, validate};

/// Large enough types to meet every kind of rule.
const TYPES: &[&str] = &[
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.listener.v3.Listener",
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.extensions.transport_sockets.tls.v3.Secret",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "envoy.config.accesslog.v3.AccessLog",
    "envoy.config.core.v3.Http2ProtocolOptions",
];

/// The empty field 1000, which no message has.
const UNKNOWN: [u8; 3] = [0xc2, 0x3e, 0x00];

/// Choices, one after the other; the first again after the last.
struct Choices<'a>(std::iter::Cycle<std::slice::Iter<'a, u8>>);

impl Choices<'_> {
    fn below(&mut self, limit: usize) -> usize {
        usize::from(*self.0.next().unwrap()) % limit
    }
}

/// A message with about every third field set, to values around the limits that rules have.
fn arbitrary(descriptor: &MessageDescriptor, choices: &mut Choices<'_>, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    if descriptor.full_name() == "google.protobuf.Any" {
        let inner = descriptor_pool().get_message_by_name(TYPES[choices.below(TYPES.len())]).unwrap();
        let mut content = if depth == 0 { Vec::new() } else { arbitrary(&inner, choices, depth - 1).encode_to_vec() };
        if content.is_empty() {
            // An empty one is not written, and would merge into one type with another's content.
            content.extend(UNKNOWN);
        }
        message.set_field_by_name("type_url", Value::String(format!("type.googleapis.com/{}", inner.full_name())));
        message.set_field_by_name("value", Value::Bytes(content.into()));
        return message;
    }
    for field in descriptor.fields() {
        if choices.below(3) == 0
            && let Some(value) = field_value(&field, choices, depth)
        {
            message.set_field(&field, value);
        }
    }
    message
}

fn field_value(field: &FieldDescriptor, choices: &mut Choices<'_>, depth: usize) -> Option<Value> {
    if field.is_map() {
        let kind = field.kind().as_message()?.map_entry_value_field().kind();
        let key = MapKey::String(["", "k"][choices.below(2)].to_owned());
        let text = field.kind().as_message()?.map_entry_key_field().kind() == Kind::String;
        return text.then(|| Some(Value::Map([(key, value(&kind, choices, depth)?)].into())))?;
    }
    if field.is_list() {
        let list: Option<Vec<_>> = (0..choices.below(3)).map(|_| value(&field.kind(), choices, depth)).collect();
        return list.map(Value::List);
    }
    value(&field.kind(), choices, depth)
}

fn value(kind: &Kind, choices: &mut Choices<'_>, depth: usize) -> Option<Value> {
    let number = [0, 1, 2, 100, 101, 255, 256, 511, 65_536][choices.below(9)];
    Some(match kind {
        Kind::Message(message) => Value::Message(arbitrary(message, choices, depth.checked_sub(1)?)),
        Kind::String => Value::String(["", "a", "a b", "a\n", "%é%", "LH"][choices.below(6)].to_owned()),
        Kind::Bytes => Value::Bytes(vec![7; number as usize].into()),
        Kind::Enum(_) => Value::EnumNumber(number.min(7)),
        Kind::Bool => Value::Bool(number > 1),
        Kind::Double => Value::F64(f64::from(number)),
        Kind::Float => Value::F32(number as f32),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number.into()),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number.unsigned_abs()),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(number.unsigned_abs().into()),
    })
}

fn decode(name: &str, bytes: &[u8]) -> DynamicMessage {
    DynamicMessage::decode(descriptor_pool().get_message_by_name(name).unwrap(), bytes).unwrap()
}

/// The walker tells what the reference tells, as far as it tells.
fn assert_same(name: &str, bytes: &[u8]) {
    let expected = reference::broken(&decode(name, bytes));
    let result = validate::bytes(name, bytes);
    let all = !result.as_ref().is_err_and(validate::Violations::is_truncated);
    let found: BTreeSet<String> = told(result).into_iter().collect();
    if all {
        assert_eq!(found, expected, "{name}");
    } else {
        assert!(found.is_subset(&expected), "{name}: {:?}", found.difference(&expected));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_reference(choices in prop::collection::vec(any::<u8>(), 1..400), depth in 1_usize..7) {
        for name in TYPES {
            let descriptor = descriptor_pool().get_message_by_name(name).unwrap();
            let message = arbitrary(&descriptor, &mut Choices(choices.iter().cycle()), depth);
            assert_same(name, &message.encode_to_vec());
        }
    }

    #[test]
    fn two_encodings_mean_their_merge(first in prop::collection::vec(any::<u8>(), 1..200),
                                      second in prop::collection::vec(any::<u8>(), 1..200), depth in 1_usize..5) {
        for name in TYPES {
            let descriptor = descriptor_pool().get_message_by_name(name).unwrap();
            let encode = |c: &[u8]| arbitrary(&descriptor, &mut Choices(c.iter().cycle()), depth).encode_to_vec();
            assert_same(name, &[encode(&first), encode(&second)].concat());
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300), plan in any::<prop::sample::Index>()) {
        let registry = Registry::global();
        let _ = validate::bytes(&registry.plans[plan.index(registry.plans.len())].name, &bytes);
        let _ = validate::bytes("google.protobuf.Any", &bytes);
    }

    #[test]
    fn damaged_messages_are_answered(choices in prop::collection::vec(any::<u8>(), 1..200), depth in 1_usize..5,
                                     damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        for name in TYPES {
            let descriptor = descriptor_pool().get_message_by_name(name).unwrap();
            let mut bytes = arbitrary(&descriptor, &mut Choices(choices.iter().cycle()), depth).encode_to_vec();
            for (at, with) in &damage {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = *with;
                }
            }
            let _ = validate::bytes(name, &bytes);
        }
    }

    #[test]
    fn what_passes_still_passes_when_encoded_again(choices in prop::collection::vec(any::<u8>(), 1..60), depth in 1_usize..3) {
        use crate::envoy::config::{cluster::v3::Cluster, core::v3::Metadata, endpoint::v3::ClusterLoadAssignment};
        fn again<M: prost::Message + prost::Name + Default>(choices: &[u8], depth: usize) {
            let descriptor = descriptor_pool().get_message_by_name(&M::full_name()).unwrap();
            let bytes = arbitrary(&descriptor, &mut Choices(choices.iter().cycle()), depth).encode_to_vec();
            let first = validate::bytes(&M::full_name(), &bytes);
            assert_eq!(first, validate::message(&M::decode(bytes.as_slice()).unwrap()));
        }
        again::<Cluster>(&choices, depth);
        again::<Metadata>(&choices, depth);
        again::<ClusterLoadAssignment>(&choices, depth);
    }
}
