//! Reading a bootstrap from a file or text.

use std::path::{Path, PathBuf};

use mesh_xds_api::{envoy::config::bootstrap::v3::Bootstrap as ProtoBootstrap, json};
use serde_json::Value;

use super::{Bootstrap, Rejection};
use crate::filter::FilterRegistry;

/// Why a bootstrap cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is no YAML or JSON. The message tells the line.
    #[error("not readable as YAML or JSON: {0}")]
    Syntax(String),
    /// A field does not exist or has a wrong kind of value.
    #[error("{path}: {reason}")]
    Field {
        /// Path of the field.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// It was understood, and is refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl Bootstrap {
    /// Reads a bootstrap file, YAML or JSON.
    ///
    /// # Errors
    /// [`LoadError`], with the path of the field where there is one.
    pub fn load(path: &Path, filters: &FilterRegistry) -> Result<Self, LoadError> {
        let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        Self::from_text(&text, filters)
    }

    /// Reads a bootstrap from text, YAML or JSON.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_text(text: &str, filters: &FilterRegistry) -> Result<Self, LoadError> {
        // Of a text that is right nothing is kept but the message. One that is not is read again, to tell where.
        if let Ok(message) = json::from_yaml_once::<ProtoBootstrap>(text) {
            return Ok(Self::from_message(&message, filters)?);
        }
        let value = json::value_from_yaml(text).map_err(|error| match error {
            json::ParseError::Syntax(reason) => LoadError::Syntax(reason),
            error => LoadError::Syntax(error.to_string()),
        })?;
        Self::from_value(value, filters)
    }

    /// Reads a bootstrap from its JSON form.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_value(value: Value, filters: &FilterRegistry) -> Result<Self, LoadError> {
        // An empty file is an empty bootstrap.
        let value = if value.is_null() { Value::Object(serde_json::Map::new()) } else { value };
        let message: ProtoBootstrap = json::from_value_once(&value).map_err(|error| {
            let (path, reason) = locate::locate(&value);
            LoadError::Field { path, reason: reason.unwrap_or_else(|| error.to_string()) }
        })?;
        Ok(Self::from_message(&message, filters)?)
    }
}

/// Finds out where a value stops fitting its message. Only on the way to an error.
mod locate {
    use mesh_xds_api::descriptor_pool;
    use prost_reflect::{DynamicMessage, Kind, MessageDescriptor};
    use serde_json::Value;

    pub(super) fn locate(value: &Value) -> (String, Option<String>) {
        let mut path = Vec::new();
        let root = descriptor_pool().get_message_by_name("envoy.config.bootstrap.v3.Bootstrap");
        let reason = root.and_then(|root| message(&root, value, &mut path));
        (path.concat().trim_start_matches('.').to_owned(), reason)
    }

    /// The reason why `value` is no such message, with `path` left pointing at the place; `None` if it is one.
    fn message(descriptor: &MessageDescriptor, value: &Value, path: &mut Vec<String>) -> Option<String> {
        let error = DynamicMessage::deserialize(descriptor.clone(), value).err()?;
        let Some(fields) = value.as_object() else { return Some(error.to_string()) };
        let descriptor = match (descriptor.full_name(), fields.get("@type")) {
            ("google.protobuf.Any", Some(Value::String(url))) => {
                let name = url.rsplit('/').next().unwrap_or_default();
                match descriptor_pool().get_message_by_name(name) {
                    Some(found) => found,
                    None => return Some(format!("unknown message type {name:?}")),
                }
            }
            _ => descriptor.clone(),
        };
        for (name, value) in fields.iter().filter(|(name, _)| *name != "@type") {
            path.push(format!(".{name}"));
            let found = descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name));
            let Some(field) = found else {
                path.pop();
                return Some(format!("{} has no field {name:?}", descriptor.full_name()));
            };
            let inner = match field.kind() {
                Kind::Message(inner) => inner,
                _ => {
                    let alone = Value::Object([(name.clone(), value.clone())].into_iter().collect());
                    if let Err(error) = DynamicMessage::deserialize(descriptor.clone(), &alone) {
                        return Some(error.to_string());
                    }
                    path.pop();
                    continue;
                }
            };
            if let Some(reason) = inside(&inner, value, path) {
                return Some(reason);
            }
            path.pop();
        }
        Some(error.to_string())
    }

    /// A message field: single, list or map.
    fn inside(inner: &MessageDescriptor, value: &Value, path: &mut Vec<String>) -> Option<String> {
        if inner.is_map_entry() {
            let Kind::Message(values) = inner.map_entry_value_field().kind() else { return None };
            for (key, value) in value.as_object()? {
                path.push(format!("[{key:?}]"));
                if let Some(reason) = message(&values, value, path) {
                    return Some(reason);
                }
                path.pop();
            }
            return None;
        }
        // A list stands for itself only in ListValue and Value, which always fit here.
        let Value::Array(items) = value else { return message(inner, value, path) };
        for (i, item) in items.iter().enumerate() {
            path.push(format!("[{i}]"));
            if let Some(reason) = message(inner, item, path) {
                return Some(reason);
            }
            path.pop();
        }
        None
    }
}
