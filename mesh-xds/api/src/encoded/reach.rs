use std::collections::HashSet;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

/// The message types among `candidates` that are wanted, or lead to one that is (types refer to each other in circles).
pub(crate) fn leading_to(
    candidates: Vec<MessageDescriptor>,
    wanted: impl Fn(&MessageDescriptor) -> bool,
) -> Vec<MessageDescriptor> {
    let wanted = candidates.iter().filter(|m| wanted(m));
    let mut active: HashSet<String> = wanted.map(|m| m.full_name().to_owned()).collect();
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

fn leads_to(message: &MessageDescriptor, active: &HashSet<String>) -> bool {
    message.fields().filter_map(|f| target(&f)).any(|m| active.contains(m.full_name()))
}

/// The message type of a field; of a map, of its values.
pub(crate) fn target(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let Kind::Message(message) = field.kind() else { return None };
    if message.is_map_entry() { message.map_entry_value_field().kind().as_message().cloned() } else { Some(message) }
}
