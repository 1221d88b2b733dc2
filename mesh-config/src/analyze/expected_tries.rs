//! Timeouts of routes that their retries do not fit in (MESH0106).

use super::{AnalysisContext, Analyzer, Inputs};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{HttpRoute, Kind, VirtualService},
    path::FieldPath,
};

/// Finds routes whose timeout ends before the tries that they ask for can.
#[derive(Debug)]
pub(super) struct ExpectedTries;

impl Analyzer for ExpectedTries {
    fn name(&self) -> &'static str {
        "virtualservice.expected-tries"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::VirtualService])
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let root = FieldPath::spec();
        let http = root.field("http");
        for service in context.snapshot().all::<VirtualService>() {
            for (index, route) in service.spec.http.iter().enumerate() {
                let Some(fault) = fault(route) else { continue };
                let at = http.index(index);
                let finding =
                    Diagnostic::on(Code::TimeoutShorterThanTries, service.object, at.field("timeout"), &[&fault]);
                findings.push(finding.with_help("raise timeout, or lower attempts or perTryTimeout"));
            }
        }
    }
}

/// What does not fit. The first try is not counted in `attempts`.
fn fault(route: &HttpRoute) -> Option<String> {
    let timeout = route.timeout.filter(|timeout| !timeout.is_zero())?;
    let retries = route.retries.as_ref()?;
    let each = retries.per_try_timeout.filter(|each| !each.is_zero())?;
    let tries = u32::try_from(retries.attempts).ok().filter(|attempts| *attempts > 0)?.saturating_add(1);
    if each >= timeout {
        return Some(format!(
            "after {timeout} the request ends, before a try of {each} does: no try that hangs is repeated"
        ));
    }
    let needed = each.as_std().checked_mul(tries)?;
    let fitting = timeout.as_std().as_nanos().div_ceil(each.as_std().as_nanos().max(1));
    (needed > timeout.as_std()).then(|| {
        format!("{tries} tries of {each} need more than {timeout}: when they hang, at most {fitting} are begun")
    })
}
