//! What became of each object: a value that any sink can write.

mod file;
mod report;
mod sink;

use std::{collections::BTreeMap, fmt, sync::Arc};

pub use self::{
    file::FileStatusSink,
    report::{ObjectReport, Verdict},
    sink::{MemoryStatusSink, StatusError, StatusSink, StatusWriter},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Object, ObjectKey},
    path::FieldPath,
};

/// Objects whose newest version is not in force, by their keys.
pub type Quarantine = BTreeMap<ObjectKey, Quarantined>;

/// An object whose newest version is not in force.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Quarantined {
    /// Why.
    pub reason: QuarantineReason,
    /// The version that is set aside; `None` when it is not good enough to be an object.
    pub wanted: Option<Arc<Object>>,
    /// The version that stays in force, if there is one.
    pub in_force: Option<Arc<Object>>,
}

/// Why a version of an object is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum QuarantineReason {
    /// It is faulty by itself.
    Refused,
    /// It does not fit the other objects.
    DoesNotFit,
    /// It lacks what other objects refer to.
    OthersDepend,
}

impl fmt::Display for QuarantineReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "its new version is faulty",
            Self::DoesNotFit => "its new version does not fit the other objects",
            Self::OthersDepend => "its new version lacks what other objects refer to",
        })
    }
}

impl Quarantined {
    pub(crate) fn new(reason: QuarantineReason, wanted: Option<Arc<Object>>, in_force: Option<Arc<Object>>) -> Self {
        Self { reason, wanted, in_force }
    }

    /// The finding that an older version stays in force, where that is so.
    pub(crate) fn diagnostic(&self) -> Option<Diagnostic> {
        let old = self.in_force.as_ref()?;
        // A fit version that others depend on is in force where it was; the misfit is where the new one is.
        let place = match self.reason {
            QuarantineReason::DoesNotFit => self.wanted.as_ref().unwrap_or(old),
            QuarantineReason::Refused | QuarantineReason::OthersDepend => old,
        };
        Some(Diagnostic::on(Code::HeldBack, place, FieldPath::root(), &[old.key(), &self.reason]))
    }
}
