//! From a document to typed objects.

use std::sync::Arc;

use serde::Deserialize as _;

use super::{
    Parsed,
    de::Reading,
    fault::Fault,
    node::{Data, Node},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Kind, Object, ObjectKey, ObjectMeta, ObjectStatus, SourceLocation, Spec, kind::Recognised},
    position::{Position, PositionMap},
    suggest,
};

/// Collects what a file holds.
pub(super) struct FileParser {
    pub(super) file: Arc<str>,
    pub(super) parsed: Parsed,
}

/// The head of a document that is an object of a modelled kind.
struct Head<'a> {
    kind: Kind,
    api_version: &'a str,
    meta: ObjectMeta,
}

impl FileParser {
    /// Adds a finding about a document that is no object.
    pub(super) fn report(&mut self, code: Code, position: Position, message: &str) {
        self.parsed.broken_documents += 1;
        let location = SourceLocation { file: Arc::clone(&self.file), position };
        self.parsed.diagnostics.push(Diagnostic::at(code, &location, &[&message]));
    }

    /// Takes a document: an object, a list of objects, or nothing.
    pub(super) fn document(&mut self, root: &Arc<Node>) {
        if root.is_null() {
            return;
        }
        if !matches!(root.data, Data::Map(_)) {
            let message = format!("expected an object with apiVersion and kind, found {}", root.describe());
            return self.report(Code::NotAnObject, root.position, &message);
        }
        let kind = root.field("kind").and_then(|node| node.text()).unwrap_or_default();
        if kind.ends_with("List")
            && let Some(items) = root.field("items")
        {
            if let Data::List(items) = &items.data {
                items.iter().for_each(|item| self.document(item));
                return;
            }
            return self.report(Code::NotAnObject, items.position, "the items of a list must be a list of objects");
        }
        let api_version = root.field("apiVersion").and_then(|node| node.text()).unwrap_or_default();
        if kind.is_empty() || api_version.is_empty() {
            let missing = if kind.is_empty() { "kind" } else { "apiVersion" };
            return self.report(Code::NotAnObject, root.position, &format!("the object has no {missing}"));
        }
        match Kind::recognise(api_version, kind) {
            Recognised::Modelled(kind, true) => self.object(root, kind, api_version),
            Recognised::Modelled(modelled, false) => {
                let help = format!("the versions are: {}", modelled.versions().join(", "));
                self.unknown_kind(root, api_version, kind, Some(help));
            }
            Recognised::NotSupported => {
                let mut finding = self.finding(Code::KindNotSupported, root, "kind", &[&kind, &api_version]);
                finding.resource = resource(root, kind);
                self.parsed.diagnostics.push(finding);
            }
            Recognised::Misspelt(near) => {
                self.unknown_kind(root, api_version, kind, near.map(|near| format!("did you mean {near:?}?")));
            }
            Recognised::Foreign => self.foreign(root, api_version, kind),
        }
    }

    fn finding(&self, code: Code, root: &Node, field: &str, args: &[&dyn std::fmt::Display]) -> Diagnostic {
        let position = root.field(field).map_or(root.position, |node| node.position);
        Diagnostic::at(code, &SourceLocation { file: Arc::clone(&self.file), position }, args)
    }

    fn unknown_kind(&mut self, root: &Node, api_version: &str, kind: &str, help: Option<String>) {
        self.parsed.broken_documents += 1;
        let mut finding = self.finding(Code::UnknownKind, root, "kind", &[&kind, &api_version]);
        finding.resource = resource(root, kind);
        finding.help = help;
        self.parsed.diagnostics.push(finding);
    }

    /// A kind of another group: fine, unless the group is a misspelt one of the mesh.
    fn foreign(&mut self, root: &Node, api_version: &str, kind: &str) {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        if let Some(near) = suggest::nearest(group, Kind::groups_of(kind)) {
            let mut finding = self.finding(Code::UnknownKind, root, "apiVersion", &[&kind, &api_version]);
            finding.resource = resource(root, kind);
            finding.help = Some(format!("did you mean {near:?}?"));
            self.parsed.broken_documents += 1;
            self.parsed.diagnostics.push(finding);
        }
    }

