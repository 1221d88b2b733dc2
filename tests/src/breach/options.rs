//! The options of a field, as they stand in the descriptor set.

use prost_reflect::{DynamicMessage, FieldDescriptor, OneofDescriptor};

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

pub(super) fn inner_group(group: &DynamicMessage, name: &str) -> Option<(String, DynamicMessage)> {
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

pub(super) fn is_deprecated(field: &FieldDescriptor) -> bool {
    field.options().get_field_by_name("deprecated").and_then(|v| v.as_bool()).unwrap_or_default()
}
