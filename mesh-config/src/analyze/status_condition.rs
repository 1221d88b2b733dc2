//! Objects of which a controller reports that something is wrong (IST0171).

use super::{AnalysisContext, Analyzer, Inputs};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::Kind,
    path::FieldPath,
};

/// Passes on negative conditions from the status of objects.
#[derive(Debug)]
pub(super) struct StatusConditions;

const KINDS: [Kind; 3] = [Kind::Service, Kind::ServiceEntry, Kind::AuthorizationPolicy];

impl Analyzer for StatusConditions {
    fn name(&self) -> &'static str {
        "status.conditions"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each(KINDS)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let root = FieldPath::root();
        let path = root.field("status");
        let path = path.field("conditions");
        for object in KINDS.into_iter().flat_map(|kind| context.snapshot().of_kind(kind)) {
            let conditions = object.status.conditions.iter().enumerate();
            for (index, condition) in conditions.filter(|(_, condition)| condition.status == "False") {
                let args: [&dyn std::fmt::Display; 3] =
                    [&condition.condition_type, &condition.reason, &condition.message];
                findings.push(Diagnostic::on(Code::NegativeCondition, object, path.index(index), &args));
            }
        }
    }
}