    fn object(&mut self, root: &Arc<Node>, kind: Kind, api_version: &str) {
        let lenient = Reading::new(false);
        let metadata = root.field("metadata").unwrap_or(root);
        let meta = lenient.read(metadata, "metadata", ObjectMeta::deserialize);
        let meta = match meta {
            Ok(meta) if !meta.name.is_empty() && root.field("metadata").is_some() => meta,
            Ok(_) => return self.report(Code::NotAnObject, metadata.position, "the object has no metadata.name"),
            Err(fault) => {
                let finding = self.fault(&fault, &resource(root, kind.as_str()));
                self.parsed.broken_documents += 1;
                self.parsed.diagnostics.push(finding);
                return;
            }
        };
        let head = Head { kind, api_version, meta };
        let reading = Reading::new(kind.is_strict());
        let spec = read_spec(&reading, root, kind);
        let faults = reading.into_faults();
        self.finish(root, head, spec, faults);
    }

    fn finish(&mut self, root: &Arc<Node>, head: Head<'_>, spec: Result<Spec, Fault>, mut faults: Vec<Fault>) {
        let named = resource(root, head.kind.as_str());
        let clean = faults.is_empty();
        let spec = spec.map_err(|fault| faults.push(fault)).ok();
        faults.sort_by_key(|fault| fault.place.as_ref().map(|(_, position)| *position));
        let namespace = head.meta.namespace.as_deref().unwrap_or_default();
        let key = ObjectKey::new(head.kind, namespace, &head.meta.name);
        for fault in &faults {
            let mut finding = self.fault(fault, &named);
            finding.key = Some(key.clone());
            self.parsed.diagnostics.push(finding);
        }
        let Some(spec) = spec else {
            self.parsed.unread.push(key);
            return;
        };
        let source = SourceLocation { file: Arc::clone(&self.file), position: root.position };
        let positions = PositionMap::new(root.positions());
        let mut object = Object::located(head.api_version.to_owned(), head.meta, spec, source, positions);
        object.status = read_status(root);
        let object = Arc::new(object);
        if clean { self.parsed.objects.push(object) } else { self.parsed.faulty.push(object) }
    }

    fn fault(&self, fault: &Fault, resource: &str) -> Diagnostic {
        let (path, position) = fault.place.clone().unwrap_or_default();
        let location = SourceLocation { file: Arc::clone(&self.file), position };
        let mut finding = Diagnostic::at(Code::SchemaValidationError, &location, &[&fault.message]);
        finding.path = path;
        finding.help.clone_from(&fault.help);
        finding.resource = resource.to_owned();
        finding
    }
}

/// Reads the content of an object: strict kinds have it under `spec`, platform kinds anywhere.
fn read_spec(reading: &Reading, root: &Node, kind: Kind) -> Result<Spec, Fault> {
    if !kind.is_strict() {
        return reading.read(root, "", |reader| Spec::deserialize(kind, reader));
    }
    const FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
    for entry in root.entries().iter().filter(|entry| !FIELDS.contains(&entry.key.as_str())) {
        reading.unknown_field(entry, FIELDS);
    }
    match root.field("spec") {
        Some(spec) => reading.read(spec, "spec", |reader| Spec::deserialize(kind, reader)),
        None if kind.needs_spec() => Err(Fault::required("spec", root.position)),
        None => {
            let empty = Node { position: root.position, data: Data::Map(Vec::new()) };
            Reading::new(true).read(&empty, "spec", |reader| Spec::deserialize(kind, reader))
        }
    }
}

/// Reads what controllers report. It is not the user's to mend, so a form that is not known counts as nothing.
fn read_status(root: &Node) -> ObjectStatus {
    let status = root.field("status");
    let status = status.and_then(|status| Reading::new(false).read(status, "status", ObjectStatus::deserialize).ok());
    status.unwrap_or_default()
}

/// `Kind namespace/name` as far as it can be read.
fn resource(root: &Node, kind: &str) -> String {
    let metadata = root.field("metadata");
    let text = |name| metadata.and_then(|node| node.field(name)).and_then(|node| node.text()).unwrap_or_default();
    match (text("namespace"), text("name")) {
        (_, "") => kind.to_owned(),
        ("", name) => format!("{kind} {name}"),
        (namespace, name) => format!("{kind} {namespace}/{name}"),
    }
}
