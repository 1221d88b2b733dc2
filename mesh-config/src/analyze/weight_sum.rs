//! Weights that do not add up to 100 (MESH0102).

use super::{AnalysisContext, Analyzer, Inputs};
use crate::{
    diagnostic::{Code, Diagnostic, Level},
    model::{Kind, VirtualService},
    path::FieldPath,
};

/// Finds routes whose weights do not add up to 100.
///
/// Istio takes weights as shares of their sum, so that an admission check accepts any sum. A sum above 100 is an error
/// all the same: who writes it means percent and has made a mistake. A smaller sum is a warning.
#[derive(Debug)]
pub(super) struct WeightSum;

impl Analyzer for WeightSum {
    fn name(&self) -> &'static str {
        "virtualservice.weight-sum"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::VirtualService])
    }

    fn is_blocking(&self) -> bool {
        true
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        for service in context.snapshot().all::<VirtualService>() {
            let spec = service.spec;
            let http = spec.http.iter().map(|route| route.route.iter().map(|target| target.weight).collect());
            let tls = spec.tls.iter().map(|route| route.route.iter().map(|target| target.weight).collect());
            let tcp = spec.tcp.iter().map(|route| route.route.iter().map(|target| target.weight).collect());
            let sections: [(&str, Vec<Vec<Option<i32>>>); 3] =
                [("http", http.collect()), ("tls", tls.collect()), ("tcp", tcp.collect())];
            for (section, routes) in sections {
                for (index, weights) in routes.iter().enumerate().filter(|(_, weights)| weights.len() > 1) {
                    let sum: i64 = weights.iter().map(|weight| i64::from(weight.unwrap_or(0))).sum();
                    if matches!(sum, 0 | 100) {
                        continue; // a sum of 0 is for the validator to say
                    }
                    let root = FieldPath::spec();
                    let path = root.field(section);
                    let path = path.index(index);
                    let mut finding = Diagnostic::on(Code::WeightSum, service.object, path.field("route"), &[&sum]);
                    finding.level = if sum > 100 { Level::Error } else { Level::Warning };
                    findings
                        .push(finding.with_help("change the weights of the destinations so that they add up to 100"));
                }
            }
        }
    }
}
