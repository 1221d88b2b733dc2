//! Finding and reading single files.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use mesh_xds_api::json::{any_from_value, value_from_yaml};
use serde_json::Value;

use super::FileError;
use crate::{Origin, Resource};

/// Folders within folders that are entered.
const MAX_DEPTH: usize = 16;

/// Tells whether a file was written since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    pub(super) len: u64,
}

/// Finds the files of a folder, links followed.
pub(super) fn walk(root: &Path, found: &mut BTreeMap<PathBuf, Stamp>, max_files: usize) -> io::Result<()> {
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.file_name().is_none_or(|n| n.to_string_lossy().starts_with('.')) {
                continue;
            }
            // A file that went away meanwhile is no file.
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            if meta.is_dir() && depth < MAX_DEPTH {
                folders.push((path, depth + 1));
            } else if meta.is_file() && is_resource_file(&path) {
                if found.len() >= max_files {
                    return Err(io::Error::other(format!("more than {max_files} files")));
                }
                found.insert(path, Stamp { modified: meta.modified().ok(), len: meta.len() });
            }
        }
    }
    Ok(())
}

fn is_resource_file(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| ["yaml", "yml", "json"].contains(&e))
}

/// The resources of one file.
pub(super) fn parse(path: &Path, len: u64, max_len: u64) -> Result<Vec<Resource>, FileError> {
    let fail = |reason: String| FileError::new(path, reason);
    if len > max_len {
        return Err(fail(format!("larger than {max_len} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
    let origin = Origin::new(path.display().to_string());
    let mut resources = Vec::new();
    for (first_line, document) in documents(&text) {
        let place = |reason: String| fail(format!("document at line {first_line}: {reason}"));
        let value = value_from_yaml(&document).map_err(|e| place(e.to_string()))?;
        for (index, item) in items(&value).into_iter().enumerate() {
            let resource = any_from_value(item)
                .map_err(|e| e.to_string())
                .and_then(|any| Resource::from_any(any).map_err(|e| e.to_string()))
                .map_err(|e| place(format!("resource {index}: {e}")))?;
            resources.push(resource.with_origin(origin.clone()));
        }
    }
    Ok(resources)
}

/// The YAML documents that hold anything, with the line each begins at, from 1.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut documents = vec![(1, String::new())];
    for (index, line) in text.lines().enumerate() {
        if line.trim_end() == "---" {
            documents.push((index + 2, String::new()));
        } else if let Some((_, document)) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    let holds = |text: &String| text.lines().any(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#'));
    documents.retain(|(_, text)| holds(text));
    documents
}

/// The resources in a document: the list in it, or the document itself.
fn items(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(object) if is_response(object) => {
            object.get("resources").and_then(Value::as_array).map(|items| items.iter().collect()).unwrap_or_default()
        }
        other => vec![other],
    }
}

/// A `DiscoveryResponse`, with its type or without.
fn is_response(object: &serde_json::Map<String, Value>) -> bool {
    match object.get("@type").and_then(Value::as_str) {
        Some(url) => url.ends_with("/envoy.service.discovery.v3.DiscoveryResponse"),
        None => object.get("resources").is_some_and(Value::is_array),
    }
}
