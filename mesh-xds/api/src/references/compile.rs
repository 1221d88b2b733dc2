//! The table and the descriptors into plans.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

use super::{
    place::{Place, Step},
    plan::{Content, Count, Field, Naming, Plan, Registry, Source},
    table::{self, NAMINGS, PASSED_OVER, SERVED, SOURCE},
};
use crate::encoded::{ANY, reach, value::Scalar};

pub(super) fn registry(pool: &DescriptorPool) -> Registry {
    let walked = |m: &MessageDescriptor| !m.is_map_entry() && !PASSED_OVER.contains(&m.full_name());
    let candidates = pool.all_messages().filter(walked).collect();
    let active = reach::leading_to(candidates, |m| m.full_name() == ANY || namings(m).next().is_some());
    let by_name: HashMap<String, usize> =
        active.iter().enumerate().map(|(id, m)| (m.full_name().to_owned(), id)).collect();
    let plans = active.iter().map(|m| plan(m, &by_name)).collect();
    Registry { plans, by_name, source: source(pool) }
}

fn source(pool: &DescriptorPool) -> Source {
    let Some(message) = pool.get_message_by_name(SOURCE) else { return Source::default() };
    let member = |f: &FieldDescriptor| f.containing_oneof().is_some();
    let served = SERVED.iter().filter_map(|name| message.get_field_by_name(name));
    Source {
        members: message.fields().filter(member).map(|f| f.number()).collect(),
        served: served.map(|f| f.number()).collect(),
    }
}

fn namings(message: &MessageDescriptor) -> impl Iterator<Item = &'static table::Naming> {
    NAMINGS.iter().filter(move |n| n.message == message.full_name())
}

fn plan(message: &MessageDescriptor, by_name: &HashMap<String, usize>) -> Plan {
    let mut descriptors: Vec<FieldDescriptor> = message.fields().collect();
    descriptors.sort_by_key(FieldDescriptor::number);
    let firsts: Vec<&str> = namings(message)
        .flat_map(|n| n.names.iter().copied().chain(n.source))
        .map(|path| path.split('.').next().unwrap_or_default())
        .collect();
    let mut fields: Vec<Field> = descriptors.iter().map(|d| field(message, d, by_name)).collect();
    let counts: Vec<bool> = fields.iter().map(|f| f.content.leads_on() || firsts.contains(&f.name.as_str())).collect();
    // A member that does not count matters where it displaces one that does.
    let oneofs: Vec<Option<usize>> = fields.iter().zip(&counts).filter(|(_, c)| **c).map(|(f, _)| f.oneof).collect();
    let mut counts = counts.into_iter();
    fields.retain(|f| counts.next().unwrap_or_default() || f.oneof.is_some() && oneofs.contains(&f.oneof));
    let namings = namings(message)
        .map(|n| Naming {
            names: n.names.iter().filter_map(|path| place(message, &fields, path)).collect(),
            source: n.source.and_then(|path| place(message, &fields, path)),
            to: n.to.clone(),
        })
        .collect();
    Plan { fields, namings }
}

fn field(message: &MessageDescriptor, field: &FieldDescriptor, by_name: &HashMap<String, usize>) -> Field {
    let content = match reach::target(field) {
        None => Content::Scalar,
        Some(target) if target.full_name() == ANY => Content::Any,
        Some(target) => Content::Message(by_name.get(target.full_name()).copied()),
    };
    let key = || field.kind().as_message().and_then(|entry| Scalar::of(&entry.map_entry_key_field().kind()));
    let count = match (field.is_map(), field.is_list()) {
        (true, _) => Count::Map(key().unwrap_or(Scalar::Text)),
        (_, true) => Count::List,
        _ => Count::One,
    };
    let oneof = field.containing_oneof().filter(|o| !o.is_synthetic());
    let oneof = oneof.and_then(|own| message.oneofs().position(|o| o == own));
    Field { number: field.number(), name: field.name().to_owned(), oneof, count, content }
}

/// `None` if the table names a field that is not there: a test proves that it does not.
fn place(message: &MessageDescriptor, fields: &[Field], path: &'static str) -> Option<Place> {
    let mut names = path.split('.');
    let first = message.get_field_by_name(names.next()?)?;
    let field = fields.iter().position(|f| f.number == first.number())?;
    let mut kind = first.kind();
    let mut rest = Vec::new();
    for name in names {
        let next = kind.as_message()?.get_field_by_name(name)?;
        rest.push(Step { number: next.number(), merges: matches!(next.kind(), Kind::Message(_)) });
        kind = next.kind();
    }
    Some(Place { path, field, rest })
}
