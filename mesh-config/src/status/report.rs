//! The report about one object.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{Quarantine, Quarantined};
use crate::{
    diagnostic::Diagnostic,
    model::{Object, ObjectKey},
    store::{FindingList, State},
};

/// What became of the newest version of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub enum Verdict {
    /// It is in force.
    InForce,
    /// It is not, and an older version is.
    OlderInForce,
    /// It is not, and no other version is.
    NotInForce,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::InForce => "in force",
            Self::OlderInForce => "an older version is in force",
            Self::NotInForce => "not in force",
        })
    }
}

/// What became of an object, and what was found about it.
///
/// As JSON: `{resource, verdict, generation, reason, diagnostics}`, `generation` (of the version in force) and `reason`
/// (why the newest version is not) where there are such.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ObjectReport {
    /// The object.
    pub key: ObjectKey,
    /// What became of its newest version.
    pub verdict: Verdict,
    /// The generation of the version in force, where the platform counts them.
    pub generation: Option<i64>,
    /// Why the newest version is not in force.
    pub reason: Option<super::QuarantineReason>,
    /// What was found about it, in order of file and position.
    pub diagnostics: Vec<Diagnostic>,
}

impl Serialize for ObjectReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("resource", &self.key.to_string())?;
        map.serialize_entry("verdict", &self.verdict)?;
        if let Some(generation) = self.generation {
            map.serialize_entry("generation", &generation)?;
        }
        if let Some(reason) = self.reason {
            map.serialize_entry("reason", &reason.to_string())?;
        }
        map.serialize_entry("diagnostics", &self.diagnostics)?;
        map.end()
    }
}

impl State {
    /// What became of an object; `None` when there is none with this key.
    #[must_use]
    pub fn report(&self, key: &ObjectKey) -> Option<ObjectReport> {
        let found = self.diagnostics.iter().filter(|finding| finding.key.as_ref() == Some(key)).cloned();
        report(key, self.snapshot.object(key).map(|object| &**object), &self.quarantine, found.collect())
    }

    /// What became of every object, in the order of their keys.
    #[must_use]
    pub fn reports(&self) -> Vec<ObjectReport> {
        let mut found = by_object(&self.diagnostics);
        let keys: std::collections::BTreeSet<_> =
            self.snapshot.iter().map(|object| object.key()).chain(self.quarantine.keys()).collect();
        let each = keys.into_iter().filter_map(|key| {
            let found = found.remove(key).unwrap_or_default();
            report(key, self.snapshot.object(key).map(|object| &**object), &self.quarantine, found)
        });
        each.collect()
    }
}

fn by_object(findings: &FindingList) -> std::collections::HashMap<&ObjectKey, Vec<Diagnostic>> {
    let mut found = std::collections::HashMap::<_, Vec<_>>::new();
    for finding in findings {
        if let Some(key) = &finding.key {
            found.entry(key).or_default().push(finding.clone());
        }
    }
    found
}

fn report(
    key: &ObjectKey,
    in_force: Option<&Object>,
    quarantine: &Quarantine,
    diagnostics: Vec<Diagnostic>,
) -> Option<ObjectReport> {
    let aside: Option<&Quarantined> = quarantine.get(key);
    let verdict = match (in_force, aside) {
        (None, None) => return None,
        (Some(_), None) => Verdict::InForce,
        (Some(_), Some(_)) => Verdict::OlderInForce,
        (None, Some(_)) => Verdict::NotInForce,
    };
    let generation = in_force.and_then(|object| object.meta.generation);
    Some(ObjectReport { key: key.clone(), verdict, generation, reason: aside.map(|one| one.reason), diagnostics })
}
