use std::collections::HashSet;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

use super::options::Options;

/// The message types in which a rule can apply: they state one, hold an `Any`, or lead to such a type.
pub(super) fn active(pool: &DescriptorPool, options: &Options) -> Vec<MessageDescriptor> {
    let candidates: Vec<MessageDescriptor> =
        pool.all_messages().filter(|m| !m.is_map_entry() && !options.is_exempt(m)).collect();
    let mut active: HashSet<String> =
        candidates.iter().filter(|m| states_rules(m, options)).map(|m| m.full_name().to_owned()).collect();
    active.insert("google.protobuf.Any".to_owned());
    // Ends when a round adds none: at most once for each type.
    loop {
        let before = active.len();
        for message in &candidates {
            if !active.contains(message.full_name()) && leads_to(message, &active) {
                active.insert(message.full_name().to_owned());
            }
        }
        if active.len() == before {
            break;
        }
    }
    candidates.into_iter().filter(|m| active.contains(m.full_name())).collect()
}

fn states_rules(message: &MessageDescriptor, options: &Options) -> bool {
    message.oneofs().any(|o| options.required(&o)) || message.fields().any(|f| options.rules(&f).is_some())
}

fn leads_to(message: &MessageDescriptor, active: &HashSet<String>) -> bool {
    message.fields().filter_map(|f| target(&f)).any(|m| active.contains(m.full_name()))
}

/// The message type of a field; of a map, of its values.
fn target(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let Kind::Message(message) = field.kind() else { return None };
    if message.is_map_entry() { message.map_entry_value_field().kind().as_message().cloned() } else { Some(message) }
}
