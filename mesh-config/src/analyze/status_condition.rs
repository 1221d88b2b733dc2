//! Objects of which a controller reports that something is wrong (IST0171).

use super::{AnalysisContext, Analyzer, Inputs};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Kind, Object, StatusCondition},
    path::FieldPath,
};

/// Passes on negative conditions from the status of objects.
#[derive(Debug)]
pub(super) struct StatusConditions;

const KINDS: [Kind; 6] =
    [Kind::Service, Kind::ServiceEntry, Kind::AuthorizationPolicy, Kind::KubeGateway, Kind::HttpRoute, Kind::GrpcRoute];

impl Analyzer for StatusConditions {
    fn name(&self) -> &'static str {
        "status.conditions"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each(KINDS)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let root = FieldPath::root();
        let status = root.field("status");
        let parents = status.field("parents");
        for object in KINDS.into_iter().flat_map(|kind| context.snapshot().of_kind(kind)) {
            negative(object, status.field("conditions"), &object.status.conditions, findings);
            for (index, parent) in object.status.parents.iter().enumerate() {
                let path = parents.index(index);
                negative(object, path.field("conditions"), &parent.conditions, findings);
            }
        }
    }
}

fn negative(object: &Object, path: FieldPath<'_>, conditions: &[StatusCondition], findings: &mut Vec<Diagnostic>) {
    for (index, condition) in conditions.iter().enumerate().filter(|(_, condition)| condition.status == "False") {
        let args: [&dyn std::fmt::Display; 3] = [&condition.condition_type, &condition.reason, &condition.message];
        findings.push(Diagnostic::on(Code::NegativeCondition, object, path.index(index), &args));
    }
}
