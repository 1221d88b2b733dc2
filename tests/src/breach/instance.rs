//! The smallest messages that keep all rules.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::{
    options::{self, is_deprecated},
    value,
};

/// How deep required messages may lie in each other.
pub(super) const MAX_DEPTH: usize = 12;

/// A message of type `root` with smallest messages along `path`, the last of which `leaf` changes.
pub(super) fn along(
    root: &MessageDescriptor,
    path: &[FieldDescriptor],
    leaf: &dyn Fn(&mut DynamicMessage),
) -> Option<DynamicMessage> {
    let mut message = smallest(root, MAX_DEPTH)?;
    match path {
        [] => leaf(&mut message),
        [field, rest @ ..] => {
            let kind = field.kind();
            let target = if field.is_map() { kind.as_message()?.map_entry_value_field().kind() } else { kind };
            let child = Value::Message(along(target.as_message()?, rest, leaf)?);
            message.set_field(field, in_shape(field, child, MAX_DEPTH)?);
        }
    }
    Some(message)
}

/// One value as the field holds it: alone, as an element of a list as long as it must be, or in a map.
pub(super) fn in_shape(field: &FieldDescriptor, value: Value, depth: usize) -> Option<Value> {
    if field.is_map() {
        return Some(Value::Map([(MapKey::String("aa".to_owned()), value)].into()));
    }
    if !field.is_list() {
        return Some(value);
    }
    let others = options::bound(field, "min_items").unwrap_or(1).saturating_sub(1);
    let mut list = vec![value];
    for _ in 0..others {
        list.push(sound(&field.kind(), options::group(field, true).as_ref(), depth)?);
    }
    Some(Value::List(list))
}

/// The smallest message of a type that keeps all rules. `None` if none was found.
pub(super) fn smallest(descriptor: &MessageDescriptor, depth: usize) -> Option<DynamicMessage> {
    let depth = depth.checked_sub(1)?;
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let alone = field.containing_oneof().is_none_or(|o| o.is_synthetic());
        if alone && let Some(value) = needed(&field, depth)? {
            message.set_field(&field, value);
        }
    }
    for oneof in descriptor.oneofs().filter(options::is_required) {
        let members = oneof.fields().filter(|f| !is_deprecated(f));
        let (field, value) = members.filter_map(|f| Some((f.clone(), member(&f, depth)?))).next()?;
        message.set_field(&field, value);
    }
    Some(message)
}

fn member(field: &FieldDescriptor, depth: usize) -> Option<Value> {
    sound(&field.kind(), options::group(field, false).as_ref(), depth)
}

/// What a field that is no member of a `oneof` must be set to; `Some(None)` where it may stay unset.
fn needed(field: &FieldDescriptor, depth: usize) -> Option<Option<Value>> {
    let Some(rules) = options::rules(field) else { return Some(None) };
    let group = options::group(field, false);
    let in_group = |name: &str| group.as_ref().is_some_and(|(_, g)| options::flag(g, name));
    if field.is_list() || field.is_map() {
        let least = options::bound(field, "min_items").or_else(|| options::bound(field, "min_pairs")).unwrap_or(0);
        if least == 0 {
            return Some(None);
        }
        let kind =
            if field.is_map() { field.kind().as_message()?.map_entry_value_field().kind() } else { field.kind() };
        let element = sound(&kind, options::group(field, true).as_ref(), depth)?;
        return Some(Some(in_shape(field, element, depth)?));
    }
    let required = options::message_rule(&rules, "required") || in_group("required");
    let scalar = !matches!(field.kind(), Kind::Message(_)) && group.is_some() && !in_group("ignore_empty");
    if required || scalar { Some(Some(member(field, depth)?)) } else { Some(None) }
}

/// A value that keeps the rules over one value.
pub(super) fn sound(kind: &Kind, group: Option<&(String, DynamicMessage)>, depth: usize) -> Option<Value> {
    let Kind::Message(message) = kind else { return Some(value::sound_scalar(kind, group)) };
    match message.full_name() {
        "google.protobuf.Any" => {
            let mut any = DynamicMessage::new(message.clone());
            any.set_field_by_name("type_url", Value::String("type.googleapis.com/google.protobuf.Empty".to_owned()));
            Some(Value::Message(any))
        }
        "google.protobuf.Duration" => Some(Value::Message(value::sound_duration(message, group))),
        name if name.starts_with("google.protobuf.") && name.ends_with("Value") && message.fields().len() == 1 => {
            let inner = message.get_field(1)?;
            let mut wrapper = DynamicMessage::new(message.clone());
            wrapper.set_field(&inner, value::sound_scalar(&inner.kind(), group));
            Some(Value::Message(wrapper))
        }
        _ => smallest(message, depth).map(Value::Message),
    }
}
