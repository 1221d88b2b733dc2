//! Messages that break one rule of the API each, made from the descriptors.
//!
//! Nothing here is shared with the validator under test: rules are read from the options as they stand in the set, and a
//! value on either side of each is chosen by what [protoc-gen-validate](https://github.com/bufbuild/protoc-gen-validate)
//! documents.

mod instance;
mod options;
mod rule;
mod value;

use std::collections::{BTreeSet, HashSet, VecDeque};

use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};

pub use self::rule::Rule;

/// One rule, with a message that breaks it and nothing else, and one that just keeps it.
#[derive(Debug, Clone)]
pub struct Case {
    /// The type of the message that states the rule, such as `envoy.config.core.v3.SocketAddress`.
    pub message: String,
    /// The field, or the `oneof`.
    pub field: String,
    /// The option: `string.min_len`.
    pub rule: String,
    /// The broken message, of the type that was asked for.
    pub broken: Vec<u8>,
    /// The sound one.
    pub sound: Vec<u8>,
}

impl Case {
    /// Type, field and rule.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{} {}", self.message, self.field, self.rule)
    }
}

/// A case for every rule that can be broken in a message of type `root`, the contents of an `Any` not included, and
/// deprecated fields passed over.
///
/// # Panics
/// If the type is not in the set.
#[must_use]
pub fn cases(root: &str) -> Vec<Case> {
    let root = mesh_xds_api::descriptor_pool().get_message_by_name(root).expect("a type of the API");
    let mut cases = Vec::new();
    for (message, path) in reachable(&root) {
        for rule in rule::all(&message) {
            let made = |breach: bool| {
                let leaf = |m: &mut DynamicMessage| rule.apply(m, breach);
                instance::along(&root, &path, &leaf).map(|m| m.encode_to_vec())
            };
            let (Some(broken), Some(sound)) = (made(true), made(false)) else { continue };
            cases.push(Case {
                message: message.full_name().to_owned(),
                field: rule.field.clone(),
                rule: rule.name.clone(),
                broken,
                sound,
            });
        }
    }
    cases
}

/// The names of the rules that the whole API states.
#[must_use]
pub fn all_rules() -> BTreeSet<String> {
    let messages = mesh_xds_api::descriptor_pool().all_messages().filter(|m| !m.is_map_entry());
    messages.flat_map(|m| rule::all(&m)).map(|r| r.name).collect()
}

/// Every message type below `root`, with the shortest way to it.
fn reachable(root: &MessageDescriptor) -> Vec<(MessageDescriptor, Vec<FieldDescriptor>)> {
    let mut seen = HashSet::from([root.full_name().to_owned()]);
    let mut open = VecDeque::from([(root.clone(), Vec::new())]);
    let mut found = Vec::new();
    while let Some((message, path)) = open.pop_front() {
        for field in message.fields().filter(|f| !options::is_deprecated(f)) {
            let Some(target) = target(&field) else { continue };
            if !target.full_name().starts_with("google.protobuf.") && seen.insert(target.full_name().to_owned()) {
                open.push_back((target, path.iter().cloned().chain([field]).collect()));
            }
        }
        found.push((message, path));
    }
    found
}

fn target(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let Kind::Message(message) = field.kind() else { return None };
    if message.is_map_entry() { message.map_entry_value_field().kind().as_message().cloned() } else { Some(message) }
}
