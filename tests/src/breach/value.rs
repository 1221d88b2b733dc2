//! Values on either side of a rule.

use prost_reflect::{DynamicMessage, EnumValueDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value};

use super::options::flag;

/// A value that breaks a rule over one value, and one that just keeps it.
pub(super) fn sides(kind: &Kind, group: &DynamicMessage, rule: &str, value: &Value) -> Option<(Value, Value)> {
    if let Value::Message(limit) = value {
        return duration_sides(limit, rule);
    }
    let scalar = match kind {
        Kind::Message(message) => message.get_field(1)?.kind(),
        _ => kind.clone(),
    };
    let sound = || sound_scalar(&scalar, Some(&(String::new(), group.clone())));
    let text = |count: u64| Value::String("a".repeat(usize::try_from(count).unwrap_or_default()));
    let bytes = |count: u64| Value::Bytes(vec![b'a'; usize::try_from(count).unwrap_or_default()].into());
    let of = |count: u64| if matches!(scalar, Kind::Bytes) { bytes(count) } else { text(count) };
    Some(match rule {
        "min_len" | "min_bytes" => (of(value.as_u64()?.checked_sub(1)?), of(value.as_u64()?)),
        "max_len" | "max_bytes" => (of(value.as_u64()? + 1), of(value.as_u64()?)),
        "prefix" | "suffix" => (Value::String("x".to_owned()), sound()),
        "pattern" => (Value::String("?".to_owned()), sound()),
        "well_known_regex" => (Value::String("a\n".to_owned()), sound()),
        "in" => (Value::String("nothing of the list".to_owned()), sound()),
        "not_in" => (Value::EnumNumber(value.as_list()?.first()?.as_i32()?), sound()),
        "defined_only" => (Value::EnumNumber(12_345), sound()),
        "const" => (Value::Bool(!value.as_bool()?), value.clone()),
        "gte" => (shifted(value, -1)?, value.clone()),
        "gt" => (value.clone(), shifted(value, 1)?),
        "lte" => (shifted(value, 1)?, value.clone()),
        "lt" => (value.clone(), shifted(value, -1)?),
        _ => return None,
    })
}

/// The next number. `None` if there is none.
fn shifted(value: &Value, by: i8) -> Option<Value> {
    Some(match value {
        Value::I32(v) => Value::I32(v.checked_add(by.into())?),
        Value::I64(v) => Value::I64(v.checked_add(by.into())?),
        Value::U32(v) => Value::U32(v.checked_add_signed(by.into())?),
        Value::U64(v) => Value::U64(v.checked_add_signed(by.into())?),
        Value::F32(v) => Value::F32(if by > 0 { v.next_up() } else { v.next_down() }),
        Value::F64(v) => Value::F64(if by > 0 { v.next_up() } else { v.next_down() }),
        _ => return None,
    })
}

fn duration_sides(limit: &DynamicMessage, rule: &str) -> Option<(Value, Value)> {
    let next = |by| Value::Message(duration(limit.descriptor(), nanos(limit) + by));
    let limit = next(0);
    Some(match rule {
        "gte" => (next(-1), limit),
        "gt" => (limit, next(1)),
        "lte" => (next(1), limit),
        "lt" => (limit, next(-1)),
        _ => return None,
    })
}

/// Whether a range of durations means outside.
pub(super) fn is_crossed(group: &DynamicMessage) -> bool {
    let end = |names: [&str; 2]| {
        let name = names.into_iter().find(|n| group.has_field_by_name(n))?;
        group.get_field_by_name(name)?.as_message().map(nanos)
    };
    end(["gt", "gte"]).zip(end(["lt", "lte"])).is_some_and(|(lower, upper)| lower >= upper)
}

fn nanos(duration: &DynamicMessage) -> i128 {
    let field = |name: &str| duration.get_field_by_name(name).expect("a duration").into_owned();
    let seconds = i128::from(field("seconds").as_i64().expect("int64"));
    seconds * 1_000_000_000 + i128::from(field("nanos").as_i32().expect("int32"))
}

fn duration(descriptor: MessageDescriptor, nanos: i128) -> DynamicMessage {
    let mut duration = DynamicMessage::new(descriptor);
    let seconds = i64::try_from(nanos / 1_000_000_000).expect("a limit of the API");
    duration.set_field_by_name("seconds", Value::I64(seconds));
    duration.set_field_by_name("nanos", Value::I32((nanos % 1_000_000_000) as i32));
    duration
}

/// A duration that keeps the rules.
pub(super) fn sound_duration(
    descriptor: &MessageDescriptor,
    group: Option<&(String, DynamicMessage)>,
) -> DynamicMessage {
    let limit = |name: &str| {
        let group = group.filter(|(_, g)| g.has_field_by_name(name))?;
        Some(nanos(group.1.get_field_by_name(name)?.as_message()?))
    };
    let least = limit("gte").or_else(|| limit("gt").map(|n| n + 1)).unwrap_or(0);
    duration(descriptor.clone(), least)
}

/// A value that keeps the rules.
pub(super) fn sound_scalar(kind: &Kind, group: Option<&(String, DynamicMessage)>) -> Value {
    let get = |name: &str| {
        let group = group.filter(|(_, g)| g.has_field_by_name(name))?;
        group.1.get_field_by_name(name).map(std::borrow::Cow::into_owned)
    };
    let count = |name: &str| get(name).and_then(|v| v.as_u64()).unwrap_or(0);
    match kind {
        Kind::String => match get("in").and_then(|v| v.as_list()?.first().cloned()) {
            Some(first) => first,
            None if get("prefix").is_some() => Value::String("%aa%".to_owned()),
            // Two letters satisfy every pattern of the API.
            None => Value::String("a".repeat(usize::try_from(count("min_len").max(2)).unwrap_or_default())),
        },
        Kind::Bytes => Value::Bytes(vec![b'a'; usize::try_from(count("min_len")).unwrap_or_default()].into()),
        Kind::Enum(descriptor) => {
            let refused = get("not_in").map(|v| v.as_list().unwrap_or_default().to_vec()).unwrap_or_default();
            // Envoy has its own word about deprecated values.
            let deprecated = |v: &EnumValueDescriptor| flag(&v.options(), "deprecated");
            let mut numbers = descriptor.values().filter(|v| !deprecated(v)).map(|v| v.number());
            let number = numbers.find(|n| !refused.iter().any(|r| r.as_i32() == Some(*n)));
            Value::EnumNumber(number.expect("an enum with a value that is allowed"))
        }
        Kind::Bool => get("const").unwrap_or(Value::Bool(true)),
        _ => get("gte").or_else(|| shifted(&get("gt")?, 1)).unwrap_or_else(|| Value::default_value(kind)),
    }
}
