//! Fields and definitions that go away or are gone (IST0002).

use super::{AnalysisContext, Analyzer, Inputs};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{CustomResourceDefinition, Kind, Sidecar, VirtualService},
    path::FieldPath,
};

/// Finds deprecated fields of Istio's kinds, and definitions of kinds that are gone.
#[derive(Debug)]
pub(super) struct Deprecation;

/// Definitions of kinds that are gone.
const GONE: [&str; 4] = [
    "clusterrbacconfigs.rbac.istio.io",
    "rbacconfigs.rbac.istio.io",
    "servicerolebindings.rbac.istio.io",
    "serviceroles.rbac.istio.io",
];

impl Analyzer for Deprecation {
    fn name(&self) -> &'static str {
        "deprecation"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::VirtualService, Kind::Sidecar, Kind::CustomResourceDefinition])
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let snapshot = context.snapshot();
        let root = FieldPath::spec();
        for service in snapshot.all::<VirtualService>() {
            let http = root.field("http");
            for (index, route) in service.spec.http.iter().enumerate() {
                let delay = route.fault.as_ref().and_then(|fault| fault.delay.as_ref());
                if delay.and_then(|delay| delay.percent).is_some_and(|percent| percent > 0) {
                    let at = http.index(index);
                    let at = at.field("fault");
                    let at = at.field("delay");
                    let what = "percent of a delay: use percentage";
                    findings.push(Diagnostic::on(Code::Deprecated, service.object, at.field("percent"), &[&what]));
                }
            }
        }
        for sidecar in snapshot.all::<Sidecar>() {
            let policy = sidecar.spec.outbound_traffic_policy.as_ref();
            if policy.is_some_and(|policy| policy.egress_proxy.is_some()) {
                let at = root.field("outboundTrafficPolicy");
                let what = "egressProxy, which is ignored";
                findings.push(Diagnostic::on(Code::Deprecated, sidecar.object, at.field("egressProxy"), &[&what]));
            }
        }
        for found in snapshot.all::<CustomResourceDefinition>().filter(|one| GONE.contains(&one.object.name())) {
            let what = format!("the kind of {:?} is gone", found.object.name());
            findings.push(Diagnostic::on(Code::Deprecated, found.object, FieldPath::root(), &[&what]));
        }
    }
}
