//! Reading files: YAML or JSON, several documents, lists, aliases.

mod de;
mod document;
mod node;
mod scalar;

use std::sync::Arc;

use serde::Deserialize as _;

pub use self::document::{MAX_DEPTH, MAX_DOCUMENTS, MAX_NODES, MAX_SCALAR_BYTES};
use self::{
    de::{Fault, Reading},
    node::{Data, Node},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{
        Kind, MeshConfig, MeshNetworks, Object, ObjectKey, ObjectMeta, ObjectStatus, SourceLocation, Spec,
        kind::Recognised,
    },
    position::{Position, PositionMap},
    suggest,
};

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 32 * 1024 * 1024;

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// Objects that were read without a fault, in the order of the file.
    pub objects: Vec<Arc<Object>>,
    /// Objects that were read, but with faults (such as unknown fields): fit for analysis, not for use.
    pub faulty: Vec<Arc<Object>>,
    /// Objects of which no more than the key could be read.
    pub unread: Vec<ObjectKey>,
    /// Documents that are not YAML, or no object of a kind that exists: which objects they stand for is not known.
    pub broken_documents: usize,
    /// The findings, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads the objects of a text; `file` is its name in findings.
///
/// A fault in one document or object does not touch the others. Kinds of other API groups are passed over.
///
/// ```
/// let parsed = mesh_config::parse("a.yaml", "
/// apiVersion: networking.istio.io/v1
/// kind: VirtualService
/// metadata: {name: reviews}
/// spec:
///   hosts: [reviews]
///   htp: []
/// ");
/// let finding = &parsed.diagnostics[0];
/// assert_eq!(finding.to_string(),
///     "a.yaml:7:3: error[IST0106] VirtualService reviews: unknown field \"htp\" at spec.htp (did you mean \"http\"?)");
/// ```
#[must_use]
pub fn parse(file: &str, text: &str) -> Parsed {
    let mut parser = FileParser { file: file.into(), parsed: Parsed::default() };
    if text.len() > MAX_FILE_BYTES {
        let message = format!("the file is larger than {MAX_FILE_BYTES} bytes: split it");
        parser.report(Code::UnreadableFile, Position::default(), &message);
        return parser.parsed;
    }
    for document in document::documents(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        match document {
            Ok(root) => parser.document(&root),
            Err(error) => parser.report(Code::Syntax, error.position, &error.message),
        }
    }
    parser.parsed
}

/// Reads the objects of bytes as [`parse`] does; they must be UTF-8.
#[must_use]
pub fn parse_bytes(file: &str, bytes: &[u8]) -> Parsed {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(file, text),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            let position = Position { line: u32::try_from(line).unwrap_or(u32::MAX), column: 1 };
            let mut parser = FileParser { file: file.into(), parsed: Parsed::default() };
            parser.report(Code::Syntax, position, "the file is not UTF-8");
            parser.parsed
        }
    }
}

struct FileParser {
    file: Arc<str>,
    parsed: Parsed,
}

/// The head of a document that is an object of a modelled kind.
struct Head<'a> {
    kind: Kind,
    api_version: &'a str,
    meta: ObjectMeta,
}

impl FileParser {
    /// Adds a finding about a document that is no object.
    fn report(&mut self, code: Code, position: Position, message: &str) {
        self.parsed.broken_documents += 1;
        let location = SourceLocation { file: Arc::clone(&self.file), position };
        self.parsed.diagnostics.push(Diagnostic::at(code, &location, &[&message]));
    }

