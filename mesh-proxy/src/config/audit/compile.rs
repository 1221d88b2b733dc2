//! Tables and descriptors make what messages are compared with.

use std::collections::HashMap;

use mesh_xds_api::file_descriptors;
use prost_types::{
    DescriptorProto, FieldDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

use super::{Compiled, Field, MessageTable, Verdict, is_plain};

/// Descriptors are read file by file: all of them at once would be the largest thing that the process ever holds.
pub(super) fn compile(tables: &'static [&'static [MessageTable]]) -> Compiled {
    let mut compiled = Compiled::default();
    let mut wanted: HashMap<&str, &MessageTable> = HashMap::new();
    for table in tables.iter().copied().flatten() {
        let next = compiled.by_name.len();
        compiled.by_name.entry(table.message).or_insert(next);
        wanted.entry(table.message).or_insert(table);
    }
    compiled.messages.resize_with(compiled.by_name.len(), HashMap::new);
    let is_wanted = |package: &str| wanted.keys().any(|m| m.strip_prefix(package).is_some_and(|m| m.starts_with('.')));
    for file in file_descriptors(is_wanted) {
        let proto3 = file.syntax() == "proto3";
        for message in &file.message_type {
            take_message(message, file.package(), proto3, &wanted, &mut compiled);
        }
    }
    compiled
}

/// Compiles the table of a message, if there is one, and of those that are declared inside.
fn take_message(
    message: &DescriptorProto,
    outer: &str,
    proto3: bool,
    wanted: &HashMap<&str, &'static MessageTable>,
    compiled: &mut Compiled,
) {
    let full_name = format!("{outer}.{}", message.name());
    if let Some(table) = wanted.get(full_name.as_str()) {
        let at = compiled.by_name[table.message];
        compiled.messages[at] = fields(&Described { message, full_name: &full_name, proto3 }, table, &compiled.by_name);
    }
    for inner in &message.nested_type {
        take_message(inner, &full_name, proto3, wanted, compiled);
    }
}

/// A message's descriptor, and what it does not tell itself.
struct Described<'a> {
    message: &'a DescriptorProto,
    full_name: &'a str,
    proto3: bool,
}

impl Described<'_> {
    /// The field that holds the values, if `field` is a map.
    fn map_value(&self, field: &FieldDescriptorProto) -> Option<&FieldDescriptorProto> {
        let entry = field.type_name().strip_prefix('.')?.strip_prefix(self.full_name)?.strip_prefix('.')?;
        let entry = self.message.nested_type.iter().find(|inner| inner.name() == entry)?;
        entry.options.as_ref().filter(|options| options.map_entry())?;
        entry.field.iter().find(|field| field.number() == 2)
    }

    /// It can be told whether the field is set.
    fn has_presence(&self, field: &FieldDescriptorProto) -> bool {
        field.proto3_optional()
            || field.oneof_index.is_some()
            || field.label() == Label::Repeated
            || field.r#type() == Type::Message
            || !self.proto3
    }
}

fn fields(
    descriptor: &Described<'_>,
    table: &MessageTable,
    known: &HashMap<&'static str, usize>,
) -> HashMap<u32, Field> {
    let field = |field: &FieldDescriptorProto| {
        let name = field.name();
        let map_value = descriptor.map_value(field);
        let verdict = if table.irrelevant.iter().any(|(f, _)| *f == name) {
            Verdict::Leaf
        } else if table.carried.contains(&name) || table.limited.iter().any(|(f, _)| *f == name) {
            match map_value {
                Some(value) => Verdict::Map(Box::new(inside(value, known))),
                None => inside(field, known),
            }
        } else {
            Verdict::Refused { presence: descriptor.has_presence(field) }
        };
        let repeated = field.label() == Label::Repeated && map_value.is_none();
        (field.number() as u32, Field { name: name.to_owned(), repeated, verdict })
    };
    descriptor.message.field.iter().map(field).collect()
}

fn inside(field: &FieldDescriptorProto, known: &HashMap<&'static str, usize>) -> Verdict {
    if field.r#type() != Type::Message {
        return Verdict::Leaf;
    }
    match field.type_name().trim_start_matches('.') {
        "google.protobuf.Any" => Verdict::Any,
        name if is_plain(name) => Verdict::Leaf,
        name => known.get(name).map_or(Verdict::Refused { presence: true }, |at| Verdict::Message(*at)),
    }
}

#[cfg(test)]
mod tests {
    use mesh_xds_api::descriptor_pool;
    use prost_reflect::Kind;

    use super::*;
    use crate::config::{bootstrap, translator};

    /// What is read from the files one by one is what reflection tells.
    #[test]
    fn compiled_as_reflection_tells() {
        let audits = [&bootstrap::BOOTSTRAP, &translator::LISTENER, &translator::ROUTE, &translator::CLUSTER];
        for audit in audits {
            let compiled = compile(audit.tables);
            assert!(compiled.messages.len() > 10);
            for (name, at) in &compiled.by_name {
                let message = descriptor_pool().get_message_by_name(name).unwrap();
                assert_eq!(compiled.messages[*at].len(), message.fields().len(), "{name}");
                for field in message.fields() {
                    let found = &compiled.messages[*at][&field.number()];
                    assert_eq!((found.name.as_str(), found.repeated), (field.name(), field.is_list()), "{name}");
                    let presence = field.supports_presence() || field.is_list() || field.is_map();
                    let right = match &found.verdict {
                        Verdict::Refused { presence: found } => *found == presence,
                        Verdict::Map(_) => field.is_map(),
                        Verdict::Message(_) | Verdict::Any => {
                            matches!(field.kind(), Kind::Message(_)) && !field.is_map()
                        }
                        Verdict::Leaf => true,
                    };
                    assert!(right, "{name}.{}: {:?}", field.name(), found.verdict);
                }
            }
        }
    }
}
