use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use super::{
    Element, Options, Rule, Shape,
    rules::{Group, Subject},
};
use crate::{
    encoded::value::Scalar,
    validate::{
        check::Checks,
        plan::{List, Map, One},
    },
};

/// Turns the rules of fields into checks.
#[derive(Debug)]
pub(super) struct Compiler {
    pub(super) options: Options,
    /// Plans by the full name of their message.
    pub(super) by_name: HashMap<String, usize>,
    /// Rules that are not known here.
    pub(super) unknown: Vec<String>,
}

/// `FieldRules` taken apart.
#[derive(Debug, Default)]
struct Parts {
    skip: bool,
    required: bool,
    /// `string`, `uint32`, `repeated`, ... and the rules of that kind.
    kind: Option<(String, DynamicMessage)>,
}

impl Parts {
    fn of(rules: Option<&DynamicMessage>) -> Self {
        let mut parts = Self::default();
        for (field, value) in rules.into_iter().flat_map(DynamicMessage::fields) {
            let Value::Message(group) = value else { continue };
            if field.name() == "message" {
                parts.skip = flag(group, "skip");
                parts.required = flag(group, "required");
            } else {
                parts.kind = Some((field.name().to_owned(), group.clone()));
            }
        }
        parts
    }

    /// That the field must be set, said of messages in general or of a well-known type.
    fn required(&self) -> Option<Rule> {
        let own = self.kind.as_ref().filter(|(_, group)| flag(group, "required")).map(|(name, _)| name.as_str());
        let said_by = if self.required { Some("message") } else { own };
        said_by.map(|kind| Rule { name: format!("{kind}.required"), reason: "must be set".to_owned() })
    }
}

fn flag(group: &DynamicMessage, name: &str) -> bool {
    group.get_field_by_name(name).and_then(|v| v.as_bool()).unwrap_or_default()
}

/// The `FieldRules` inside the rules of a list or a map: `items`, `keys`, `values`.
fn inner(group: Option<&DynamicMessage>, name: &str) -> Option<DynamicMessage> {
    let group = group?;
    if group.has_field_by_name(name) { group.get_field_by_name(name)?.as_message().cloned() } else { None }
}

impl Compiler {
    pub(super) fn shape(&mut self, field: &FieldDescriptor) -> Shape {
        let rules = self.options.rules(field);
        let parts = Parts::of(rules.as_ref());
        let group = parts.kind.as_ref().map(|(_, group)| group);
        if field.is_map() {
            return Shape::Map(self.map(field, group));
        }
        if field.is_list() {
            let items = inner(group, "items");
            return Shape::List(List {
                element: self.element(field, &field.kind(), &Parts::of(items.as_ref()), "repeated.items."),
                size: group.map(|g| self.group(field, "repeated", g, Subject::Size)).unwrap_or_default(),
                unique: group.filter(|g| flag(g, "unique")).map(|_| Rule {
                    name: "repeated.unique".to_owned(),
                    reason: "must not repeat an earlier element".to_owned(),
                }),
            });
        }
        Shape::One(One {
            element: self.element(field, &field.kind(), &parts, ""),
            required: parts.required(),
            has_presence: field.supports_presence(),
        })
    }

    fn map(&mut self, field: &FieldDescriptor, group: Option<&DynamicMessage>) -> Map {
        let entry = field.kind().as_message().cloned();
        let key_kind = entry.as_ref().map_or(Kind::String, |e| e.map_entry_key_field().kind());
        let value_kind = entry.map_or(Kind::String, |e| e.map_entry_value_field().kind());
        let (keys, values) = (inner(group, "keys"), inner(group, "values"));
        let keys = match self.element(field, &key_kind, &Parts::of(keys.as_ref()), "map.keys.") {
            Element::Scalar(_, checks) => checks,
            _ => Checks::default(),
        };
        Map {
            key: Scalar::of(&key_kind).unwrap_or(Scalar::Text),
            keys,
            value: self.element(field, &value_kind, &Parts::of(values.as_ref()), "map.values."),
            size: group.map(|g| self.group(field, "map", g, Subject::Size)).unwrap_or_default(),
            no_sparse: group
                .filter(|g| flag(g, "no_sparse"))
                .map(|_| Rule { name: "map.no_sparse".to_owned(), reason: "must have a value".to_owned() }),
        }
    }

    fn element(&mut self, field: &FieldDescriptor, kind: &Kind, parts: &Parts, prefix: &str) -> Element {
        let mut checks = |subject| match &parts.kind {
            Some((name, group)) => self.group(field, &format!("{prefix}{name}"), group, subject),
            None => Checks::default(),
        };
        if let Some(scalar) = Scalar::of(kind) {
            let subject = kind.as_enum().map_or(Subject::Scalar(scalar), |e| Subject::Enum(e.clone()));
            return Element::Scalar(scalar, checks(subject));
        }
        let Kind::Message(message) = kind else { return Element::Message(None) };
        match message.full_name() {
            "google.protobuf.Any" if !parts.skip => Element::Any(checks(Subject::TypeUrl)),
            "google.protobuf.Duration" | "google.protobuf.Timestamp" => Element::Time(checks(Subject::Time)),
            name => match wrapped(message) {
                Some(scalar) => Element::Wrapper(scalar, checks(Subject::Scalar(scalar))),
                None if parts.skip => Element::Message(None),
                None => Element::Message(self.by_name.get(name).copied()),
            },
        }
    }

    fn group(&mut self, field: &FieldDescriptor, name: &str, group: &DynamicMessage, subject: Subject) -> Checks {
        let mut compiled = Group::new(name, subject);
        for (rule, value) in group.fields() {
            if !compiled.add(rule.name(), value, group) {
                self.unknown.push(format!("{}: {name}.{}", field.full_name(), rule.name()));
            }
        }
        compiled.finish()
    }
}

/// What `google.protobuf.UInt32Value` and its like hold.
fn wrapped(message: &MessageDescriptor) -> Option<Scalar> {
    let name = message.full_name().strip_prefix("google.protobuf.")?.strip_suffix("Value")?;
    let known = ["Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes"];
    known.contains(&name).then(|| Scalar::of(&message.get_field(1)?.kind()))?
}
