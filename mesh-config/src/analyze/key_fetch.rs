//! A control plane that may be made to fetch keys from any address (IST0175).

use super::{AnalysisContext, Analyzer, Inputs, Link};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Deployment, Kind, Object},
    path::FieldPath,
};

/// Finds control planes that do not restrict where keys of RequestAuthentications are fetched.
#[derive(Debug)]
pub(super) struct KeyFetch;

const RESTRICTION: &str = "BLOCKED_CIDRS_IN_JWKS_URIS";
/// How many objects a message names.
const NAMED: usize = 5;

impl Analyzer for KeyFetch {
    fn name(&self) -> &'static str {
        "requestauthentication.key-fetch"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::Deployment]).only(is_control_plane).reads(
            [Kind::Deployment],
            [Kind::RequestAuthentication],
            Link::All,
        )
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let snapshot = context.snapshot();
        let policies: Vec<_> = snapshot.of_kind(Kind::RequestAuthentication).collect();
        if policies.is_empty() {
            return;
        }
        let names: Vec<_> =
            policies.iter().take(NAMED).map(|one| format!("{}/{}", one.namespace(), one.name())).collect();
        let mut names = names.join(", ");
        if policies.len() > NAMED {
            names.push_str(", ...");
        }
        for deployment in snapshot.all::<Deployment>() {
            let control_plane = is_control_plane(deployment.object);
            let mut variables = deployment.spec.spec.template.spec.containers.iter().flat_map(|one| &one.env);
            let restricted = variables
                .any(|one| one.name == RESTRICTION && one.value.as_deref().is_some_and(|value| !value.is_empty()));
            if control_plane && !restricted {
                let args: [&dyn std::fmt::Display; 2] = [&policies.len(), &names];
                findings.push(Diagnostic::on(Code::UnrestrictedKeyFetch, deployment.object, FieldPath::root(), &args));
            }
        }
    }
}

fn is_control_plane(deployment: &Object) -> bool {
    deployment.meta.labels.get("app").is_some_and(|app| app == "istiod")
}
