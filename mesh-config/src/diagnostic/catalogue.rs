//! The catalogue of findings: one row per code.

use std::fmt;

use super::Level;

macro_rules! catalogue {
    ($($name:ident $code:literal $level:ident $template:literal $doc:literal)*) => {
        /// What a finding is about. Codes are stable; retired ones are not used again.
        ///
        /// Codes that begin with `IST` are Istio's and mean the same as there; `MESH` codes are this crate's own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $doc] $name,)*
        }

        const ROWS: &[Row] = &[$(Row {
            variant: Code::$name, code: $code, name: stringify!($name), level: Level::$level, template: $template, doc: $doc,
        },)*];
    };
}

struct Row {
    variant: Code,
    code: &'static str,
    name: &'static str,
    level: Level,
    template: &'static str,
    doc: &'static str,
}

catalogue! {
    Deprecated "IST0002" Warning "deprecated: {}"
        "A field or value is deprecated."
    ReferencedResourceNotFound "IST0101" Error "referenced {} not found: {:?}"
        "An object refers to another one that is not there."
    SchemaValidationError "IST0106" Error "{}"
        "An object breaks the rules of its kind."
    ConflictingVirtualServiceHosts "IST0109" Error "virtual services {} define the same host {:?} for the mesh: merge them"
        "Several VirtualServices define the same host for sidecars, so that only one of them counts."
    DestinationPortRequired "IST0112" Error "the route's service {:?} has several ports {}: name one in the destination"
        "A route to a service with several ports names none."
    HostNotFoundInGateway "IST0132" Warning "host {:?} is not served by gateway {:?}"
        "A VirtualService is bound to a gateway that does not serve its host."
    SchemaWarning "IST0133" Warning "{}"
        "An object is accepted, but a part of it is doubtful."
    Syntax "MESH0001" Error "cannot be read as YAML: {}"
        "A document is not YAML. The other documents of the file are read."
    UnreadableFile "MESH0002" Error "cannot be read: {}"
        "A file or folder cannot be read, or is larger than the limit."
    NotAnObject "MESH0003" Error "{}"
        "A document is not an object with apiVersion, kind and metadata.name."
    UnknownKind "MESH0004" Error "unknown kind {:?} in API group {:?}"
        "An API group of the mesh does not have this kind or version."
    KindNotSupported "MESH0005" Warning "kind {} of {} is not supported yet: the object has no effect"
        "The kind exists, but is not implemented here."
    DuplicateObject "MESH0006" Error "{} is defined more than once; also at {}"
        "Several documents define the same object; the first one counts."
    DuplicateSubset "MESH0101" Error "subset {:?} of host {:?} is also defined by {}"
        "Several DestinationRules that apply to the same clients define a subset twice."
    WeightSum "MESH0102" Error "the weights add up to {}, not 100"
        "The weights of a route's destinations do not add up to 100; above 100 it is an error, below a warning."
    HeldBack "MESH0201" Warning "{} stays in force as it was before: {}"
        "The new version of an object is faulty; its last good version stays in force."
    NotCarriedOut "MESH0301" Warning "{}"
        "A part of an object is accepted, but translation into proxy configuration does not carry it out."
}

impl Code {
    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Every code, in the order of the catalogue.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.variant)
    }

    /// The code, such as `IST0101`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().code
    }

    /// The name, such as `ReferencedResourceNotFound`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// How grave findings of this code are.
    #[must_use]
    pub fn level(self) -> Level {
        self.row().level
    }

    /// What it means, in one sentence.
    #[must_use]
    pub fn doc(self) -> &'static str {
        self.row().doc
    }

    /// The message with its arguments put in: `{}` as they are, `{:?}` in quotes.
    pub(crate) fn message(self, args: &[&dyn fmt::Display]) -> String {
        let mut out = String::new();
        let mut args = args.iter();
        let mut rest = self.row().template;
        while let Some(at) = rest.find('{') {
            out.push_str(&rest[..at]);
            let quoted = rest[at..].starts_with("{:?}");
            rest = &rest[at + if quoted { 4 } else { 2 }..];
            let text = args.next().map(ToString::to_string).unwrap_or_default();
            if quoted {
                out.push_str(&format!("{text:?}"));
            } else {
                out.push_str(&text);
            }
        }
        out.push_str(rest);
        out
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        let codes: HashSet<_> = Code::all().map(Code::as_str).collect();
        assert_eq!(codes.len(), ROWS.len());
        assert!(ROWS.iter().enumerate().all(|(index, row)| row.variant as usize == index));
    }

    #[test]
    fn puts_arguments_in() {
        let message = Code::ReferencedResourceNotFound.message(&[&"gateway", &"a/b"]);
        assert_eq!(message, "referenced gateway not found: \"a/b\"");
    }
}
