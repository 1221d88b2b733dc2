//! Single rules, and values on either side of them.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::{
    instance,
    options::{self, group, inner_group},
    value::{is_crossed, sides},
};

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
    let required = message.oneofs().filter(options::is_required).map(|o| Rule {
        field: o.name().to_owned(),
        name: "oneof.required".to_owned(),
        broken: Action::Clear(o.fields().collect()),
        sound: Action::Leave,
    });
    let fields = message.fields().filter(|f| !options::is_deprecated(f));
    required.chain(fields.flat_map(|f| of_field(&f))).collect()
}

fn of_field(field: &FieldDescriptor) -> Vec<Rule> {
    let Some(rules) = options::rules(field) else { return Vec::new() };
    let mut found = Vec::new();
    let mut add = |name: String, broken: Option<Action>, sound: Option<Action>| {
        if let (Some(broken), Some(sound)) = (broken, sound) {
            found.push(Rule { field: field.name().to_owned(), name, broken, sound });
        }
    };
    let own = group(field, false);
    // A member of a `oneof` that is not set is not asked for.
    let can_miss = field.containing_oneof().is_none_or(|o| o.is_synthetic());
    if can_miss && options::message_rule(&rules, "required") {
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
