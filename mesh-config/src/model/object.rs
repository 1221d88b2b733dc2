//! One object: its metadata, its typed content, and where it was written.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    kind::Kind,
    spec::{KindSpec, Spec},
    status::ObjectStatus,
};
use crate::position::{Position, PositionMap};

/// The namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What identifies an object: its kind, namespace and name.
///
/// Prints as `Kind namespace/name`, or `Kind name` for kinds without namespaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for kinds without namespaces.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// A key from its parts. The namespace is dropped for kinds without namespaces, and is `default` when empty.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let namespace = match (kind.is_namespaced(), namespace) {
            (false, _) => "",
            (true, "") => DEFAULT_NAMESPACE,
            (true, given) => given,
        };
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Metadata of an object. Source: Kubernetes `ObjectMeta`, as far as the mesh reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// The name.
    pub name: String,
    /// The namespace as given; [`Object::namespace`] completes it.
    pub namespace: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// When the object was made, RFC 3339; decides between objects that conflict.
    pub creation_timestamp: Option<String>,
    /// Counts changes of what is wanted.
    pub generation: Option<i64>,
    /// The platform's version of the object.
    pub resource_version: Option<String>,
    /// The platform's identifier of the object.
    pub uid: Option<String>,
}

/// Where an object was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceLocation {
    /// The file as it was named to the source; empty when there is none.
    pub file: Arc<str>,
    /// Where the object begins.
    pub position: Position,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.position)
    }
}

/// One object of the configuration. Immutable; shared as `Arc<Object>`.
#[derive(Clone, Debug)]
pub struct Object {
    /// The API version as written, such as `networking.istio.io/v1`.
    pub api_version: String,
    /// The metadata.
    pub meta: ObjectMeta,
    /// The typed content.
    pub spec: Spec,
    /// What controllers report of it.
    pub status: ObjectStatus,
    /// Where it was written.
    pub source: SourceLocation,
    /// Where each of its values was written.
    pub positions: PositionMap,
    key: ObjectKey,
}

impl Object {
    /// Makes an object that was not read from a file.
    #[must_use]
    pub fn new(meta: ObjectMeta, spec: impl Into<Spec>) -> Self {
        let spec = spec.into();
        let (group, version) = (spec.kind().group(), spec.kind().versions()[0]);
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        Self::located(api_version, meta, spec, SourceLocation::default(), PositionMap::default())
    }

    pub(crate) fn located(
        api_version: String,
        meta: ObjectMeta,
        spec: Spec,
        source: SourceLocation,
        positions: PositionMap,
    ) -> Self {
        let key = ObjectKey::new(spec.kind(), meta.namespace.as_deref().unwrap_or_default(), &meta.name);
        Self { api_version, meta, spec, status: ObjectStatus::default(), source, positions, key }
    }

    /// What identifies the object.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.key.kind
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// The namespace: as given, else `default`; empty for kinds without namespaces.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    /// `Kind namespace/name`, or `Kind name` when the object names no namespace: the form of diagnostics.
    #[must_use]
    pub fn resource(&self) -> String {
        match self.meta.namespace.as_deref() {
            Some(namespace) if !namespace.is_empty() => format!("{} {namespace}/{}", self.kind(), self.meta.name),
            _ => format!("{} {}", self.kind(), self.meta.name),
        }
    }

    /// The content, when it is of the type asked for.
    #[must_use]
    pub fn spec_as<T: KindSpec>(&self) -> Option<&T> {
        T::from_spec(&self.spec)
    }

    /// Whether both say the same, wherever they were written.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.key == other.key && self.meta == other.meta && self.spec == other.spec && self.status == other.status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Namespace, Secret, Service, VirtualService};

    #[test]
    fn names_the_resource_as_given() {
        let mut meta = ObjectMeta { name: "a".into(), ..ObjectMeta::default() };
        let plain = Object::new(meta.clone(), VirtualService::default());
        assert_eq!(plain.resource(), "VirtualService a");
        assert_eq!(plain.key().to_string(), "VirtualService default/a");
        assert_eq!(plain.api_version, "networking.istio.io/v1");
        meta.namespace = Some("b".into());
        assert_eq!(Object::new(meta.clone(), Service::default()).resource(), "Service b/a");
        assert_eq!(Object::new(meta, Namespace::default()).key().to_string(), "Namespace a");
    }

    #[test]
    fn secrets_do_not_show() {
        let secret = Secret { string_data: [("tls.key".to_owned(), "hunter2".to_owned())].into(), ..Secret::default() };
        let shown = format!("{secret:?} {}", serde_json::to_string(&Spec::from(secret.clone())).unwrap());
        assert!(shown.contains("tls.key") && !shown.contains("hunter2"), "{shown}");
        assert_eq!(secret.value("tls.key").unwrap(), b"hunter2");
    }
}
