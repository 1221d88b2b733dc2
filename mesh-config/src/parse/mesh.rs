//! Settings of a mesh that are written without an object around them.

use std::sync::Arc;

use serde::Deserialize as _;

use super::{
    MAX_FILE_BYTES,
    de::Reading,
    document,
    fault::Fault,
    node::{Data, Node},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{MeshConfig, MeshNetworks, Object, ObjectMeta, SourceLocation},
    position::{Position, PositionMap},
};

/// Reads the networks of a mesh; on a fault, says what cannot be read, and where.
pub(crate) fn parse_mesh_networks(text: &str) -> Result<MeshNetworks, String> {
    match document::documents(text).into_iter().next() {
        None => Ok(MeshNetworks::default()),
        Some(Err(error)) => Err(error.message.to_string()),
        Some(Ok(root)) if root.is_null() => Ok(MeshNetworks::default()),
        Some(Ok(root)) => Reading::new(false).read(&root, "", MeshNetworks::deserialize).map_err(|fault| {
            let (path, _) = fault.place.clone().unwrap_or_default();
            format!("{path}: {}", fault.message)
        }),
    }
}

/// Reads the settings of a mesh; `file` is its name in findings. What fields hold is for validation to check.
///
/// # Errors
///
/// The finding that says what cannot be read.
pub fn parse_mesh_config(file: &str, text: &str) -> Result<MeshConfig, Diagnostic> {
    let object = mesh_object(file, text)?;
    Ok(object.spec_as().cloned().unwrap_or_default())
}

/// As [`parse_mesh_config`], as an object whose positions begin at the root of the text.
pub(crate) fn mesh_object(file: &str, text: &str) -> Result<Object, Diagnostic> {
    let location = |position| SourceLocation { file: file.into(), position };
    let finding =
        |code, position, message: &dyn std::fmt::Display| Diagnostic::at(code, &location(position), &[message]);
    if text.len() > MAX_FILE_BYTES {
        let message = format!("the file is larger than {MAX_FILE_BYTES} bytes");
        return Err(finding(Code::UnreadableFile, Position::default(), &message));
    }
    let start = Position { line: 1, column: 1 };
    let root = match document::documents(text.strip_prefix('\u{feff}').unwrap_or(text)).into_iter().next() {
        None => Arc::new(Node { position: start, data: Data::Map(Vec::new()) }),
        Some(root) => root.map_err(|error| finding(Code::Syntax, error.position, &error.message))?,
    };
    let read = Reading::new(false).read(&root, "", MeshConfig::deserialize);
    let mesh = read.map_err(|fault: Fault| {
        let (path, position) = fault.place.clone().unwrap_or_default();
        Diagnostic { path, ..finding(Code::SchemaValidationError, position, &fault.message) }
    })?;
    let meta = ObjectMeta { name: "mesh".to_owned(), ..ObjectMeta::default() };
    let positions = PositionMap::new(root.positions());
    Ok(Object::located("mesh.istio.io/v1alpha1".to_owned(), meta, mesh.into(), location(root.position), positions))
}

/// Whether a text is an object, rather than settings without one around them.
pub(crate) fn is_object(text: &str) -> bool {
    let first = document::documents(text.strip_prefix('\u{feff}').unwrap_or(text)).into_iter().next();
    first.is_some_and(|root| root.is_ok_and(|root| root.field("apiVersion").is_some() && root.field("kind").is_some()))
}
