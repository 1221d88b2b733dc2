//! Reading files: YAML or JSON, several documents, lists, aliases.

mod de;
mod document;
mod fault;
mod file;
mod key;
mod mesh;
mod node;
mod scalar;

use std::sync::Arc;

use self::file::FileParser;
pub(crate) use self::mesh::{is_object, mesh_object, parse_mesh_networks};
pub use self::{
    document::{MAX_DEPTH, MAX_DOCUMENTS, MAX_FILE_NODES, MAX_NODES, MAX_SCALAR_BYTES},
    mesh::parse_mesh_config,
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Object, ObjectKey},
    position::Position,
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
