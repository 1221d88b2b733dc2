//! The same rules once more: slow, over decoded messages, and read from the options at every step.

use std::collections::BTreeSet;

use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, ReflectMessage as _, Value};
use regex::Regex;

use crate::descriptor_pool;

/// Path and rule of everything that `message` breaks.
pub(super) fn broken(message: &DynamicMessage) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(message, "", &mut found);
    found
}

fn walk(message: &DynamicMessage, path: &str, found: &mut BTreeSet<String>) {
    if message.descriptor().full_name() == "google.protobuf.Any" {
        return walk_any(message, path, found);
    }
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for field in message.descriptor().fields() {
        let set = message.has_field(&field);
        if field.containing_oneof().is_some() && !set {
            continue;
        }
        let rules = rules(&field);
        let value = message.get_field(&field);
        let path = at(field.name());
        match value.as_ref() {
            Value::List(list) => walk_list(&field, rules.as_ref(), list, &path, found),
            Value::Map(map) => {
                let rules = rules.and_then(|r| sub(&r, "map"));
                let pairs = number(rules.as_ref(), "min_pairs");
                if pairs.is_some_and(|min| (map.len() as u64) < min) {
                    found.insert(format!("{path} map.min_pairs"));
                }
                for (key, value) in map {
                    let MapKey::String(text) = key else { continue };
                    let path = format!("{path}[{text:?}]");
                    let keys = rules.as_ref().and_then(|r| sub(r, "keys"));
                    if let Some(keys) = keys {
                        judge(&field, &keys, &Value::String(text.clone()), &path, "map.keys.", found);
                    }
                    if let Value::Message(inner) = value {
                        walk(inner, &path, found);
                    }
                }
            }
            Value::Message(inner) => {
                if let Some(rules) = &rules {
                    for kind in ["message", "duration", "any"].map(|k| (k, sub(rules, k))) {
                        if !set && kind.1.as_ref().is_some_and(|g| flag(g, "required")) {
                            found.insert(format!("{path} {}.required", kind.0));
                        }
                    }
                    if set {
                        judge(&field, rules, &unwrapped(inner), &path, "", found);
                    }
                }
                let skip = rules.and_then(|r| sub(&r, "message")).is_some_and(|m| flag(&m, "skip"));
                if set && !skip {
                    walk(inner, &path, found);
                }
            }
            scalar => {
                if let Some(rules) = &rules {
                    judge(&field, rules, scalar, &path, "", found);
                }
            }
        }
    }
    let required = descriptor_pool().get_extension_by_name("validate.required").unwrap();
    for oneof in message.descriptor().oneofs() {
        let wanted = oneof.options().get_extension(&required).as_bool() == Some(true);
        if wanted && !oneof.fields().any(|f| message.has_field(&f)) {
            found.insert(format!("{} oneof.required", at(oneof.name())));
        }
    }
}

fn walk_any(any: &DynamicMessage, path: &str, found: &mut BTreeSet<String>) {
    let (url, value) = (any.get_field_by_name("type_url").unwrap(), any.get_field_by_name("value").unwrap());
    let name = url.as_str().unwrap().rsplit('/').next().unwrap();
    if let Some(descriptor) = descriptor_pool().get_message_by_name(name) {
        let inner = DynamicMessage::decode(descriptor, value.as_bytes().unwrap().clone());
        walk(&inner.expect("the test packs what can be decoded"), path, found);
    }
}

fn walk_list(
    field: &FieldDescriptor,
    rules: Option<&DynamicMessage>,
    list: &[Value],
    path: &str,
    found: &mut BTreeSet<String>,
) {
    let rules = rules.and_then(|r| sub(r, "repeated"));
    if number(rules.as_ref(), "min_items").is_some_and(|min| (list.len() as u64) < min) {
        found.insert(format!("{path} repeated.min_items"));
    }
    if number(rules.as_ref(), "max_items").is_some_and(|max| list.len() as u64 > max) {
        found.insert(format!("{path} repeated.max_items"));
    }
    for (i, value) in list.iter().enumerate() {
        let path = format!("{path}[{i}]");
        if rules.as_ref().is_some_and(|r| flag(r, "unique")) && list[..i].contains(value) {
            found.insert(format!("{path} repeated.unique"));
        }
        if let Some(items) = rules.as_ref().and_then(|r| sub(r, "items")) {
            judge(field, &items, value, &path, "repeated.items.", found);
        }
        if let Value::Message(inner) = value {
            walk(inner, &path, found);
        }
    }
}

