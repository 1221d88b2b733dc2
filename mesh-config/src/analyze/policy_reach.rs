//! AuthorizationPolicies that match no request, or every one (MESH0107).

use super::{AnalysisContext, Analyzer, Inputs};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{AuthorizationAction, AuthorizationPolicy, Kind, Rule},
    path::FieldPath,
};

/// Finds policies whose rules match nothing or everything, and rules beside one that matches everything.
#[derive(Debug)]
pub(super) struct PolicyReach;

impl Analyzer for PolicyReach {
    fn name(&self) -> &'static str {
        "authorizationpolicy.reach"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::AuthorizationPolicy])
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let root = FieldPath::spec();
        let rules = root.field("rules");
        for policy in context.snapshot().all::<AuthorizationPolicy>() {
            let spec = policy.spec;
            let whole = spec.rules.iter().position(|rule| *rule == Rule::default());
            let mut report = |path: FieldPath<'_>, what: &str| {
                findings.push(Diagnostic::on(Code::PolicyReach, policy.object, path, &[&what]));
            };
            match (whole, spec.action) {
                (None, AuthorizationAction::Allow) if spec.rules.is_empty() => {
                    report(root, "no request is allowed: an ALLOW policy without rules matches none");
                }
                (Some(index), AuthorizationAction::Deny) => {
                    report(rules.index(index), "every request is denied: an empty rule matches all of them");
                }
                (Some(index), _) if spec.rules.len() > 1 => {
                    report(rules.index(index), "an empty rule matches every request: the other rules have no effect");
                }
                _ => {}
            }
        }
    }
}
