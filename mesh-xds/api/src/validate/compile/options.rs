use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, MessageDescriptor, OneofDescriptor,
};

/// The extensions of `validate/validate.proto`.
#[derive(Debug)]
pub(super) struct Options {
    disabled: ExtensionDescriptor,
    ignored: ExtensionDescriptor,
    required: ExtensionDescriptor,
    rules: ExtensionDescriptor,
}

impl Options {
    /// `None` if the set does not define them.
    pub(super) fn of(pool: &DescriptorPool) -> Option<Self> {
        Some(Self {
            disabled: pool.get_extension_by_name("validate.disabled")?,
            ignored: pool.get_extension_by_name("validate.ignored")?,
            required: pool.get_extension_by_name("validate.required")?,
            rules: pool.get_extension_by_name("validate.rules")?,
        })
    }

    /// Whether no rule applies to messages of this type, nor below them.
    pub(super) fn is_exempt(&self, message: &MessageDescriptor) -> bool {
        let options = message.options();
        is_true(&options, &self.disabled) || is_true(&options, &self.ignored)
    }

    /// Whether one of its members must be set.
    pub(super) fn required(&self, oneof: &OneofDescriptor) -> bool {
        is_true(&oneof.options(), &self.required)
    }

    /// The `FieldRules` of a field.
    pub(super) fn rules(&self, field: &FieldDescriptor) -> Option<DynamicMessage> {
        let options = field.options();
        if !options.has_extension(&self.rules) {
            return None;
        }
        options.get_extension(&self.rules).as_message().cloned()
    }
}

fn is_true(options: &DynamicMessage, extension: &ExtensionDescriptor) -> bool {
    options.get_extension(extension).as_bool().unwrap_or_default()
}