/// One value against the `FieldRules` over it.
fn judge(
    field: &FieldDescriptor,
    rules: &DynamicMessage,
    value: &Value,
    path: &str,
    prefix: &str,
    found: &mut BTreeSet<String>,
) {
    for (kind, group) in rules.fields().filter(|(f, _)| f.name() != "message") {
        let Value::Message(group) = group else { continue };
        let empty = matches!(value, Value::String(t) if t.is_empty()) || ordinal(value) == Some(0.0);
        if group.has_field_by_name("ignore_empty") && flag(group, "ignore_empty") && empty {
            continue;
        }
        for (rule, limit) in group.fields() {
            if !holds(field, group, rule.name(), limit, value) {
                found.insert(format!("{path} {prefix}{}.{}", kind.name(), rule.name()));
            }
        }
    }
}

/// The rules of the API.
fn holds(field: &FieldDescriptor, group: &DynamicMessage, rule: &str, limit: &Value, value: &Value) -> bool {
    // Its one range with crossed ends, which is told by the lower: both must be broken.
    let other = |name: &str| group.has_field_by_name(name).then(|| group.get_field_by_name(name)).flatten();
    let (own, crossed) = (holds_alone(field, group, rule, limit, value), |lower: &Value, upper: &Value| {
        ordinal(lower) >= ordinal(upper)
    });
    match rule {
        "gte" => match other("lte") {
            Some(upper) if crossed(limit, &upper) => own || holds_alone(field, group, "lte", &upper, value),
            _ => own,
        },
        "lte" => own || other("gte").is_some_and(|lower| crossed(&lower, limit)),
        _ => own,
    }
}

fn holds_alone(field: &FieldDescriptor, group: &DynamicMessage, rule: &str, limit: &Value, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    let bytes = value.as_bytes().map_or(text.len(), |b| b.len()) as u64;
    let chars = if value.as_bytes().is_some() { bytes } else { text.chars().count() as u64 };
    let count = || limit.as_u64().unwrap();
    let order = || ordinal(value).unwrap().partial_cmp(&ordinal(limit).unwrap()).unwrap();
    let listed = || {
        let number = value.as_enum_number().map(Value::I32);
        limit.as_list().unwrap().iter().any(|l| Some(l) == number.as_ref() || l == value)
    };
    let header = |class: &str| Regex::new(class).unwrap().is_match(text);
    match rule {
        "lt" => order().is_lt(),
        "lte" => order().is_le(),
        "gt" => order().is_gt(),
        "gte" => order().is_ge(),
        "const" => limit == value,
        "in" => listed(),
        "not_in" => !listed(),
        "defined_only" => field.kind().as_enum().unwrap().get_value(value.as_enum_number().unwrap()).is_some(),
        "min_len" => chars >= count(),
        "max_len" => chars <= count(),
        "min_bytes" => bytes >= count(),
        "max_bytes" => bytes <= count(),
        "prefix" => text.starts_with(limit.as_str().unwrap()),
        "suffix" => text.ends_with(limit.as_str().unwrap()),
        "pattern" => Regex::new(limit.as_str().unwrap()).unwrap().is_match(text),
        "well_known_regex" if !flag(group, "strict") => header(r"^[^\x00\x0A\x0D]*$"),
        "well_known_regex" if limit.as_enum_number() == Some(2) => header(r"^[^\x00-\x08\x0A-\x1F\x7F]*$"),
        "well_known_regex" => header(r"^:?[0-9a-zA-Z!#$%&'*+-.^_|~\x60]+$"),
        _ => true,
    }
}

/// As a number that can be compared; durations in seconds.
fn ordinal(value: &Value) -> Option<f64> {
    Some(match value {
        Value::I32(v) => f64::from(*v),
        Value::U32(v) => f64::from(*v),
        Value::I64(v) => *v as f64,
        Value::U64(v) => *v as f64,
        Value::F32(v) => f64::from(*v),
        Value::F64(v) => *v,
        Value::Message(m) => {
            let part = |name: &str| m.get_field_by_name(name);
            part("seconds")?.as_i64()? as f64 + f64::from(part("nanos")?.as_i32()?) / 1e9
        }
        _ => return None,
    })
}

fn unwrapped(message: &DynamicMessage) -> Value {
    let descriptor = message.descriptor();
    let name = descriptor.full_name();
    match descriptor.get_field(1) {
        Some(value) if name.starts_with("google.protobuf.") && name.ends_with("Value") => {
            message.get_field(&value).into_owned()
        }
        _ => Value::Message(message.clone()),
    }
}

fn rules(field: &FieldDescriptor) -> Option<DynamicMessage> {
    let extension = descriptor_pool().get_extension_by_name("validate.rules")?;
    let options = field.options();
    options.has_extension(&extension).then(|| options.get_extension(&extension).as_message().cloned())?
}

fn sub(group: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    group.has_field_by_name(name).then(|| group.get_field_by_name(name)?.as_message().cloned())?
}

fn flag(group: &DynamicMessage, name: &str) -> bool {
    group.get_field_by_name(name).is_some_and(|v| v.as_bool() == Some(true))
}

fn number(group: Option<&DynamicMessage>, name: &str) -> Option<u64> {
    group.filter(|g| g.has_field_by_name(name))?.get_field_by_name(name)?.as_u64()
}
