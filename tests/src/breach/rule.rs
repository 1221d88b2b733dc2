//! Single rules, and values on either side of them.

use prost_reflect::{
    DynamicMessage, EnumValueDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, OneofDescriptor,
    ReflectMessage as _, Value,
};

use super::instance;

/// A rule of a message type.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The field, or the `oneof`.
    pub field: String,
    /// `string.min_len`, `repeated.items.uint32.lte`, `oneof.required`.
    pub name: String,
    broken: Action,
    sound: Action,
}

#[derive(Debug, Clone)]
enum Action {
    /// Unsets the field, or all members of the `oneof`.
    Clear(Vec<FieldDescriptor>),
    Set(FieldDescriptor, Value),
    /// The smallest message is as it should be.
    Leave,
}

impl Rule {
    /// Makes `message` break the rule, or just keep it.
    pub fn apply(&self, message: &mut DynamicMessage, breach: bool) {
        match if breach { &self.broken } else { &self.sound } {
            Action::Clear(fields) => fields.iter().for_each(|f| message.clear_field(f)),
            Action::Set(field, value) => message.set_field(field, value.clone()),
            Action::Leave => {}
        }
    }
}

/// The rules that a message type states for its own fields.
pub(super) fn all(message: &MessageDescriptor) -> Vec<Rule> {
    let required = message.oneofs().filter(is_required).map(|o| Rule {
        field: o.name().to_owned(),
        name: "oneof.required".to_owned(),
        broken: Action::Clear(o.fields().collect()),
        sound: Action::Leave,
    });
    let fields = message.fields().filter(|f| !super::is_deprecated(f));
    required.chain(fields.flat_map(|f| of_field(&f))).collect()
}

fn of_field(field: &FieldDescriptor) -> Vec<Rule> {
    let Some(rules) = rules(field) else { return Vec::new() };
    let mut found = Vec::new();
    let mut add = |name: String, broken: Option<Action>, sound: Option<Action>| {
        if let (Some(broken), Some(sound)) = (broken, sound) {
            found.push(Rule { field: field.name().to_owned(), name, broken, sound });
        }
    };
    let own = group(field, false);
    // A member of a `oneof` that is not set is not asked for.
    let can_miss = field.containing_oneof().is_none_or(|o| o.is_synthetic());
    if can_miss && message_rule(&rules, "required") {
        add("message.required".to_owned(), Some(Action::Clear(vec![field.clone()])), Some(Action::Leave));
    }
    for (prefix, kind, group) in levels(field) {
        let (group_name, group) = group;
        for (rule, value) in group.fields() {
            let name = format!("{prefix}{group_name}.{}", rule.name());
            if rule.name() == "required" {
                let wanted = can_miss && value.as_bool() == Some(true);
                wanted.then(|| add(name, Some(Action::Clear(vec![field.clone()])), Some(Action::Leave)));
                continue;
            }
            // Ends that are crossed are one rule, named after the lower.
            if rule.name().starts_with('l') && is_crossed(&group) {
                continue;
            }
            let Some((broken, sound)) = sides(&kind, &group, rule.name(), value) else { continue };
            let set = |value| place(field, prefix, &kind, value);
            add(name, set(broken), set(sound));
        }
    }
    if let Some((kind @ ("repeated" | "map"), group)) = own.as_ref().map(|(n, g)| (n.as_str(), g)) {
        for (rule, value) in group.fields() {
            let (broken, sound) = size(field, rule.name(), value).unzip();
            let set = |value| Action::Set(field.clone(), value);
            add(format!("{kind}.{}", rule.name()), broken.map(set), sound.map(set));
        }
    }
    found
}

/// The groups of rules over single values: of the field itself, of its elements, keys or values.
fn levels(field: &FieldDescriptor) -> Vec<(&'static str, Kind, (String, DynamicMessage))> {
    let Some((name, own)) = group(field, false) else { return Vec::new() };
    let inner = |inner: &str| inner_group(&own, inner);
    let entry = field.kind().as_message().filter(|m| m.is_map_entry()).cloned();
    match (name.as_str(), entry) {
        ("repeated", _) => inner("items").map(|g| ("repeated.items.", field.kind(), g)).into_iter().collect(),
        ("map", Some(entry)) => {
            let keys = inner("keys").map(|g| ("map.keys.", entry.map_entry_key_field().kind(), g));
            let values = inner("values").map(|g| ("map.values.", entry.map_entry_value_field().kind(), g));
            keys.into_iter().chain(values).collect()
        }
        _ => vec![("", field.kind(), (name, own))],
    }
}

