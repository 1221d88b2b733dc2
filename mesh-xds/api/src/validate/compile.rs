//! Descriptors into plans.
//!
//! Most messages of the API hold a rule somewhere below them, but many fields lead to none: only the types in which a rule
//! can apply, because they state one, hold an `Any`, or lead to such a type, get a plan.

mod field;
mod options;
mod rules;

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};

use self::{field::Compiler, options::Options};
use super::{
    check::Rule,
    plan::{Element, Field, Oneof, Plan, Registry, Shape},
};
use crate::encoded::{ANY, reach};

/// The plans of all message types of `pool`, and the rules that this module does not know, each with its field.
pub(super) fn registry(pool: &DescriptorPool) -> (Registry, Vec<String>) {
    let Some(options) = Options::of(pool) else { return (Registry::default(), Vec::new()) };
    let active = active(pool, &options);
    let by_name = active.iter().enumerate().map(|(id, m)| (m.full_name().to_owned(), id)).collect();
    let mut compiler = Compiler { options, by_name, unknown: Vec::new() };
    let plans = active.iter().map(|m| plan(&mut compiler, m)).collect();
    (Registry { plans, by_name: compiler.by_name }, compiler.unknown)
}

fn active(pool: &DescriptorPool, options: &Options) -> Vec<MessageDescriptor> {
    let candidates = pool.all_messages().filter(|m| !m.is_map_entry() && !options.is_exempt(m)).collect();
    reach::leading_to(candidates, |m| m.full_name() == ANY || states_rules(m, options))
}

fn states_rules(message: &MessageDescriptor, options: &Options) -> bool {
    message.oneofs().any(|o| options.required(&o)) || message.fields().any(|f| options.rules(&f).is_some())
}

fn plan(compiler: &mut Compiler, message: &MessageDescriptor) -> Plan {
    let mut descriptors: Vec<FieldDescriptor> = message.fields().collect();
    descriptors.sort_by_key(FieldDescriptor::number);
    let real = || message.oneofs().filter(|o| !o.is_synthetic());
    let oneof_of = |field: &FieldDescriptor| field.containing_oneof().filter(|o| !o.is_synthetic());
    let mut fields: Vec<Field> = descriptors
        .iter()
        .map(|field| Field {
            number: field.number(),
            name: field.name().to_owned(),
            oneof: oneof_of(field).and_then(|own| real().position(|o| o == own)),
            shape: compiler.shape(field),
        })
        .collect();
    let required: Vec<Option<Rule>> = real().map(|o| compiler.options.required(&o).then(oneof_rule)).collect();
    // A member without rules matters where it displaces one that has some, or satisfies the whole.
    let matters: Vec<bool> = required
        .iter()
        .enumerate()
        .map(|(o, rule)| rule.is_some() || fields.iter().any(|f| f.oneof == Some(o) && !f.shape.is_idle()))
        .collect();
    fields.retain(|f| !f.shape.is_idle() || f.oneof.is_some_and(|o| matters[o]));
    let members = |o| fields.iter().enumerate().filter(|(_, f)| f.oneof == Some(o)).map(|(i, _)| i).collect();
    let oneofs = real().zip(required).enumerate();
    let oneofs = oneofs
        .map(|(o, (descriptor, required))| Oneof { name: descriptor.name().to_owned(), required, members: members(o) })
        .collect();
    Plan { name: message.full_name().to_owned(), fields, oneofs }
}

fn oneof_rule() -> Rule {
    Rule { name: "oneof.required".to_owned(), reason: "one of its fields must be set".to_owned() }
}
