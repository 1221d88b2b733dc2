//! Containers that run as the user of the sidecar (IST0144).

use super::{
    AnalysisContext, Analyzer, Inputs,
    workload::{PROXY_CONTAINER, is_control_plane},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Deployment, Kind, Object, Pod, PodSpec, SecurityContext},
    path::FieldPath,
};

/// Finds containers whose user is that of the sidecar, so that their traffic passes it by.
#[derive(Debug)]
pub(super) struct ReservedUser;

const PROXY_USER: i64 = 1337;

impl Analyzer for ReservedUser {
    fn name(&self) -> &'static str {
        "pod.reserved-user"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::Pod, Kind::Deployment])
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let root = FieldPath::spec();
        for pod in context.snapshot().all::<Pod>() {
            check(pod.object, root, &pod.spec.spec, findings);
        }
        let template = root.field("template");
        let spec = template.field("spec");
        for deployment in context.snapshot().all::<Deployment>() {
            check(deployment.object, spec, &deployment.spec.spec.template.spec, findings);
        }
    }
}

fn check(object: &Object, path: FieldPath<'_>, spec: &PodSpec, findings: &mut Vec<Diagnostic>) {
    if is_control_plane(object) {
        return;
    }
    let reserved =
        |given: &Option<SecurityContext>| given.as_ref().is_some_and(|given| given.run_as_user == Some(PROXY_USER));
    if reserved(&spec.security_context) {
        findings.push(Diagnostic::on(Code::ReservedUser, object, path.field("securityContext"), &[]));
    }
    let containers = path.field("containers");
    for (index, container) in spec.containers.iter().enumerate() {
        let own = matches!(container.name.as_str(), PROXY_CONTAINER | "istio-operator");
        if !own && reserved(&container.security_context) {
            let path = containers.index(index);
            findings.push(Diagnostic::on(Code::ReservedUser, object, path.field("securityContext"), &[]));
        }
    }
}