    fn document(&mut self, root: &Arc<Node>) {
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
    let finding = |code, position, message: &dyn std::fmt::Display| {
        Diagnostic::at(code, &SourceLocation { file: file.into(), position }, &[message])
    };
    if text.len() > MAX_FILE_BYTES {
        let message = format!("the file is larger than {MAX_FILE_BYTES} bytes");
        return Err(finding(Code::UnreadableFile, Position::default(), &message));
    }
    let first = document::documents(text).into_iter().next();
    match first {
        None => Ok(MeshConfig::default()),
        Some(Err(error)) => Err(finding(Code::Syntax, error.position, &error.message)),
        Some(Ok(root)) if root.is_null() => Ok(MeshConfig::default()),
        Some(Ok(root)) => Reading::new(false).read(&root, "", MeshConfig::deserialize).map_err(|fault| {
            let (path, position) = fault.place.clone().unwrap_or_default();
            Diagnostic { path, ..finding(Code::SchemaValidationError, position, &fault.message) }
        }),
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{StringMatch, VirtualService};

    const REVIEWS: &str = "
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata:
  name: reviews
  namespace: prod
spec:
  hosts:
  - reviews
  http:
  - match:
    - headers:
        end-user:
          exact: jason
    timeout: 1.5s
    route:
    - destination:
        host: reviews
        subset: v2
      weight: 100
";

    #[test]
    fn reads_typed_objects_with_positions() {
        let parsed = parse("r.yaml", REVIEWS);
        assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
        let object = &parsed.objects[0];
        assert_eq!(object.resource(), "VirtualService prod/reviews");
        let spec: &VirtualService = object.spec_as().unwrap();
        assert_eq!(spec.http[0].matches[0].headers["end-user"], StringMatch::Exact("jason".into()));
        let at = |path| object.positions.locate(path).to_string();
        assert_eq!(at("spec.http[0].route[0].weight"), "20:15");
        assert_eq!(at("spec.http[0].route[0].headers"), "17:7");
        assert_eq!(object.source.to_string(), "r.yaml:2:1");
    }

    #[test]
    fn reports_every_unknown_field_and_goes_on() {
        let text = REVIEWS.replace("timeout:", "timeuot:").replace("subset:", "subest:");
        let parsed = parse("r.yaml", &text);
        let found: Vec<_> = parsed.diagnostics.iter().map(|d| (d.path.as_str(), d.position.line)).collect();
        assert_eq!(found, [("spec.http[0].timeuot", 15), ("spec.http[0].route[0].destination.subest", 19)]);
        assert_eq!(parsed.diagnostics[0].help.as_deref(), Some("did you mean \"timeout\"?"));
        assert_eq!((parsed.objects.len(), parsed.faulty.len()), (0, 1));
    }

    #[test]
    fn a_wrong_type_names_the_place() {
        for (from, to, path, message) in [
            (
                "weight: 100",
                "weight: lots",
                "spec.http[0].route[0].weight",
                "expected a number, found the text \"lots\"",
            ),
            (
                "subset: v2",
                "subset: 2",
                "spec.http[0].route[0].destination.subset",
                "expected a text, found the number 2",
            ),
            ("1.5s", "1.5", "spec.http[0].timeout", "expected a text, found the number 1.5"),
            ("1.5s", "5 days", "spec.http[0].timeout", "invalid duration"),
            (
                "exact: jason",
                "exact: a\n          prefix: b",
                "spec.http[0].match[0].headers.end-user",
                "exclude each other",
            ),
        ] {
            let parsed = parse("r.yaml", &REVIEWS.replace(from, to));
            assert_eq!(parsed.unread.len(), 1, "{to}");
            assert_eq!(parsed.diagnostics[0].path, path);
            assert!(parsed.diagnostics[0].message.contains(message), "{}", parsed.diagnostics[0].message);
        }
    }

    #[test]
    fn unwraps_lists_and_passes_over_other_kinds() {
        let text = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80, extra: 1}]}}
- {apiVersion: apps/v1, kind: StatefulSet, metadata: {name: b}}
- {apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XTelemetryPolicy, metadata: {name: c}}
- {apiVersion: networking.istio.io/v1, kind: VirtualServce, metadata: {name: d}}
- {apiVersion: networking.istoi.io/v1, kind: VirtualService, metadata: {name: e}}
";
        let parsed = parse("l.yaml", text);
        assert_eq!(parsed.objects.len(), 1);
        let codes: Vec<_> = parsed.diagnostics.iter().map(|d| d.code).collect();
        assert_eq!(codes, [Code::KindNotSupported, Code::UnknownKind, Code::UnknownKind]);
        assert_eq!(parsed.diagnostics[1].help.as_deref(), Some("did you mean \"VirtualService\"?"));
    }

    #[test]
    fn a_broken_document_does_not_touch_the_others() {
        let parsed = parse("r.yaml", &format!("a: [\n---{REVIEWS}"));
        assert_eq!((parsed.objects.len(), parsed.broken_documents), (1, 1));
        assert_eq!(parsed.diagnostics[0].code, Code::Syntax);
    }

    proptest! {
        #[test]
        fn never_panics_on_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_bytes("x", &bytes);
        }

        #[test]
        fn never_panics_on_cuts(from in 0..REVIEWS.len(), len in 0..40usize, fill in "[ -~\n\t]{0,8}") {
            let end = (from + len).min(REVIEWS.len());
            let text = format!("{}{fill}{}", &REVIEWS[..from], &REVIEWS[end..]);
            let _ = parse("x", &text);
        }
    }
}