/// A value in its place in the field.
fn place(field: &FieldDescriptor, prefix: &str, kind: &Kind, value: Value) -> Option<Action> {
    let value = match kind {
        Kind::Message(message) if !matches!(value, Value::Message(_)) => {
            let mut wrapper = DynamicMessage::new(message.clone());
            wrapper.set_field(&message.get_field(1)?, value);
            Value::Message(wrapper)
        }
        _ => value,
    };
    let value = if prefix == "map.keys." {
        let key = MapKey::String(value.as_str()?.to_owned());
        let kind = field.kind().as_message()?.map_entry_value_field().kind();
        Value::Map([(key, instance::sound(&kind, None, instance::MAX_DEPTH)?)].into())
    } else {
        instance::in_shape(field, value, instance::MAX_DEPTH)?
    };
    Some(Action::Set(field.clone(), value))
}

/// A field of the wrong and of the right size.
fn size(field: &FieldDescriptor, rule: &str, value: &Value) -> Option<(Value, Value)> {
    let list = |count: u64| -> Option<Value> {
        let group = group(field, true);
        let one = instance::sound(&field.kind(), group.as_ref(), instance::MAX_DEPTH)?;
        Some(Value::List(vec![one; usize::try_from(count).ok()?]))
    };
    match rule {
        "min_items" => Some((list(value.as_u64()?.checked_sub(1)?)?, list(value.as_u64()?)?)),
        "max_items" => Some((list(value.as_u64()? + 1)?, list(value.as_u64()?)?)),
        "unique" => Some((list(2)?, list(1)?)),
        "min_pairs" => {
            let kind = field.kind().as_message()?.map_entry_value_field().kind();
            let one =
                instance::in_shape(field, instance::sound(&kind, None, instance::MAX_DEPTH)?, instance::MAX_DEPTH)?;
            Some((Value::Map([].into()), one))
        }
        _ => None,
    }
}

/// A value that breaks a rule over one value, and one that just keeps it.
fn sides(kind: &Kind, group: &DynamicMessage, rule: &str, value: &Value) -> Option<(Value, Value)> {
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
fn is_crossed(group: &DynamicMessage) -> bool {
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

/// The `FieldRules` of a field.
pub(super) fn rules(field: &FieldDescriptor) -> Option<DynamicMessage> {
    let extension = mesh_xds_api::descriptor_pool().get_extension_by_name("validate.rules")?;
    let options = field.options();
    options.has_extension(&extension).then(|| options.get_extension(&extension).as_message().cloned())?
}

/// Whether one member must be set.
pub(super) fn is_required(oneof: &OneofDescriptor) -> bool {
    let pool = mesh_xds_api::descriptor_pool();
    let extension = pool.get_extension_by_name("validate.required");
    extension.is_some_and(|e| oneof.options().get_extension(&e).as_bool() == Some(true))
}

/// Whether a rule for messages (`required`, `skip`) is stated.
pub(super) fn message_rule(rules: &DynamicMessage, name: &str) -> bool {
    rules.get_field_by_name("message").and_then(|m| Some(flag(m.as_message()?, name))).unwrap_or_default()
}

pub(super) fn flag(group: &DynamicMessage, name: &str) -> bool {
    group.get_field_by_name(name).and_then(|v| v.as_bool()).unwrap_or_default()
}

/// The rules of one kind, by its name; with `items`, those of the elements of a list.
pub(super) fn group(field: &FieldDescriptor, items: bool) -> Option<(String, DynamicMessage)> {
    let own = kind_group(&rules(field)?)?;
    if items { inner_group(&own.1, "items") } else { Some(own) }
}

fn inner_group(group: &DynamicMessage, name: &str) -> Option<(String, DynamicMessage)> {
    if !group.has_field_by_name(name) {
        return None;
    }
    kind_group(group.get_field_by_name(name)?.as_message()?)
}

fn kind_group(rules: &DynamicMessage) -> Option<(String, DynamicMessage)> {
    let mut fields = rules.fields().filter(|(f, _)| f.name() != "message");
    fields.find_map(|(f, v)| Some((f.name().to_owned(), v.as_message()?.clone())))
}

/// A bound of the size of a list or map.
pub(super) fn bound(field: &FieldDescriptor, name: &str) -> Option<u64> {
    let (_, group) = group(field, false)?;
    if group.has_field_by_name(name) { group.get_field_by_name(name)?.as_u64() } else { None }
}
